//! The gradient of one minibatch: clipped policy and value losses, the entropy bonus, and the
//! pre-training term.

use crate::experience::{ExperienceRow, response_batch, values_at};
use crate::update::Trained;
use crate::{PpoConfig, PpoError};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use rlhf_data::PackedRow;
use rlhf_loss::{Denominator, PpoLossConfig, PpoLossInput, PpoLossOutput, ppo_loss};
use rlhf_model::{ScoreModel, Transformer};
use rlhf_train::gradients::{Division, summed_gradients};
use rlhf_train::supervised::{scalar, supervised_loss, trained_tokens};

/// What a minibatch is taken from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Minibatch<'a> {
    pub(crate) config: &'a PpoConfig,
    /// The answers.
    pub(crate) rows: &'a [&'a ExperienceRow],
    /// Rows of pre-training text; none without the PPO-ptx term.
    pub(crate) text: &'a [&'a PackedRow],
    /// What is taken off every score, and so off the values.
    pub(crate) score_offset: f64,
    pub(crate) device: &'a Device,
}

/// Figures of a loss by name; all are means over the minibatch.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// What a minibatch gave.
#[derive(Debug)]
pub(crate) struct MinibatchGradients {
    /// Of policy and value model.
    pub(crate) gradients: GradientsParams,
    /// The sum of all terms.
    pub(crate) loss: f64,
    /// Of the answers' tokens.
    pub(crate) figures: Figures,
    /// k3 estimate of the KL to the policy that wrote the answers.
    pub(crate) approx_kl: f64,
}

/// Rows that are worked on together.
enum Part<'a> {
    Answers(Vec<&'a ExperienceRow>),
    Text(Vec<&'a PackedRow>),
}

impl Minibatch<'_> {
    /// The gradient of the whole loss, its rows in parts that the cores share.
    pub(crate) fn gradients(&self, trained: &Trained) -> Result<MinibatchGradients, PpoError> {
        // Clones share the weights, and are gone before these change.
        let networks = (trained.policy.clone(), trained.value.clone());
        let parameters = networks.num_params();
        let tokens: usize = self.rows.iter().map(|row| row.old_logprobs.len()).sum();
        let text_tokens: usize = self.text.iter().map(|row| trained_tokens(row)).sum();
        let micro_batch = self.config.micro_batch_size;
        let divide =
            |lengths: Vec<usize>| Division::new(&lengths, micro_batch, parameters, self.device);
        let answers = divide(self.rows.iter().map(|row| row.ids.len()).collect());
        let text = divide(self.text.iter().map(|row| row.ids.len()).collect());
        let cores = answers.cores;
        let of_answers = answers.parts.into_iter();
        let of_answers =
            of_answers.map(|part| Part::Answers(part.iter().map(|&i| self.rows[i]).collect()));
        let of_text = text.parts.into_iter();
        let of_text = of_text.map(|part| Part::Text(part.iter().map(|&i| self.text[i]).collect()));
        let parts: Vec<Part<'_>> = of_answers.chain(of_text).collect();
        let summed = summed_gradients(&networks, &parts, cores, |(policy, value), part| {
            let (loss, figures) = match part {
                Part::Answers(rows) => {
                    let output = self.answer_loss((policy, value), rows, tokens);
                    (output.total_loss.clone(), figures_of(&output))
                }
                Part::Text(rows) => {
                    let loss = supervised_loss(policy, rows, text_tokens.max(1), self.device)?;
                    let figures = vec![("ptx_loss", scalar(&loss))];
                    (loss * self.config.ptx_coef, figures)
                }
            };
            let value = scalar(&loss);
            Ok::<_, PpoError>((loss, (value, figures)))
        })?;
        let mut figures = Figures::new();
        let mut loss = 0.0;
        for (of_part, found) in summed.figures {
            loss += of_part;
            add(&mut figures, &found);
        }
        let approx_kl = figures.iter().find(|(name, _)| *name == APPROX_KL);
        Ok(MinibatchGradients {
            gradients: summed.gradients,
            loss,
            approx_kl: approx_kl.map_or(0.0, |(_, value)| *value),
            figures,
        })
    }

    /// The loss of some of the answers, a share of the means over all their tokens.
    fn answer_loss(
        &self,
        (policy, value): (&Transformer, &ScoreModel),
        rows: &[&ExperienceRow],
        tokens: usize,
    ) -> PpoLossOutput {
        let (loss, device) = (&self.config.loss, self.device);
        let of_rows: Vec<(&[u32], usize)> = rows
            .iter()
            .map(|r| (r.ids.as_slice(), r.prompt_len))
            .collect();
        let (batch, targets) = response_batch(&of_rows, device);
        let (logprobs, entropy) = targets.logprobs_entropy(policy, &batch, loss.temperature);
        let values = values_at(value, &batch, &targets) - self.score_offset;
        let n = targets.len();
        let constant = |of: fn(&ExperienceRow) -> &[f32]| {
            let flat: Vec<f32> = rows.iter().flat_map(|r| of(r).iter().copied()).collect();
            Tensor::<2>::from_data(TensorData::new(flat, [1, n]), device)
        };
        let input = PpoLossInput {
            logprobs: logprobs.reshape([1, n]),
            old_logprobs: constant(|r| &r.old_logprobs),
            advantages: constant(|r| &r.advantages),
            values: values.reshape([1, n]),
            old_values: constant(|r| &r.old_values),
            returns: constant(|r| &r.returns),
            entropy: entropy.reshape([1, n]),
            mask: Tensor::<2, Bool>::from_data(TensorData::new(vec![true; n], [1, n]), device),
        };
        let loss_config = PpoLossConfig {
            clip_low: loss.clip_range,
            clip_high: loss.clip_range,
            dual_clip: None,
            value_clip: Some(loss.value_clip),
            value_coef: loss.value_coef,
            entropy_coef: loss.entropy_coef,
        };
        ppo_loss(input, &loss_config, Denominator::Whole(tokens as f64))
    }
}

/// Adds figures to those of the same names, in the order in which names first came.
pub(crate) fn add(sums: &mut Figures, figures: &[(&'static str, f64)]) {
    for &(name, value) in figures {
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += value,
            None => sums.push((name, value)),
        }
    }
}

const APPROX_KL: &str = "approx_kl";

fn figures_of(output: &PpoLossOutput) -> Figures {
    vec![
        ("policy_loss", scalar(&output.policy_loss)),
        ("value_loss", scalar(&output.value_loss)),
        ("entropy", scalar(&output.entropy)),
        (APPROX_KL, scalar(&output.approx_kl_k3)),
        ("clip_fraction", scalar(&output.clip_fraction)),
        ("ratio", scalar(&output.mean_ratio)),
    ]
}
