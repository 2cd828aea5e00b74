//! Weights as a Hugging Face folder, adapters as PEFT's, and both by name.

mod adapter;
mod folder;
mod index;
mod kind;
mod named;
mod read;
mod write;

pub use adapter::{
    AdapterBase, AdapterInfo, is_adapter, load_adapter, load_score_adapter, read_adapter_info,
    save_adapter, save_score_adapter,
};
pub use folder::{
    is_score_model, load_model, load_score_model, read_model_config, save_model, save_model_as,
    save_score_model, save_score_model_as,
};
pub use kind::WeightType;
pub use named::{
    NamedParameters, NamedTensor, NamedVisitor, named_gradients, named_parameters, parameter_ids,
};
