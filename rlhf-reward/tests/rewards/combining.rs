//! Rules, sums, bounds and judges.

use crate::tiny::user;
use rlhf_reward::{
    Answer, Clipped, EndsProperly, Judge, LengthPenalty, RewardError, RewardSource, ScoreJudge,
    Verdict, Weighted, contract,
};
use serde_json::Map;

const TEXTS: [&str; 6] = ["", "yes.", "no", "“Quite so!”", "one two three", "好。"];

/// Calls `check` with an answer of each text.
fn with_answers<R>(texts: &[&str], check: impl FnOnce(&[Answer<'_>]) -> R) -> R {
    let (row, prompt) = (Map::new(), user("q"));
    let answer = |response| Answer {
        prompt: &prompt,
        response,
        tokens: None,
        row: &row,
    };
    check(&texts.iter().map(|&t| answer(t)).collect::<Vec<_>>())
}

/// Gives whatever it was told to.
struct Fixed(Vec<f32>);

impl RewardSource for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }
    fn score(&self, _: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        Ok(self.0.clone())
    }
}

fn penalty() -> LengthPenalty {
    LengthPenalty {
        free_characters: 3,
        per_character: 0.5,
    }
}

fn weighted() -> Weighted {
    Weighted::new(vec![
        (2.0, Box::new(EndsProperly)),
        (0.5, Box::new(penalty())),
    ])
}

#[test]
fn rules_score_what_they_say() {
    with_answers(&TEXTS, |answers| {
        assert_eq!(
            EndsProperly.score(answers).unwrap(),
            [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
        );
        assert_eq!(
            penalty().score(answers).unwrap(),
            [0.0, -0.5, 0.0, -4.0, -5.0, 0.0]
        );
        assert_eq!(
            weighted().score(answers).unwrap(),
            [0.0, 1.75, 0.0, 0.0, -2.5, 2.0]
        );
        let clipped = Clipped {
            source: weighted(),
            bound: 1.8,
        };
        assert_eq!(
            clipped.score(answers).unwrap(),
            [0.0, 1.75, 0.0, 0.0, -1.8, 1.8]
        );
        assert_eq!(weighted().name(), "2*ends_properly+0.5*length_penalty");
    });
}

#[test]
fn sources_and_judges_keep_their_contracts() {
    let sources: [Box<dyn RewardSource>; 4] = [
        Box::new(EndsProperly),
        Box::new(penalty()),
        Box::new(weighted()),
        Box::new(Clipped {
            source: weighted(),
            bound: 1.0,
        }),
    ];
    with_answers(&TEXTS, |answers| {
        let pairs: Vec<_> = answers
            .iter()
            .flat_map(|&a| answers.iter().map(move |&b| (a, b)))
            .collect();
        for source in &sources {
            contract::reward_source(source, answers, 0.0);
            contract::order_free_judge(&ScoreJudge(source), &pairs);
        }
        let judge = ScoreJudge(weighted());
        let verdicts = judge.compare(&pairs[6..9]).unwrap();
        assert_eq!(verdicts, [Verdict::First, Verdict::Tie, Verdict::First]);
        assert_eq!(
            judge.compare(&[(answers[4], answers[0])]).unwrap(),
            [Verdict::Second]
        );
    });
}

#[test]
fn a_source_that_breaks_its_promise_is_named() {
    with_answers(&["a", "b"], |answers| {
        for (scores, said) in [
            (vec![1.0], "gave 1 scores for 2 answers"),
            (vec![1.0, f32::NAN], "gave NaN for answer 1"),
            (vec![f32::INFINITY, 0.0], "gave inf for answer 0"),
        ] {
            let sum = Weighted::new(vec![(1.0, Box::new(Fixed(scores.clone())))]);
            let clipped = Clipped {
                source: Fixed(scores.clone()),
                bound: 1.0,
            };
            for found in [
                sum.score(answers).map(drop),
                clipped.score(answers).map(drop),
                ScoreJudge(Fixed(scores))
                    .compare(&[(answers[0], answers[1])])
                    .map(drop),
            ] {
                let text = found.unwrap_err().to_string();
                assert!(text.contains("`fixed`") && text.contains(said), "{text}");
            }
        }
    });
}

#[test]
fn verdicts_count_in_a_win_rate() {
    for verdict in [Verdict::First, Verdict::Second, Verdict::Tie] {
        assert_eq!(verdict.swapped().swapped(), verdict);
        assert_eq!(
            verdict.score_of_first() + verdict.swapped().score_of_first(),
            1.0
        );
    }
}
