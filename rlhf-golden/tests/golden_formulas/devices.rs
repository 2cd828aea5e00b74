//! The devices that the formulas run on.

use burn::tensor::Device;
use rlhf_golden::Tolerance;
use rlhf_model::device::parse_device;

/// A device, and how near it comes.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) device: Device,
    pub(crate) tolerance: Tolerance,
}

/// What a graphics adapter reaches: its exp and log are not those of a CPU.
const ADAPTER: Tolerance = Tolerance {
    absolute: 1e-3,
    relative: 1e-3,
};

/// The CPU devices, and with the feature `wgpu` a graphics adapter where there is one; and why there
/// is none.
pub(crate) fn targets() -> (Vec<Target>, Option<String>) {
    let mut wanted = vec![("flex", Tolerance::SINGLE), ("ndarray", Tolerance::SINGLE)];
    if cfg!(feature = "wgpu") {
        wanted.push(("wgpu", ADAPTER));
    }
    let (mut targets, mut absent) = (Vec::new(), None);
    for (name, tolerance) in wanted {
        match parse_device(name) {
            Ok(device) => targets.push(Target {
                name,
                device,
                tolerance,
            }),
            Err(reason) if name == "wgpu" => {
                absent = Some(format!("wgpu is left out: {reason}"));
            }
            Err(reason) => panic!("{name}: {reason}"),
        }
    }
    (targets, absent)
}
