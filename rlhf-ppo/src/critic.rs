//! What a state is worth: by a model of its own, or by a head on the policy's hidden states.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Tensor};
use rlhf_model::{CausalLm, Recompute, ScoreModel, Transformer, scalar_head};

/// Who says what a state is worth.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a run")]
pub enum Critic {
    /// A value model with a trunk of its own, usually a copy of the reward model. It speaks of whole
    /// scores, from which the run takes its offset.
    Model(ScoreModel),
    /// A linear head without bias on the policy's own hidden states, `[d_model]`: one trunk is trained
    /// by both losses, and read once for both. It speaks of scores less the offset.
    Head(Param<Tensor<1>>),
}

impl Critic {
    /// A head for a policy that says 0 of every state until it is trained.
    pub fn on(policy: &Transformer) -> Self {
        let zeros = Tensor::zeros([policy.d_model()], &policy.device());
        Self::Head(Param::from_tensor(zeros))
    }

    /// Why it can't be trained beside this policy.
    pub(crate) fn unlike(&self, policy: &Transformer) -> Option<String> {
        let (vocabulary, width) = (policy.vocab_size(), policy.d_model());
        match self {
            Self::Model(model) if model.backbone.vocab_size() != vocabulary => Some(format!(
                "the value model has a vocabulary of {} tokens, the policy of {vocabulary}; both read \
                 the same ids, so train the reward model from the policy's own base",
                model.backbone.vocab_size()
            )),
            Self::Head(head) if head.dims() != [width] => Some(format!(
                "the head for values reads {} numbers a state, the policy's states have {width}",
                head.dims()[0]
            )),
            _ => None,
        }
    }

    /// Whether policy and values come from one pass.
    pub fn shares_trunk(&self) -> bool {
        matches!(self, Self::Head(_))
    }

    /// The trunk whose hidden states its head reads, beside this policy.
    pub(crate) fn trunk<'a>(&'a self, policy: &'a Transformer) -> &'a Transformer {
        match self {
            Self::Model(model) => &model.backbone,
            Self::Head(_) => policy,
        }
    }

    /// The values of states, `[n]`, of the hidden states of its trunk, `[n, d_model]`.
    pub(crate) fn values(&self, hidden: Tensor<2>) -> Tensor<1> {
        let (Self::Model(ScoreModel { head, .. }) | Self::Head(head)) = self;
        let [n, _] = hidden.dims();
        scalar_head(hidden.unsqueeze_dim(0), head.val()).reshape([n])
    }

    /// What is to be taken off its values, where so much is taken off every score.
    pub(crate) fn offset(&self, score_offset: f64) -> f64 {
        match self {
            Self::Model(_) => score_offset,
            Self::Head(_) => 0.0,
        }
    }
}

impl Recompute for Critic {
    fn with_own_tape(self) -> Self {
        match self {
            Self::Model(model) => Self::Model(model.with_own_tape()),
            head @ Self::Head(_) => head,
        }
    }

    fn block_gradients(&self, of_loss: &Gradients) -> Vec<GradientsParams> {
        match self {
            Self::Model(model) => model.block_gradients(of_loss),
            Self::Head(_) => Vec::new(),
        }
    }
}
