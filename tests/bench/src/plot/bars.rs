//! Horizontal bars.

use super::{TOP, WIDTH, head, line, rectangle, round_up, short, text, text_width};

/// A plot of horizontal bars in groups.
pub struct Bars<'a> {
    /// Title.
    pub title: &'a str,
    /// Quantity that the bars show, with its unit.
    pub x_label: &'a str,
    /// Names of the bars within a group, in order.
    pub names: &'a [&'a str],
    /// Groups, each with a value for each name.
    pub groups: Vec<(String, Vec<f64>)>,
    /// The axis is logarithmic.
    pub log: bool,
}

/// Height of a bar with the gap below it.
const BAR: f64 = 14.0;
/// Gap between groups of bars.
const GROUP_GAP: f64 = 12.0;

impl Bars<'_> {
    /// The plot as an SVG document.
    pub fn svg(&self) -> String {
        // Group names are left of the axis; it starts where the longest one ends.
        let left = self.groups.iter().map(|(name, _)| text_width(name)).fold(60.0, f64::max) + 26.0;
        let axis = Axis::new(self, left, WIDTH - left - 70.0);
        let height = |group: &(String, Vec<f64>)| group.1.len() as f64 * BAR + GROUP_GAP;
        let bottom = TOP + self.groups.iter().map(height).sum::<f64>();
        let legend = if self.names.len() > 1 { 26.0 } else { 0.0 };
        let mut body = head(self.title, (WIDTH, bottom + 50.0 + legend));
        self.scale(&mut body, &axis, bottom);
        let mut y = TOP;
        for group in &self.groups {
            let (name, values) = group;
            text(&mut body, (left - 10.0, y + values.len() as f64 * BAR / 2.0 + 4.0), "end", name);
            for (number, &value) in values.iter().enumerate() {
                let (top, end) = (y + number as f64 * BAR, axis.x(value));
                rectangle(&mut body, (left, top), (end - left, BAR - 2.0), number);
                text(&mut body, (end + 6.0, top + BAR - 4.0), "start", &short(value));
            }
            y += height(group);
        }
        let mut x = left;
        for (number, name) in self.names.iter().enumerate().filter(|_| self.names.len() > 1) {
            rectangle(&mut body, (x, bottom + 50.0), (12.0, 12.0), number);
            text(&mut body, (x + 18.0, bottom + 61.0), "start", name);
            x += 40.0 + text_width(name);
        }
        body + "</svg>\n"
    }

    /// Grid lines, their values, and the label of the axis.
    fn scale(&self, body: &mut String, axis: &Axis, bottom: f64) {
        for value in axis.ticks() {
            line(body, (axis.x(value), TOP - 6.0), (axis.x(value), bottom));
            text(body, (axis.x(value), bottom + 16.0), "middle", &short(value));
        }
        let label = format!("{}{}", self.x_label, if self.log { ", log scale" } else { "" });
        text(body, (axis.left + axis.width / 2.0, bottom + 36.0), "middle", &label);
    }
}

/// The horizontal axis.
struct Axis {
    log: bool,
    least: f64,
    most: f64,
    left: f64,
    width: f64,
}

impl Axis {
    fn new(bars: &Bars<'_>, left: f64, width: f64) -> Axis {
        let values = || bars.groups.iter().flat_map(|(_, values)| values.iter().copied());
        let most = values().fold(0.0, f64::max).max(1e-9);
        let least = values().filter(|&value| value > 0.0).fold(most, f64::min);
        // A logarithmic axis begins at a power of ten, so that the shortest bar is visible too.
        let least = 10_f64.powf((least / 1.5).log10().floor());
        Axis { log: bars.log, least, most, left, width }
    }

    fn x(&self, value: f64) -> f64 {
        let share = match (self.log, value > 0.0) {
            (true, true) => (value / self.least).ln() / (self.most / self.least).ln(),
            (true, false) => 0.0,
            (false, _) => value.max(0.0) / self.most,
        };
        self.left + self.width * share
    }

    /// Powers of ten on a logarithmic axis, otherwise quarters of a round number.
    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = (self.most / self.least).log10().floor() as i32;
            return (0..=decades).map(|decade| self.least * 10_f64.powi(decade)).collect();
        }
        let step = round_up(self.most) / 4.0;
        (0..=4).map(|number| f64::from(number) * step).filter(|value| *value <= self.most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_group_name_is_not_clipped() {
        let name = "while something with a rather long name happens, 50 % load".to_owned();
        let width = text_width(&name);
        let groups = vec![(name, vec![1.0])];
        let svg = Bars { title: "t", x_label: "ns", names: &["p50"], groups, log: false }.svg();
        let label = svg.split("<text x=\"").find(|text| text.contains("rather long")).unwrap();
        let end: f64 = label.split('"').next().unwrap().parse().unwrap();
        assert!(end >= width, "the label ends at {end} and is {width} wide");
    }
}
