//! Execution providers: which hardware runs a session, and which one really did.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use ort::ep::ExecutionProviderDispatch;
use serde::{Deserialize, Serialize};

/// An execution provider, in the words of a config file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// ONNX Runtime's own kernels on the processor; always there.
    Cpu,
    /// NVIDIA CUDA.
    Cuda,
    /// NVIDIA TensorRT (Jetson); wants the symmetric S8S8 file.
    TensorRt,
    /// Intel OpenVINO.
    OpenVino,
}

impl Provider {
    /// The name that ONNX Runtime gives it, as in its profiles.
    pub fn onnx_name(self) -> &'static str {
        match self {
            Self::Cpu => "CPUExecutionProvider",
            Self::Cuda => "CUDAExecutionProvider",
            Self::TensorRt => "TensorrtExecutionProvider",
            Self::OpenVino => "OpenVINOExecutionProvider",
        }
    }

    /// A request that fails loudly: a provider that was asked for and is not there is an error.
    pub(super) fn dispatch(self, memory_arena: bool) -> ExecutionProviderDispatch {
        match self {
            Self::Cpu => ort::ep::CPU::default().with_arena_allocator(memory_arena).build(),
            Self::Cuda => ort::ep::CUDA::default().build(),
            Self::TensorRt => ort::ep::TensorRT::default().build(),
            Self::OpenVino => ort::ep::OpenVINO::default().with_device_type("CPU").build(),
        }
        .error_on_failure()
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::OpenVino => "openvino",
        })
    }
}

impl std::str::FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "tensorrt" => Ok(Self::TensorRt),
            "openvino" => Ok(Self::OpenVino),
            other => Err(format!(
                "unknown provider {other:?}; known: cpu, cuda, tensorrt, openvino"
            )),
        }
    }
}

/// What one real inference showed: how many nodes ran where, and which operators they were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderUse {
    /// Nodes run, by ONNX Runtime's provider name.
    pub nodes: BTreeMap<String, usize>,
    /// Nodes run, by operator type.
    pub operators: BTreeMap<String, usize>,
}

impl ProviderUse {
    /// The provider that ran most nodes, by ONNX Runtime's name.
    pub fn main(&self) -> Option<&str> {
        let busiest = self.nodes.iter().max_by_key(|(_, count)| **count);
        busiest.map(|(name, _)| name.as_str())
    }

    /// Reads ONNX Runtime's profile of a session that ran once.
    pub(super) fn from_profile(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        let events: Vec<Event> = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let mut found = Self::default();
        // Each node leaves one `..._kernel_time` event a run, and on older versions two more.
        for event in events.iter().filter(|e| e.name.ends_with("_kernel_time")) {
            if let (Some(provider), Some(operator)) = (&event.args.provider, &event.args.op_name) {
                *found.nodes.entry(provider.clone()).or_default() += 1;
                *found.operators.entry(operator.clone()).or_default() += 1;
            }
        }
        Ok(found)
    }
}

#[derive(Deserialize)]
struct Event {
    name: String,
    #[serde(default)]
    args: EventArguments,
}

#[derive(Default, Deserialize)]
struct EventArguments {
    provider: Option<String>,
    op_name: Option<String>,
}

/// Whether this processor's 8-bit products of unsigned activations and signed weights (U8S8)
/// would saturate in 16 bits: x86 without VNNI. Sessions take slower ones there that do not, so that INT8 outputs are those of
/// other machines.
pub fn saturates_u8s8() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        !(std::is_x86_feature_detected!("avx512vnni") || std::is_x86_feature_detected!("avxvnni"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_round() {
        for provider in [Provider::Cpu, Provider::Cuda, Provider::TensorRt, Provider::OpenVino] {
            assert_eq!(provider.to_string().parse(), Ok(provider));
            let json = serde_json::to_string(&provider).unwrap();
            assert_eq!(json, format!("\"{provider}\""));
        }
        assert!("gpu".parse::<Provider>().unwrap_err().contains("cuda"));
    }

    #[test]
    fn a_profile_is_counted_by_provider_and_operator() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profile.json");
        std::fs::write(
            &file,
            r#"[{"cat":"Session","name":"session_initialization","dur":3},
               {"cat":"Node","name":"a_fence_before","args":{"op_name":"Conv"}},
               {"cat":"Node","name":"a_kernel_time","args":{"provider":"CUDAExecutionProvider","op_name":"Conv"}},
               {"cat":"Node","name":"b_kernel_time","args":{"provider":"CUDAExecutionProvider","op_name":"Relu"}},
               {"cat":"Node","name":"c_kernel_time","args":{"provider":"CPUExecutionProvider","op_name":"Conv"}}]"#,
        )
        .unwrap();
        let found = ProviderUse::from_profile(&file).unwrap();
        assert_eq!(found.main(), Some("CUDAExecutionProvider"));
        assert_eq!(found.operators["Conv"], 2);
        std::fs::write(&file, "no json").unwrap();
        assert!(ProviderUse::from_profile(&file).is_err());
    }
}
