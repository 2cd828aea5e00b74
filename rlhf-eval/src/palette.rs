//! The colours of charts: one set that is drawn, one for dark pages.
//!
//! Charts are drawn in the light colours. The page's style sheet addresses them by attribute, as
//! in `.chart [fill="#2563EB"]`, and gives each a variable that a dark page redefines; a chart
//! taken out of the page stays legible on white.

use plotters::style::RGBColor;

/// A colour of charts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ink {
    light: (u8, u8, u8),
    dark: (u8, u8, u8),
}

const fn ink(light: u32, dark: u32) -> Ink {
    const fn rgb(x: u32) -> (u8, u8, u8) {
        ((x >> 16) as u8, (x >> 8) as u8, x as u8)
    }
    Ink {
        light: rgb(light),
        dark: rgb(dark),
    }
}

/// Text on the page.
pub(crate) const TEXT: Ink = ink(0x334155, 0xcbd5e1);
/// Axes and the line of "no difference".
pub(crate) const AXIS: Ink = ink(0x94a3b8, 0x64748b);
/// Lines of the grid.
pub(crate) const GRID: Ink = ink(0xe2e8f0, 0x2b3648);
/// Text on a filled bar.
pub(crate) const ON_BAR: Ink = ink(0xffffff, 0xfefefe);
/// Curves and models, in order.
pub(crate) const SERIES: [Ink; 6] = [
    ink(0x2563eb, 0x6ea8fe),
    ink(0xc2560c, 0xf59e5b),
    ink(0x0f766e, 0x3ecfb6),
    ink(0x7c3aed, 0xb79bff),
    ink(0xbe185d, 0xf472b6),
    ink(0x4d7c0f, 0xa3d14f),
];
/// Shares of truth: true, popular mistake, other, none.
pub(crate) const SHARES: [Ink; 4] = [
    ink(0x0d7a70, 0x16897c),
    ink(0xb93a4b, 0xc04a5a),
    ink(0x8f6417, 0x96702a),
    ink(0x64748c, 0x5b6b82),
];

impl Ink {
    /// The colour to draw with.
    pub(crate) fn rgb(self) -> RGBColor {
        let (r, g, b) = self.light;
        RGBColor(r, g, b)
    }

    /// The colour as it stands in the SVG.
    pub(crate) fn attribute(self) -> String {
        hex(self.light)
    }
}

fn hex((r, g, b): (u8, u8, u8)) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

/// The style sheet that makes charts follow the page: variables `--ink-0`, …, a rule for fills and
/// one for strokes of each colour, and classes `swatch-N` (curves) and `share-N` (shares).
pub(crate) fn style_sheet() -> String {
    let fixed = [TEXT, AXIS, GRID, ON_BAR];
    let all: Vec<Ink> = fixed.into_iter().chain(SERIES).chain(SHARES).collect();
    let variables = |pick: fn(&Ink) -> (u8, u8, u8)| -> String {
        let each = all.iter().enumerate();
        each.map(|(i, ink)| format!("--ink-{i}:{};", hex(pick(ink))))
            .collect()
    };
    let mut css = format!(":root{{{}}}\n", variables(|i| i.light));
    let dark = variables(|i| i.dark);
    css.push_str(&format!(
        "@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    ));
    for (i, ink) in all.iter().enumerate() {
        let colour = ink.attribute();
        css.push_str(&format!(
            ".chart [fill=\"{colour}\"]{{fill:var(--ink-{i})}}\
             .chart [stroke=\"{colour}\"]{{stroke:var(--ink-{i})}}\n"
        ));
    }
    let first = fixed.len();
    for i in 0..SERIES.len() {
        css.push_str(&format!(
            ".swatch-{i}{{background:var(--ink-{})}}",
            first + i
        ));
    }
    for i in 0..SHARES.len() {
        css.push_str(&format!(
            ".share-{i}{{background:var(--ink-{})}}",
            first + SERIES.len() + i
        ));
    }
    css.push('\n');
    css
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_drawn_differently() {
        let all: Vec<Ink> = [TEXT, AXIS, GRID, ON_BAR]
            .into_iter()
            .chain(SERIES)
            .chain(SHARES)
            .collect();
        for (i, a) in all.iter().enumerate() {
            // Two inks with one light colour could not be told apart on a dark page.
            assert!(
                all[..i].iter().all(|b| b.light != a.light),
                "{}",
                a.attribute()
            );
        }
        let css = style_sheet();
        assert!(
            css.contains(".chart [stroke=\"#2563EB\"]{stroke:var(--ink-4)}"),
            "{css}"
        );
    }
}
