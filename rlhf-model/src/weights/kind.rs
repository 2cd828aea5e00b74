//! How a file holds numbers.

use burn::tensor::{bf16, f16};
use safetensors::Dtype;

/// The type of the numbers in a weight file. In memory they are f32 whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightType {
    /// IEEE single precision.
    #[default]
    F32,
    /// IEEE half precision: three decimal digits, nothing above 65,504.
    F16,
    /// bfloat16: the range of f32, two decimal digits.
    Bf16,
}

impl WeightType {
    /// The name in `config.json`: `float32`, `float16`, `bfloat16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    /// Bytes of a number.
    pub fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    pub(super) fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }

    /// Appends the numbers' bytes, rounded to nearest, ties to even.
    ///
    /// # Errors
    /// The first number that is not finite, or would not be in this type.
    pub(super) fn encode(self, values: &[f32], out: &mut Vec<u8>) -> Result<(), f32> {
        out.reserve(values.len() * self.width());
        for &x in values {
            let finite = match self {
                Self::F32 => {
                    out.extend(x.to_le_bytes());
                    x.is_finite()
                }
                Self::F16 => {
                    let half = f16::from_f32(x);
                    out.extend(half.to_le_bytes());
                    half.is_finite()
                }
                Self::Bf16 => {
                    let half = bf16::from_f32(x);
                    out.extend(half.to_le_bytes());
                    half.is_finite()
                }
            };
            if !finite {
                return Err(x);
            }
        }
        Ok(())
    }
}
