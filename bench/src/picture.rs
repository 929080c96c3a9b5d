//! Pictures of figures as SVG: panels side by side, each with one line over a few steps.
//!
//! The picture brings its own background, so that it can be read on light and on dark pages, and only asks for a font
//! without serifs.

use std::fmt::Write as _;

use crate::report::number;

const PANEL_WIDTH: f64 = 300.0;
const PLOT_HEIGHT: f64 = 210.0;
/// Around the plot of a panel.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = 58.0;
/// Horizontal lines of a plot.
const TICKS: usize = 4;

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Where: steps lie equally far apart, whatever they are.
    pub x: String,
    /// How much.
    pub y: f64,
}

/// A line through figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// From left to right.
    pub points: Vec<Point>,
    /// How many times as large as the first a figure may be (and how many times as small).
    pub band: f64,
}

/// A part of a picture, with an axis of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What grows to the right.
    pub x_label: String,
    /// The figures.
    pub line: Line,
}

/// Panels side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Above all of them.
    pub title: String,
    /// What the figures are.
    pub y_label: String,
    /// From left to right.
    pub panels: Vec<Panel>,
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The smallest of 1, 2, 2.5, 5 and 10 times a power of ten that is not below `value`.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value * 0.999_999).unwrap_or(value)
}

impl Picture {
    /// The file.
    #[must_use]
    pub fn svg(&self) -> String {
        let width = PANEL_WIDTH * self.panels.len().max(1) as f64;
        let height = TOP + PLOT_HEIGHT + BOTTOM;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#24292f\">\n\
             <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\" stroke=\"#8c959f\"/>\n\
             <text x=\"16\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}</text>\n\
             <text x=\"16\" y=\"44\">{}</text>\n",
            escape(&self.title),
            escape(&self.y_label),
        );
        for (n, panel) in self.panels.iter().enumerate() {
            panel.draw(&mut svg, n as f64 * PANEL_WIDTH);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

impl Panel {
    fn draw(&self, svg: &mut String, left: f64) {
        let (from, width) = (left + LEFT, PANEL_WIDTH - LEFT - RIGHT);
        let points = &self.line.points;
        let first = points.first().map_or(0.0, |point| point.y);
        let largest = points.iter().map(|point| point.y).fold(first * self.line.band, f64::max);
        let step = round_up(largest * 1.1 / TICKS as f64);
        let top = step * TICKS as f64;
        let y = |value: f64| TOP + PLOT_HEIGHT * (1.0 - (value / top).clamp(0.0, 1.0));
        let x = |index: usize| from + width * (index as f64 + 0.5) / points.len().max(1) as f64;
        let (upper, lower) = (y(first * self.line.band), y(first / self.line.band));
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{upper:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"#ddf4ff\"/>",
            lower - upper
        );
        for tick in 0..=TICKS {
            let value = step * tick as f64;
            let _ = writeln!(
                svg,
                "<line x1=\"{from:.1}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#d0d7de\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                from + width,
                from - 6.0,
                y(value) + 4.0,
                number(value),
                at = y(value),
            );
        }
        let path: Vec<String> = points
            .iter()
            .enumerate()
            .map(|(index, point)| format!("{:.1},{:.1}", x(index), y(point.y)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#0969da\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (index, point) in points.iter().enumerate() {
            let (x, y) = (x(index), y(point.y));
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#0969da\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-weight=\"bold\" \
                 stroke=\"#ffffff\" stroke-width=\"3\" paint-order=\"stroke\">{}</text>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                y - 10.0,
                number(point.y),
                TOP + PLOT_HEIGHT + 20.0,
                escape(&point.x),
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            from + width / 2.0,
            TOP + PLOT_HEIGHT + 42.0,
            escape(&self.x_label),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(ys: &[f64]) -> Picture {
        let points = ys.iter().enumerate().map(|(n, y)| Point { x: format!("{n}<"), y: *y }).collect();
        let panel = Panel { x_label: "streams & viewers".into(), line: Line { points, band: 1.25 } };
        Picture { title: "Cost".into(), y_label: "CPU".into(), panels: vec![panel.clone(), panel] }
    }

    #[test]
    fn each_panel_has_its_line_its_figures_and_its_labels() {
        let svg = picture(&[0.05, 0.06, 0.04]).svg();
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 6);
        assert_eq!(svg.matches(">0.060<").count() - svg.matches("text-anchor=\"end\">0.060<").count(), 2);
        assert_eq!(svg.matches("streams &amp; viewers").count(), 2);
        assert!(svg.contains("0&lt;") && svg.contains("viewBox=\"0 0 600 330\""));
        // A background of its own, so that the page's does not matter.
        assert!(svg.contains("rx=\"8\" fill=\"#ffffff\""));
    }

    #[test]
    fn everything_lies_within_the_picture_and_odd_figures_do_no_harm() {
        for ys in [&[0.0, 0.0][..], &[], &[1e-6, 5.0, 1e3]] {
            let svg = picture(ys).svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            for piece in svg.split("cy=\"").skip(1) {
                let y: f64 = piece.split('"').next().unwrap().parse().unwrap();
                assert!((TOP..=TOP + PLOT_HEIGHT).contains(&y), "{y}");
            }
        }
    }

    #[test]
    fn steps_of_an_axis_are_round() {
        assert_eq!([0.013, 0.2, 0.21, 3.0, 7.0].map(round_up), [0.02, 0.2, 0.25, 5.0, 10.0]);
    }
}
