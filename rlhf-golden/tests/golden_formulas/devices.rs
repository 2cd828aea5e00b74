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

/// Set where a graphics adapter has to be there, as in CI: its absence is a failure then.
const REQUIRED: &str = "RLHF_REQUIRE_WGPU";

/// The CPU devices, and with the feature `wgpu` a graphics adapter where there is one; and why there
/// is none.
///
/// # Panics
/// If there is none though `RLHF_REQUIRE_WGPU` is set.
pub(crate) fn targets() -> (Vec<Target>, Option<String>) {
    let cpu = ["flex", "ndarray"].map(|name| Target {
        name,
        device: parse_device(name).unwrap_or_else(|reason| panic!("{name}: {reason}")),
        tolerance: Tolerance::SINGLE,
    });
    let mut targets = Vec::from(cpu);
    let absent = match parse_device("wgpu") {
        Ok(device) => {
            targets.push(Target {
                name: "wgpu",
                device,
                tolerance: ADAPTER,
            });
            None
        }
        Err(reason) => Some(format!("wgpu is left out: {reason}")),
    };
    if let (Some(reason), true) = (&absent, std::env::var_os(REQUIRED).is_some()) {
        panic!("{REQUIRED} is set, but {reason}");
    }
    (targets, absent)
}
