//! Devices by name.

use crate::ModelError;
use burn::tensor::Device;

/// The names that [`parse_device`] understands, for messages and help texts.
pub const DEVICE_NAMES: &str = "flex, ndarray, wgpu[:n], vulkan[:n], metal[:n], cuda[:n]";

/// The device of a name: `flex` and `ndarray` compute on the CPU; `wgpu`, `vulkan`, `metal` and
/// `cuda` take the number of a card, or the default one. Each needs the crate feature of its
/// name. The device is opened far enough to know that it exists.
///
/// # Errors
/// [`ModelError::Device`]: the name means nothing, its feature is not compiled in (the message
/// gives the command), or this machine has no such device.
pub fn parse_device(name: &str) -> Result<Device, ModelError> {
    let (kind, index) = match name.split_once(':') {
        None => (name, None),
        Some((kind, index)) => {
            let number = index.parse::<usize>().map_err(|_| {
                device_error(name, format!("`{index}` is not the number of a card"))
            })?;
            (kind, Some(number))
        }
    };
    match kind {
        "flex" | "ndarray" if index.is_some() => Err(device_error(
            name,
            format!("the CPU has no number; write `{kind}`"),
        )),
        "flex" => flex(name),
        "ndarray" => ndarray(name),
        "wgpu" => gpu::wgpu(name, index),
        "vulkan" => gpu::vulkan(name, index),
        "metal" => gpu::metal(name, index),
        "cuda" => gpu::cuda(name, index),
        _ => Err(device_error(
            name,
            format!("unknown; one of {DEVICE_NAMES}"),
        )),
    }
}

/// Whether tensors of this plain device are slices in this program's memory, computed by `flex`.
#[cfg(feature = "flex")]
pub(crate) fn is_flex(device: &Device) -> bool {
    *device == Device::flex()
}

#[cfg(not(feature = "flex"))]
pub(crate) fn is_flex(_: &Device) -> bool {
    false
}

fn device_error(name: &str, reason: impl Into<String>) -> ModelError {
    ModelError::Device {
        name: name.to_owned(),
        reason: reason.into(),
    }
}

/// Not every set of features leaves a device out.
#[allow(dead_code)]
fn not_compiled(name: &str, feature: &str) -> ModelError {
    let reason = format!(
        "this program was built without the feature `{feature}`; build it with \
         `cargo build --release -p rlhf-cli --features {feature}`"
    );
    device_error(name, reason)
}

#[cfg(feature = "flex")]
fn flex(_: &str) -> Result<Device, ModelError> {
    Ok(Device::flex())
}

#[cfg(not(feature = "flex"))]
fn flex(name: &str) -> Result<Device, ModelError> {
    Err(not_compiled(name, "flex"))
}

/// burn-ndarray is deprecated upstream; leaving it means deleting this function.
#[cfg(feature = "ndarray")]
#[allow(deprecated)]
fn ndarray(_: &str) -> Result<Device, ModelError> {
    Ok(Device::ndarray())
}

#[cfg(not(feature = "ndarray"))]
fn ndarray(name: &str) -> Result<Device, ModelError> {
    Err(not_compiled(name, "ndarray"))
}

/// The cards.
mod gpu {
    use super::*;

    #[cfg(feature = "wgpu")]
    fn adapter(
        name: &str,
        index: Option<usize>,
        api: burn::tensor::wgpu::WgpuBackend,
    ) -> Result<Device, ModelError> {
        use burn::tensor::DeviceKind;
        let kind = index.map_or(DeviceKind::DefaultDevice, DeviceKind::DiscreteGpu);
        let options = Device::wgpu_options().device_kind(kind).graphics_api(api);
        options
            .init()
            .map_err(|e| device_error(name, format!("no such adapter here: {e}")))
    }

    #[cfg(feature = "wgpu")]
    pub(super) fn wgpu(name: &str, index: Option<usize>) -> Result<Device, ModelError> {
        adapter(name, index, burn::tensor::wgpu::WgpuBackend::Auto)
    }

    #[cfg(not(feature = "wgpu"))]
    pub(super) fn wgpu(name: &str, _: Option<usize>) -> Result<Device, ModelError> {
        Err(not_compiled(name, "wgpu"))
    }

    #[cfg(feature = "vulkan")]
    pub(super) fn vulkan(name: &str, index: Option<usize>) -> Result<Device, ModelError> {
        adapter(name, index, burn::tensor::wgpu::WgpuBackend::Vulkan)
    }

    #[cfg(not(feature = "vulkan"))]
    pub(super) fn vulkan(name: &str, _: Option<usize>) -> Result<Device, ModelError> {
        Err(not_compiled(name, "vulkan"))
    }

    #[cfg(feature = "metal")]
    pub(super) fn metal(name: &str, index: Option<usize>) -> Result<Device, ModelError> {
        adapter(name, index, burn::tensor::wgpu::WgpuBackend::Metal)
    }

    #[cfg(not(feature = "metal"))]
    pub(super) fn metal(name: &str, _: Option<usize>) -> Result<Device, ModelError> {
        Err(not_compiled(name, "metal"))
    }

    #[cfg(feature = "cuda")]
    pub(super) fn cuda(name: &str, index: Option<usize>) -> Result<Device, ModelError> {
        use burn::tensor::DeviceType;
        let index = index.unwrap_or(0);
        let found = Device::enumerate(DeviceType::Cuda).into_vec();
        let count = found.len();
        found.into_iter().nth(index).ok_or_else(|| {
            device_error(
                name,
                format!("this machine has {count} CUDA cards; check the driver"),
            )
        })
    }

    #[cfg(not(feature = "cuda"))]
    pub(super) fn cuda(name: &str, _: Option<usize>) -> Result<Device, ModelError> {
        Err(not_compiled(name, "cuda"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_understood_or_refused_with_a_reason() {
        let message = |name: &str| parse_device(name).unwrap_err().to_string();
        assert!(message("gpu").contains("flex, ndarray"));
        assert!(message("flex:1").contains("write `flex`"));
        assert!(message("cuda:x").contains("`x` is not the number"));
        #[cfg(feature = "flex")]
        assert!(!parse_device("flex").unwrap().is_autodiff());
        #[cfg(not(feature = "cuda"))]
        assert!(message("cuda").contains("--features cuda"));
        #[cfg(not(feature = "metal"))]
        assert!(message("metal:0").contains("--features metal"));
    }
}
