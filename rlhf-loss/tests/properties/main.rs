//! What has to hold whatever the numbers: padding, rubbish, order, shifts, splits.

mod batch;
mod gradients;
mod invariance;
mod logits;
mod micro_batches;
mod returns;
mod shapes;
