use burn::tensor::Device;

use super::*;
use crate::host::numbers;

struct Ran {
    out: PolicyLoss,
    gradient: Vec<f32>,
}

/// Old log-probs are −1; `ratios` are reached by the new ones.
fn run(ratios: [f32; 4], advantages: [f32; 4], dual: Option<f64>) -> Ran {
    let plain = Device::flex();
    let new = ratios.map(|ratio| ratio.ln() - 1.0);
    let new = Tensor::<2>::from_floats([new], &plain.clone().autodiff()).require_grad();
    let input = PolicyInput {
        logprobs: new.clone(),
        old_logprobs: Tensor::full([1, 4], -1.0, &plain),
        advantages: Tensor::from_floats([advantages], &plain),
        mask: Tensor::from_bool([[true; 4]], &plain),
    };
    let out = policy_loss(
        input,
        &PolicyClip {
            low: 0.2,
            high: 0.3,
            dual,
        },
        Denominator::Own,
    );
    let gradients = out.loss.backward();
    let gradient = numbers(new.grad(&gradients).unwrap());
    Ran { out, gradient }
}

fn close(got: &[f32], want: &[f32]) {
    let near = got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5);
    assert!(near && got.len() == want.len(), "{got:?} {want:?}");
}

/// Pitfall: the loss is max(−A·r, −A·clip(r)); min clips the wrong side. What would gain more by
/// moving further is held (no gradient), what moved the wrong way is pulled back.
#[test]
fn clipping_by_sign_of_advantage_and_side_of_the_band() {
    let ran = run([2.0, 0.5, 2.0, 0.5], [1.0, 1.0, -1.0, -1.0], None);
    close(&numbers(ran.out.per_token), &[-1.3, -0.5, 2.0, -(-0.8)]);
    close(&ran.gradient, &[0.0, -0.125, 0.5, 0.0]);
    close(&numbers(ran.out.clip_fraction), &[0.5]);
    close(&numbers(ran.out.ratio_outside_fraction), &[1.0]);
    close(&numbers(ran.out.dual_clip_fraction), &[0.0]);
}

#[test]
fn dual_clipping_bounds_the_loss_of_negative_advantages_only() {
    let ran = run([9.0, 2.0, 1.0, 0.5], [-1.0, -1.0, 1.0, 1.0], Some(3.0));
    close(&numbers(ran.out.per_token), &[3.0, 2.0, -1.0, -0.5]);
    close(&ran.gradient, &[0.0, 0.5, -0.25, -0.125]);
    close(&numbers(ran.out.dual_clip_fraction), &[0.25]);
}

/// Before the first update, ratio = 1, KL = 0 and the gradient is −A/n: the policy gradient.
#[test]
fn the_first_epoch_is_the_policy_gradient() {
    let ran = run([1.0; 4], [2.0, -1.0, 0.0, 4.0], None);
    assert_eq!(numbers(ran.out.ratio), [1.0; 4]);
    close(&ran.gradient, &[-0.5, 0.25, 0.0, -1.0]);
    for kl in [
        ran.out.approx_kl_k1,
        ran.out.approx_kl_k2,
        ran.out.approx_kl_k3,
    ] {
        assert_eq!(numbers(kl), [0.0]);
    }
    assert_eq!(numbers(ran.out.clip_fraction), [0.0]);
    assert_eq!(numbers(ran.out.ratio_outside_fraction), [0.0]);
}

#[test]
fn approximate_kls_by_hand() {
    let ran = run([2.0, 1.0, 1.0, 1.0], [0.0; 4], None);
    let d = 2.0f32.ln();
    close(&numbers(ran.out.approx_kl_k1), &[-d / 4.0]);
    close(&numbers(ran.out.approx_kl_k2), &[d * d / 8.0]);
    close(&numbers(ran.out.approx_kl_k3), &[(1.0 - d) / 4.0]);
    close(&numbers(ran.out.mean_ratio), &[1.25]);
}

fn ppo_input(device: &Device) -> PpoLossInput {
    let plain = Device::flex();
    let vary = |values: [f32; 2]| Tensor::<2>::from_floats([values], device).require_grad();
    let fixed = |values: [f32; 2]| Tensor::<2>::from_floats([values], &plain);
    PpoLossInput {
        logprobs: vary([-1.0, -2.0]),
        old_logprobs: vary([-1.0, -2.0]),
        advantages: vary([1.0, 3.0]),
        values: vary([0.0, 1.0]),
        old_values: vary([0.0, 1.0]),
        returns: vary([1.0, 3.0]),
        entropy: vary([0.5, 1.5]),
        mask: fixed([1.0, 1.0]).greater_elem(0.0),
    }
}

const CONFIG: PpoLossConfig = PpoLossConfig {
    clip_low: 0.2,
    clip_high: 0.2,
    dual_clip: None,
    value_clip: None,
    value_coef: 0.1,
    entropy_coef: 0.01,
};

/// Pitfall: advantages, old log-probs, old values and returns are constants.
#[test]
fn constants_get_no_gradient_and_the_terms_add_up() {
    let input = ppo_input(&Device::flex().autodiff());
    let out = ppo_loss(input.clone(), &CONFIG, Denominator::Own);
    let gradients = out.total_loss.backward();
    for constant in [
        input.old_logprobs,
        input.advantages,
        input.old_values,
        input.returns,
    ] {
        assert!(constant.grad(&gradients).is_none());
    }
    close(
        &numbers(input.logprobs.grad(&gradients).unwrap()),
        &[-0.5, -1.5],
    );
    close(
        &numbers(input.values.grad(&gradients).unwrap()),
        &[-0.05, -0.1],
    );
    close(
        &numbers(input.entropy.grad(&gradients).unwrap()),
        &[-0.005, -0.005],
    );
    close(&numbers(out.policy_loss), &[-2.0]);
    close(&numbers(out.value_loss), &[1.25]);
    close(&numbers(out.entropy), &[1.0]);
    close(&numbers(out.total_loss), &[-2.0 + 0.125 - 0.01]);
    assert!(!out.ratio.is_autodiff());
}

/// Pitfall: the pre-training term has its own mean; its coefficient comes after.
#[test]
fn the_pretraining_term_is_added_with_its_coefficient() {
    let device = Device::flex();
    let (ppo, lm) = (
        Tensor::from_floats([1.5], &device),
        Tensor::from_floats([2.0], &device),
    );
    close(&numbers(ppo_ptx_loss(ppo, lm, 4.0)), &[9.5]);
}
