//! Keys and values of the tokens so far.

use crate::device::is_flex;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// One key and one value tensor for each layer, `[batch, capacity, kv_heads, head_dim]`,
/// allocated once and written in place. Columns `0..len()` are filled; a row's own tokens start
/// where the batch that filled it put them.
#[derive(Clone, Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    len: usize,
    capacity: usize,
    /// Whether attention gets all columns or a view of the filled ones.
    whole: bool,
}

#[derive(Clone, Debug)]
struct LayerCache {
    keys: Tensor<4>,
    values: Tensor<4>,
}

/// The sizes of a cache.
#[derive(Clone, Copy, Debug)]
pub struct CacheShape {
    /// Number of layers.
    pub layers: usize,
    /// Number of rows.
    pub batch: usize,
    /// Number of columns, prompt and answer together.
    pub capacity: usize,
    /// Key/value heads of a layer.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl KvCache {
    /// An empty cache on the plain device.
    pub fn new(shape: CacheShape, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        let dims = [shape.batch, shape.capacity, shape.kv_heads, shape.head_dim];
        let layer = || LayerCache {
            keys: Tensor::zeros(dims, &device),
            values: Tensor::zeros(dims, &device),
        };
        let layers = (0..shape.layers).map(|_| layer()).collect();
        Self {
            layers,
            len: 0,
            capacity: shape.capacity,
            // On flex a view of the filled columns would be copied at every step, while the
            // kernels there stop at the last filled column by themselves; elsewhere they compute
            // over all they are given.
            whole: is_flex(&device),
        }
    }

    /// Number of filled columns.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of columns.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Keeps these rows, in this order.
    ///
    /// # Panics
    /// If there is none, or one is not in the cache.
    pub fn keep_rows(&mut self, rows: &[usize]) {
        let Some(device) = self.layers.first().map(|layer| layer.keys.device()) else {
            return;
        };
        let index: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
        let index = Tensor::<1, Int>::from_data(TensorData::new(index, [rows.len()]), &device);
        for layer in &mut self.layers {
            layer.keys.inplace(|keys| keys.select(0, index.clone()));
            layer
                .values
                .inplace(|values| values.select(0, index.clone()));
        }
    }

    /// Writes a layer's new keys and values, `[batch, time, kv_heads, head_dim]`, after the
    /// filled columns, and gives the columns for attention back: the filled ones, and perhaps
    /// empty ones behind them. [`KvCache::advance`] follows after the last layer.
    ///
    /// # Panics
    /// If the columns left do not suffice.
    pub(crate) fn write(
        &mut self,
        layer: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let [batch, time, heads, width] = keys.dims();
        let columns = self.len..self.len + time;
        assert!(
            columns.end <= self.capacity,
            "a cache of {} columns can't take column {}",
            self.capacity,
            columns.end
        );
        let at = [0..batch, columns, 0..heads, 0..width];
        let layer = &mut self.layers[layer];
        layer.keys.inplace(|all| all.slice_assign(at.clone(), keys));
        layer.values.inplace(|all| all.slice_assign(at, values));
        if self.whole {
            return (layer.keys.clone(), layer.values.clone());
        }
        let filled = |all: &Tensor<4>| all.clone().narrow(1, 0, self.len + time);
        (filled(&layer.keys), filled(&layer.values))
    }

    /// Copies the rows of `part` to rows from `row` on, so that their last filled column is
    /// `end − 1`, and counts `end` columns as filled.
    pub(crate) fn paste(&mut self, row: usize, end: usize, part: &Self) {
        for (layer, part_layer) in self.layers.iter_mut().zip(&part.layers) {
            let [batch, _, heads, width] = part_layer.keys.dims();
            let at = [row..row + batch, end - part.len..end, 0..heads, 0..width];
            let filled = |all: &Tensor<4>| all.clone().narrow(1, 0, part.len);
            let (keys, values) = (filled(&part_layer.keys), filled(&part_layer.values));
            layer.keys.inplace(|all| all.slice_assign(at.clone(), keys));
            layer.values.inplace(|all| all.slice_assign(at, values));
        }
        self.len = end;
    }

    /// Counts `time` columns as filled.
    pub(crate) fn advance(&mut self, time: usize) {
        self.len += time;
    }
}
