//! Returns and advantages from token rewards: constants of an update, computed on the host in f64.

use burn::tensor::{Bool, Tensor, assert_shape};

use crate::host;

/// How the future is discounted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Discount {
    /// γ: what a reward one token later is worth.
    pub gamma: f64,
    /// λ: 0 is the one-step error, 1 is Monte Carlo.
    pub lambda: f64,
}

/// Advantages and returns, each `[batch, time]`, without autodiff, 0 at masked positions.
#[derive(Clone, Debug)]
pub struct Gae {
    /// A\[b,t\], not whitened.
    pub advantages: Tensor<2>,
    /// A\[b,t\] + V\[b,t\]: the target of the value function.
    pub returns: Tensor<2>,
}

/// Generalised advantage estimation (Schulman et al., 2015, equation 16):
/// δ_t = r_t + γ·V_next − V_t and A_t = δ_t + γλ·A_next.
///
/// *Next* is the next valid position of the row: masked positions are skipped without a discount.
/// After the last one, V_next is `bootstrap[b]` and A_next is 0. `values[b][t]` belongs to the
/// state *before* token t. Give no bootstrap where the text ended by itself; give the value after
/// the last token, `[batch]`, where it was cut off.
///
/// # Panics
/// If shapes disagree.
pub fn gae(
    rewards: Tensor<2>,
    values: Tensor<2>,
    mask: &Tensor<2, Bool>,
    bootstrap: Option<Tensor<1>>,
    discount: Discount,
) -> Gae {
    let [batch, time] = mask.dims();
    assert_shape!(rewards, [batch, time]);
    assert_shape!(values, [batch, time]);
    let (r, v, valid) = (
        host::floats(&rewards),
        host::floats(&values),
        host::bools(mask),
    );
    let bootstrap = bootstrap.map_or_else(
        || vec![0.0; batch],
        |values| {
            assert_shape!(values, [batch]);
            host::floats(&values)
        },
    );
    let mut advantages = vec![0.0; batch * time];
    let mut returns = vec![0.0; batch * time];
    for (row, &after_last) in bootstrap.iter().enumerate() {
        let (mut next_value, mut next_advantage) = (after_last, 0.0);
        for i in (row * time..(row + 1) * time).rev().filter(|&i| valid[i]) {
            let delta = r[i] + discount.gamma * next_value - v[i];
            next_advantage = delta + discount.gamma * discount.lambda * next_advantage;
            next_value = v[i];
            advantages[i] = next_advantage;
            returns[i] = next_advantage + v[i];
        }
    }
    Gae {
        advantages: host::tensor_like(&advantages, &rewards),
        returns: host::tensor_like(&returns, &rewards),
    }
}

/// The discounted sum of rewards from each position on: Σ_{k≥0} γ^k r over the valid positions,
/// `[batch, time]`, without autodiff.
///
/// # Panics
/// If the shapes differ.
pub fn reward_to_go(rewards: Tensor<2>, mask: &Tensor<2, Bool>, gamma: f64) -> Tensor<2> {
    let [batch, time] = mask.dims();
    assert_shape!(rewards, [batch, time]);
    let (r, valid) = (host::floats(&rewards), host::bools(mask));
    let mut returns = vec![0.0; batch * time];
    for row in 0..batch {
        let mut rest = 0.0;
        for i in (row * time..(row + 1) * time).rev().filter(|&i| valid[i]) {
            rest = r[i] + gamma * rest;
            returns[i] = rest;
        }
    }
    host::tensor_like(&returns, &rewards)
}

/// How values are whitened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whiten {
    /// Take the mean away (advantages); otherwise it is added back (rewards).
    pub shift: bool,
    /// Divide the squared deviations by n instead of n − 1.
    pub biased: bool,
    /// Added to the variance under the root.
    pub eps: f64,
}

impl Default for Whiten {
    fn default() -> Self {
        Self {
            shift: true,
            biased: false,
            eps: 1e-8,
        }
    }
}

/// (x − mean) / √(var + eps) over all valid positions of the batch, `[batch, time]`, without
/// autodiff. The unbiased variance of one value is 0.
///
/// Whiten the whole batch, not each micro-batch. Returns are computed from advantages that are
/// not whitened.
///
/// # Panics
/// If the shapes differ.
pub fn whiten(values: Tensor<2>, mask: &Tensor<2, Bool>, how: Whiten) -> Tensor<2> {
    let [batch, time] = mask.dims();
    assert_shape!(values, [batch, time]);
    let (x, valid) = (host::floats(&values), host::bools(mask));
    let kept = || {
        x.iter()
            .zip(&valid)
            .filter(|&(_, &valid)| valid)
            .map(|(&x, _)| x)
    };
    let count = kept().count() as f64;
    let mean = kept().sum::<f64>() / count.max(1.0);
    let squares: f64 = kept().map(|x| (x - mean).powi(2)).sum();
    let variance = squares / if how.biased { count } else { count - 1.0 }.max(1.0);
    let scale = (variance + how.eps).sqrt().recip();
    let offset = if how.shift { 0.0 } else { mean };
    let whitened = x.iter().zip(&valid).map(|(&x, &valid)| {
        if valid {
            (x - mean) * scale + offset
        } else {
            0.0
        }
    });
    host::tensor_like(&whitened.collect::<Vec<_>>(), &values)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::host::numbers;

    /// Pitfalls: bootstrapping the value of padding leaks rubbish; a hole must not discount.
    #[test]
    fn masked_positions_are_skipped_without_discount() {
        let device = Device::flex();
        let rewards = Tensor::from_floats([[1.0, f32::NAN, 2.0, 1e30]], &device);
        let values = Tensor::from_floats([[0.5, f32::INFINITY, 1.0, -1e30]], &device);
        let mask = Tensor::from_bool([[true, false, true, false]], &device);
        let discount = Discount {
            gamma: 0.5,
            lambda: 0.5,
        };
        let plain = gae(rewards.clone(), values.clone(), &mask, None, discount);
        assert_eq!(numbers(plain.advantages), [1.25, 0.0, 1.0, 0.0]);
        assert_eq!(numbers(plain.returns), [1.75, 0.0, 2.0, 0.0]);
        let cut_off = Some(Tensor::from_floats([4.0], &device));
        let bootstrapped = gae(rewards.clone(), values, &mask, cut_off, discount);
        assert_eq!(numbers(bootstrapped.advantages), [1.75, 0.0, 3.0, 0.0]);
        assert_eq!(
            numbers(reward_to_go(rewards, &mask, 0.5)),
            [2.0, 0.0, 2.0, 0.0]
        );
    }

    /// Pitfalls: rewards keep their mean, advantages lose it; the variance convention is stated.
    #[test]
    fn the_variants_of_whitening() {
        let device = Device::flex();
        let values = Tensor::from_floats([[1.0, 3.0, f32::NAN]], &device);
        let mask = Tensor::from_bool([[true, true, false]], &device);
        let run = |shift, biased| {
            numbers(whiten(
                values.clone(),
                &mask,
                Whiten {
                    shift,
                    biased,
                    eps: 0.0,
                },
            ))
        };
        let root = 0.5f32.sqrt();
        assert_eq!(run(true, false), [-root, root, 0.0]);
        assert_eq!(run(false, false), [2.0 - root, 2.0 + root, 0.0]);
        assert_eq!(run(true, true), [-1.0, 1.0, 0.0]);
        assert_eq!(run(false, true), [1.0, 3.0, 0.0]);
    }

    /// eps is added to the variance, under the root.
    #[test]
    fn eps_stands_under_the_root() {
        let device = Device::flex();
        let values = Tensor::from_floats([[1.0, 3.0]], &device);
        let mask = Tensor::from_bool([[true, true]], &device);
        let how = Whiten {
            shift: true,
            biased: true,
            eps: 3.0,
        };
        assert_eq!(numbers(whiten(values, &mask, how)), [-0.5, 0.5]);
    }

    /// Rounding must not turn equal values into ±1: 0.1 has no exact binary form.
    #[test]
    fn equal_values_and_a_single_value_whiten_to_exactly_zero() {
        let device = Device::flex();
        let values = Tensor::<2>::full([3, 5], 0.1, &device);
        let all = Tensor::from_bool([[true; 5]; 3], &device);
        assert_eq!(
            numbers(whiten(values.clone(), &all, Whiten::default())),
            [0.0; 15]
        );
        let mut one = [[false; 5]; 3];
        one[1][2] = true;
        let one = Tensor::from_bool(one, &device);
        assert_eq!(numbers(whiten(values, &one, Whiten::default())), [0.0; 15]);
    }

    #[test]
    fn gradients_do_not_flow_and_the_result_is_plain() {
        let device = Device::flex().autodiff();
        let rewards = Tensor::<2>::ones([1, 2], &device).require_grad();
        let mask = Tensor::from_bool([[true; 2]], &Device::flex());
        let discount = Discount {
            gamma: 1.0,
            lambda: 1.0,
        };
        let out = gae(rewards.clone(), rewards, &mask, None, discount);
        assert!(!out.advantages.is_autodiff());
        assert!(!out.returns.is_autodiff());
    }
}
