//! Angles of the rotary position embedding.

use crate::{ModelConfig, RopeScaling};
use burn::tensor::{Device, Tensor, TensorData};
use rlhf_kernels::RopeTables;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};

/// Cosines and sines by position, computed once and shared by all copies of a model.
#[derive(Clone, Debug)]
pub(crate) struct Rotary {
    frequencies: Arc<[f32]>,
    known: Arc<Mutex<Angles>>,
}

/// `[position][frequency]`, grown as far as it was needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Angles {
    frequencies: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rotary {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        Self {
            frequencies: frequencies(config).into(),
            known: Arc::default(),
        }
    }

    /// The angles of at least so many positions.
    #[cfg(feature = "flex")]
    pub(crate) fn angles(&self, positions: usize) -> Angles {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(&self.frequencies, positions);
        known.clone()
    }

    /// The tables for `[batch, time]` positions, row after row.
    pub(crate) fn tables(&self, positions: &[u32], time: usize, device: &Device) -> RopeTables {
        let half = self.frequencies.len();
        let longest = positions.iter().max().map_or(0, |&p| p as usize + 1);
        // What is known is only ever extended, so a panic elsewhere leaves it whole.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(&self.frequencies, longest);
        let shape = [positions.len() / time.max(1), time, half];
        let table = |angles: &[f32]| {
            let mut values = Vec::with_capacity(positions.len() * half);
            for &p in positions {
                values.extend_from_slice(&angles[p as usize * half..][..half]);
            }
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        RopeTables {
            cos: table(&known.cos),
            sin: table(&known.sin),
        }
    }
}

impl Angles {
    /// Cosines and sines of a position.
    #[cfg(feature = "flex")]
    pub(crate) fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let range = position * self.frequencies..(position + 1) * self.frequencies;
        (&self.cos[range.clone()], &self.sin[range])
    }

    fn extend(&mut self, frequencies: &[f32], positions: usize) {
        self.frequencies = frequencies.len();
        let known = self.cos.len() / frequencies.len().max(1);
        for position in known..positions {
            for frequency in frequencies {
                // Rounded to f32 before the cosine, as the published checkpoints were trained.
                let angle = f64::from(position as f32 * frequency);
                self.cos.push(angle.cos() as f32);
                self.sin.push(angle.sin() as f32);
            }
        }
    }
}

/// `theta^(−2i / head_dim)` (Su et al., 2021, section 3.2.2), stretched where the configuration
/// says so.
fn frequencies(config: &ModelConfig) -> Vec<f32> {
    let d = config.head_dim();
    let plain = (0..d / 2).map(|i| config.rope_theta.powf(-((2 * i) as f64) / d as f64));
    let rope = match config.rope_scaling {
        None => return plain.map(|f| f as f32).collect(),
        Some(RopeScaling::Linear { factor }) => {
            return plain.map(|f| (f / factor) as f32).collect();
        }
        Some(RopeScaling::Llama3(rope)) => rope,
    };
    let original = rope.original_max_position_embeddings as f64;
    let (low, high) = (rope.low_freq_factor, rope.high_freq_factor);
    let stretch = |f: f64| {
        // How many waves fit into the original context, from `low` (stretched) to `high` (kept).
        let waves = original * f / TAU;
        let kept = ((waves - low) / (high - low)).clamp(0.0, 1.0);
        f * kept + f / rope.factor * (1.0 - kept)
    };
    plain.map(|f| stretch(f) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Llama3Rope;

    #[test]
    fn tables_grow_and_stay_the_same() {
        let config = ModelConfig {
            head_dim: Some(4),
            ..ModelConfig::default()
        };
        let rotary = Rotary::new(&config);
        let device = Device::flex();
        let first = rotary.tables(&[2, 0], 2, &device).sin.into_data();
        let longer = rotary.tables(&[7, 2, 0, 1], 2, &device).sin.into_data();
        let first: Vec<f32> = first.iter::<f32>().collect();
        let longer: Vec<f32> = longer.iter::<f32>().collect();
        assert_eq!(longer[2..6], first[..]);
        assert!((first[0] - 2f32.sin()).abs() < 1e-6 && (first[1] - 0.02f32.sin()).abs() < 1e-6);
        assert_eq!(first[2..], [0.0, 0.0]);
    }

    #[test]
    fn long_waves_are_stretched_and_short_ones_kept() {
        let rope = Llama3Rope {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64,
        };
        let plain = ModelConfig {
            head_dim: Some(64),
            ..ModelConfig::default()
        };
        let scaled = ModelConfig {
            rope_scaling: Some(RopeScaling::Llama3(rope)),
            ..plain.clone()
        };
        for (p, s) in frequencies(&plain).into_iter().zip(frequencies(&scaled)) {
            let wavelength = std::f32::consts::TAU / p;
            match wavelength {
                w if w < 16.0 => assert_eq!(s, p),
                w if w > 64.0 => assert!((s * 8.0 / p - 1.0).abs() < 1e-6),
                _ => assert!(s <= p && s * 8.0 >= p * 0.999_999),
            }
        }
    }
}
