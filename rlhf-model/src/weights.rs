//! Weights as a Hugging Face folder, and by name.

mod adapter;
mod file;
mod folder;
mod named;

pub use adapter::{
    AdapterInfo, is_adapter, load_adapter, load_score_adapter, read_adapter_info, save_adapter,
    save_score_adapter,
};
pub use folder::{
    is_score_model, load_model, load_score_model, read_model_config, save_model, save_score_model,
};
pub use named::{
    NamedParameters, NamedTensor, NamedVisitor, named_gradients, named_parameters, parameter_ids,
};
