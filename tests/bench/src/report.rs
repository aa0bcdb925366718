//! Medians of measurements, as text and as JSON.

use serde_json::{Value, json};

/// Several measurements of one quantity.
#[derive(Clone, Debug)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// A sample of at least one measurement.
    pub fn new(mut values: Vec<f64>) -> Sample {
        values.sort_by(f64::total_cmp);
        Sample(values)
    }

    /// Returns the median.
    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// `80.1 [79.3-84.0]`: the median and the extremes.
    pub fn text(&self) -> String {
        format!("{:.1} [{:.1}-{:.1}]", self.median(), self.0[0], self.0[self.0.len() - 1])
    }

    /// The same with two decimals, for small numbers.
    pub fn fine(&self) -> String {
        format!("{:.2} [{:.2}-{:.2}]", self.median(), self.0[0], self.0[self.0.len() - 1])
    }

    /// JSON for the result file, with all measurements.
    pub fn json(&self) -> Value {
        json!({ "median": self.median(), "min": self.0[0], "max": self.0[self.0.len() - 1], "all": self.0 })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_in_the_middle() {
        let sample = super::Sample::new(vec![3.0, 1.0, 2.0]);
        assert_eq!(
            (sample.text(), sample.fine()),
            ("2.0 [1.0-3.0]".to_owned(), "2.00 [1.00-3.00]".to_owned())
        );
        assert_eq!(sample.json()["min"], 1.0);
    }
}
