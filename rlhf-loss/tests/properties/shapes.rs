//! An argument of another shape is refused, also where it could be spread over the others: a vector
//! of one element that broadcasts gives a loss that looks right.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Bool, Device, Int, Tensor};
use rlhf_loss::{
    Denominator, Discount, DpoInput, DpoLoss, GrpoInput, GrpoKl, GrpoLossConfig, KlEstimator,
    KlRewardConfig, KlRewardInput, KtoConfig, KtoInput, MissingEos, PairLengths, PolicyClip,
    PolicyInput, RatioLevel, Reduction, SftLossConfig, SimpoConfig, ValueInput, Whiten,
    bradley_terry, completion_logprobs, dpo_loss, explained_variance, gae, grpo_loss, kl_estimate,
    kl_full, kl_penalised_rewards, kto_loss, kto_reference_point, masked_stats, mean_over,
    next_tokens, orpo_loss, policy_loss, reduce, reinforce_pp_baseline_advantages,
    remax_advantages, reward_to_go, sft_loss, simpo_loss, token_logprobs, value_loss, whiten,
    zero_invalid,
};

use crate::batch::REDUCTIONS;

const ROWS: usize = 3;
const TIME: usize = 4;
const VOCAB: usize = 5;

const KTO: KtoConfig = KtoConfig {
    beta: 0.1,
    desirable_weight: 1.0,
    undesirable_weight: 1.0,
};

const GRPO: GrpoLossConfig = GrpoLossConfig {
    clip_low: 0.2,
    clip_high: 0.2,
    ratio_level: RatioLevel::Token,
    reduction: Reduction::TokenMean,
};

const REWARD: KlRewardConfig = KlRewardConfig {
    beta: 0.1,
    estimator: KlEstimator::K1,
    score_clip: None,
};

const DISCOUNT: Discount = Discount {
    gamma: 1.0,
    lambda: 0.95,
};

/// Makes the arguments of a call by their number; one of them comes out with one entry along an
/// axis that has more.
struct Arguments {
    wrong: Option<usize>,
    axis: usize,
}

impl Arguments {
    fn shape<const D: usize>(&self, number: usize) -> [usize; D] {
        let full = [ROWS, TIME, VOCAB];
        let mut shape = std::array::from_fn(|axis| full[axis]);
        if self.wrong == Some(number) {
            shape[self.axis % D] = 1;
        }
        shape
    }

    fn floats<const D: usize>(&self, number: usize) -> Tensor<D> {
        Tensor::zeros(self.shape::<D>(number), &Device::flex())
    }

    fn ints<const D: usize>(&self, number: usize) -> Tensor<D, Int> {
        Tensor::ones(self.shape::<D>(number), &Device::flex())
    }

    fn flags<const D: usize>(&self, number: usize) -> Tensor<D, Bool> {
        self.floats(number).equal_elem(0.0)
    }

    fn lengths(&self, chosen: usize, rejected: usize) -> PairLengths {
        PairLengths {
            chosen: self.ints(chosen),
            rejected: self.ints(rejected),
        }
    }
}

/// The call succeeds with its arguments as they should be and panics with any one of them, numbered
/// 0 to `count` − 1, of another shape.
fn every_argument_is_checked(count: usize, call: impl Fn(&Arguments)) {
    call(&Arguments {
        wrong: None,
        axis: 0,
    });
    for (number, axis) in (0..count).flat_map(|number| [(number, 0), (number, 1)]) {
        let wrong = Some(number);
        let returned = catch_unwind(AssertUnwindSafe(|| call(&Arguments { wrong, axis })));
        assert!(
            returned.is_err(),
            "argument {number} was spread along {axis}"
        );
    }
}

#[test]
fn losses_on_pairs() {
    every_argument_is_checked(6, |with| {
        let input = DpoInput {
            chosen_logps: with.floats(0),
            rejected_logps: with.floats(1),
            ref_chosen_logps: with.floats(2),
            ref_rejected_logps: with.floats(3),
            lengths: with.lengths(4, 5),
        };
        dpo_loss(input, 0.1, DpoLoss::IpoMean);
    });
    every_argument_is_checked(4, |with| {
        orpo_loss(with.floats(0), with.floats(1), with.lengths(2, 3), 0.1);
    });
    let config = SimpoConfig {
        beta: 2.0,
        gamma: 0.5,
        label_smoothing: 0.0,
    };
    every_argument_is_checked(4, |with| {
        simpo_loss(with.floats(0), with.floats(1), with.lengths(2, 3), &config);
    });
    every_argument_is_checked(3, |with| {
        bradley_terry(with.floats(0), with.floats(1), Some(with.floats(2)), 0.0);
    });
}

#[test]
fn losses_on_single_answers() {
    every_argument_is_checked(3, |with| {
        let input = KtoInput {
            logps: with.floats(0),
            ref_logps: with.floats(1),
            desirable: with.flags(2),
            reference_point: Tensor::zeros([1], &Device::flex()),
        };
        kto_loss(input, &KTO);
    });
    every_argument_is_checked(2, |with| {
        kto_reference_point(with.floats(0), with.floats(1));
    });
}

/// One reference point serves the whole batch; one for each answer is a mistake.
#[test]
#[should_panic(expected = "reference_point")]
fn a_reference_point_for_each_answer() {
    let with = Arguments {
        wrong: None,
        axis: 0,
    };
    let input = KtoInput {
        logps: with.floats(0),
        ref_logps: with.floats(1),
        desirable: with.flags(2),
        reference_point: with.floats(3),
    };
    kto_loss(input, &KTO);
}

#[test]
fn losses_on_tokens() {
    let clip = PolicyClip {
        low: 0.2,
        high: 0.2,
        dual: Some(3.0),
    };
    every_argument_is_checked(4, |with| {
        let input = PolicyInput {
            logprobs: with.floats(0),
            old_logprobs: with.floats(1),
            advantages: with.floats(2),
            mask: with.flags(3),
        };
        policy_loss(input, &clip, Denominator::Own);
    });
    every_argument_is_checked(4, |with| {
        let input = ValueInput {
            values: with.floats(0),
            old_values: with.floats(1),
            returns: with.floats(2),
            mask: with.flags(3),
        };
        value_loss(input, Some(0.2), Denominator::Own);
    });
    every_argument_is_checked(5, |with| {
        let input = GrpoInput {
            logprobs: with.floats(0),
            old_logprobs: with.floats(1),
            advantages: with.floats(4),
            mask: with.flags(2),
            kl: Some(GrpoKl {
                ref_logprobs: with.floats(3),
                beta: 0.1,
            }),
        };
        grpo_loss(input, &GRPO, Denominator::Own);
    });
}

#[test]
fn functions_of_logits() {
    every_argument_is_checked(3, |with| {
        token_logprobs(with.floats(0), with.ints(1), &with.flags(2), 1.0);
    });
    every_argument_is_checked(3, |with| {
        completion_logprobs(with.floats(0), with.ints(1), &with.flags(2));
    });
    let config = SftLossConfig::default();
    every_argument_is_checked(3, |with| {
        let (logits, ids, mask) = (with.floats(0), with.ints(1), with.flags(2));
        sft_loss(logits, ids, mask, &config, Denominator::Own);
    });
    every_argument_is_checked(2, |with| {
        next_tokens(with.ints(0), with.flags(1));
    });
    every_argument_is_checked(3, |with| {
        kl_full(with.floats(0), with.floats(1), &with.flags(2));
    });
}

#[test]
fn constants_of_a_step() {
    every_argument_is_checked(3, |with| {
        kl_estimate(
            with.floats(0),
            with.floats(1),
            &with.flags(2),
            KlEstimator::K3,
        );
    });
    every_argument_is_checked(5, |with| {
        let input = KlRewardInput {
            scores: with.floats(3),
            logprobs: with.floats(0),
            ref_logprobs: with.floats(1),
            mask: with.flags(2),
            missing_eos: Some(MissingEos {
                has_eos: with.flags(4),
                penalty: 1.0,
            }),
        };
        kl_penalised_rewards(input, &REWARD);
    });
    every_argument_is_checked(4, |with| {
        let (rewards, values, mask) = (with.floats(0), with.floats(1), with.flags(2));
        gae(rewards, values, &mask, Some(with.floats(3)), DISCOUNT);
    });
    every_argument_is_checked(1, |with| {
        remax_advantages(Tensor::zeros([ROWS, 2], &Device::flex()), with.floats(0));
    });
    every_argument_is_checked(2, |with| {
        reward_to_go(with.floats(0), &with.flags(1), 1.0);
    });
    every_argument_is_checked(2, |with| {
        whiten(with.floats(0), &with.flags(1), Whiten::default());
    });
    every_argument_is_checked(2, |with| {
        masked_stats(&with.floats(0), &with.flags(1));
    });
    every_argument_is_checked(3, |with| {
        explained_variance(with.floats(0), with.floats(1), &with.flags(2));
    });
}

#[test]
fn sums_and_means() {
    every_argument_is_checked(2, |with| {
        zero_invalid::<2>(with.floats(0), &with.flags(1));
    });
    every_argument_is_checked(2, |with| {
        mean_over(with.floats(0), &with.flags(1));
    });
    for reduction in REDUCTIONS {
        every_argument_is_checked(2, |with| {
            reduce(with.floats(0), &with.flags(1), reduction, Denominator::Own);
        });
    }
}

#[test]
#[should_panic(expected = "both logits need one shape")]
fn logits_over_another_vocabulary() {
    let device = Device::flex();
    let mask = Tensor::<2>::zeros([ROWS, TIME], &device).equal_elem(0.0);
    let logits = Tensor::zeros([ROWS, TIME, VOCAB], &device);
    kl_full(logits, Tensor::zeros([ROWS, TIME, 1], &device), &mask);
}

#[test]
#[should_panic]
fn a_mask_with_fewer_rows_than_scores() {
    let device = Device::flex();
    let mask = Tensor::<2>::zeros([ROWS, TIME], &device).equal_elem(0.0);
    let scores = Tensor::zeros([ROWS, 2], &device);
    reinforce_pp_baseline_advantages(scores, &mask, Whiten::default());
}
