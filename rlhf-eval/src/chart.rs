//! Curves as SVG.
//!
//! Charts are drawn on a canvas twice as large as a page shows them, because the backend rounds to
//! whole pixels.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::{Deserialize, Serialize};

use crate::error::EvalError;
use crate::palette::{AXIS, GRID, Ink, SERIES, TEXT};

/// The area that a chart is drawn on.
pub(crate) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What drawing on it may say.
pub(crate) type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Size of texts on the canvas.
pub(crate) const FONT: u32 = 40;
/// Points that a curve keeps at most.
const MOST_POINTS: usize = 400;
/// Curves with more points than this are shown smoothed over the raw points.
const SMOOTHED_ABOVE: usize = 40;

/// One curve of a chart. Curves with the same `chart` share its axes, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Title of the chart.
    pub chart: String,
    /// Name in the legend.
    pub name: String,
    /// What x is, with its unit.
    pub x_label: String,
    /// What y is, with its unit.
    pub y_label: String,
    /// (x, y) in the order of measurement. Points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// Draws on a canvas of the given size and returns the SVG element.
pub(crate) fn draw(
    title: &str,
    size: (u32, u32),
    body: impl FnOnce(&Canvas<'_>) -> Drawn,
) -> Result<String, EvalError> {
    let mut svg = String::new();
    let drawn = {
        let canvas = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        body(&canvas).and_then(|()| canvas.present())
    };
    match drawn {
        // The page gives the width; the view box keeps the shape.
        Ok(()) => Ok(svg.replacen("<svg ", "<svg class=\"chart\" role=\"img\" ", 1)),
        Err(e) => Err(EvalError::Chart {
            chart: title.to_owned(),
            reason: e.to_string(),
        }),
    }
}

/// The style of text in a colour, anchored.
pub(crate) fn text(ink: Ink, size: u32, h: HPos, v: VPos) -> TextStyle<'static> {
    ("sans-serif", size)
        .into_font()
        .color(&ink.rgb())
        .pos(Pos::new(h, v))
}

/// The curves of one chart on common axes. Curves whose x never falls are lines, smoothed if they
/// have many points; others, such as reward against KL, are points that grow darker with time.
///
/// `Ok(None)` if no curve has a finite point.
///
/// # Errors
/// The drawing library fails.
pub fn line_chart(curves: &[&Curve]) -> Result<Option<String>, EvalError> {
    let shown = |c: &&Curve| without_start(usable(&c.points));
    let finite: Vec<Vec<(f64, f64)>> = curves.iter().map(shown).collect();
    let all = || finite.iter().flatten();
    let turned = finite.iter().any(|points| turns(points));
    let side = if turned { 0.03 } else { 0.0 };
    let ends = (
        span(all().map(|p| p.0), side),
        span(all().map(|p| p.1), 0.06),
    );
    let (Some(x), Some(y)) = ends else {
        return Ok(None);
    };
    let first = curves[0];
    draw(&first.chart, (1240, 720), |canvas| {
        let mut chart = ChartBuilder::on(canvas)
            .margin_top(16)
            .margin_right(36)
            .x_label_area_size(116)
            .y_label_area_size(164)
            .build_cartesian_2d(x.clone(), y.clone())?;
        let x_format = |v: &f64| tick(*v, &x);
        let y_format = |v: &f64| tick(*v, &y);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID.rgb().stroke_width(2))
            .light_line_style(TRANSPARENT)
            .axis_style(AXIS.rgb().stroke_width(2))
            .label_style(text(TEXT, FONT, HPos::Center, VPos::Center))
            .axis_desc_style(text(TEXT, FONT, HPos::Center, VPos::Center))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&x_format)
            .y_label_formatter(&y_format)
            .x_desc(first.x_label.as_str())
            .y_desc(first.y_label.as_str())
            .draw()?;
        for (i, points) in finite.iter().enumerate() {
            let colour = SERIES[i % SERIES.len()].rgb();
            if turns(points) {
                chart.draw_series(trail(points, colour))?;
            } else if points.len() == 1 {
                chart.draw_series([Circle::new(points[0], 7, colour.filled())])?;
            } else if points.len() > SMOOTHED_ABOVE {
                let raw = colour.mix(0.28).stroke_width(2);
                chart.draw_series(LineSeries::new(thinned(points), raw))?;
                chart.draw_series(LineSeries::new(smoothed(points), colour.stroke_width(5)))?;
            } else {
                chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(5)))?;
            }
        }
        Ok(())
    })
    .map(Some)
}

/// Whether x ever falls.
fn turns(points: &[(f64, f64)]) -> bool {
    points.windows(2).any(|w| w[1].0 < w[0].0)
}

/// Points of a curve without an order in x: later ones darker, the last one largest.
fn trail(points: &[(f64, f64)], colour: RGBColor) -> Vec<Circle<(f64, f64), i32>> {
    let kept: Vec<(f64, f64)> = evenly(points, MOST_POINTS);
    let last = kept.len().saturating_sub(1);
    let circle = |(i, &p): (usize, &(f64, f64))| {
        let age = if last == 0 {
            1.0
        } else {
            i as f64 / last as f64
        };
        let radius = if i == last { 12 } else { 7 };
        Circle::new(p, radius, colour.mix(0.2 + 0.8 * age).filled())
    };
    kept.iter().enumerate().map(circle).collect()
}

/// The points that can be placed: finite, and not so large that differences overflow.
fn usable(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let fine = |v: f64| v.abs() <= 1e12;
    points
        .iter()
        .copied()
        .filter(|&(x, y)| fine(x) && fine(y))
        .collect()
}

/// A long curve without the points of its first fiftieth that lie far from all that follows: the fall
/// from random weights would leave the rest a flat line. The axis begins where the curve does.
fn without_start(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let start = points.len() / 50;
    if points.len() <= SMOOTHED_ABOVE || turns(&points) {
        return points;
    }
    let Some(rest) = span(points[start..].iter().map(|p| p.1), 2.0) else {
        return points;
    };
    let mut index = 0;
    points.retain(|p| {
        index += 1;
        index > start || rest.contains(&p.1)
    });
    points
}

/// The range of the values widened by `pad` of its length, never empty; `None` of no values.
fn span(values: impl Iterator<Item = f64>, pad: f64) -> Option<Range<f64>> {
    let ends = values.fold(None, |ends: Option<(f64, f64)>, v| {
        Some(ends.map_or((v, v), |(lo, hi)| (lo.min(v), hi.max(v))))
    });
    let (lo, hi) = ends?;
    // The axis needs steps that are far above rounding.
    let least = (1e-6 * lo.abs().max(hi.abs())).max(1e-9);
    if hi - lo < least {
        let half = (0.05 * lo.abs()).max(0.5);
        return Some(lo - half..hi + half);
    }
    let pad = pad * (hi - lo);
    Some(lo - pad..hi + pad)
}

/// Every k-th point and the last, at most `most` + 1 of them.
fn evenly(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(most).max(1);
    let mut kept: Vec<_> = points.iter().copied().step_by(step).collect();
    if let Some(&last) = points.last()
        && !(points.len() - 1).is_multiple_of(step)
    {
        kept.push(last);
    }
    kept
}

/// Lowest and highest point of each stretch, so that spikes survive.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(MOST_POINTS / 2);
    let mut kept = Vec::with_capacity(MOST_POINTS);
    for part in points.chunks(stretch) {
        let order = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (low, high) = (part.iter().min_by(order), part.iter().max_by(order));
        let mut ends: Vec<(f64, f64)> = low.into_iter().chain(high).copied().collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends.dedup();
        kept.extend(ends);
    }
    kept
}

/// Moving average over about a twentieth of the curve: centred, narrower at the steep start, and
/// looking back at the end.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = (points.len() / 40).max(2);
    let mean = |i: usize| {
        let (back, ahead) = (half.min(i), half.min(i).min(points.len() - 1 - i));
        let window = &points[i - back..=i + ahead];
        (
            points[i].0,
            window.iter().map(|p| p.1).sum::<f64>() / window.len() as f64,
        )
    };
    evenly(
        &(0..points.len()).map(mean).collect::<Vec<_>>(),
        MOST_POINTS,
    )
}

/// A tick's label, with the decimals that the axis needs.
fn tick(value: f64, axis: &Range<f64>) -> String {
    let length = axis.end - axis.start;
    let top = axis.start.abs().max(axis.end.abs());
    if top >= 1e6 {
        return format!("{value:.1e}");
    }
    if top >= 1e4 && length >= 5e3 {
        return format!("{}k", trimmed(format!("{:.1}", value / 1000.0)));
    }
    if top < 1e-3 {
        return if value.abs() < 1e-12 {
            "0".to_owned()
        } else {
            format!("{value:.1e}")
        };
    }
    let decimals = (1.0 - (length / 5.0).log10().floor()).clamp(0.0, 6.0) as usize;
    trimmed(format!("{value:.decimals$}"))
}

fn trimmed(number: String) -> String {
    let plain = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    if plain == "-0" {
        "0".to_owned()
    } else {
        plain.to_owned()
    }
}

#[cfg(test)]
mod tests;
