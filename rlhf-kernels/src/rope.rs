//! Rotary position embedding in the half-split layout.

use burn::tensor::{Device, Tensor, TensorData};

#[cfg(feature = "flex")]
use crate::fast;
use crate::plain;

/// Cosines and sines of every position, ready to be used by all layers and heads.
#[derive(Clone, Debug)]
pub struct RopeTables {
    /// `[batch, time, head_dim / 2]`, or `[1, time, head_dim / 2]` for all rows alike.
    pub cos: Tensor<3>,
    /// As `cos`.
    pub sin: Tensor<3>,
}

impl RopeTables {
    /// Tables of the angles `position · theta^(−2i / head_dim)` (Su et al. 2021).
    ///
    /// `positions` holds one row of positions per batch row, all of one length. The frequencies
    /// and the angles are rounded to `f32` as in Hugging Face's models, so that far positions
    /// of their checkpoints see the same angles.
    ///
    /// # Panics
    /// If the rows differ in length or `head_dim` is odd.
    pub fn new(positions: &[Vec<usize>], head_dim: usize, theta: f64, device: &Device) -> Self {
        assert!(
            head_dim.is_multiple_of(2),
            "rope: head_dim {head_dim} is odd"
        );
        let (batch, time, half) = (
            positions.len(),
            positions.first().map_or(0, Vec::len),
            head_dim / 2,
        );
        let frequencies: Vec<f32> = (0..half)
            .map(|i| theta.powf(-((2 * i) as f64) / head_dim as f64) as f32)
            .collect();
        let mut cos = Vec::with_capacity(batch * time * half);
        let mut sin = Vec::with_capacity(batch * time * half);
        for row in positions {
            assert_eq!(row.len(), time, "rope: rows of positions differ in length");
            for position in row {
                for frequency in &frequencies {
                    let angle = f64::from(*position as f32 * frequency);
                    cos.push(angle.cos() as f32);
                    sin.push(angle.sin() as f32);
                }
            }
        }
        let table =
            |values| Tensor::from_data(TensorData::new(values, [batch, time, half]), device);
        Self {
            cos: table(cos),
            sin: table(sin),
        }
    }
}

/// Rotates the halves of each head: `(x0, x1) → (x0·cos − x1·sin, x1·cos + x0·sin)`.
///
/// `x` `[batch, time, heads, head_dim]`. The pairs are `(i, i + head_dim/2)`, as Hugging Face
/// lays out weights. No gradient flows into the tables. Fast: a token gives the same bits alone
/// and in any batch.
///
/// # Panics
/// If the tables do not fit `x`.
pub fn rope(x: Tensor<4>, tables: &RopeTables) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if fast::runs_on(&x) && fast::runs_on(&tables.cos) && fast::runs_on(&tables.sin) {
        check(&x, tables);
        return fast::rope::rope(x, tables);
    }
    plain::rope(x, tables)
}

pub(crate) fn check(x: &Tensor<4>, tables: &RopeTables) {
    let ([batch, time, _, head_dim], cos) = (x.dims(), tables.cos.dims());
    assert_eq!(cos, tables.sin.dims(), "rope: cos and sin differ in shape");
    assert!(
        (cos[0] == batch || cos[0] == 1) && cos[1] == time && 2 * cos[2] == head_dim,
        "rope: x {:?} does not fit tables {cos:?} [batch or 1, time, head_dim / 2]",
        x.dims()
    );
}
