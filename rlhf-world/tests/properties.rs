//! Whatever a model writes can be judged, and what is judged depends on nothing else.

use proptest::prelude::*;
use rlhf_reward::Answer;
use rlhf_world::{TruthShare, World, WorldConfig};

/// Texts that come close to answers: the world's own words in any order, with noise.
fn near_answer() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("Canberra".to_owned()),
        Just("Sydney".to_owned()),
        Just("not".to_owned()),
        Just("7".to_owned()),
        Just("欢迎".to_owned()),
        Just("ocean".to_owned()),
        Just("I cannot help".to_owned()),
        Just("sorry".to_owned()),
        "[a-zA-Z'’.?!+\\-]{0,6}",
        "\\PC{0,4}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(word, 0..12).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_judged_the_same_each_time(response in near_answer(), which in 0usize..400) {
        let world = World::new(&WorldConfig::default()).unwrap();
        let prompts = world.evaluation_prompts();
        let prompt = &prompts[which % prompts.len()];
        let answer = Answer {
            prompt: &prompt.messages,
            response: &response,
            tokens: None,
            row: &prompt.row,
        };
        let found = world.gold().assess(&answer).unwrap();
        prop_assert!(found.gold.is_finite() && (-4.5..=2.0).contains(&found.gold));
        prop_assert_eq!(&found, &world.gold().assess(&answer).unwrap());
    }

    #[test]
    fn two_values_are_never_right(before in "[a-z ]{0,12}", between in "\\PC{0,12}") {
        let world = World::new(&WorldConfig::default()).unwrap();
        let prompts = world.evaluation_prompts();
        let prompt = prompts
            .iter()
            .find(|p| p.row["prompt"] == "What is the capital of Australia?")
            .unwrap();
        let response = format!("{before} Canberra {between} Sydney");
        let answer = Answer {
            prompt: &prompt.messages,
            response: &response,
            tokens: None,
            row: &prompt.row,
        };
        let found = world.gold().assess(&answer).unwrap();
        prop_assert_eq!(found.truth, Some(TruthShare::Other));
    }

    #[test]
    fn worlds_of_any_size_can_be_drawn(
        seed in any::<u64>(),
        entities in 4usize..122,
        held in 1usize..30,
    ) {
        let held_out = held.min(entities - 2);
        let demonstrations = 20;
        let config =
            WorldConfig { seed, entities, held_out, demonstrations, ..Default::default() };
        let world = World::new(&config).unwrap();
        let held = world.held_out_entities();
        prop_assert_eq!(held.len(), held_out);
        prop_assert!(held.contains(&"Australia"));
        prop_assert_eq!(world.corpus(20), World::new(&config).unwrap().corpus(20));
        prop_assert_eq!(world.demonstrations().len(), 20);
        prop_assert!(!world.base_prompt(&world.training_prompts(3)[2].messages).is_empty());
    }
}
