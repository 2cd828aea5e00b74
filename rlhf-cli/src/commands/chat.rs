//! `rlhf chat`: a conversation with a model, line by line.

use crate::args::CommonArgs;
use crate::console::{print, say};
use crate::decoding::{DecodingArgs, failed_with, tokenizer_failed};
use crate::error::CliError;
use crate::model_folder::{Policy, load_policy};
use crate::session::Session;
use clap::Args;
use rlhf_data::{Message, Role};
use rlhf_model::{Completion, Generator, LocalGenerator, Request, SamplingConfig};
use rlhf_random::stream;
use serde_json::json;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// `rlhf chat`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ChatArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// The folder of the model
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Says this, prints the answer, and ends
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Instructions that stand above the conversation
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// How to decode.
    #[command(flatten)]
    pub(crate) decoding: DecodingArgs,
}

/// A conversation under way.
struct Chat<'a> {
    model: &'a Path,
    policy: &'a Policy,
    generator: LocalGenerator<'a>,
    sampling: SamplingConfig,
    seed: u64,
    messages: Vec<Message>,
    /// Turns of the person so far, forgotten ones included: each has its own random stream.
    turns: u64,
}

/// Reads a line, prints the answer, again. `/new` forgets the conversation, `/quit` or the end of
/// the input ends it.
///
/// # Errors
/// If the model or an option can't be used.
pub(crate) fn chat(args: &ChatArgs) -> Result<(), CliError> {
    let session = Session::without_handler(&args.common)?;
    let policy = load_policy(&args.model, &session.device)?;
    if policy.tokenizer.template().is_none() {
        let message = format!("{}: the model has no chat template", args.model.display());
        return Err(CliError::usage(message)
            .hint("use `rlhf generate --raw`, or a model that was fine-tuned on conversations"));
    }
    let sampling = args.decoding.resolve(&args.model, &policy, true)?;
    let system: Vec<Message> = args.system.iter().map(Message::system).collect();
    let seed = session.config.seed;
    let messages = system.clone();
    let mut chat = Chat {
        model: &args.model,
        policy: &policy,
        generator: LocalGenerator::new(&policy.model, 1)
            .with_weights(args.decoding.decode_weights.into()),
        sampling,
        seed,
        messages,
        turns: 0,
    };
    if let Some(prompt) = &args.prompt {
        return show(&chat.answer(prompt)?, session.json);
    }
    let asks = io::stdin().is_terminal() && !session.quiet;
    if asks {
        say("one line a turn; /new starts afresh, /quit or the end of the input ends");
    }
    loop {
        if asks {
            write!(io::stderr(), "> ").ok();
        }
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) => {
                let error = CliError::usage(format!("stdin: {e}"));
                return Err(error.hint("a turn is one line of UTF-8 text"));
            }
        }
        match line.trim() {
            "" => {}
            "/quit" => return Ok(()),
            "/new" => chat.messages.clone_from(&system),
            text => show(&chat.answer(text)?, session.json)?,
        }
    }
}

fn show(answer: &(String, Completion), json: bool) -> Result<(), CliError> {
    let (text, completion) = answer;
    if json {
        let row = json!({
            "response": text,
            "tokens": completion.tokens,
            "finish": completion.finish.as_str(),
        });
        return print(&row.to_string());
    }
    print(&printable(text))
}

/// Text without what could steer a terminal.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

impl Chat<'_> {
    /// What the model answers to a further turn, which both stay in the conversation.
    fn answer(&mut self, text: &str) -> Result<(String, Completion), CliError> {
        self.messages.push(Message::user(text));
        let prompt = self.prompt()?;
        let stream = stream(self.seed, self.turns, 0);
        self.turns += 1;
        let request = Request {
            prompt: &prompt,
            stream,
        };
        let found = self.generator.generate(&[request], &self.sampling);
        let mut found = found.map_err(|e| failed_with(self.model, e))?;
        let Some(completion) = found.pop() else {
            return Err(CliError::failure("the model gave no answer"));
        };
        let text = self
            .policy
            .tokenizer
            .tokenizer()
            .decode(&completion.tokens, true)
            .map_err(|e| tokenizer_failed(self.model, e))?;
        let text = text.trim().to_owned();
        self.messages.push(Message::assistant(text.clone()));
        Ok((text, completion))
    }

    /// The ids of the conversation, without its oldest turns where it is too long.
    fn prompt(&mut self) -> Result<Vec<u32>, CliError> {
        let context = self.policy.config.max_position_embeddings;
        loop {
            let prompt = self.policy.tokenizer.encode_prompt(&self.messages);
            let ids = prompt.map_err(|e| tokenizer_failed(self.model, e))?.ids;
            let room = self.sampling.max_new_tokens;
            if ids.len() + room <= context {
                return Ok(ids);
            }
            let first = usize::from(self.messages[0].role == Role::System);
            // A turn of the person and the answer to it go together.
            if first + 2 >= self.messages.len() {
                self.messages.pop();
                let message = format!(
                    "the turn has {} tokens with what stands around it; with {room} new ones at \
                     most {context} fit, the context of {}",
                    ids.len(),
                    self.model.display()
                );
                let hint = "shorten it, or give the answer less room with --max-new-tokens";
                return Err(CliError::usage(message).hint(hint));
            }
            self.messages.drain(first..first + 2);
            say("(the oldest turn is forgotten: the conversation no longer fits)");
        }
    }
}
