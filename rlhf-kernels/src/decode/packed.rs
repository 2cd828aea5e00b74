//! Products of few rows with a matrix that was laid out for it once.

use burn::tensor::bf16;
use rayon::prelude::*;

use super::panels::{Side, packed, scales};
use super::product::{Place, of_bf16, of_f32, of_int8};
use super::stored::{Line, Storage, Stored, WIDTH};
use crate::fast::buffer::Shared;
use crate::fast::jobs::FEWEST_PRODUCTS;
use crate::parts::threads;

#[derive(Clone, Debug)]
enum Lines {
    F32(Vec<Line<f32>>),
    Bf16(Vec<Line<bf16>>),
    Int8(Vec<Line<i8>>),
}

/// A matrix `[inputs, outputs]` in panels of 32 columns, each panel's rows one after the other, the
/// last one filled up with zeros: a product reads memory in order, once for every eight rows.
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    lines: Lines,
    /// What a column's numbers are to be multiplied with; empty where that is 1.
    scales: Vec<f32>,
    inputs: usize,
    outputs: usize,
    streamed: bool,
}

impl PackedMatrix {
    /// Matrices of `inputs` rows, side by side.
    ///
    /// # Panics
    /// If a matrix is no multiple of `inputs`, which is not 0.
    pub fn new(inputs: usize, sides: &[Side<'_>], storage: Storage) -> Self {
        let whole = |side: &Side<'_>| inputs > 0 && side.len().is_multiple_of(inputs);
        assert!(
            sides.iter().all(whole),
            "a matrix does not have {inputs} rows"
        );
        let (lines, scales) = match storage {
            Storage::F32 => (Lines::F32(packed(inputs, sides, &[])), Vec::new()),
            Storage::Bf16 => (Lines::Bf16(packed(inputs, sides, &[])), Vec::new()),
            Storage::Int8 => {
                let scales = scales::<i8>(inputs, sides);
                (Lines::Int8(packed(inputs, sides, &scales)), scales)
            }
        };
        Self {
            lines,
            scales,
            inputs,
            streamed: false,
            outputs: sides.iter().map(|side| side.len() / inputs).sum(),
        }
    }

    /// One of many that are read in turn and do not stay in the caches together: their memory is
    /// asked for ahead, since processors do not look ahead into the next page.
    pub fn streamed(self, streamed: bool) -> Self {
        Self { streamed, ..self }
    }

    /// Width of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Writes `x · self`: `x` `[rows, inputs]`, `out` `[rows, outputs]`. Each number is one chain of
    /// fused multiply-adds in the order of the inputs.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub fn product(&self, x: &[f32], out: &mut [f32]) {
        let rows = x.len() / self.inputs;
        assert!(
            x.len() == rows * self.inputs && out.len() == rows * self.outputs,
            "{} numbers by a [{}, {}] matrix do not give {}",
            x.len(),
            self.inputs,
            self.outputs,
            out.len()
        );
        let place = Place {
            out: Shared::new(out),
            scales: &self.scales,
            outputs: self.outputs,
            from: 0,
            ahead: self.streamed,
        };
        match &self.lines {
            Lines::F32(lines) => shared(lines, x, place, self.inputs, of_f32),
            Lines::Bf16(lines) => shared(lines, x, place, self.inputs, of_bf16),
            Lines::Int8(lines) => shared(lines, x, place, self.inputs, of_int8),
        }
    }
}

/// Parts of a product for each thread, so that one that is held up does not hold up the others.
const PARTS: usize = 2;

/// Does the panels in runs that the threads share.
fn shared<T: Stored>(
    lines: &[Line<T>],
    x: &[f32],
    place: Place<'_>,
    inputs: usize,
    product: fn(&[Line<T>], usize, &[f32], Place<'_>),
) {
    let panels = lines.len() / inputs;
    let threads = threads();
    let parts = (panels * WIDTH * x.len() / FEWEST_PRODUCTS).clamp(1, PARTS * threads);
    if threads < 2 || parts < 2 {
        return product(lines, inputs, x, place);
    }
    let run = panels.div_ceil(parts);
    lines
        .par_chunks(run * inputs)
        .enumerate()
        .for_each(|(part, lines)| {
            let from = part * run * WIDTH;
            product(lines, inputs, x, Place { from, ..place });
        });
}
