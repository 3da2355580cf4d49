//! What tch does not wrap: CUDA's library, autocast in bfloat16, determinism. The C++ side is `shim/shim.cpp`.

use std::ffi::c_int;
use std::sync::OnceLock;

use tch::Device;

unsafe extern "C" {
    fn scanside_load_cuda() -> c_int;
    fn scanside_autocast_begin(cuda: c_int) -> c_int;
    fn scanside_autocast_end(cuda: c_int);
    fn scanside_numerics(deterministic: c_int, tf32: c_int) -> c_int;
}

/// A device name that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// Neither `auto`, `cpu` nor `cuda:N`.
    #[error("unknown device {name:?}: give auto, cpu, cuda or cuda:N")]
    Unknown {
        /// What was given.
        name: String,
    },
    /// CUDA was asked for by name and is not there.
    #[error(
        "device {name:?} is not available: libtorch sees {count} CUDA device(s); \
         check the driver and that libtorch_cuda.so stands in LD_LIBRARY_PATH, or give --device cpu"
    )]
    Absent {
        /// What was given.
        name: String,
        /// How many devices there are.
        count: i64,
    },
}

/// Loads libtorch's CUDA kernels where they are installed. It must come before the first torch call, so `main` calls
/// it first; later calls do nothing. Says whether the library was loaded.
pub fn load_cuda() -> bool {
    static LOADED: OnceLock<bool> = OnceLock::new();
    // SAFETY: the function takes nothing and catches nothing that could unwind; dlopen is called once.
    *LOADED.get_or_init(|| unsafe { scanside_load_cuda() } != 0)
}

/// The device that a name means: `cpu`, `cuda` (the first), `cuda:N`, or `auto` (the first CUDA device, else the CPU).
///
/// # Errors
/// [`DeviceError`] for another name, or a CUDA device that is not there.
pub fn device(name: &str) -> Result<Device, DeviceError> {
    load_cuda();
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" => return Ok(Device::cuda_if_available()),
        "cuda" => Some(0),
        _ => name.strip_prefix("cuda:").and_then(|index| index.parse::<usize>().ok()),
    };
    let index = index.ok_or_else(|| DeviceError::Unknown { name: name.to_owned() })?;
    let count = tch::Cuda::device_count();
    if (index as i64) < count {
        Ok(Device::Cuda(index))
    } else {
        Err(DeviceError::Absent {
            name: name.to_owned(),
            count,
        })
    }
}

/// While it lives, libtorch computes convolutions and matrix products of this thread in bfloat16, and keeps in float32
/// what needs it (losses, softmax, sums).
#[derive(Debug)]
pub struct Autocast {
    cuda: c_int,
    // Autocast is a state of the thread, so the guard must be dropped on the thread that made it.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Autocast {
    /// Opens the region where `enabled`, else gives nothing.
    pub fn begin(device: Device, enabled: bool) -> Option<Self> {
        let cuda = c_int::from(device.is_cuda());
        // SAFETY: plain integers go in, and the shim lets no exception out.
        let begun = enabled && unsafe { scanside_autocast_begin(cuda) } == 0;
        begun.then_some(Self {
            cuda,
            _not_send: std::marker::PhantomData,
        })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: as above; `begin` opened the region that this closes.
        unsafe { scanside_autocast_end(self.cuda) }
    }
}

/// How much CUDA's kernels may trade exactness for speed. The CPU's kernels are deterministic for a given number of
/// threads either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numerics {
    /// Only kernels that give the same result every time, where libtorch has them.
    pub deterministic: bool,
    /// Products of float32 in TensorFloat-32 (10 bits of mantissa).
    pub tf32: bool,
}

impl Numerics {
    /// Sets it for the process.
    pub fn apply(self) {
        // SAFETY: plain integers go in, and the shim lets no exception out.
        unsafe { scanside_numerics(c_int::from(self.deterministic), c_int::from(self.tf32)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    #[test]
    fn autocast_computes_products_in_bf16_inside_only() {
        let a = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
        {
            let _autocast = Autocast::begin(Device::Cpu, true);
            assert_eq!(a.matmul(&a).kind(), Kind::BFloat16);
        }
        assert_eq!(a.matmul(&a).kind(), Kind::Float);
        assert!(Autocast::begin(Device::Cpu, false).is_none());
    }

    #[test]
    fn device_names() {
        assert_eq!(device("cpu").ok(), Some(Device::Cpu));
        assert!(matches!(device("tpu"), Err(DeviceError::Unknown { .. })));
        assert!(matches!(device("cuda:x"), Err(DeviceError::Unknown { .. })));
        assert!(matches!(device("cuda:4096"), Err(DeviceError::Absent { .. })));
    }
}
