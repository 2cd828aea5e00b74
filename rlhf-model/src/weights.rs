//! Weights as a Hugging Face folder, and by name.

mod file;
mod folder;
mod named;

pub use folder::{load_model, load_score_model, save_model, save_score_model};
pub use named::{
    NamedParameters, NamedTensor, NamedVisitor, named_gradients, named_parameters, parameter_ids,
};
