//! A decoder-only transformer in the Hugging Face layout: forward, KV cache, sampling,
//! generation, heads, weights in and out, devices.
//!
//! ```
//! use rlhf_model::{Generator, LocalGenerator, ModelConfig, Request, SamplingConfig, Transformer};
//!
//! # fn main() -> Result<(), rlhf_model::ModelError> {
//! let device = rlhf_model::device::parse_device("flex")?;
//! let config = ModelConfig { hidden_size: 16, num_hidden_layers: 1, ..ModelConfig::default() };
//! let model = Transformer::init(&config, 1, &device)?;
//! let generator = LocalGenerator::new(&model, 8);
//! let requests = [Request { prompt: &[5, 6, 7], stream: 42 }];
//! let answers = generator.generate(&requests, &SamplingConfig::greedy(4))?;
//! assert_eq!(answers[0].tokens.len(), 4);
//! # Ok(())
//! # }
//! ```

mod batch;
mod cache;
mod causal;
mod config;
pub mod contract;
pub mod cores;
pub mod device;
mod error;
mod family;
mod generate;
mod head;
mod layers;
mod logprobs;
mod lora;
mod parameters;
mod rotary;
pub mod sample;
#[cfg(test)]
mod tiny;
mod transformer;
mod weights;

pub use batch::{PackedTokens, TokenBatch};
pub use cache::{CacheShape, KvCache};
pub use causal::CausalLm;
pub use config::{Llama3Rope, ModelConfig, RopeScaling};
pub use error::ModelError;
pub use family::Family;
pub use generate::{
    Completion, DecodeWeights, Finish, Generator, LocalGenerator, PackedModel, Request,
    ScriptedGenerator,
};
pub use head::{ScoreModel, scalar_head};
pub use layers::{Linear, Norm};
pub use logprobs::{head_logprobs, head_logprobs_entropy, token_logprobs, token_logprobs_entropy};
pub use lora::{LoraAdapter, LoraConfig, LoraScaling};
pub use sample::SamplingConfig;
pub use transformer::{Block, HeadNorms, Recompute, Transformer, with_own_leaves};
pub use weights::{
    AdapterBase, AdapterInfo, NamedParameters, NamedTensor, NamedVisitor, WeightType, is_adapter,
    is_score_model, load_adapter, load_model, load_score_adapter, load_score_model,
    named_gradients, named_parameters, parameter_ids, read_adapter_info, read_model_config,
    save_adapter, save_model, save_model_as, save_score_adapter, save_score_model,
    save_score_model_as,
};
