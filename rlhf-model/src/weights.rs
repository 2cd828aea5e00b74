//! Weights as a Hugging Face folder, and by name.

mod folder;
mod index;
mod kind;
mod named;
mod read;
mod write;

pub use folder::{
    is_score_model, load_model, load_score_model, save_model, save_model_as, save_score_model,
    save_score_model_as,
};
pub use kind::WeightType;
pub use named::{
    NamedParameters, NamedTensor, NamedVisitor, named_gradients, named_parameters, parameter_ids,
};
