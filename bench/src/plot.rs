//! Drawings in SVG: bars with the range of their runs, and lines on logarithmic axes. They are as wide
//! as a phone, so that their text is not made smaller there, follow the reader's light or dark page,
//! and carry their numbers as text.

use std::fmt::Write as _;

const WIDTH: f64 = 400.0;
/// Classes of series, the relay's first; a second row of names is for more of them.
const SERIES: usize = 6;
/// Both pages: text, lines, and a colour per series that is told from both backgrounds.
const STYLE: &str = "<style>\
    text{fill:#24292f}.axis{stroke:#24292f;stroke-opacity:.2}.range{stroke:#24292f}\
    .s0{--c:#0969da}.s1{--c:#bc4c00}.s2{--c:#1a7f37}.s3{--c:#8250df}.s4{--c:#9a6700}.s5{--c:#cf222e}\
    .other{--c:#9aa4ae}.fill{fill:var(--c)}.line{stroke:var(--c)}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis,.range{stroke:#e6edf3}\
    .s0{--c:#4493f8}.s1{--c:#f0883e}.s2{--c:#3fb950}.s3{--c:#ab7df8}.s4{--c:#d29922}.s5{--c:#f85149}\
    .other{--c:#656c76}}</style>";

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// Its length, the median.
    pub median: f64,
    /// Where the middle half of the runs is, or all where there are few.
    pub range: (f64, f64),
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it stands for.
    pub label: String,
    /// Points, by rising first coordinate, above zero.
    pub points: Vec<(f64, f64)>,
}

fn open(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" font-family=\"system-ui, sans-serif\" font-size=\"13\" role=\"img\" \
         aria-label=\"{title}\">{STYLE}\n<text x=\"4\" y=\"20\" font-size=\"15\">{title}</text>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// A number in as few characters as tell it from its neighbours.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if v >= 1e6 => format!("{:.2} M", value / 1e6),
        v if v >= 1e4 => format!("{:.0} k", value / 1e3),
        v if v >= 1e3 => format!("{:.1} k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Horizontal bars; the thin line shows the range of the runs.
pub fn bars(title: &str, bars: &[Bar]) -> String {
    const LEFT: f64 = 112.0;
    const STEP: f64 = 28.0;
    let most = bars.iter().map(|bar| bar.range.1).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - 68.0) / most;
    let mut svg = open(title, 40.0 + STEP * bars.len() as f64);
    for (i, bar) in bars.iter().enumerate() {
        let y = 34.0 + STEP * i as f64;
        let class = if i == 0 { "s0" } else { "other" };
        let (label, value) = (escaped(&bar.label), short(bar.median));
        let (length, from, to) =
            (bar.median * scale, LEFT + bar.range.0 * scale, LEFT + bar.range.1 * scale);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>\
             <rect class=\"fill {class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"20\"/>\
             <path class=\"range\" d=\"M{from:.1} {mid}H{to:.1}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{}\">{value}</text>",
            LEFT - 6.0,
            y + 15.0,
            to + 6.0,
            y + 15.0,
            mid = y + 10.0,
        );
    }
    svg + "</svg>\n"
}

/// The place of a plot of lines.
const LEFT: f64 = 48.0;
const TOP: f64 = 36.0;
const RIGHT: f64 = 376.0;
const BOTTOM: f64 = 276.0;

/// A logarithmic axis over whole decades.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone) -> Self {
        let low = values.clone().fold(f64::MAX, f64::min).log10().floor();
        let high = values.fold(f64::MIN_POSITIVE, f64::max).log10().ceil();
        Self { low, high: high.max(low + 1.0) }
    }

    /// Where a value is, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        (value.log10() - self.low) / (self.high - self.low)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        let low = self.low;
        (0..=(self.high - low) as i32).map(move |decade| 10_f64.powf(low + f64::from(decade)))
    }
}

/// Lines on logarithmic axes, and below them whose they are.
pub fn lines(title: &str, x_label: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (x_axis, y_axis) =
        (Axis::over(points().map(|point| point.0)), Axis::over(points().map(|point| point.1)));
    let x_of = |x: f64| LEFT + x_axis.place(x) * (RIGHT - LEFT);
    let y_of = |y: f64| BOTTOM - y_axis.place(y) * (BOTTOM - TOP);
    let mut svg = open(title, BOTTOM + 48.0 + 20.0 * lines.len() as f64);
    for value in x_axis.decades() {
        let (x, y, text) = (x_of(value), BOTTOM + 17.0, short_power(value));
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>\
             <text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{text}</text>"
        );
    }
    for value in y_axis.decades() {
        let (x, y, text) = (LEFT - 6.0, y_of(value), short_power(value));
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
             <text x=\"{x}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            y + 4.0
        );
    }
    for (i, line) in lines.iter().enumerate() {
        let class = format!("s{}", i % SERIES);
        let mut path = String::new();
        for (x, y) in &line.points {
            let verb = if path.is_empty() { 'M' } else { 'L' };
            let (x, y) = (x_of(*x), y_of(*y));
            let _ = write!(path, "{verb}{x:.1} {y:.1}");
            let _ = write!(
                svg,
                "<circle class=\"fill {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>"
            );
        }
        let y = BOTTOM + 58.0 + 20.0 * i as f64;
        let label = escaped(&line.label);
        let _ = writeln!(
            svg,
            "<path class=\"line {class}\" d=\"{path}\" fill=\"none\" stroke-width=\"2\"/>\
             <path class=\"line {class}\" d=\"M{LEFT} {}h22\" stroke-width=\"4\"/>\
             <text x=\"{}\" y=\"{y}\">{label}</text>",
            y - 4.0,
            LEFT + 30.0,
        );
    }
    let (x, y, label) = (f64::midpoint(LEFT, RIGHT), BOTTOM + 36.0, escaped(x_label));
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>");
    svg + "</svg>\n"
}

/// A power of ten, for an axis.
fn short_power(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.0} M", v / 1e6),
        v if v >= 1e3 => format!("{:.0} k", v / 1e3),
        v if v >= 1.0 => format!("{v:.0}"),
        v => format!("{}", (v * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let bar = |median: f64| Bar { label: "a<b".into(), median, range: (median, median) };
        let svg = bars("t", &[bar(100.0), bar(50.0)]);
        assert!(svg.contains("width=\"220.0\"") && svg.contains("width=\"110.0\""));
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
    }

    #[test]
    fn the_corners_of_a_plot_are_its_decades() {
        let line = Line { label: "l".into(), points: vec![(1.0, 10.0), (100.0, 1000.0)] };
        let svg = lines("t", "x", &[line]);
        assert!(svg.contains("M48.0 276.0L376.0 36.0"), "{svg}");
    }
}
