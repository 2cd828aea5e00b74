//! What is a constant gets no gradient, and what is for logging carries no graph.

use burn::tensor::{Bool, Device, Gradients, Int, Tensor};
use rlhf_loss::{
    Denominator, Discount, DpoInput, DpoLoss, GrpoInput, GrpoKl, GrpoLossConfig, KlEstimator,
    KlRewardConfig, KlRewardInput, KtoConfig, KtoInput, MissingEos, PairLengths, PpoLossInput,
    RatioLevel, SftLossConfig, SimpoConfig, ValueInput, Whiten, bradley_terry, dpo_loss,
    explained_variance, gae, grpo_advantages, grpo_loss, k_wise, kl_penalised_rewards, kto_loss,
    kto_reference_point, ppo_loss, remax_advantages, reward_to_go, sft_loss, simpo_loss,
    value_loss, whiten,
};

use crate::batch::{PPO, REDUCTIONS, ppo_figures};

/// Figures that are all different, as a leaf of the graph.
fn leaf<const D: usize>(shape: [usize; D], scale: f64) -> Tensor<D> {
    let count = shape.iter().product::<usize>() as i64;
    let steps = Tensor::<1, Int>::arange(1..count + 1, &Device::flex()).float();
    (steps * scale).reshape(shape).autodiff().require_grad()
}

fn mask() -> Tensor<2, Bool> {
    Tensor::from_bool([[true, true, false], [true, false, false]], &Device::flex())
}

/// Asserts which leaves a backward pass from the loss reaches, and gives its gradients.
fn assert_reaches<const D: usize>(
    loss: Tensor<1>,
    trained: &[&Tensor<D>],
    constant: &[&Tensor<D>],
) -> Gradients {
    let gradients = loss.backward();
    for (i, leaf) in trained.iter().enumerate() {
        let gradient = leaf.grad(&gradients).expect("the loss depends on it");
        let size: f32 = gradient.abs().sum().into_scalar();
        assert!(size > 0.0, "trained tensor {i} has no gradient");
    }
    for (i, leaf) in constant.iter().enumerate() {
        assert!(
            leaf.grad(&gradients).is_none(),
            "constant {i} has a gradient"
        );
    }
    gradients
}

fn assert_plain<const D: usize>(figures: &[&Tensor<D>]) {
    for (i, figure) in figures.iter().enumerate() {
        assert!(!figure.is_autodiff(), "figure {i} carries its graph");
    }
}

#[test]
fn of_ppo_and_its_value_loss() {
    let input = PpoLossInput {
        logprobs: leaf([2, 3], -0.1),
        old_logprobs: leaf([2, 3], -0.12),
        advantages: leaf([2, 3], 1.0),
        values: leaf([2, 3], 0.5),
        old_values: leaf([2, 3], 0.4),
        returns: leaf([2, 3], 0.7),
        entropy: leaf([2, 3], 0.2),
        mask: mask(),
    };
    let out = ppo_loss(input.clone(), &PPO, Denominator::Own);
    assert_plain(&[&out.ratio, &out.per_token_policy_loss]);
    assert_plain(&ppo_figures(&out));
    let trained = [&input.logprobs, &input.values, &input.entropy];
    let constant = [
        &input.old_logprobs,
        &input.advantages,
        &input.old_values,
        &input.returns,
    ];
    assert_reaches(out.total_loss, &trained, &constant);
}

/// A value held by the edge of its band depends on the old value, which stays a constant.
#[test]
fn of_a_clipped_value() {
    let input = ValueInput {
        values: leaf([2, 3], 1.0),
        old_values: leaf([2, 3], 0.5),
        returns: leaf([2, 3], 2.0),
        mask: mask(),
    };
    let out = value_loss(input.clone(), Some(0.7), Denominator::Own);
    assert_plain(&[&out.clip_fraction]);
    assert!(out.clip_fraction.into_scalar::<f32>() > 0.0);
    let constant = [&input.old_values, &input.returns];
    assert_reaches(out.loss, &[&input.values], &constant);
}

#[test]
fn of_grpo() {
    for reduction in REDUCTIONS {
        for ratio_level in [RatioLevel::Token, RatioLevel::Sequence] {
            let advantages = leaf([2], 1.0);
            let ref_logprobs = leaf([2, 3], -0.15);
            let input = GrpoInput {
                logprobs: leaf([2, 3], -0.1),
                old_logprobs: leaf([2, 3], -0.12),
                advantages: advantages.clone(),
                mask: mask(),
                kl: Some(GrpoKl {
                    ref_logprobs: ref_logprobs.clone(),
                    beta: 0.1,
                }),
            };
            let config = GrpoLossConfig {
                clip_low: 0.2,
                clip_high: 0.2,
                ratio_level,
                reduction,
            };
            let out = grpo_loss(input.clone(), &config, Denominator::Own);
            assert_plain(&[&out.per_token_loss, &out.ratio]);
            assert_plain(&[
                &out.clip_fraction,
                &out.mean_kl.expect("there is a reference"),
            ]);
            let constant = [&input.old_logprobs, &ref_logprobs];
            let gradients = assert_reaches(out.loss, &[&input.logprobs], &constant);
            assert!(advantages.grad(&gradients).is_none());
        }
    }
}

#[test]
fn of_the_dpo_family() {
    let label_smoothing = 0.1;
    for kind in [
        DpoLoss::Sigmoid,
        DpoLoss::Conservative { label_smoothing },
        DpoLoss::Robust { label_smoothing },
        DpoLoss::Hinge,
        DpoLoss::IpoSum,
        DpoLoss::IpoMean,
        DpoLoss::LengthNormalised { label_smoothing },
    ] {
        let input = DpoInput {
            chosen_logps: leaf([2], -1.0),
            rejected_logps: leaf([2], -1.5),
            ref_chosen_logps: leaf([2], -1.1),
            ref_rejected_logps: leaf([2], -1.2),
            lengths: lengths(),
        };
        let out = dpo_loss(input.clone(), 0.3, kind);
        assert_plain(&[
            &out.chosen_rewards,
            &out.rejected_rewards,
            &out.margins,
            &out.mean_margin,
            &out.accuracy,
        ]);
        let trained = [&input.chosen_logps, &input.rejected_logps];
        let constant = [&input.ref_chosen_logps, &input.ref_rejected_logps];
        assert_reaches(out.loss, &trained, &constant);
    }
}

fn lengths() -> PairLengths {
    PairLengths {
        chosen: Tensor::from_ints([2, 3], &Device::flex()),
        rejected: Tensor::from_ints([4, 1], &Device::flex()),
    }
}

#[test]
fn of_losses_without_a_reference() {
    let config = SimpoConfig {
        beta: 2.0,
        gamma: 0.5,
        label_smoothing: 0.1,
    };
    let (chosen, rejected) = (leaf([2], -1.0), leaf([2], -1.5));
    let out = simpo_loss(chosen.clone(), rejected.clone(), lengths(), &config);
    assert_plain(&[
        &out.chosen_rewards,
        &out.rejected_rewards,
        &out.margins,
        &out.accuracy,
    ]);
    assert_reaches(out.loss, &[&chosen, &rejected], &[]);
    let out = bradley_terry(chosen.clone(), rejected.clone(), None, 0.1);
    assert_plain(&[&out.mean_margin, &out.accuracy, &out.accuracy_ties_half]);
    assert_reaches(out.loss, &[&chosen, &rejected], &[]);
    let out = k_wise(chosen, &[vec![(0, 1)]]);
    assert_plain(&[&out.accuracy]);
}

#[test]
fn of_kto() {
    let (kl_logps, kl_ref_logps) = (leaf([2], -1.0), leaf([2], -1.5));
    let reference_point = kto_reference_point(kl_logps, kl_ref_logps);
    assert_plain(&[&reference_point]);
    let input = KtoInput {
        logps: leaf([2], -1.0),
        ref_logps: leaf([2], -1.2),
        desirable: Tensor::from_bool([true, false], &Device::flex()),
        reference_point: leaf([1], 0.5),
    };
    let config = KtoConfig {
        beta: 0.1,
        desirable_weight: 1.0,
        undesirable_weight: 1.0,
    };
    let out = kto_loss(input.clone(), &config);
    assert_plain(&[&out.rewards]);
    let constant = [&input.ref_logps, &input.reference_point];
    assert_reaches(out.loss, &[&input.logps], &constant);
}

#[test]
fn of_the_supervised_loss() {
    let logits = leaf([2, 3, 4], 0.1);
    let ids = Tensor::<2, Int>::ones([2, 3], &Device::flex());
    let config = SftLossConfig {
        label_smoothing: 0.1,
        ..SftLossConfig::default()
    };
    let out = sft_loss(logits.clone(), ids, mask(), &config, Denominator::Own);
    assert_plain(&[&out.ce_sum, &out.num_tokens]);
    assert_plain(&[&out.per_token_ce]);
    assert_reaches(out.loss, &[&logits], &[]);
}

/// Constants of an update come from the host and carry no graph, whatever they are made of.
#[test]
fn of_constants_of_an_update() {
    let matrix = || leaf::<2>([2, 3], -0.3);
    let input = KlRewardInput {
        scores: leaf([2], 1.0),
        logprobs: matrix(),
        ref_logprobs: leaf([2, 3], -0.2),
        mask: mask(),
        missing_eos: Some(MissingEos {
            has_eos: Tensor::from_bool([true, false], &Device::flex()),
            penalty: 1.0,
        }),
    };
    let config = KlRewardConfig {
        beta: 0.1,
        estimator: KlEstimator::K1,
        score_clip: Some(3.0),
    };
    let rewards = kl_penalised_rewards(input, &config);
    assert_plain(&[&rewards.rewards, &rewards.kl]);
    assert_plain(&[
        &rewards.effective_scores,
        &rewards.kl_sequence_sum,
        &rewards.mean_kl_sequence_sum,
        &rewards.mean_non_score_reward,
    ]);
    let discount = Discount {
        gamma: 1.0,
        lambda: 0.95,
    };
    let estimated = gae(matrix(), matrix(), &mask(), Some(leaf([2], 1.0)), discount);
    assert_plain(&[
        &estimated.advantages,
        &estimated.returns,
        &reward_to_go(matrix(), &mask(), 0.9),
        &whiten(matrix(), &mask(), Whiten::default()),
        &grpo_advantages(matrix(), 1e-4),
        &remax_advantages(matrix(), leaf([2], 1.0)),
    ]);
    assert!(explained_variance(matrix(), leaf([2, 3], 0.1), &mask()).is_some());
}
