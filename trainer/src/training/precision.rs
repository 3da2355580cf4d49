//! In which number format a device computes best.

use tch::Device;

use crate::recipes::Precision;

impl Precision {
    /// Whether convolutions and products are computed in bfloat16 on this device.
    #[must_use]
    pub fn is_bf16_on(self, device: Device) -> bool {
        match self {
            Self::F32 => false,
            Self::Bf16 => true,
            Self::Auto => device != Device::Cpu || processor_has_bf16(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn processor_has_bf16() -> bool {
    // What has AMX tiles of bfloat16 has its vectors too.
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(target_arch = "aarch64")]
fn processor_has_bf16() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn processor_has_bf16() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_recipe_names_is_taken_and_auto_asks_the_device() {
        for device in [Device::Cpu, Device::Cuda(0)] {
            assert!(Precision::Bf16.is_bf16_on(device) && !Precision::F32.is_bf16_on(device));
        }
        assert!(Precision::Auto.is_bf16_on(Device::Cuda(0)));
        // The kernel's own list of what the processor has.
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            let listed = std::fs::read_to_string("/proc/cpuinfo")
                .unwrap()
                .contains("avx512_bf16");
            assert_eq!(Precision::Auto.is_bf16_on(Device::Cpu), listed);
        }
    }
}
