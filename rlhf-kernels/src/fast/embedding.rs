//! Rows of a table, and their gradients added where the table's gradient lies.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Shape, Tensor};

use super::simd::add_row;
use super::storage::{FlexFloat, dense, integers, numbers, numbers_mut, tensor, zeros};

#[backend_extension(Flex, Autodiff)]
pub(crate) trait Embedding: Backend {
    fn embedding(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self>;
}

pub(crate) fn embedding(table: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
    let (table, ids) = (table.into_dispatch(), ids.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Embedding>::embedding(table, ids))
}

/// Which rows of a table of so many.
fn rows(ids: &IntTensor<Flex>, vocabulary: usize) -> Arc<[usize]> {
    let row = |id: i64| {
        let row = usize::try_from(id).ok().filter(|row| *row < vocabulary);
        row.unwrap_or_else(|| panic!("id {id} is outside of the vocabulary 0..{vocabulary}"))
    };
    integers(ids).into_iter().map(row).collect()
}

fn forward(table: &FlexFloat, rows: &[usize]) -> FlexFloat {
    let width = table.shape()[1];
    let table = numbers(table);
    let mut out = Vec::with_capacity(rows.len() * width);
    for row in rows {
        out.extend_from_slice(&table[row * width..(row + 1) * width]);
    }
    tensor(out, Shape::new([rows.len(), width]))
}

/// Adds each row of `gradient` to the row of `sum` that it belongs to; those of one row are added to
/// each other first, in their order.
fn add_rows(sum: FlexFloat, rows: &[usize], gradient: &[f32]) -> FlexFloat {
    let mut sum = dense(sum);
    let width = sum.shape()[1];
    let values = numbers_mut(&mut sum);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&i| rows[i]);
    let mut of_row = vec![0.0; width];
    for same in order.chunk_by(|&a, &b| rows[a] == rows[b]) {
        of_row.fill(0.0);
        for &i in same {
            add_row(&mut of_row, &gradient[i * width..(i + 1) * width]);
        }
        let row = rows[same[0]];
        add_row(&mut values[row * width..(row + 1) * width], &of_row);
    }
    sum
}

impl Embedding for Flex {
    fn embedding(table: FlexFloat, ids: IntTensor<Self>) -> FlexFloat {
        let table = dense(table);
        let rows = rows(&ids, table.shape()[0]);
        forward(&table, &rows)
    }
}

#[derive(Debug)]
struct Step<C>(std::marker::PhantomData<C>);

impl<C: CheckpointStrategy> Backward<Flex, 1> for Step<C> {
    /// The table, by which its gradient is found, and the rows.
    type State = (FloatTensor<Autodiff<Flex, C>>, Arc<[usize]>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = dense(grads.consume::<Flex>(&ops.node));
        let (table, rows) = ops.state;
        if let [Some(parent)] = ops.parents {
            let before = grads.remove::<Flex>(&table);
            let before = before.unwrap_or_else(|| zeros(&table.into_primitive()));
            let sum = add_rows(before, &rows, numbers(&gradient));
            grads.register::<Flex>(parent.id, sum);
        }
    }
}

impl<C: CheckpointStrategy> Embedding for Autodiff<Flex, C> {
    fn embedding(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let (node, numbers) = (table.node(), dense(table.clone().into_primitive()));
        let rows = rows(&ids, numbers.shape()[0]);
        let out = forward(&numbers, &rows);
        match Backward::<Flex, 1>::prepare::<C>(Step::<C>(std::marker::PhantomData), [node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish((table, rows), out),
            OpsKind::UnTracked(op) => op.finish(out),
        }
    }
}
