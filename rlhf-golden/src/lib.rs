//! Reference figures and the tests that read them.
//!
//! `reference/formulas.json` holds inputs, parameters and expected values of every formula;
//! `reference/models/` holds tiny models with expected outputs. Both were computed in float64 by an
//! independent program. The environment variables `RLHF_GOLDEN` and `RLHF_GOLDEN_MODELS` name other
//! folders of the same layout.

mod case;
mod figure;

pub use case::{Case, GoldenError, Group, formulas_folder, models_folder, read_groups};
pub use figure::{Figure, Figures, Tolerance, compare};
