//! The gradient of one minibatch: clipped policy and value losses, the entropy bonus, and the
//! pre-training term.

use crate::experience::{ExperienceRow, response_batch};
use crate::update::Trained;
use crate::{PpoConfig, PpoError};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use rlhf_data::PackedRow;
use rlhf_loss::{Denominator, PolicyClip, PolicyInput, ValueInput, policy_loss, value_loss};
use rlhf_model::{CausalLm, Transformer};
use rlhf_train::gradients::{Division, summed_gradients};
use rlhf_train::supervised::{scalar, supervised_loss, trained_tokens};
use rlhf_train::targets::Targets;

/// What a minibatch is taken from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Minibatch<'a> {
    pub(crate) config: &'a PpoConfig,
    /// The answers.
    pub(crate) rows: &'a [&'a ExperienceRow],
    /// Rows of pre-training text; none without the PPO-ptx term.
    pub(crate) text: &'a [&'a PackedRow],
    /// What is taken off the critic's values.
    pub(crate) value_offset: f64,
    pub(crate) device: &'a Device,
}

/// Figures of a loss by name; all are means over the minibatch.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// What a minibatch gave.
#[derive(Debug)]
pub(crate) struct MinibatchGradients {
    /// Of policy and critic.
    pub(crate) gradients: GradientsParams,
    /// The sum of all terms.
    pub(crate) loss: f64,
    /// Of the answers' tokens.
    pub(crate) figures: Figures,
    /// k3 estimate of the KL to the policy that wrote the answers.
    pub(crate) approx_kl: f64,
}

/// Rows that are worked on together, and for whom: policy and value model share nothing, so that each
/// has parts of its own, while a head on the policy reads the same pass.
enum Part<'a> {
    Policy(Vec<&'a ExperienceRow>),
    Value(Vec<&'a ExperienceRow>),
    Both(Vec<&'a ExperienceRow>),
    Text(Vec<&'a PackedRow>),
}

/// A part's loss and its figures.
type PartLoss = (Tensor<1>, Figures);

impl Minibatch<'_> {
    /// The gradient of the whole loss, its rows in parts that the cores share.
    pub(crate) fn gradients(&self, trained: &Trained) -> Result<MinibatchGradients, PpoError> {
        // Clones share the weights, and are gone before these change.
        let networks = (trained.policy.clone(), trained.critic.clone());
        let parameters = networks.num_params();
        let tokens: usize = self.rows.iter().map(|row| row.old_logprobs.len()).sum();
        let text_tokens: usize = self.text.iter().map(|row| trained_tokens(row)).sum();
        let micro_batch = self.config.micro_batch_size;
        let divide =
            |lengths: Vec<usize>| Division::new(&lengths, micro_batch, parameters, self.device);
        let answers = divide(self.rows.iter().map(|row| row.ids.len()).collect());
        let text = divide(self.text.iter().map(|row| row.ids.len()).collect());
        let cores = answers.cores;
        let of_answers = answers.parts.iter();
        let of_answers = of_answers.flat_map(|part| {
            let rows: Vec<&ExperienceRow> = part.iter().map(|&i| self.rows[i]).collect();
            if trained.critic.shares_trunk() {
                vec![Part::Both(rows)]
            } else {
                vec![Part::Policy(rows.clone()), Part::Value(rows)]
            }
        });
        let of_text = text.parts.into_iter();
        let of_text = of_text.map(|part| Part::Text(part.iter().map(|&i| self.text[i]).collect()));
        let parts: Vec<Part<'_>> = of_answers.chain(of_text).collect();
        let summed = summed_gradients(&networks, &parts, cores, |(policy, critic), part| {
            let trunk = critic.trunk(policy);
            let (loss, figures) = match part {
                Part::Policy(rows) => {
                    let (targets, hidden) = self.predictors(policy, rows);
                    self.policy_loss((policy, hidden), (&targets, rows), tokens)
                }
                Part::Value(rows) => {
                    let (_, hidden) = self.predictors(trunk, rows);
                    self.value_loss(critic.values(hidden), rows, tokens)
                }
                Part::Both(rows) => {
                    let (targets, hidden) = self.predictors(trunk, rows);
                    let values = critic.values(hidden.clone());
                    let (loss, mut figures) =
                        self.policy_loss((policy, hidden), (&targets, rows), tokens);
                    let (of_values, found) = self.value_loss(values, rows, tokens);
                    figures.extend(found);
                    (loss + of_values, figures)
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

    /// The response tokens of some of the answers, and the hidden states that predict them.
    fn predictors(&self, trunk: &Transformer, rows: &[&ExperienceRow]) -> (Targets, Tensor<2>) {
        let rows = rows.iter().map(|row| (row.ids.as_slice(), row.prompt_len));
        let (batch, targets) = response_batch(&rows.collect::<Vec<_>>(), self.device);
        let hidden = targets.predictors(trunk.hidden(&batch, None));
        (targets, hidden)
    }

    /// The policy's loss of some of the answers, a share of the means over all their tokens.
    fn policy_loss(
        &self,
        (policy, hidden): (&Transformer, Tensor<2>),
        (targets, rows): (&Targets, &[&ExperienceRow]),
        tokens: usize,
    ) -> PartLoss {
        let config = &self.config.loss;
        let (logprobs, entropy) = targets.logprobs_entropy_from(policy, hidden, config.temperature);
        let n = targets.len();
        let (mask, whole) = (self.mask(n), Denominator::Whole(tokens as f64));
        let entropy = entropy.sum() / tokens.max(1) as f64;
        let input = PolicyInput {
            logprobs: logprobs.reshape([1, n]),
            old_logprobs: self.constant(rows, |row| &row.old_logprobs),
            advantages: self.constant(rows, |row| &row.advantages),
            mask,
        };
        let clip = PolicyClip {
            low: config.clip_range,
            high: config.clip_range,
            dual: None,
        };
        let found = policy_loss(input, &clip, whole);
        let figures = vec![
            ("policy_loss", scalar(&found.loss)),
            ("entropy", scalar(&entropy)),
            (APPROX_KL, scalar(&found.approx_kl_k3)),
            ("clip_fraction", scalar(&found.clip_fraction)),
            ("ratio", scalar(&found.mean_ratio)),
        ];
        let loss = match config.entropy_coef {
            0.0 => found.loss,
            coef => found.loss - entropy * coef,
        };
        (loss, figures)
    }

    /// The values' loss of some of the answers, likewise.
    fn value_loss(&self, values: Tensor<1>, rows: &[&ExperienceRow], tokens: usize) -> PartLoss {
        let config = &self.config.loss;
        let [n] = values.dims();
        let values = values - self.value_offset;
        let input = ValueInput {
            values: values.reshape([1, n]),
            old_values: self.constant(rows, |row| &row.old_values),
            returns: self.constant(rows, |row| &row.returns),
            mask: self.mask(n),
        };
        let whole = Denominator::Whole(tokens as f64);
        let found = value_loss(input, Some(config.value_clip), whole);
        let figures = vec![("value_loss", scalar(&found.loss))];
        (found.loss * config.value_coef, figures)
    }

    /// What the rows have for their tokens, `[1, n]`.
    fn constant(&self, rows: &[&ExperienceRow], of: fn(&ExperienceRow) -> &[f32]) -> Tensor<2> {
        let flat: Vec<f32> = rows
            .iter()
            .flat_map(|row| of(row).iter().copied())
            .collect();
        let n = flat.len();
        Tensor::from_data(TensorData::new(flat, [1, n]), self.device)
    }

    /// All of `n` tokens, `[1, n]`.
    fn mask(&self, n: usize) -> Tensor<2, Bool> {
        Tensor::from_data(TensorData::new(vec![true; n], [1, n]), self.device)
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
