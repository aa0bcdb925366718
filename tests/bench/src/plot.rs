//! Plots as SVG: lines over a logarithmic axis, and horizontal bars.

mod bars;

use std::fmt::Write;

pub use bars::Bars;

const COLOURS: [&str; 8] =
    ["#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280", "#4a5568", "#0987a0", "#b7791f"];
const WIDTH: f64 = 760.0;
const LEFT: f64 = 76.0;
const TOP: f64 = 48.0;
const HEIGHT: f64 = 280.0;
const PLOT: f64 = 500.0;

/// Named points.
pub type Series = (String, Vec<(f64, f64)>);

/// A line plot with a logarithmic horizontal axis.
pub struct Lines<'a> {
    /// Title.
    pub title: &'a str,
    /// Quantity on the horizontal axis, with its unit.
    pub x_label: &'a str,
    /// Quantity on the vertical axis, with its unit; the axis begins at 0.
    pub y_label: &'a str,
    /// The lines.
    pub series: Vec<Series>,
}

impl Lines<'_> {
    /// The plot as an SVG document.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let low = points().map(|point| point.0).fold(f64::MAX, f64::min).max(1e-9);
        let high = points().map(|point| point.0).fold(low * 10.0, f64::max);
        let top = round_up(points().map(|point| point.1).fold(0.0, f64::max));
        let x = |value: f64| LEFT + PLOT * (value / low).ln() / (high / low).ln();
        let y = |value: f64| TOP + HEIGHT * (1.0 - value.max(0.0) / top);
        // The legend is right of the plot; the document is wide enough for its longest entry.
        let legends = self.series.iter().map(|(name, _)| text_width(name)).fold(0.0, f64::max);
        let width = WIDTH.max(LEFT + PLOT + 42.0 + legends + 8.0);
        let mut body = head(self.title, (width, HEIGHT + TOP + 56.0));
        for step in 0..=4 {
            let value = top * f64::from(step) / 4.0;
            line(&mut body, (LEFT, y(value)), (LEFT + PLOT, y(value)));
            text(&mut body, (LEFT - 8.0, y(value) + 4.0), "end", &short(value));
        }
        let mut value = 10_f64.powf(low.log10().ceil());
        while value <= high * 1.001 {
            line(&mut body, (x(value), TOP + HEIGHT), (x(value), TOP + HEIGHT + 5.0));
            text(&mut body, (x(value), TOP + HEIGHT + 20.0), "middle", &short(value));
            value *= 10.0;
        }
        let x_label = format!("{}, log scale", self.x_label);
        text(&mut body, (LEFT + PLOT / 2.0, TOP + HEIGHT + 42.0), "middle", &x_label);
        upwards(&mut body, (18.0, TOP + HEIGHT / 2.0), self.y_label);
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

fn head(title: &str, (width, height): (f64, f64)) -> String {
    let mut body = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let _ = writeln!(
        body,
        r##"<text x="16" y="22" font-size="15" font-weight="bold" fill="#1a202c">{}</text>"##,
        escape(title)
    );
    body
}

fn legend(body: &mut String, number: usize, name: &str) {
    let (x, y) = (LEFT + PLOT + 24.0, TOP + 20.0 * number as f64);
    rectangle(body, (x, y), (12.0, 12.0), number);
    text(body, (x + 18.0, y + 11.0), "start", name);
}

fn line(body: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ =
        writeln!(body, r##"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="#e2e8f0"/>"##);
}

/// A filled rectangle in the colour of this number.
fn rectangle(body: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), number: usize) {
    let colour = COLOURS[number % COLOURS.len()];
    let _ = writeln!(
        body,
        r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
    );
}

fn text(body: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = escape(words);
    let _ = writeln!(
        body,
        r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="#2d3748">{words}</text>"##
    );
}

/// Text that reads from bottom to top, centred on this point.
fn upwards(body: &mut String, (x, y): (f64, f64), words: &str) {
    let words = escape(words);
    let place = format!(r#"transform="translate({x:.1} {y:.1}) rotate(-90)" text-anchor="middle""#);
    let _ = writeln!(body, r##"<text {place} fill="#2d3748">{words}</text>"##);
}

/// Upper bound of the width of a label.
fn text_width(words: &str) -> f64 {
    7.0 * words.chars().count() as f64
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `1M`, `100k`, `2.5`.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
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

/// The next of 1, 2, 4 or 8 times a power of ten.
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
            [1.0, 2.5, 12.34, 150.7, 1000.0, 100_000.0, 2_500_000.0].map(short),
            ["1", "2.50", "12.3", "151", "1k", "100k", "2.50M"]
        );
        assert_eq!([0.3, 1.0, 3.0, 70.0, 9.0].map(round_up), [0.4, 1.0, 4.0, 80.0, 10.0]);
    }

    #[test]
    fn a_long_legend_is_not_clipped() {
        let name = "a line with a rather long name".to_owned();
        let needed = LEFT + PLOT + 42.0 + text_width(&name);
        let series = vec![(name, vec![(1.0, 5.0)])];
        let svg = Lines { title: "t", x_label: "flows", y_label: "ns", series }.svg();
        let width: f64 =
            svg.split("width=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().parse().unwrap();
        assert!(width >= needed, "the document is {width} wide and the legend needs {needed}");
    }

    #[test]
    fn plots_are_complete_documents() {
        let lines = Lines {
            title: "a < b",
            x_label: "flows",
            y_label: "ns",
            series: vec![("NAT".to_owned(), vec![(1.0, 5.0), (1e6, 50.0)])],
        };
        let bars = Bars {
            title: "t",
            x_label: "us",
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
