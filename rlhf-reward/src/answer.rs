//! What is to be rewarded.

use rlhf_data::Message;
use serde_json::{Map, Value};

/// One answer to one prompt, borrowed from whoever holds it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The conversation that the answer replies to.
    pub prompt: &'a [Message],
    /// The text of the answer, without control tokens.
    pub response: &'a str,
    /// The ids that the policy generated, its end token included. A source that reads ids must use
    /// these where they are given: decoding and encoding again may give others.
    pub tokens: Option<&'a [u32]>,
    /// The prompt's whole row, for sources that check an answer against a field of it.
    pub row: &'a Map<String, Value>,
}
