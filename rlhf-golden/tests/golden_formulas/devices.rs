//! The devices that the formulas run on.

use burn::tensor::Device;
use rlhf_golden::Tolerance;

/// A device, and how near it comes.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) device: Device,
    pub(crate) tolerance: Tolerance,
}

/// The CPU devices, and with the feature `wgpu` a graphics adapter where there is one.
pub(crate) fn targets() -> Vec<Target> {
    let tolerance = Tolerance::SINGLE;
    let mut targets = vec![
        Target {
            name: "flex",
            device: Device::flex(),
            tolerance,
        },
        Target {
            name: "ndarray",
            device: Device::ndarray(),
            tolerance,
        },
    ];
    match wgpu() {
        Ok(device) => targets.extend(device),
        Err(reason) => println!("wgpu is left out: {reason}"),
    }
    targets
}

#[cfg(not(feature = "wgpu"))]
fn wgpu() -> Result<Option<Target>, String> {
    Ok(None)
}

/// The adapter, with a tolerance of 1e-3: its exp and log are not those of a CPU.
#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Option<Target>, String> {
    let device = rlhf_model::device::parse_device("wgpu").map_err(|e| e.to_string())?;
    let tolerance = Tolerance {
        absolute: 1e-3,
        relative: 1e-3,
    };
    Ok(Some(Target {
        name: "wgpu",
        device,
        tolerance,
    }))
}
