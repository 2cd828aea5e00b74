//! Losses of a reward model on people's comparisons.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Bool, Int, Tensor, TensorData, assert_shape};

use crate::masked::{mean_of, zero_invalid};

/// The loss on pairs. Everything but `loss` and `per_pair` is detached.
#[derive(Clone, Debug)]
pub struct BradleyTerry {
    /// mean(per_pair) + centre_coef · mean((chosen + rejected)²)
    pub loss: Tensor<1>,
    /// `[pairs]`: −log σ(chosen − rejected − margin)
    pub per_pair: Tensor<1>,
    /// mean(chosen − rejected)
    pub mean_margin: Tensor<1>,
    /// The share of pairs with chosen > rejected, strictly.
    pub accuracy: Tensor<1>,
    /// The same with ½ for equal scores.
    pub accuracy_ties_half: Tensor<1>,
}

/// The share of entries at which `flag` holds.
pub(crate) fn share(flag: Tensor<1, Bool>) -> Tensor<1> {
    mean_of(flag.float())
}

/// −log σ(chosen − rejected − margin), averaged over pairs (Ouyang et al., 2022, equation 1; the
/// margin is Llama 2's, Touvron et al., 2023, equation 2), plus
/// centre_coef · mean((chosen + rejected)²), which holds scores around 0 (Eisenstein et al.,
/// "Helping or herding?", 2023).
///
/// All of `[pairs]`. A micro-batch's share of an update is its loss times its part of the pairs.
///
/// # Panics
/// If the lengths differ.
pub fn bradley_terry(
    chosen: Tensor<1>,
    rejected: Tensor<1>,
    margin: Option<Tensor<1>>,
    centre_coef: f64,
) -> BradleyTerry {
    let [pairs] = chosen.dims();
    assert_shape!(rejected, [pairs]);
    let difference = chosen.clone() - rejected.clone();
    let beyond = match margin {
        Some(margin) => {
            assert_shape!(margin, [pairs]);
            difference.clone() - margin
        }
        None => difference.clone(),
    };
    let per_pair = log_sigmoid(beyond).neg();
    let mut loss = mean_of(per_pair.clone());
    if centre_coef != 0.0 {
        let sum = chosen + rejected;
        loss = loss + mean_of(sum.clone() * sum) * centre_coef;
    }
    let difference = difference.without_autodiff();
    let accuracy = share(difference.clone().greater_elem(0.0));
    let ties = share(difference.clone().equal_elem(0.0));
    BradleyTerry {
        loss,
        per_pair,
        mean_margin: mean_of(difference),
        accuracy_ties_half: accuracy.clone() + ties * 0.5,
        accuracy,
    }
}

/// The loss on prompts with several ranked answers. `accuracy` is detached.
#[derive(Clone, Debug)]
pub struct KWise {
    /// The mean of `per_prompt` over prompts that have a pair.
    pub loss: Tensor<1>,
    /// `[prompts]`: the mean over the prompt's pairs of −log σ(better − worse); 0 without a pair.
    pub per_prompt: Tensor<1>,
    /// Pairs of each prompt.
    pub num_pairs: Vec<usize>,
    /// The share of all pairs with better > worse, strictly.
    pub accuracy: Tensor<1>,
}

/// All untied pairs of one prompt's answers as (better, worse) positions; a smaller rank is better.
/// Ties are no evidence and make no pair.
pub fn pairs_from_ranks(ranks: &[i64]) -> Vec<(usize, usize)> {
    let answers = 0..ranks.len();
    let all = answers
        .clone()
        .flat_map(|i| answers.clone().map(move |j| (i, j)));
    all.filter(|&(i, j)| ranks[i] < ranks[j]).collect()
}

/// −log σ(better − worse) over the pairs of each prompt (Ouyang et al., 2022, equation 1): every
/// prompt weighs the same, a pair 1/C(K, 2) of that where K answers are fully ranked. Pairs of one
/// prompt belong into one update; shuffled as independent pairs they are seen K − 1 times.
///
/// `scores` is `[answers]`, of all prompts after one another; `pairs` holds for each prompt its
/// (better, worse) indices into `scores`. A micro-batch's share of an update is its loss times its
/// part of the prompts that have a pair.
///
/// # Panics
/// If an index is out of range.
pub fn k_wise(scores: Tensor<1>, pairs: &[Vec<(usize, usize)>]) -> KWise {
    let num_pairs: Vec<usize> = pairs.iter().map(Vec::len).collect();
    let flat = all_pairs(&scores, pairs);
    if flat.is_empty() {
        // Hung on the graph of the scores, so that a backward pass finds zero gradients.
        let nothing = scores.clone().without_autodiff();
        return KWise {
            loss: zero_invalid(scores, &nothing.zeros_like().greater_elem(0.0)).sum(),
            per_prompt: Tensor::zeros([pairs.len()], (&nothing.device(), nothing.dtype())),
            accuracy: Tensor::zeros([1], (&nothing.device(), nothing.dtype())),
            num_pairs,
        };
    }
    let difference = pick(&scores, flat.iter().map(|pair| pair.0))
        - pick(&scores, flat.iter().map(|pair| pair.1));
    let accuracy = share(difference.clone().without_autodiff().greater_elem(0.0));
    let per_prompt = pair_weights(&num_pairs, &scores)
        .matmul(log_sigmoid(difference).neg().unsqueeze_dim::<2>(1))
        .squeeze_dim::<1>(1);
    let with_pairs = num_pairs.iter().filter(|&&count| count > 0).count();
    KWise {
        loss: per_prompt.clone().sum() / with_pairs as f64,
        per_prompt,
        num_pairs,
        accuracy,
    }
}

/// mean((better + worse)²) over all pairs: the centring term of [`bradley_terry`] for [`k_wise`]'s
/// scores and pairs. 0 without a pair. A micro-batch's share of an update is this times its part of
/// the pairs.
///
/// # Panics
/// If an index is out of range.
pub fn k_wise_centring(scores: Tensor<1>, pairs: &[Vec<(usize, usize)>]) -> Tensor<1> {
    let flat = all_pairs(&scores, pairs);
    if flat.is_empty() {
        return k_wise(scores, pairs).loss;
    }
    let sum = pick(&scores, flat.iter().map(|pair| pair.0))
        + pick(&scores, flat.iter().map(|pair| pair.1));
    mean_of(sum.clone() * sum)
}

/// The pairs of all prompts after one another; each points at two of the scores.
fn all_pairs(scores: &Tensor<1>, pairs: &[Vec<(usize, usize)>]) -> Vec<(usize, usize)> {
    let [answers] = scores.dims();
    let flat: Vec<(usize, usize)> = pairs.iter().flatten().copied().collect();
    for &(better, worse) in &flat {
        assert!(
            better < answers && worse < answers,
            "pair ({better}, {worse}) points past the {answers} scores"
        );
    }
    flat
}

/// The scores at some indices.
fn pick(scores: &Tensor<1>, indices: impl ExactSizeIterator<Item = usize>) -> Tensor<1> {
    let device = scores.clone().without_autodiff().device();
    let indices: Vec<i64> = indices.map(|index| index as i64).collect();
    let count = indices.len();
    let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [count]), &device);
    scores.clone().select(0, indices)
}

/// `[prompts, pairs]`: 1 / (pairs of the prompt) where the pair is the prompt's.
fn pair_weights(num_pairs: &[usize], like: &Tensor<1>) -> Tensor<2> {
    let total: usize = num_pairs.iter().sum();
    let mut weights = vec![0.0f64; num_pairs.len() * total];
    let mut first = 0;
    for (prompt, &count) in num_pairs.iter().enumerate() {
        let row = prompt * total + first;
        weights[row..row + count].fill(1.0 / count.max(1) as f64);
        first += count;
    }
    let device = like.clone().without_autodiff().device();
    let data = TensorData::new(weights, [num_pairs.len(), total]);
    Tensor::from_data(data, (&device, like.dtype()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::host::numbers;

    fn vector<const N: usize>(values: [f32; N]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex())
    }

    fn number(tensor: Tensor<1>) -> f32 {
        tensor.into_scalar()
    }

    /// Pitfalls: −log(σ(d)) is inf at d = −90; ties in scores are not correct.
    #[test]
    fn extreme_and_equal_differences() {
        let out = bradley_terry(
            vector([-90.0, 90.0, 2.0]),
            vector([0.0, 0.0, 2.0]),
            None,
            0.0,
        );
        let per_pair = numbers(out.per_pair);
        assert_eq!(per_pair[0], 90.0);
        assert!(per_pair[1].abs() < 1e-30);
        assert!((per_pair[2] - 2.0f32.ln()).abs() < 1e-7);
        assert!((number(out.accuracy) - 1.0 / 3.0).abs() < 1e-7);
        assert!((number(out.accuracy_ties_half) - 0.5).abs() < 1e-7);
        assert_eq!(number(out.mean_margin), 0.0);
    }

    #[test]
    fn a_margin_asks_for_more_and_centring_pulls_to_zero() {
        let (chosen, rejected) = (vector([1.0]), vector([3.0]));
        let plain = number(bradley_terry(chosen.clone(), rejected.clone(), None, 0.0).loss);
        let centred = number(bradley_terry(chosen.clone(), rejected.clone(), None, 0.25).loss);
        assert!((centred - plain - 4.0).abs() < 1e-5);
        let more = bradley_terry(chosen, rejected, Some(vector([0.5])), 0.0);
        let want = (1.0 + 2.5f32.exp()).ln();
        assert!((number(more.loss) - want).abs() < 1e-6);
        assert_eq!(number(more.mean_margin), -2.0);
    }

    /// Pitfall: ties in labels are no evidence.
    #[test]
    fn tied_ranks_make_no_pair() {
        assert_eq!(pairs_from_ranks(&[1, 0, 1]), [(1, 0), (1, 2)]);
        assert_eq!(pairs_from_ranks(&[4, 4]), []);
        assert_eq!(pairs_from_ranks(&[0, 1, 2]), [(0, 1), (0, 2), (1, 2)]);
    }

    /// Pitfall: all pairs of one prompt are one item of weight 1.
    #[test]
    fn every_prompt_weighs_the_same() {
        let scores = vector([0.0, 0.0, 0.0, 5.0, 1.0]);
        let pairs = [vec![(0, 1), (0, 2), (1, 2)], vec![(4, 3)], vec![]];
        let out = k_wise(scores, &pairs);
        let wrong = (1.0 + 4.0f32.exp()).ln();
        let want = (2.0f32.ln() + wrong) / 2.0;
        assert!((number(out.loss) - want).abs() < 1e-6);
        let per_prompt = numbers(out.per_prompt);
        assert!((per_prompt[0] - 2.0f32.ln()).abs() < 1e-6 && per_prompt[2] == 0.0);
        assert_eq!(out.num_pairs, [3, 1, 0]);
        assert_eq!(number(out.accuracy), 0.0);
    }

    #[test]
    fn centring_is_that_of_bradley_terry() {
        let scores = vector([0.5, -1.0, 2.0]);
        let (chosen, rejected) = (vector([0.5, 2.0]), vector([-1.0, 0.5]));
        let plain = number(bradley_terry(chosen.clone(), rejected.clone(), None, 0.0).loss);
        let centred = number(bradley_terry(chosen, rejected, None, 1.0).loss);
        let found = number(k_wise_centring(
            scores.clone(),
            &[vec![(0, 1)], vec![(2, 0)]],
        ));
        assert!((found - (0.25 + 6.25) / 2.0).abs() < 1e-6);
        assert!((centred - plain - found).abs() < 1e-5);
        assert_eq!(number(k_wise_centring(scores, &[vec![]])), 0.0);
    }

    #[test]
    fn without_a_pair_loss_and_gradient_are_zero() {
        let device = Device::flex().autodiff();
        let scores = Tensor::<1>::from_floats([1.0, f32::NAN], &device).require_grad();
        let out = k_wise(scores.clone(), &[vec![], vec![]]);
        let gradients = out.loss.backward();
        assert_eq!(number(out.loss), 0.0);
        assert_eq!(number(scores.grad(&gradients).unwrap().abs().sum()), 0.0);
        assert_eq!(out.per_prompt.dims(), [2]);
    }

    #[test]
    fn no_pairs_have_loss_zero() {
        let nothing = || Tensor::<1>::zeros([0], &Device::flex());
        assert_eq!(
            number(bradley_terry(nothing(), nothing(), None, 1.0).loss),
            0.0
        );
    }

    #[test]
    #[should_panic(expected = "pair (0, 2) points past the 2 scores")]
    fn a_worse_answer_out_of_range_is_refused() {
        k_wise(vector([1.0, 2.0]), &[vec![(0, 2)]]);
    }

    #[test]
    #[should_panic(expected = "pair (2, 1) points past the 2 scores")]
    fn a_better_answer_out_of_range_is_refused() {
        k_wise_centring(vector([1.0, 2.0]), &[vec![(0, 1)], vec![(2, 1)]]);
    }
}
