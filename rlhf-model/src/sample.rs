//! From the logits of one position to one token.

mod row;

use crate::ModelError;
use rlhf_random::Rng;
use row::SoftmaxRow;
use serde::{Deserialize, Serialize};

/// How answers are drawn. The filters act in this order, each on the distribution renormalised
/// over what is still kept: repetition penalty, temperature, top-k, top-p, min-p.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// The largest number of new tokens; the prompt does not count.
    pub max_new_tokens: usize,
    /// Divides the logits; 0 takes the largest logit, the lowest id on ties.
    pub temperature: f64,
    /// Keeps the k largest logits and all that tie with the k-th; 0 is off.
    pub top_k: usize,
    /// Keeps a token if the probability of all likelier ones is below this; 1 is off.
    pub top_p: f64,
    /// Keeps tokens of at least this share of the largest probability; 0 is off.
    pub min_p: f64,
    /// Divides positive and multiplies negative logits of tokens that occurred, prompt included;
    /// 1 is off.
    pub repetition_penalty: f64,
    /// Tokens that end an answer with [`Finish::Eos`](crate::Finish::Eos).
    pub stop_ids: Vec<u32>,
    /// Tokens that end an answer with [`Finish::Stop`](crate::Finish::Stop).
    pub extra_stop_ids: Vec<u32>,
}

impl Default for SamplingConfig {
    /// 64 tokens from the model's own distribution, without end tokens.
    fn default() -> Self {
        Self {
            max_new_tokens: 64,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            stop_ids: Vec::new(),
            extra_stop_ids: Vec::new(),
        }
    }
}

impl SamplingConfig {
    /// Greedy decoding: temperature 0, no penalty, no filter.
    pub fn greedy(max_new_tokens: usize) -> Self {
        Self {
            max_new_tokens,
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ModelError::Sampling`] names the first setting out of its range.
    pub fn validate(&self) -> Result<(), ModelError> {
        let bad = |field, found: String, wanted| {
            Err(ModelError::Sampling {
                field,
                found,
                wanted,
            })
        };
        if self.max_new_tokens == 0 {
            return bad("max_new_tokens", "0".into(), "at least 1");
        }
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return bad(
                "temperature",
                self.temperature.to_string(),
                "0 or a positive number",
            );
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return bad("top_p", self.top_p.to_string(), "above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return bad("min_p", self.min_p.to_string(), "between 0 and 1");
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return bad(
                "repetition_penalty",
                self.repetition_penalty.to_string(),
                "above 0",
            );
        }
        Ok(())
    }

    /// The temperature that log-probabilities are taken at: 1 when decoding is greedy.
    pub fn logprob_temperature(&self) -> f64 {
        if self.temperature == 0.0 {
            1.0
        } else {
            self.temperature
        }
    }

    fn filters(&self) -> bool {
        self.top_k > 0 || self.top_p < 1.0 || self.min_p > 0.0 || self.penalises()
    }

    fn penalises(&self) -> bool {
        self.repetition_penalty != 1.0
    }
}

/// A drawn token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// Its id.
    pub token: u32,
    /// `log softmax(logits / T)[token]`, before penalty and filters; T is 1 when greedy.
    pub logprob: f32,
}

/// Draws tokens, in memory that it keeps from one to the next.
#[derive(Debug, Default)]
pub struct Sampler {
    softmax: row::Buffers,
    filtered: Filtered,
}

impl Sampler {
    /// Draws a token from one position's logits; one number of `rng` is used unless decoding is
    /// greedy. `previous` holds the tokens so far, prompt included; only the penalty looks at it.
    ///
    /// # Errors
    /// [`ModelError::Logits`] if the logits are not finite.
    pub fn pick(
        &mut self,
        logits: &[f32],
        previous: &[u32],
        config: &SamplingConfig,
        rng: &mut Rng,
    ) -> Result<Pick, ModelError> {
        let row = SoftmaxRow::new(logits, config.logprob_temperature(), &mut self.softmax);
        let row = row.ok_or(ModelError::Logits)?;
        let token = if config.temperature == 0.0 && !config.penalises() {
            row.argmax()
        } else if config.filters() {
            rng.weighted(self.filtered.probs(logits, previous, config))
        } else {
            row.draw(rng.uniform())
        };
        Ok(Pick {
            token: token as u32,
            logprob: row.logprob(token),
        })
    }
}

/// The probabilities that a token is drawn with: one for each id, exactly 0 for a filtered one.
/// `previous` holds the tokens so far, prompt included; only the penalty looks at it.
/// At temperature 0 all mass is on the largest logit, the lowest id on ties.
pub fn filtered_probs(logits: &[f32], previous: &[u32], config: &SamplingConfig) -> Vec<f32> {
    let mut filtered = Filtered::default();
    let probs = filtered.probs(logits, previous, config);
    probs.iter().map(|&p| p as f32).collect()
}

/// Memory for filtered probabilities.
#[derive(Debug, Default)]
struct Filtered {
    logits: Vec<f64>,
    probs: Vec<f64>,
    /// To be sorted.
    logits_again: Vec<f64>,
    order: Vec<u32>,
    seen: Vec<bool>,
}

impl Filtered {
    fn probs(&mut self, logits: &[f32], previous: &[u32], config: &SamplingConfig) -> &[f64] {
        let Self {
            logits: z,
            probs,
            logits_again,
            order,
            seen,
        } = self;
        z.clear();
        z.extend(logits.iter().map(|&z| f64::from(z)));
        if config.penalises() {
            penalise(z, previous, config.repetition_penalty, seen);
        }
        probs.clear();
        if config.temperature == 0.0 {
            probs.resize(z.len(), 0.0);
            if let Some(best) = argmax(z) {
                probs[best] = 1.0;
            }
            return probs;
        }
        let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        probs.extend(z.iter().map(|z| ((z - top) / config.temperature).exp()));
        normalise(probs);
        if config.top_k > 0 && config.top_k < z.len() {
            logits_again.clear();
            logits_again.extend_from_slice(z);
            let nth = config.top_k - 1;
            let (_, edge, _) = logits_again.select_nth_unstable_by(nth, |a, b| b.total_cmp(a));
            let edge = *edge;
            keep(probs, |i, _| z[i] >= edge);
            normalise(probs);
        }
        if config.top_p < 1.0 {
            keep_top_p(probs, config.top_p, order);
            normalise(probs);
        }
        if config.min_p > 0.0 {
            let least = config.min_p * probs.iter().copied().fold(0.0, f64::max);
            keep(probs, |_, p| p >= least);
            normalise(probs);
        }
        probs
    }
}

/// Sets the others to 0.
fn keep(probs: &mut [f64], kept: impl Fn(usize, f64) -> bool) {
    for (i, p) in probs.iter_mut().enumerate() {
        *p = if kept(i, *p) { *p } else { 0.0 };
    }
}

fn penalise(z: &mut [f64], previous: &[u32], penalty: f64, seen: &mut Vec<bool>) {
    seen.clear();
    seen.resize(z.len(), false);
    for &id in previous {
        let id = id as usize;
        if id < z.len() && !std::mem::replace(&mut seen[id], true) {
            z[id] = if z[id] < 0.0 {
                z[id] * penalty
            } else {
                z[id] / penalty
            };
        }
    }
}

/// Keeps the likeliest tokens, the lowest id on ties, until the kept ones before reach `top_p`. Only as
/// many are sorted as are looked at.
fn keep_top_p(probs: &mut [f64], top_p: f64, order: &mut Vec<u32>) {
    order.clear();
    order.extend((0..probs.len() as u32).filter(|&i| probs[i as usize] > 0.0));
    let likelier = |a: &u32, b: &u32| {
        let (p, q) = (probs[*a as usize], probs[*b as usize]);
        q.total_cmp(&p).then(a.cmp(b))
    };
    let (mut before, mut kept, mut sorted) = (0.0, 0, 0);
    while kept < order.len() {
        if kept == sorted {
            let more = (4 * sorted).max(64).min(order.len() - sorted);
            let rest = &mut order[sorted..];
            if more < rest.len() {
                rest.select_nth_unstable_by(more, likelier);
            }
            rest[..more].sort_unstable_by(likelier);
            sorted += more;
        }
        if before >= top_p && kept > 0 {
            break;
        }
        before += probs[order[kept] as usize];
        kept += 1;
    }
    for &i in &order[kept..] {
        probs[i as usize] = 0.0;
    }
}

fn normalise(probs: &mut [f64]) {
    let total: f64 = probs.iter().sum();
    probs.iter_mut().for_each(|p| *p /= total);
}

/// The first of the largest.
fn argmax(z: &[f64]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (i, &x) in z.iter().enumerate() {
        if best.is_none_or(|b| x > z[b]) {
            best = Some(i);
        }
    }
    best
}

#[cfg(test)]
mod tests;
