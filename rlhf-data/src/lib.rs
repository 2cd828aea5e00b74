//! Rows, their formats and checks, chat templates, tokenizers, typed token spans, packing and
//! resumable shuffling.
//!
//! The walk from a file to a batch: [`read_file`] and the `load_*` functions give rows,
//! [`ChatTokenizer`] turns a row into a [`TokenSequence`] that says of every token what it is and
//! whether it is trained on, [`pack`] and [`Sampler`] put sequences into rows and batches.
//!
//! - rows: [`TextRow`], [`InstructionRow`], [`Conversation`], [`Prompt`], [`Preference`],
//!   [`Comparison`], [`Response`], [`Feedback`], and those that models are measured by
//! - files: [`DataSet`], [`Renames`], [`read_file`], [`check_file`], [`check_files`], [`load_texts`], [`load_conversations`],
//!   [`load_prompts`], [`load_preferences`], [`load_responses`], [`write_jsonl`], [`write_atomic`]
//! - tokens: [`ChatTemplate`], [`Tokenizer`], [`ChatTokenizer`], [`TokenSequence`]
//! - batches: [`RowSource`], [`Sampler`], [`pack`]
//!
//! ```
//! use rlhf_data::{ChatTokenizer, Message, SpecialTokens, Tokenizer};
//!
//! # fn main() -> Result<(), rlhf_data::DataError> {
//! let texts = ["What is the capital of Australia? Canberra.", "欢迎来到香港"];
//! let bpe = Tokenizer::train_bpe(texts.into_iter(), 300, &["<|pad|>", "<|end|>", "<|assistant|>"])?;
//! let template = "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>{% endif %}\
//!                 {{ m.content }}<|end|>{% endfor %}\
//!                 {% if add_generation_prompt %}<|assistant|>{% endif %}";
//! let special = SpecialTokens { eos: Some("<|end|>".into()), ..SpecialTokens::default() };
//! let chat = ChatTokenizer::new(bpe, template, special)?;
//! let turns = [Message::user("Capital?"), Message::assistant("Canberra.")];
//! let sequence = chat.encode_conversation(&turns)?;
//! // The answer and its end carry loss, the question does not.
//! assert!(!sequence.loss_mask()[0] && sequence.loss_mask()[sequence.len() - 1]);
//! # Ok(())
//! # }
//! ```

mod bpe;
mod byte_alphabet;
mod chat;
mod chat_folder;
mod check;
mod clock;
mod comparison;
mod data_set;
mod error;
mod fields;
mod format;
mod guarded;
mod input;
mod json;
mod load;
mod mixture;
mod pack;
mod parquet_rows;
mod parse;
mod python_json;
mod read;
mod recognise;
mod records;
mod renames;
mod row;
mod sampler;
mod source;
mod special;
mod table;
mod template;
mod tokenizer;
mod tokens;
mod transcript;
mod turns;
mod write;

pub use chat::{ChatTokenizer, SpecialTokens};
pub use check::{
    CheckOptions, FileCheck, FileReport, Lengths, Overlap, Repeats, ScriptShare, check_file,
    check_files,
};
pub use comparison::{Comparison, group_comparisons};
pub use data_set::{DataFile, DataSet};
pub use error::DataError;
pub use format::Format;
pub use load::{
    Loaded, OnBadRow, load_conversations, load_preferences, load_prompts, load_responses,
    load_texts,
};
pub use pack::{PackedRow, pack};
pub use read::{BadRow, FileRows, Located, Row, read_file};
pub use renames::Renames;
pub use row::{
    ChoiceQuestion, Conversation, Feedback, InstructionRow, Message, Preference, Prompt, Response,
    Role, TextRow, TruthQuestion, TurnsQuestion,
};
pub use sampler::Sampler;
pub use source::{RowSource, check_row_source};
pub use special::SpecialToken;
pub use template::ChatTemplate;
pub use tokenizer::Tokenizer;
pub use tokens::{SpanRole, TokenSequence, TokenSpan};
pub use write::{write_atomic, write_jsonl};
