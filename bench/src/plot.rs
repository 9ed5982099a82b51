//! Drawings in SVG: bars with the range of their runs, and lines on logarithmic axes. They read well
//! on white and on black, and carry their numbers as text.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const GREY: &str = "#8a8f98";
/// One colour per series, the relay's first.
const COLOURS: [&str; 6] = ["#2f7de1", "#e1852f", "#3aa66a", "#b45ad1", "#c9a227", "#d1495b"];

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// Its length, the median.
    pub median: f64,
    /// The least and the most of the runs.
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
         font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"{GREY}\" role=\"img\" \
         aria-label=\"{title}\">\n<text x=\"8\" y=\"22\" font-size=\"15\">{title}</text>\n"
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
    const LEFT: f64 = 130.0;
    const STEP: f64 = 30.0;
    let most = bars.iter().map(|bar| bar.range.1).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - 90.0) / most;
    let mut svg = open(title, 44.0 + STEP * bars.len() as f64);
    for (i, bar) in bars.iter().enumerate() {
        let y = 36.0 + STEP * i as f64;
        let colour = if i == 0 { COLOURS[0] } else { GREY };
        let (label, value) = (escaped(&bar.label), short(bar.median));
        let (length, from, to) =
            (bar.median * scale, LEFT + bar.range.0 * scale, LEFT + bar.range.1 * scale);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"20\" fill=\"{colour}\"/>\
             <path d=\"M{from:.1} {mid}H{to:.1}\" stroke=\"#d1495b\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{}\">{value}</text>",
            LEFT - 8.0,
            y + 15.0,
            to + 8.0,
            y + 15.0,
            mid = y + 10.0,
        );
    }
    svg + "</svg>\n"
}

/// Lines on logarithmic axes.
pub fn lines(title: &str, x_label: &str, lines: &[Line]) -> String {
    const LEFT: f64 = 70.0;
    const TOP: f64 = 40.0;
    const RIGHT: f64 = 600.0;
    const BOTTOM: f64 = 330.0;
    let points = || lines.iter().flat_map(|line| &line.points);
    let span = |pick: fn(&(f64, f64)) -> f64| {
        let low = points().map(pick).fold(f64::MAX, f64::min);
        let high = points().map(pick).fold(f64::MIN_POSITIVE, f64::max);
        (low.log10().floor(), high.log10().ceil().max(low.log10().floor() + 1.0))
    };
    let ((x0, x1), (y0, y1)) = (span(|point| point.0), span(|point| point.1));
    let x_of = |x: f64| LEFT + (x.log10() - x0) / (x1 - x0) * (RIGHT - LEFT);
    let y_of = |y: f64| BOTTOM - (y.log10() - y0) / (y1 - y0) * (BOTTOM - TOP);
    let mut svg = open(title, BOTTOM + 50.0);
    for decade in 0..=(x1 - x0) as i32 {
        let value = 10_f64.powf(x0 + f64::from(decade));
        let x = x_of(value);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"{GREY}\" stroke-opacity=\".3\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 18.0,
            short(value)
        );
    }
    for decade in 0..=(y1 - y0) as i32 {
        let value = 10_f64.powf(y0 + f64::from(decade));
        let y = y_of(value);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"{GREY}\" stroke-opacity=\".3\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            short(value)
        );
    }
    for (i, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let mut path = String::new();
        for (x, y) in &line.points {
            let verb = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{verb}{:.1} {:.1}", x_of(*x), y_of(*y));
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x_of(*x),
                y_of(*y)
            );
        }
        let y = TOP + 12.0 + 20.0 * i as f64;
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <path d=\"M{} {}h20\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{}\" y=\"{y}\">{}</text>",
            RIGHT + 15.0,
            y - 4.0,
            RIGHT + 42.0,
            escaped(&line.label)
        );
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        BOTTOM + 40.0,
        escaped(x_label)
    );
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let bar = |median: f64| Bar { label: "a<b".into(), median, range: (median, median) };
        let svg = bars("t", &[bar(100.0), bar(50.0)]);
        assert!(svg.contains("width=\"540.0\"") && svg.contains("width=\"270.0\""));
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
    }

    #[test]
    fn the_corners_of_a_plot_are_its_decades() {
        let line = Line { label: "l".into(), points: vec![(1.0, 10.0), (100.0, 1000.0)] };
        let svg = lines("t", "x", &[line]);
        assert!(svg.contains("M70.0 330.0L600.0 40.0"), "{svg}");
    }
}
