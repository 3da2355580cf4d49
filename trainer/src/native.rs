//! What tch does not wrap: CUDA's library, autocast in bfloat16, determinism. The C++ side is `shim/shim.cpp`.

use std::ffi::{CStr, c_char, c_double, c_int};
use std::sync::OnceLock;

use tch::{Device, TchError, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn scanside_load_cuda() -> c_int;
    fn scanside_autocast_begin(cuda: c_int) -> c_int;
    fn scanside_autocast_end(cuda: c_int);
    fn scanside_cuda_numerics(deterministic: c_int, tf32: c_int) -> c_int;
    fn scanside_last_error() -> *const c_char;
    fn scanside_fused_adamw(
        parameters: *const *const C_tensor,
        gradients: *const *const C_tensor,
        first: *const *const C_tensor,
        second: *const *const C_tensor,
        steps: *const *const C_tensor,
        count: c_int,
        rate: c_double,
        beta1: c_double,
        beta2: c_double,
        decay: c_double,
        epsilon: c_double,
        scale: *const C_tensor,
    ) -> c_int;
    fn scanside_fused_sgd(
        parameters: *const *const C_tensor,
        gradients: *const *const C_tensor,
        buffers: *const *const C_tensor,
        count: c_int,
        rate: c_double,
        momentum: c_double,
        decay: c_double,
        scale: *const C_tensor,
    ) -> c_int;
    fn scanside_leaky_relu(x: *const C_tensor, slope: c_double) -> *mut C_tensor;
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

/// How much CUDA's kernels may trade exactness for speed. The CPU's kernels give the same result every time for a given
/// number of threads, whatever stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaNumerics {
    /// Only kernels of cuDNN that give the same result every time.
    pub deterministic: bool,
    /// Products of float32 in TensorFloat-32 (10 bits of mantissa).
    pub tf32: bool,
}

impl CudaNumerics {
    /// Sets it for the process.
    pub fn apply(self) {
        // SAFETY: plain integers go in, and the shim lets no exception out.
        unsafe {
            scanside_cuda_numerics(c_int::from(self.deterministic), c_int::from(self.tf32));
        }
    }
}

/// A call of the shim that libtorch refused.
#[derive(Debug, thiserror::Error)]
#[error("libtorch: {message}")]
pub struct NativeError {
    /// libtorch's message.
    pub message: String,
}

fn check(status: c_int) -> Result<(), NativeError> {
    if status == 0 {
        return Ok(());
    }
    Err(NativeError { message: last_error() })
}

/// The first line of the message of this thread's last failed call.
fn last_error() -> String {
    // SAFETY: the shim gives a NUL-terminated string of this thread that lives until the next failed call.
    let message = unsafe { CStr::from_ptr(scanside_last_error()) };
    message.to_string_lossy().lines().next().unwrap_or("").to_owned()
}

/// x, or `slope` x where negative, in one kernel forward and one backward.
///
/// # Errors
/// When libtorch has no memory.
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor, TchError> {
    // SAFETY: the pointer is that of a live tensor; the shim lets no exception out and gives null, or a tensor that
    // belongs to the caller alone, as `from_ptr` wants it.
    unsafe {
        let made = scanside_leaky_relu(x.as_ptr(), slope);
        match made.is_null() {
            false => Ok(Tensor::from_ptr(made)),
            true => Err(TchError::Torch(last_error())),
        }
    }
}

fn pointers(tensors: &[&Tensor]) -> Vec<*const C_tensor> {
    tensors.iter().map(|tensor| tensor.as_ptr()).collect()
}

fn pointer(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(std::ptr::null(), Tensor::as_ptr)
}

/// Parameters and gradients of one fused step. All lists are equally long; the tensors of one position have the same
/// shape and strides, because the kernels walk memory.
#[derive(Debug, Default)]
pub struct FusedTensors<'a> {
    /// Parameters, changed in place.
    pub parameters: Vec<&'a Tensor>,
    /// Their gradients.
    pub gradients: Vec<&'a Tensor>,
    /// Running mean of the gradients, or SGD's momentum; changed in place.
    pub first: Vec<&'a Tensor>,
    /// Running mean of their squares (AdamW only); changed in place.
    pub second: Vec<&'a Tensor>,
    /// Scalar counts of steps, this one included (AdamW only).
    pub steps: Vec<&'a Tensor>,
}

/// Numbers of AdamW (arXiv 1711.05101).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the running mean.
    pub beta1: f64,
    /// Decay of the running mean of squares.
    pub beta2: f64,
    /// Added to the root of the mean of squares.
    pub epsilon: f64,
}

impl FusedTensors<'_> {
    fn count(&self) -> c_int {
        self.parameters.len() as c_int
    }

    /// One step of AdamW at `rate` with decoupled weight decay; gradients are divided by `scale` first.
    ///
    /// # Errors
    /// When libtorch refuses, as for tensors on several devices.
    ///
    /// # Panics
    /// When the lists are not equally long.
    pub fn adamw(&self, rate: f64, decay: f64, rule: AdamW, scale: Option<&Tensor>) -> Result<(), NativeError> {
        for list in [&self.gradients, &self.first, &self.second, &self.steps] {
            assert_eq!(list.len(), self.parameters.len(), "fused tensors come in equal lists");
        }
        // SAFETY: every pointer is that of a live tensor (tch's C_tensor is libtorch's Tensor), the lists are of the
        // length given, and the shim lets no exception out.
        check(unsafe {
            scanside_fused_adamw(
                pointers(&self.parameters).as_ptr(),
                pointers(&self.gradients).as_ptr(),
                pointers(&self.first).as_ptr(),
                pointers(&self.second).as_ptr(),
                pointers(&self.steps).as_ptr(),
                self.count(),
                rate,
                rule.beta1,
                rule.beta2,
                decay,
                rule.epsilon,
                pointer(scale),
            )
        })
    }

    /// One step of SGD with Nesterov momentum; weight decay is part of the gradient, which is divided by `scale` first.
    ///
    /// # Errors
    /// When libtorch refuses, as for tensors on several devices.
    ///
    /// # Panics
    /// When the lists are not equally long.
    pub fn sgd(&self, rate: f64, decay: f64, momentum: f64, scale: Option<&Tensor>) -> Result<(), NativeError> {
        for list in [&self.gradients, &self.first] {
            assert_eq!(list.len(), self.parameters.len(), "fused tensors come in equal lists");
        }
        // SAFETY: as in `adamw`.
        check(unsafe {
            scanside_fused_sgd(
                pointers(&self.parameters).as_ptr(),
                pointers(&self.gradients).as_ptr(),
                pointers(&self.first).as_ptr(),
                self.count(),
                rate,
                momentum,
                decay,
                pointer(scale),
            )
        })
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
