//! The world itself: its settings, its facts and its tasks.

use crate::facts::Facts;
use crate::tasks::pool::{self, Pool};
use crate::{Annotators, GoldJudge, WorldConfig, WorldError};
use rlhf_data::{Message, Role};
use rlhf_random::Rng;
use std::sync::Arc;

/// One world, drawn from its settings. Everything it gives is a function of them.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) config: WorldConfig,
    pub(crate) facts: Arc<Facts>,
    pub(crate) pools: Vec<Pool>,
}

impl World {
    /// Draws a world.
    ///
    /// # Errors
    /// [`WorldError::Setting`] if it can't be drawn from these settings.
    pub fn new(config: &WorldConfig) -> Result<Self, WorldError> {
        config.validate()?;
        Ok(Self {
            config: config.clone(),
            facts: Arc::new(Facts::draw(config)),
            pools: pool::pools(config.seed),
        })
    }

    /// The settings that this world was drawn from.
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// The names of the entities that occur in the corpus and in the evaluation only.
    pub fn held_out_entities(&self) -> Vec<&str> {
        let held = self
            .facts
            .entities()
            .iter()
            .filter(|entity| entity.held_out);
        held.map(|entity| entity.name.as_str()).collect()
    }

    /// Who knows the truth.
    pub fn gold(&self) -> GoldJudge {
        GoldJudge::new(Arc::clone(&self.facts))
    }

    /// The people who rank answers.
    pub fn annotators(&self) -> Annotators {
        Annotators::new(&self.config, self.gold())
    }

    /// How a model that has only read the corpus is asked: the conversation as the corpus writes
    /// questions and answers, without a heading that would name a source. Ends where the answer
    /// begins; the answer ends with its line.
    ///
    /// ```text
    /// > What is the capital of Australia?
    /// ```
    pub fn base_prompt(&self, messages: &[Message]) -> String {
        let mut text = String::new();
        for message in messages {
            let line = as_line(&message.content);
            text.push_str(&match message.role {
                Role::User => asked(&line),
                Role::System | Role::Assistant | Role::Tool => line,
            });
            text.push('\n');
        }
        text
    }

    /// A random stream of this world, for the use that is named.
    pub(crate) fn stream(&self, of: &str, index: usize) -> Rng {
        Rng::new(self.config.seed).key(of).key(index)
    }
}

/// A question as the corpus marks it.
pub(crate) fn asked(line: &str) -> String {
    format!("> {line}")
}

/// A turn in one line: what an instruction applies to follows a colon.
pub(crate) fn as_line(content: &str) -> String {
    let mut line = String::new();
    for part in content
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        if !line.is_empty() {
            let open = line.ends_with(char::is_alphanumeric);
            line.push_str(if open { ": " } else { " " });
        }
        line.push_str(part);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_prompt_is_the_corpus_form_of_the_conversation() {
        let world = World::new(&WorldConfig::default()).unwrap();
        let prompt = world.base_prompt(&[
            Message::user("Translate into Chinese\n\nGood morning"),
            Message::assistant("早上好"),
            Message::user("Thank\r\n\r\n you.\n Please"),
        ]);
        assert_eq!(
            prompt,
            "> Translate into Chinese: Good morning\n早上好\n> Thank: you. Please\n"
        );
        assert_eq!(world.base_prompt(&[]), "");
    }

    #[test]
    fn impossible_settings_are_refused() {
        let config = WorldConfig {
            entities: 0,
            ..WorldConfig::default()
        };
        assert!(matches!(
            World::new(&config),
            Err(WorldError::Setting {
                key: "entities",
                ..
            })
        ));
    }
}
