//! Plots as SVG: lines over a logarithmic axis, and bars.

use std::fmt::Write;

const COLOURS: [&str; 8] =
    ["#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280", "#4a5568", "#0987a0", "#b7791f"];
const WIDTH: f64 = 760.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 48.0;
const HEIGHT: f64 = 280.0;
const PLOT: f64 = 500.0;

/// Named points.
pub type Series = (String, Vec<(f64, f64)>);

/// A plot of lines.
pub struct Lines<'a> {
    /// What it shows.
    pub title: &'a str,
    /// What the horizontal axis is; it is logarithmic.
    pub across: &'a str,
    /// What the vertical axis is; it begins at 0.
    pub up: &'a str,
    /// The lines.
    pub series: Vec<Series>,
}

impl Lines<'_> {
    /// As SVG.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let low = points().map(|point| point.0).fold(f64::MAX, f64::min).max(1e-9);
        let high = points().map(|point| point.0).fold(low * 10.0, f64::max);
        let top = round_up(points().map(|point| point.1).fold(0.0, f64::max));
        let x = |value: f64| LEFT + PLOT * (value / low).ln() / (high / low).ln();
        let y = |value: f64| TOP + HEIGHT * (1.0 - value.max(0.0) / top);
        let mut body = head(self.title, HEIGHT + TOP + 56.0);
        for step in 0..=4 {
            let value = top * f64::from(step) / 4.0;
            grid(&mut body, y(value), &short(value));
        }
        let mut value = 10_f64.powf(low.log10().ceil());
        while value <= high * 1.001 {
            text(&mut body, (x(value), TOP + HEIGHT + 18.0), "middle", &short(value));
            value *= 10.0;
        }
        text(&mut body, (LEFT + PLOT / 2.0, TOP + HEIGHT + 40.0), "middle", self.across);
        text(&mut body, (LEFT - 40.0, TOP - 12.0), "start", self.up);
        for (number, (name, points)) in self.series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let path: Vec<String> = points.iter().map(|&(a, b)| format!("{:.1},{:.1}", x(a), y(b))).collect();
            let _ = writeln!(
                body,
                r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
                path.join(" ")
            );
            for &(a, b) in points {
                let _ =
                    writeln!(body, r#"<circle cx="{:.1}" cy="{:.1}" r="3.5" fill="{colour}"/>"#, x(a), y(b));
            }
            legend(&mut body, number, name);
        }
        body + "</svg>\n"
    }
}

/// A plot of horizontal bars in groups.
pub struct Bars<'a> {
    /// What it shows.
    pub title: &'a str,
    /// What the bars of a group are, in turn.
    pub names: &'a [&'a str],
    /// Groups, each with a value for each name.
    pub groups: Vec<(String, Vec<f64>)>,
    /// Whether the axis is logarithmic.
    pub log: bool,
}

impl Bars<'_> {
    /// As SVG.
    pub fn svg(&self) -> String {
        const LABELS: f64 = 280.0;
        let values = || self.groups.iter().flat_map(|(_, values)| values.iter().copied());
        let most = values().fold(0.0, f64::max).max(1e-9);
        let least = values().filter(|&value| value > 0.0).fold(most, f64::min) / 2.0;
        let room = WIDTH - LABELS - 90.0;
        let length = |value: f64| match (self.log, value > 0.0) {
            (true, true) => room * (value / least).ln() / (most / least).ln(),
            (true, false) => 0.0,
            (false, _) => room * value.max(0.0) / most,
        };
        let thick = 14.0;
        let tall = |group: &(String, Vec<f64>)| group.1.len() as f64 * thick + 12.0;
        let mut body = head(self.title, TOP + self.groups.iter().map(tall).sum::<f64>() + 30.0);
        let mut y = TOP;
        for group in &self.groups {
            let (name, values) = group;
            text(&mut body, (LABELS - 10.0, y + values.len() as f64 * thick / 2.0 + 4.0), "end", name);
            for (number, &value) in values.iter().enumerate() {
                let (at, wide) = (y + number as f64 * thick, length(value));
                let colour = COLOURS[number % COLOURS.len()];
                let _ = writeln!(
                    body,
                    r#"<rect x="{LABELS}" y="{at:.1}" width="{wide:.1}" height="{:.1}" fill="{colour}"/>"#,
                    thick - 2.0
                );
                text(&mut body, (LABELS + wide + 6.0, at + thick - 4.0), "start", &short(value));
            }
            y += tall(group);
        }
        let mut across = LABELS;
        for (number, name) in self.names.iter().enumerate().filter(|_| self.names.len() > 1) {
            let colour = COLOURS[number % COLOURS.len()];
            let _ = writeln!(
                body,
                r#"<rect x="{across:.1}" y="{y:.1}" width="12" height="12" fill="{colour}"/>"#
            );
            text(&mut body, (across + 18.0, y + 11.0), "start", name);
            across += 36.0 + name.len() as f64 * 7.0;
        }
        body + "</svg>\n"
    }
}

fn head(title: &str, height: f64) -> String {
    let mut body = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let _ = writeln!(
        body,
        r##"<text x="16" y="22" font-size="15" font-weight="bold" fill="#1a202c">{}</text>"##,
        escape(title)
    );
    body
}

fn grid(body: &mut String, y: f64, label: &str) {
    let _ = writeln!(
        body,
        r##"<line x1="{LEFT}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}" stroke="#e2e8f0"/>"##,
        LEFT + PLOT
    );
    text(body, (LEFT - 8.0, y + 4.0), "end", label);
}

fn legend(body: &mut String, number: usize, name: &str) {
    let y = TOP + 20.0 * number as f64;
    let colour = COLOURS[number % COLOURS.len()];
    let x = LEFT + PLOT + 24.0;
    let _ = writeln!(body, r#"<rect x="{x:.1}" y="{y:.1}" width="12" height="12" fill="{colour}"/>"#);
    text(body, (x + 18.0, y + 11.0), "start", name);
}

fn text(body: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = escape(words);
    let _ = writeln!(
        body,
        r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="#2d3748">{words}</text>"##
    );
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `1M`, `100k`, `2.5`.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e4 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let digits = if value >= 100.0 || value.fract() == 0.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}{unit}")
}

/// The next of 1, 2, 4 or 8 with zeros behind.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 4.0, 8.0, 10.0];
    power * steps.into_iter().find(|step| step * power >= value).unwrap_or(10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [1.0, 2.5, 12.34, 150.7, 100_000.0, 2_500_000.0].map(short),
            ["1", "2.50", "12.3", "151", "100k", "2.50M"]
        );
        assert_eq!([0.3, 1.0, 3.0, 70.0, 9.0].map(round_up), [0.4, 1.0, 4.0, 80.0, 10.0]);
    }

    #[test]
    fn plots_are_whole_documents() {
        let lines = Lines {
            title: "a < b",
            across: "flows",
            up: "ns",
            series: vec![("NAT".to_owned(), vec![(1.0, 5.0), (1e6, 50.0)])],
        };
        let bars = Bars {
            title: "t",
            names: &["p50", "p99"],
            groups: vec![("x".to_owned(), vec![0.0, 9.0])],
            log: true,
        };
        for svg in [lines.svg(), bars.svg(), Bars { groups: vec![], ..bars }.svg()] {
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("a < b"), "{svg}");
        }
    }
}
