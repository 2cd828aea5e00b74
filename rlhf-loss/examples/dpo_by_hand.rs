//! Direct preference optimisation by hand, on a model of four tokens and no context: its logits are
//! the parameters. Before the first step policy and reference agree and the loss is ln 2; the
//! gradient raises the chosen answer's tokens and lowers the rejected one's.
//!
//! ```text
//! cargo run -p rlhf-loss --example dpo_by_hand
//! ```

use burn::tensor::{Device, Int, Tensor};
use rlhf_loss::{DpoInput, DpoLoss, PairLengths, completion_logprobs, dpo_loss};

const VOCAB: [&str; 4] = ["yes", "no", "please", "."];
const PROMPT: usize = 2;
const CHOSEN: [i32; 4] = [3, 2, 0, 3];
const REJECTED: [i32; 4] = [3, 2, 1, 3];

/// The same logits at every position of one sequence: `[1, time, vocab]`.
fn everywhere(logits: &Tensor<1>) -> Tensor<3> {
    logits
        .clone()
        .reshape([1, 1, VOCAB.len()])
        .expand([1, CHOSEN.len(), VOCAB.len()])
}

/// log p(answer | prompt): ids are the prompt and then the answer, the mask is the answer.
fn answer_logprob(logits: &Tensor<1>, ids: [i32; 4], plain: &Device) -> Tensor<1> {
    let is_answer: [bool; 4] = std::array::from_fn(|place| place >= PROMPT);
    let mask = Tensor::from_bool([is_answer], plain);
    completion_logprobs(
        everywhere(logits),
        Tensor::<2, Int>::from_ints([ids], plain),
        &mask,
    )
}

fn numbers(tensor: &Tensor<1>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}

#[allow(clippy::print_stdout, reason = "an example shows what it computes")]
fn main() {
    let plain = Device::flex();
    let start = Tensor::<1>::from_floats([0.3, 0.1, -0.2, 0.0], &plain);
    let mut policy = start.clone().autodiff().require_grad();
    let beta = 0.5;
    for step in 0..=3 {
        let input = DpoInput {
            chosen_logps: answer_logprob(&policy, CHOSEN, &plain),
            rejected_logps: answer_logprob(&policy, REJECTED, &plain),
            ref_chosen_logps: answer_logprob(&start, CHOSEN, &plain),
            ref_rejected_logps: answer_logprob(&start, REJECTED, &plain),
            lengths: PairLengths {
                chosen: Tensor::from_ints([2], &plain),
                rejected: Tensor::from_ints([2], &plain),
            },
        };
        let out = dpo_loss(input, beta, DpoLoss::Sigmoid);
        let gradients = out.loss.backward();
        let Some(gradient) = policy.grad(&gradients) else {
            println!("the loss does not depend on the policy");
            return;
        };
        println!(
            "step {step}: loss {:.6} (ln 2 = {:.6}), margin {:+.4}",
            numbers(&out.loss)[0],
            std::f32::consts::LN_2,
            numbers(&out.margins)[0],
        );
        for (token, slope) in VOCAB.iter().zip(numbers(&gradient)) {
            let way = match slope {
                s if s < -1e-6 => "descent raises it",
                s if s > 1e-6 => "descent lowers it",
                _ => "left alone",
            };
            println!("    logit of {token:>6}: gradient {slope:+.4}, {way}");
        }
        policy = (policy.without_autodiff() - gradient)
            .autodiff()
            .require_grad();
    }
}
