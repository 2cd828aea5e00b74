//! Attention with grouped key heads over one range of keys per query.

use burn::tensor::{Device, Int, Tensor};

#[cfg(feature = "flex")]
use crate::fast;
use crate::plain;

/// Which keys each query sees: `first_key[b, i] ..= past + i`.
///
/// One range covers every mask in use here: causal (0), left padding (the first real token),
/// several documents in one row (the start of the query's own document), sliding windows
/// (`i − window + 1`). A padded query is given itself only. A first key outside
/// `0 ..= past + i` is moved to the nearer end, so that every query sees at least itself.
#[derive(Clone, Debug)]
pub struct AttentionSpan {
    /// `[batch, time]`: the index of the first key that the query may see.
    pub first_key: Tensor<2, Int>,
    /// Keys before the first query, from a cache; 0 in training.
    pub past: usize,
}

impl AttentionSpan {
    /// Every query sees all keys up to its own.
    pub fn causal(batch: usize, time: usize, past: usize, device: &Device) -> Self {
        Self {
            first_key: Tensor::zeros([batch, time], device),
            past,
        }
    }

    /// The same, with no key further back than the last `window`, the query's own included.
    pub fn within(&self, window: usize) -> Self {
        let [batch, time] = self.first_key.dims();
        let start = (self.past + 1) as i64 - window as i64;
        let device = self.first_key.device();
        let nearest = Tensor::<1, Int>::arange(start..start + time as i64, &device);
        let nearest = nearest.unsqueeze::<2>().expand([batch, time]);
        let further = self.first_key.clone().lower(nearest.clone());
        Self {
            first_key: self.first_key.clone().mask_where(further, nearest),
            past: self.past,
        }
    }
}

/// `softmax(q·kᵀ / sqrt(head_dim)) · v` over the keys that `span` shows to each query.
///
/// `q` `[batch, time, heads, head_dim]`, `k` and `v` `[batch, keys, kv_heads, head_dim]` with
/// `keys ≥ past + time`; the result has the shape of `q`. Query head `h` reads key head
/// `h / (heads / kv_heads)`.
///
/// Whatever stands at hidden keys and values, NaN included, changes neither results nor
/// gradients. A query that is not finite itself, or sees a key or value that is not, gives a row
/// of NaN, and no gradient flows through it.
///
/// Fast: scores exist for 64 queries at a time; a row of the batch gives the same bits alone and
/// in any batch of equal `time` and `keys`, but not at other lengths (matrix products of another
/// size round differently).
///
/// # Panics
/// If the shapes do not fit.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, span: &AttentionSpan) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if fast::runs_on(&q) && fast::runs_on(&k) && fast::runs_on(&v) {
        Dims::of(&q, &k, &v, span);
        return fast::attention(q, k, v, span);
    }
    plain::attention(q, k, v, span)
}

/// The sizes of one call, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dims {
    pub(crate) batch: usize,
    pub(crate) time: usize,
    pub(crate) keys: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

impl Dims {
    pub(crate) fn of(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, span: &AttentionSpan) -> Self {
        let [batch, time, heads, head_dim] = q.dims();
        let [_, keys, kv_heads, _] = k.dims();
        let fits = k.dims() == [batch, keys, kv_heads, head_dim]
            && k.dims() == v.dims()
            && kv_heads > 0
            && heads.is_multiple_of(kv_heads);
        assert!(
            fits,
            "attention: q {:?}, k {:?}, v {:?} do not fit [batch, time, heads, head_dim]",
            q.dims(),
            k.dims(),
            v.dims()
        );
        assert_eq!(
            span.first_key.dims(),
            [batch, time],
            "attention: first_key is not [batch, time]"
        );
        assert!(
            span.past + time <= keys,
            "attention: {} past keys and {time} queries need more than {keys} keys",
            span.past
        );
        Self {
            batch,
            time,
            keys,
            heads,
            kv_heads,
            head_dim,
        }
    }

    pub(crate) fn past_i64(&self, span: &AttentionSpan) -> i64 {
        // `past + time <= keys` was checked, and a tensor's axis fits i64.
        span.past as i64
    }
}
