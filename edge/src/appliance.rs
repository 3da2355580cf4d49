//! What this appliance has, and whether that is enough for a bundle.
//!
//! [`Appliance::check`] takes nothing but the requirement in a manifest: it can be asked on the signed header alone,
//! before a byte of the payload is there.

use std::fs;

use bundle::manifest::HardwareRequirement;
use onnx::runtime::Provider;
use serde::Serialize;

/// What there is to run a model on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Appliance {
    /// The processor's architecture as Rust names it: `x86_64`, `aarch64`.
    pub architecture: &'static str,
    /// Memory that a model may take, in bytes; `None` where the system does not say.
    pub memory_bytes: Option<u64>,
    /// The execution providers that are configured. The CPU takes what they leave, named or not.
    pub providers: Vec<Provider>,
}

/// What a bundle needs and the appliance lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HardwareError {
    /// The bundle is made for other processors.
    #[error("it needs a processor of {wanted}, this appliance has {found}; use the bundle that was packed for it")]
    Architecture {
        /// The architectures of the manifest.
        wanted: String,
        /// The one of this appliance.
        found: &'static str,
    },
    /// A model would not find the memory that it needs.
    #[error(
        "it needs {} MiB of memory, this appliance has {} MiB free; end other programs or use a smaller model",
        mebibytes_up(*.wanted),
        mebibytes(*.found)
    )]
    Memory {
        /// Bytes of the manifest.
        wanted: u64,
        /// Bytes that a model may take here.
        found: u64,
    },
    /// None of the execution providers that the bundle is made for is configured.
    #[error(
        "it needs the execution provider {wanted}, this appliance is configured for {found}; name it in the config's \
         providers or with --provider if the appliance has it, or use the bundle that was packed for this appliance"
    )]
    Provider {
        /// The providers of the manifest.
        wanted: String,
        /// Those of this appliance.
        found: String,
    },
}

impl Appliance {
    /// This machine with the providers of its config.
    #[must_use]
    pub fn here(providers: &[Provider]) -> Self {
        Self {
            architecture: std::env::consts::ARCH,
            memory_bytes: memory_for_a_model(),
            providers: providers.to_vec(),
        }
    }

    /// Whether a bundle with this requirement can run here.
    ///
    /// # Errors
    /// [`HardwareError`] with what is wanted and what there is.
    pub fn check(&self, requirement: &HardwareRequirement) -> Result<(), HardwareError> {
        let architectures = &requirement.architectures;
        if !architectures.is_empty() && !architectures.iter().any(|name| name == self.architecture) {
            return Err(HardwareError::Architecture {
                wanted: architectures.join(" or "),
                found: self.architecture,
            });
        }
        let wanted = requirement.memory_bytes;
        if let Some(found) = self.memory_bytes.filter(|found| *found < wanted) {
            return Err(HardwareError::Memory { wanted, found });
        }
        self.check_providers(&requirement.providers)
    }

    fn check_providers(&self, wanted: &[String]) -> Result<(), HardwareError> {
        let found = self.provider_names();
        if wanted.is_empty() || wanted.iter().any(|name| found.contains(name)) {
            return Ok(());
        }
        Err(HardwareError::Provider {
            wanted: wanted.join(" or "),
            found: found.join(", "),
        })
    }

    /// Names of the configured providers, with the CPU, which is always there.
    #[must_use]
    pub fn provider_names(&self) -> Vec<String> {
        let cpu = Some(Provider::Cpu).filter(|cpu| !self.providers.contains(cpu));
        self.providers
            .iter()
            .copied()
            .chain(cpu)
            .map(|p| p.to_string())
            .collect()
    }
}

/// What is free, and what this process holds: a new model takes the place of the old one.
fn memory_for_a_model() -> Option<u64> {
    let kibibytes = |file: &str, key: &str| kibibytes(&fs::read_to_string(file).ok()?, key);
    let free = kibibytes("/proc/meminfo", "MemAvailable:")?;
    let own = kibibytes("/proc/self/status", "VmRSS:").unwrap_or(0);
    Some((free + own) * 1024)
}

/// The number behind `key` in a file of procfs.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whole MiB of a number of bytes.
#[must_use]
pub fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

fn mebibytes_up(bytes: u64) -> u64 {
    mebibytes(bytes.saturating_add((1 << 20) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appliance() -> Appliance {
        Appliance {
            architecture: "aarch64",
            memory_bytes: Some(512 << 20),
            providers: vec![Provider::TensorRt],
        }
    }

    fn needs(memory_bytes: u64, architectures: &[&str], providers: &[&str]) -> HardwareRequirement {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        HardwareRequirement {
            memory_bytes,
            architectures: owned(architectures),
            providers: owned(providers),
        }
    }

    #[test]
    fn what_the_appliance_has_is_enough() {
        let here = appliance();
        for requirement in [
            needs(0, &[], &[]),
            needs(512 << 20, &["x86_64", "aarch64"], &["cuda", "tensorrt"]),
            needs(0, &[], &["cpu"]),
        ] {
            assert_eq!(here.check(&requirement), Ok(()), "{requirement:?}");
        }
        let unknown = Appliance {
            memory_bytes: None,
            ..appliance()
        };
        assert_eq!(unknown.check(&needs(u64::MAX, &[], &[])), Ok(()));
    }

    #[test]
    fn what_the_appliance_lacks_is_named_with_what_it_has() {
        let lacks = |requirement| appliance().check(&requirement).unwrap_err().to_string();
        let message = lacks(needs(0, &["x86_64", "riscv64"], &[]));
        assert!(
            message.contains("x86_64 or riscv64") && message.contains("aarch64"),
            "{message}"
        );
        let message = lacks(needs((512 << 20) + 1, &[], &[]));
        assert!(
            message.contains("needs 513 MiB") && message.contains("has 512 MiB"),
            "{message}"
        );
        let message = lacks(needs(0, &[], &["cuda", "openvino"]));
        assert!(
            message.contains("cuda or openvino") && message.contains("tensorrt, cpu"),
            "{message}"
        );
        assert!(lacks(needs(u64::MAX, &[], &[])).contains("17592186044415 MiB"));
    }

    #[test]
    fn memory_is_read_where_the_system_tells_it() {
        let text = "MemTotal:       16000 kB\nMemAvailable:    9000 kB\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(9000));
        assert_eq!(kibibytes(text, "MemFree:"), None);
        assert_eq!(kibibytes("MemAvailable: much", "MemAvailable:"), None);
        if cfg!(target_os = "linux") {
            let found = Appliance::here(&[]).memory_bytes;
            assert!(found.is_some_and(|bytes| bytes > 1 << 20), "{found:?}");
        }
    }
}
