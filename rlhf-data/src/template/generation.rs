//! `generation` blocks: transformers marks answers by them, and they render as their contents.

/// The template with its `generation` tags turned into the tags of a block that only has a scope
/// of its own, as the original has. Everything else, white space control and line numbers
/// included, stays as it is; what stands in comments, in `raw` blocks and in quotes is no tag.
pub(super) fn without_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, kind)) = next_opening(rest) {
        let inner = &rest[before + 2..];
        let close = match kind {
            '{' => end_of(inner, "}}"),
            '%' => end_of(inner, "%}"),
            _ => inner.find("#}"),
        };
        let Some(len) = close else { break };
        let (tag, behind) = (&inner[..len], &inner[len + 2..]);
        let word = tag.trim_matches(['-', '+']).trim();
        out.push_str(&rest[..before + 2]);
        match word {
            "generation" if kind == '%' => out.push_str(&tag.replacen(word, "with", 1)),
            "endgeneration" if kind == '%' => out.push_str(&tag.replacen(word, "endwith", 1)),
            _ => out.push_str(tag),
        }
        out.push_str(&inner[len..len + 2]);
        let skipped = if kind == '%' && word == "raw" {
            end_of_raw(behind)
        } else {
            0
        };
        out.push_str(&behind[..skipped]);
        rest = &behind[skipped..];
    }
    out + rest
}

/// Where the next tag, expression or comment opens, and the second character of its opening.
fn next_opening(text: &str) -> Option<(usize, char)> {
    text.match_indices('{').find_map(|(at, _)| {
        let second = text[at + 1..].chars().next()?;
        "{%#".contains(second).then_some((at, second))
    })
}

/// Where a tag's closing is: the first one outside quotes.
fn end_of(text: &str, close: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if text[at..].starts_with(close) => return Some(at),
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {}
        }
        None
    })
}

/// Where the tag that ends a `raw` block starts, or the end of the text.
fn end_of_raw(text: &str) -> usize {
    let ends = |at: &usize| {
        let tag = text[at + 2..].trim_start_matches(['-', '+']).trim_start();
        tag.strip_prefix("endraw").is_some_and(|rest| {
            rest.trim_start()
                .trim_start_matches(['-', '+'])
                .starts_with("%}")
        })
    };
    let mut openings = text.match_indices("{%").map(|(at, _)| at);
    openings.find(ends).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::without_tags;

    #[test]
    fn only_the_words_of_the_tags_change() {
        let source = "a\n{%- generation -%} {% endgeneration +%}{%generation%}é{%endgeneration%}";
        let wanted = "a\n{%- with -%} {% endwith +%}{%with%}é{%endwith%}";
        assert_eq!(without_tags(source), wanted);
    }

    #[test]
    fn what_is_no_tag_stays() {
        let sources = [
            "{# {% generation %} #}",
            "{{ '{% generation %}' }}",
            "{{ \"\\\"{% generation %}\" }}",
            "{% raw %}{% generation %}{{ {%- endraw -%}",
            "{% raw %}{% generation %}",
            "{% set generation = 1 %}{{ generation }}",
            "{generation} {% generation",
            "{%}",
            "{",
            "",
        ];
        for source in sources {
            assert_eq!(without_tags(source), source);
        }
        let source = "{% raw %}{% generation %}{% endraw %}{% generation %}";
        let wanted = "{% raw %}{% generation %}{% endraw %}{% with %}";
        assert_eq!(without_tags(source), wanted);
    }
}
