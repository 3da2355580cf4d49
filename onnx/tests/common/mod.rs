//! What the tests of exported files share.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;
use std::process::Command;

use ndarray::{ArrayD, IxDyn};
use scanside_onnx::graph::{Distribution, Graph};
use scanside_onnx::parameters::Parameters;
use scanside_onnx::runtime::{self, Runtime};

/// Seeded numbers in [-1, 1): splitmix64.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    pub fn array(&mut self, shape: &[usize]) -> ArrayD<f32> {
        ArrayD::from_shape_simple_fn(IxDyn(shape), || self.next())
    }
}

/// Parameters as after some training: spread like fresh ones, BatchNorm statistics not trivial.
pub fn parameters(graph: &Graph) -> Parameters {
    let mut noise = Noise::new(7);
    let filled = graph.parameters().iter().map(|parameter| {
        let spread = match parameter.initializer.distribution(&parameter.shape) {
            Distribution::Normal { mean, std } => (mean, std * 3.0_f32.sqrt()),
            Distribution::Uniform { bound } => (0.0, bound),
            Distribution::Constant(value) => (value, 0.3),
        };
        let values = noise.array(&parameter.shape).mapv(|unit| spread.0 + spread.1 * unit);
        (parameter.name.clone(), values)
    });
    filled.collect()
}

/// ONNX Runtime, or None with a line that says so; with CI=true it must be there.
pub fn runtime() -> Option<&'static Runtime> {
    match runtime::load(None) {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{error}");
            eprintln!("skipped: {error}; run `cargo xtask setup`");
            None
        }
    }
}

/// A Python with the packages of `peers/requirements.txt`, or None with a line that says so; with
/// CI=true it must be there.
pub fn python() -> Option<PathBuf> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.venv/onnx/bin/python");
    let python = if own.exists() { own } else { PathBuf::from("python3") };
    let output = Command::new(&python)
        .args(["-c", "import numpy, onnx, onnxruntime"])
        .output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let message = "python3 cannot import onnx and onnxruntime; install onnx/peers/requirements.txt";
    assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{message}");
    eprintln!("skipped: {message}");
    None
}

/// The relative L2 error of `found` against `wanted`.
pub fn relative_error(found: &ArrayD<f32>, wanted: &ArrayD<f32>) -> f64 {
    assert_eq!(found.shape(), wanted.shape());
    let square = |value: f32| f64::from(value) * f64::from(value);
    let error: f64 = found.iter().zip(wanted).map(|(a, b)| square(a - b)).sum();
    let norm: f64 = wanted.iter().map(|value| square(*value)).sum();
    assert!(norm > 0.0, "nothing to compare with");
    (error / norm).sqrt()
}
