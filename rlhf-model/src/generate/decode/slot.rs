//! A place in the cache, for one row.

use rlhf_kernels::decode::CachedHeads;

/// The sizes of a layer's keys and values.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheSizes {
    pub(super) layers: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
}

/// Keys and values of one row in all layers, allocated when the row comes.
#[derive(Debug)]
pub(super) struct Slot {
    sizes: CacheSizes,
    capacity: usize,
    /// `[layers, kv_heads, head_dim, capacity]`.
    keys: Vec<f32>,
    /// `[layers, kv_heads, capacity, head_dim]`.
    values: Vec<f32>,
}

impl Slot {
    pub(super) fn new(sizes: CacheSizes) -> Self {
        Self {
            sizes,
            capacity: 0,
            keys: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Has place for at least so many tokens from now on; what it holds is lost.
    pub(super) fn reserve(&mut self, tokens: usize) {
        if tokens <= self.capacity {
            return;
        }
        // Neighbouring keys of whole cache lines.
        self.capacity = tokens.next_multiple_of(16);
        let len = self.sizes.layers * self.of_layer();
        (self.keys, self.values) = (vec![0.0; len], vec![0.0; len]);
    }

    fn of_layer(&self) -> usize {
        self.sizes.kv_heads * self.sizes.head_dim * self.capacity
    }

    /// Writes the key and the value, `[kv_heads, head_dim]`, of the token at `position`.
    pub(super) fn write(&mut self, layer: usize, position: usize, key: &[f32], value: &[f32]) {
        let (at, capacity, width) = (layer * self.of_layer(), self.capacity, self.sizes.head_dim);
        let keys = self.keys[at..].chunks_exact_mut(capacity);
        for (place, number) in keys.zip(key) {
            place[position] = *number;
        }
        let values = self.values[at..].chunks_exact_mut(capacity * width);
        for (place, value) in values.zip(value.chunks_exact(width)) {
            place[position * width..][..width].copy_from_slice(value);
        }
    }

    /// Takes the first `tokens` tokens of another row.
    pub(super) fn copy_from(&mut self, other: &Self, tokens: usize) {
        let keys = self.keys.chunks_exact_mut(self.capacity);
        for (to, from) in keys.zip(other.keys.chunks_exact(other.capacity)) {
            to[..tokens].copy_from_slice(&from[..tokens]);
        }
        let width = self.sizes.head_dim;
        let values = self.values.chunks_exact_mut(self.capacity * width);
        for (to, from) in values.zip(other.values.chunks_exact(other.capacity * width)) {
            to[..tokens * width].copy_from_slice(&from[..tokens * width]);
        }
    }

    /// A layer's keys and values, to be attended to.
    pub(super) fn heads(&self, layer: usize, scale: f32, softcap: Option<f32>) -> CachedHeads<'_> {
        let range = layer * self.of_layer()..(layer + 1) * self.of_layer();
        CachedHeads {
            keys: &self.keys[range.clone()],
            values: &self.values[range],
            head_dim: self.sizes.head_dim,
            capacity: self.capacity,
            scale,
            softcap,
        }
    }
}
