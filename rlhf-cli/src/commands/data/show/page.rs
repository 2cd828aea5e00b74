//! Token spans for people: coloured on a terminal, with marks that say the same elsewhere.

use super::parts::Part;
use rlhf_data::{SpanRole, TokenSequence, TokenSpan, Tokenizer};

/// Stands behind a control token, so that it can be told from text that spells it.
const CONTROL_MARK: char = 'ˢ';

const ROLES: [(SpanRole, &str, u8); 6] = [
    (SpanRole::Control, "control", 90),
    (SpanRole::System, "system", 35),
    (SpanRole::User, "user", 36),
    (SpanRole::Assistant, "assistant", 32),
    (SpanRole::Tool, "tool", 33),
    (SpanRole::Text, "text", 34),
];

/// Bold and underlined: trained on.
const LOSS: &str = "1;4;";
/// Inverse: a control token.
const INVERSE: &str = "7;";
/// Faint and struck through: cut off.
const CUT: &str = "2;9";
/// Faint: padding.
const FAINT: &str = "2";

/// How sequences are printed.
#[derive(Debug)]
pub(super) struct Page<'a> {
    tokenizer: &'a Tokenizer,
    colours: bool,
}

impl<'a> Page<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, colours: bool) -> Self {
        Self { tokenizer, colours }
    }

    /// A heading, and a line for each span.
    pub(super) fn part(&self, place: &str, row: usize, part: &Part, longest: usize) -> String {
        let (tokens, trained) = (part.kept.len(), part.kept.trained_tokens());
        let padding = longest - tokens;
        let mut heading = format!(
            "{place} row {row}, {}: {tokens} tokens, {trained} trained on",
            part.name()
        );
        if !part.cut.is_empty() {
            heading += &format!(", {} cut off at the start", part.cut.len());
        }
        let mut lines = vec![heading];
        let cut = part.cut.spans.iter();
        lines.extend(cut.map(|span| self.span(&part.cut, span, true)));
        let kept = part.kept.spans.iter();
        lines.extend(kept.map(|span| self.span(&part.kept, span, false)));
        if padding > 0 {
            let text = self.painted(FAINT, &format!("{padding} tokens"));
            lines.push(format!("    padding  {text}"));
        }
        lines.join("\n")
    }

    fn span(&self, sequence: &TokenSequence, span: &TokenSpan, cut: bool) -> String {
        let (name, colour) = look(span.role);
        let mark = match (cut, span.loss) {
            (true, _) => '-',
            (_, true) => '*',
            _ => ' ',
        };
        let style = match (cut, span.loss) {
            (true, _) => CUT.to_owned(),
            (_, true) => format!("{LOSS}{colour}"),
            _ => colour.to_string(),
        };
        let mut text = String::new();
        for run in runs(self.tokenizer, &sequence.ids[span.range.clone()]) {
            let shown = visible(&self::text(self.tokenizer, run));
            if !self.tokenizer.is_control_token(run[0]) {
                text += &self.painted(&style, &shown);
            } else if self.colours {
                text += &self.painted(&format!("{INVERSE}{style}"), &shown);
            } else {
                text += &format!("{shown}{CONTROL_MARK}");
            }
        }
        format!("  {name:>9}{mark} {text}")
    }

    /// What the colours or the marks mean.
    pub(super) fn legend(&self) -> String {
        if !self.colours {
            return format!(
                "legend: * trained on (loss), - cut off, {CONTROL_MARK} behind a control token, \
                 \\n a line break; padding fills rows up to the longest shown"
            );
        }
        let names = ROLES.map(|(_, name, colour)| self.painted(&colour.to_string(), name));
        let marks = [
            (format!("{LOSS}39"), "trained on (loss)"),
            (format!("{INVERSE}39"), "control token"),
            (CUT.to_owned(), "cut off"),
            (FAINT.to_owned(), "padding"),
        ];
        let marks = marks.map(|(style, name)| self.painted(&style, name));
        format!("legend: {} | {}", names.join(" "), marks.join(" "))
    }

    fn painted(&self, style: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The bytes that the ids stand for, as text.
pub(super) fn text(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let bytes = ids.iter().filter_map(|id| tokenizer.token_bytes(*id));
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>().concat()).into_owned()
}

fn look(role: SpanRole) -> (&'static str, u8) {
    let found = ROLES.iter().find(|(known, _, _)| *known == role);
    found.map_or(("", 39), |(_, name, colour)| (*name, *colour))
}

/// Control tokens one by one, other tokens together.
fn runs<'a>(tokenizer: &Tokenizer, ids: &'a [u32]) -> Vec<&'a [u32]> {
    ids.chunk_by(|a, b| !tokenizer.is_control_token(*a) && !tokenizer.is_control_token(*b))
        .collect()
}

/// Text on one line, without what could steer a terminal or pass for one of our marks.
fn visible(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\\' => "\\\\".to_owned(),
        CONTROL_MARK => c.escape_unicode().to_string(),
        c if c.is_control() || is_direction(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// Characters that change the order in which a terminal shows a line.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_text_steers_nothing_and_passes_for_no_mark() {
        assert_eq!(
            visible("a\n\\n\tb\u{1b}[31m<|end|>ˢ\u{202e}é"),
            "a\\n\\\\n\\tb\\u{1b}[31m<|end|>\\u{2e2}\\u{202e}é"
        );
    }
}
