//! Backends by name.

use crate::io::error::UserError;
use crate::io::panics::quietly;
use burn::tensor::Device;

/// A backend that may be compiled into this binary: its name, the feature that enables it, what it needs.
struct Backend {
    name: &'static str,
    feature: Option<&'static str>,
    compiled: bool,
    about: &'static str,
}

const BACKENDS: [Backend; 4] = [
    Backend { name: "flex", feature: None, compiled: true, about: "CPU, the default" },
    Backend { name: "ndarray", feature: Some("ndarray"), compiled: cfg!(feature = "ndarray"), about: "CPU, portable" },
    Backend {
        name: "wgpu",
        feature: Some("wgpu"),
        compiled: cfg!(feature = "wgpu"),
        about: "GPU through Vulkan, Metal or DX12",
    },
    Backend {
        name: "cuda",
        feature: Some("cuda"),
        compiled: cfg!(feature = "cuda"),
        about: "NVIDIA GPU; cuda:n for the n-th card",
    },
];

/// Opens a device by name: `flex`, `ndarray`, `wgpu`, `cuda` or `cuda:n`.
///
/// # Errors
/// [`UserError::Argument`] naming the cargo feature or the missing driver.
pub fn open(name: &str) -> Result<Device, UserError> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => {
            let index = index.parse::<usize>().map_err(|_| {
                UserError::Argument(format!("--device {name}: {index:?} is not a card number such as the 0 in cuda:0"))
            })?;
            (kind, index)
        }
        None => (name, 0),
    };
    let Some(backend) = BACKENDS.iter().find(|b| b.name == kind) else {
        let names: Vec<&str> = BACKENDS.iter().map(|b| b.name).collect();
        return Err(UserError::Argument(format!(
            "--device {name}: there is no such device; choose one of {}",
            names.join(", ")
        )));
    };
    if index > 0 && kind != "cuda" {
        return Err(UserError::Argument(format!("--device {name}: only cuda takes a card number")));
    }
    if let (false, Some(feature)) = (backend.compiled, backend.feature) {
        return Err(UserError::Argument(format!(
            "--device {name}: this binary was built without it; build with `cargo run --release --features {feature} -- …`"
        )));
    }
    // A backend without its driver panics on first use: have it compute one number.
    let device = quietly(|| {
        let device = instantiate(kind, index);
        let _ = burn::tensor::Tensor::<1>::zeros([1], &device).into_data();
        device
    });
    device.map_err(|reason| {
        UserError::Argument(format!(
            "--device {name}: no usable adapter ({reason}); wgpu needs a Vulkan, Metal or DX12 driver (mesa-vulkan-drivers \
             has one in software), cuda an NVIDIA driver and the CUDA runtime"
        ))
    })
}

#[cfg_attr(not(feature = "cuda"), allow(unused_variables, reason = "only cuda takes a card number"))]
fn instantiate(kind: &str, index: usize) -> Device {
    match kind {
        #[cfg(feature = "ndarray")]
        #[allow(deprecated, reason = "kept as a second CPU backend to check against")]
        "ndarray" => Device::ndarray(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(Default::default()),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(index),
        _ => Device::flex(),
    }
}

/// Names of all backends, the reference first, whether or not they are compiled into this binary.
pub fn names() -> impl Iterator<Item = &'static str> {
    BACKENDS.iter().map(|b| b.name)
}

/// Whether a device computes in the memory of this process, so that reading a number costs nothing.
pub fn is_host(name: &str) -> bool {
    matches!(name, "flex" | "ndarray")
}

/// One line per backend: name, whether it can be used, and if not why.
pub fn list() -> String {
    let mut lines = String::new();
    for backend in &BACKENDS {
        let state = match (backend.compiled, backend.feature) {
            (false, Some(feature)) => format!("not in this binary; build with --features {feature}"),
            _ => match open(backend.name) {
                Ok(_) => "ready".to_string(),
                Err(_) => "in this binary, but no usable adapter".to_string(),
            },
        };
        lines.push_str(&format!("{:<8} {:<50} {}\n", backend.name, state, backend.about));
    }
    lines
}

/// Whether the backend of this name is compiled into this binary.
pub fn is_compiled(name: &str) -> bool {
    BACKENDS.iter().any(|b| b.name == name && b.compiled)
}
