//! Horizontal charts of one row per model: shares, intervals and lengths.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::bootstrap::quantile;
use crate::chart::{Canvas, Drawn, FONT, draw, text};
use crate::error::EvalError;
use crate::figure::Figure;
use crate::palette::{AXIS, GRID, ON_BAR, SERIES, SHARES, TEXT};

const WIDTH: i32 = 1240;
const RIGHT: i32 = WIDTH - 40;
/// Width of a Latin letter on average.
const LETTER: i32 = 21;
/// Most letters of a row's name that are shown.
const NAME: usize = 16;
const ROW: i32 = 92;
/// Half the thickness of a bar.
const HALF: i32 = 26;
/// Below the rows: the scale's numbers.
const FOOT: i32 = 84;

/// The horizontal scale of a chart, from 0.
struct Scale {
    high: f64,
    left: i32,
    right: i32,
}

impl Scale {
    fn at(&self, value: f64) -> i32 {
        let part = (value / self.high).clamp(0.0, 1.0);
        self.left + (part * f64::from(self.right - self.left)).round() as i32
    }

    /// Vertical lines with numbers under them.
    fn draw(&self, canvas: &Canvas<'_>, ticks: &[f64], bottom: i32) -> Drawn {
        for &value in ticks {
            let x = self.at(value);
            let line = PathElement::new([(x, 0), (x, bottom)], GRID.rgb().stroke_width(2));
            canvas.draw(&line)?;
            let label = format!("{}", (value * 1e6).round() / 1e6);
            let style = text(TEXT, FONT, HPos::Center, VPos::Top);
            canvas.draw_text(&label, &style, (x, bottom + 14))?;
        }
        Ok(())
    }
}

fn centre(row: usize) -> i32 {
    ROW * row as i32 + ROW / 2
}

fn name_rows(canvas: &Canvas<'_>, left: i32, names: &[&str]) -> Drawn {
    for (row, name) in names.iter().enumerate() {
        let style = text(TEXT, FONT, HPos::Right, VPos::Center);
        canvas.draw_text(&shortened(name, NAME), &style, (left - 22, centre(row)))?;
    }
    Ok(())
}

/// Where the scale starts, so that the names fit before it.
fn left_of(names: &[&str]) -> i32 {
    let letters = names
        .iter()
        .map(|name| name.chars().map(width).sum::<usize>().min(NAME));
    40 + LETTER * letters.max().unwrap_or(0).max(3) as i32
}

/// Width in Latin letters: characters of East Asia count two.
fn width(c: char) -> usize {
    if ('\u{1100}'..='\u{ffdc}').contains(&c) {
        2
    } else {
        1
    }
}

/// The text cut to a width counted in Latin letters.
fn shortened(name: &str, most: usize) -> String {
    let width = |c: char| {
        if ('\u{1100}'..='\u{ffdc}').contains(&c) {
            2
        } else {
            1
        }
    };
    if name.chars().map(width).sum::<usize>() <= most {
        return name.to_owned();
    }
    let mut left = most.saturating_sub(1);
    let fits = |c: &char| {
        let fine = width(*c) <= left;
        left = left.saturating_sub(width(*c));
        fine
    };
    let mut kept: String = name.chars().take_while(fits).collect();
    kept.push('…');
    kept
}

fn size(rows: usize) -> (u32, u32) {
    (WIDTH as u32, (ROW * rows as i32 + FOOT) as u32)
}

/// One stacked bar per row, the shares of each in the order of the legend; shares of up to four
/// kinds. `Ok(None)` without rows.
///
/// # Errors
/// The drawing library fails.
pub(crate) fn stacked_bars(
    title: &str,
    rows: &[(&str, Vec<f64>)],
) -> Result<Option<String>, EvalError> {
    if rows.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    let scale = Scale {
        high: 1.0,
        left: left_of(&names),
        right: RIGHT,
    };
    draw(title, size(rows.len()), |canvas| {
        scale.draw(
            canvas,
            &[0.0, 0.25, 0.5, 0.75, 1.0],
            ROW * rows.len() as i32,
        )?;
        name_rows(canvas, scale.left, &names)?;
        for (row, (_, shares)) in rows.iter().enumerate() {
            let (mut start, y) = (0.0, centre(row));
            for (share, ink) in shares.iter().zip(SHARES) {
                let share = if share.is_finite() {
                    share.max(0.0)
                } else {
                    0.0
                };
                let (left, right) = (scale.at(start), scale.at(start + share));
                start += share;
                let corners = [(left, y - HALF), (right, y + HALF)];
                canvas.draw(&Rectangle::new(corners, ink.rgb().filled()))?;
                if right - left > 90 {
                    let style = text(ON_BAR, FONT, HPos::Center, VPos::Center);
                    let label = format!("{:.0}%", share * 100.0);
                    canvas.draw_text(&label, &style, ((left + right) / 2, y))?;
                }
            }
        }
        Ok(())
    })
    .map(Some)
}

/// One dot with its interval per row on a scale from 0 to 1; `reference` is marked by a line.
/// `Ok(None)` without rows.
///
/// # Errors
/// The drawing library fails.
pub(crate) fn intervals(
    title: &str,
    rows: &[(&str, Figure)],
    reference: Option<f64>,
) -> Result<Option<String>, EvalError> {
    if rows.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    // Small rates get half the scale, so that their intervals are seen.
    let small = |x: f64| x <= 0.5;
    let all_small = rows
        .iter()
        .all(|(_, f)| small(f.value) && f.high.is_none_or(small));
    let small = all_small && reference.is_none();
    let ticks: &[f64] = match small {
        true => &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
        false => &[0.0, 0.25, 0.5, 0.75, 1.0],
    };
    let high = if small { 0.5 } else { 1.0 };
    let scale = Scale {
        high,
        left: left_of(&names),
        right: RIGHT - 340,
    };
    draw(title, size(rows.len()), |canvas| {
        let bottom = ROW * rows.len() as i32;
        scale.draw(canvas, ticks, bottom)?;
        if let Some(x) = reference.map(|r| scale.at(r)) {
            canvas.draw(&PathElement::new(
                [(x, 0), (x, bottom)],
                AXIS.rgb().stroke_width(4),
            ))?;
        }
        name_rows(canvas, scale.left, &names)?;
        for (row, (_, figure)) in rows.iter().enumerate() {
            // Against a reference all rows are comparisons, none is a model with a colour of its own.
            let series = if reference.is_some() {
                3
            } else {
                row % SERIES.len()
            };
            let (y, colour) = (centre(row), SERIES[series].rgb());
            if let (Some(low), Some(high)) = (figure.low, figure.high) {
                let ends = [(scale.at(low), y), (scale.at(high), y)];
                canvas.draw(&PathElement::new(ends, colour.stroke_width(8)))?;
            }
            let dot = (scale.at(figure.value), y);
            canvas.draw(&Circle::new(dot, 12, colour.filled()))?;
            let style = text(TEXT, FONT, HPos::Left, VPos::Center);
            canvas.draw_text(&figure.text(2), &style, (scale.right + 28, y))?;
        }
        Ok(())
    })
    .map(Some)
}

/// Lengths per row: a thin line from the 10th to the 90th percentile, a thick one over the middle
/// half, a dot on the median. Rows without values stay empty; `Ok(None)` if all are.
///
/// # Errors
/// The drawing library fails.
pub(crate) fn lengths(title: &str, rows: &[(&str, &[u32])]) -> Result<Option<String>, EvalError> {
    let sorted: Vec<Vec<f64>> = rows
        .iter()
        .map(|(_, lengths)| {
            let mut lengths: Vec<f64> = lengths.iter().map(|&n| f64::from(n)).collect();
            lengths.sort_by(f64::total_cmp);
            lengths
        })
        .collect();
    let tops = sorted.iter().filter_map(|l| quantile(l, 0.9));
    let Some(top) = tops.fold(None, |top: Option<f64>, v| {
        Some(top.map_or(v, |t| t.max(v)))
    }) else {
        return Ok(None);
    };
    let ticks = ticks_to(top);
    let high = ticks.last().copied().unwrap_or(1.0);
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    let scale = Scale {
        high,
        left: left_of(&names),
        right: RIGHT - 240,
    };
    draw(title, size(rows.len()), |canvas| {
        scale.draw(canvas, &ticks, ROW * rows.len() as i32)?;
        name_rows(canvas, scale.left, &names)?;
        for (row, lengths) in sorted.iter().enumerate() {
            let at = |p| quantile(lengths, p).map(|v| (scale.at(v), centre(row)));
            let colour = SERIES[row % SERIES.len()].rgb();
            for (from, to, width) in [(0.1, 0.9, 8), (0.25, 0.75, 28)] {
                if let (Some(from), Some(to)) = (at(from), at(to)) {
                    let style = colour.mix(0.45).stroke_width(width);
                    canvas.draw(&PathElement::new([from, to], style))?;
                }
            }
            if let (Some(middle), Some(median)) = (at(0.5), quantile(lengths, 0.5)) {
                canvas.draw(&Circle::new(middle, 14, colour.filled()))?;
                let style = text(TEXT, FONT, HPos::Left, VPos::Center);
                let label = format!("median {median}");
                canvas.draw_text(&label, &style, (scale.right + 36, centre(row)))?;
            }
        }
        Ok(())
    })
    .map(Some)
}

/// Round numbers from 0 to at least `top`, four to six steps.
fn ticks_to(top: f64) -> Vec<f64> {
    let top = top.max(1.0);
    let unit = 10f64.powf((top / 5.0).log10().floor()).max(1.0);
    let steps = [1.0, 2.0, 5.0, 10.0].map(|k| k * unit);
    let step = steps
        .into_iter()
        .find(|s| s * 5.0 >= top)
        .unwrap_or(10.0 * unit);
    (0..=(top / step).ceil() as u32)
        .map(|i| f64::from(i) * step)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fill_the_bar() {
        let rows = [
            ("GPT", vec![0.2, 0.7, 0.06, 0.04]),
            ("PPO", vec![1.0, 0.0, f64::NAN, -1.0]),
        ];
        let svg = stacked_bars("truth", &rows).unwrap().unwrap();
        assert!(svg.contains(">\n20%\n<") && svg.contains("70%"), "{svg}");
        assert!(!svg.contains("4%"), "{svg}");
        assert!(
            svg.contains(&format!("width=\"{}\"", RIGHT - left_of(&["GPT", "PPO"]))),
            "{svg}"
        );
        assert_eq!(stacked_bars("truth", &[]).unwrap(), None);
    }

    #[test]
    fn an_unknown_interval_is_a_dot() {
        let known = [("a", Figure::new(0.6, 0.5, 0.7, 9))];
        let bare = [("a", Figure::bare(0.6, 9))];
        let lines = |rows: &[(&str, Figure)]| {
            intervals("wins", rows, None)
                .unwrap()
                .unwrap()
                .matches("<polyline")
                .count()
        };
        assert_eq!(lines(&known), lines(&bare) + 1);
        assert!(
            intervals("wins", &bare, Some(0.5))
                .unwrap()
                .unwrap()
                .contains("0.60")
        );
    }

    #[test]
    fn lengths_stand_empty_rows() {
        let svg = lengths("length", &[("a", &[1, 2, 3, 40]), ("b", &[])])
            .unwrap()
            .unwrap();
        assert_eq!(svg.matches("median").count(), 1, "{svg}");
        assert_eq!(lengths("length", &[("b", &[])]).unwrap(), None);
    }

    #[test]
    fn names_and_ticks_fit() {
        assert_eq!(shortened("SFT", 16), "SFT");
        assert_eq!(
            shortened("a name that is far too long", 16),
            "a name that is …"
        );
        assert_eq!(shortened("日本語の名前がとても長い", 16), "日本語の名前が…");
        assert_eq!(ticks_to(37.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks_to(0.0), [0.0, 1.0]);
        assert_eq!(ticks_to(128.0), [0.0, 50.0, 100.0, 150.0]);
    }
}
