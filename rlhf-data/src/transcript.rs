//! Pairs of whole transcripts, the form of hh-rlhf (Bai et al., 2022).

use crate::fields::FieldError;
use crate::row::{Message, Role};

const HUMAN: &str = "\n\nHuman:";
const ASSISTANT: &str = "\n\nAssistant:";

/// What two transcripts have in common and how each goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) prompt: Vec<Message>,
    pub(crate) chosen: String,
    pub(crate) rejected: String,
}

/// Splits two transcripts where the last `\n\nAssistant:` of what they have in common ends. Where
/// they differ earlier than in the last answer, all that follows is the response, later turns
/// included.
pub(crate) fn split(chosen: &str, rejected: &str) -> Result<Split, FieldError> {
    let common = chosen
        .bytes()
        .zip(rejected.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    // A byte of the marker is never part of another character, so the borders are valid.
    let shared = &chosen.as_bytes()[..common];
    let marker = ASSISTANT.as_bytes();
    let last = shared
        .windows(marker.len())
        .rposition(|window| window == marker);
    let Some(at) = last else {
        let reason = "has no `\\n\\nAssistant:` in common with `rejected`; whole transcripts are \
                      wanted, or a `prompt` beside the answers";
        return Err(FieldError::new("chosen", reason));
    };
    let end = at + marker.len();
    let prompt = turns(&chosen[..at])?;
    let answer = |text: &str| text[end..].trim().to_owned();
    Ok(Split {
        prompt,
        chosen: answer(chosen),
        rejected: answer(rejected),
    })
}

/// The turns of a transcript.
fn turns(text: &str) -> Result<Vec<Message>, FieldError> {
    let mut messages = Vec::new();
    let mut rest = match text.find(HUMAN) {
        Some(at) if text[..at].trim().is_empty() => &text[at..],
        _ => {
            return Err(FieldError::new(
                "chosen",
                "doesn't start with `\\n\\nHuman:`",
            ));
        }
    };
    while !rest.is_empty() {
        let (role, marker) = if rest.starts_with(HUMAN) {
            (Role::User, HUMAN)
        } else {
            (Role::Assistant, ASSISTANT)
        };
        rest = &rest[marker.len()..];
        let end = [HUMAN, ASSISTANT].iter().filter_map(|m| rest.find(m)).min();
        let end = end.unwrap_or(rest.len());
        messages.push(Message::new(role, rest[..end].trim()));
        rest = &rest[end..];
    }
    match messages.last() {
        Some(last) if last.role == Role::Assistant => Err(FieldError::new(
            "chosen",
            "two assistant turns follow each other",
        )),
        _ => Ok(messages),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_what_is_common_up_to_the_last_assistant() {
        let common = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: A joke?\n\nAssistant:";
        let split = split(
            &format!("{common} Why not."),
            &format!("{common} Who knows."),
        )
        .unwrap();
        let prompt = [
            Message::user("Hi"),
            Message::assistant("Hello."),
            Message::user("A joke?"),
        ];
        assert_eq!(split.prompt, prompt);
        assert_eq!(
            (split.chosen.as_str(), split.rejected.as_str()),
            ("Why not.", "Who knows.")
        );
    }

    #[test]
    fn an_earlier_difference_makes_the_rest_the_response() {
        let a = "\n\nHuman: Hi\n\nAssistant: Yes.\n\nHuman: So?\n\nAssistant: Good.";
        let b = "\n\nHuman: Hi\n\nAssistant: No.\n\nHuman: So?\n\nAssistant: Bad.";
        let split = split(a, b).unwrap();
        assert_eq!(split.prompt, [Message::user("Hi")]);
        assert_eq!(split.rejected, "No.\n\nHuman: So?\n\nAssistant: Bad.");
    }

    #[test]
    fn an_answer_may_be_the_beginning_of_the_other() {
        let common = "\n\nHuman: é\n\nAssistant:";
        let one = split(common, &format!("{common} ok")).unwrap();
        assert_eq!((one.chosen.as_str(), one.rejected.as_str()), ("", "ok"));
        let two = split(&format!("{common} é"), &format!("{common} è")).unwrap();
        assert_eq!((two.chosen.as_str(), two.rejected.as_str()), ("é", "è"));
    }

    #[test]
    fn what_is_no_transcript_is_refused() {
        for text in [
            "",
            "hello",
            "Human: a\n\nAssistant: b",
            "x\n\nHuman: a\n\nAssistant: b",
        ] {
            assert!(split(text, text).is_err(), "{text:?}");
        }
        let twice = "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c";
        assert!(
            split(twice, twice)
                .unwrap_err()
                .reason
                .contains("two assistant turns")
        );
    }
}
