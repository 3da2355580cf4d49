//! INT8 against float in one run: `cargo bench -p scanside-onnx --bench int8 -- [DEPTH] [IMAGES] [SIDE]`
//!
//! A ResNet with He-initialised weights and the heads is quantized over generated images; printed
//! are the time and peak memory of that, the operators of the optimised graph, and the latency of both
//! files on one thread. Without a depth: ResNet-18, then the memory of ResNet-50. More than is promised
//! ends with an error.

use std::error::Error;
use std::time::Instant;

use ndarray::{Array4, ArrayD};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution as _, StandardNormal, StandardUniform};
use scanside_onnx::export::export;
use scanside_onnx::graph::initializer::Distribution;
use scanside_onnx::heads::{Heads, Novelty, classifier};
use scanside_onnx::networks::{ImageClassifier, resnet};
use scanside_onnx::parameters::Parameters;
use scanside_onnx::quantize::{ImageError, QuantizeOptions, quantize};
use scanside_onnx::runtime::optimised::node_counts;
use scanside_onnx::runtime::session::Optimisation;
use scanside_onnx::runtime::{self, Runtime, Session, SessionOptions};

const CLASSES: usize = 3;
/// The files take turns, and the least time counts, because only disturbances add to it.
const ROUNDS: usize = 10;
/// Runs of one file in a turn; the first finds the other file's weights in the caches.
const RUNS: usize = 12;
/// The promises: latency of INT8 as a share of float's, and memory while 100 images calibrate.
const LATENCY_RATIO: f64 = 0.35;
const PEAK_MEMORY_MB: f64 = 1000.0;

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let given = |index: usize, default: usize| numbers.get(index).copied().unwrap_or(default);
    let (depth, count, side) = (numbers.first(), given(1, 100), given(2, 224));
    let runtime = match runtime::load(None) {
        Ok(runtime) => runtime,
        Err(error) => {
            println!("skipped: {error}");
            return Ok(());
        }
    };
    let mut kept = true;
    for depth in depth.map_or(vec![18, 50], |depth| vec![*depth]) {
        let float = network(depth as u32, side)?;
        println!("ResNet-{depth}, {side} px, ONNX Runtime {}", runtime.library().version);
        let (int8, lean) = quantized(runtime, &float, count, side)?;
        kept &= lean;
        // The latency of one depth tells that of the others, at several times the cost.
        if numbers.is_empty() && depth != 18 {
            continue;
        }
        kept &= latency(runtime, &float, &int8, side)?;
    }
    kept.then_some(()).ok_or_else(|| "more than is promised".into())
}

/// The INT8 file, and whether making it took no more memory than promised and left no convolution in float.
fn quantized(runtime: &Runtime, float: &[u8], count: usize, side: usize) -> Result<(Vec<u8>, bool), Box<dyn Error>> {
    restart_peak_memory();
    let before = peak_memory_mb();
    let start = Instant::now();
    let mut images = (0..count).map(|seed| Ok::<_, ImageError>(image(side, seed as u64)));
    let quantized = quantize(runtime, float, &mut images, &QuantizeOptions::default())?;
    let (seconds, peak) = (start.elapsed().as_secs_f64(), peak_memory_mb());
    println!("quantized over {count} images in {seconds:.1} s (memory before: {before:.0} MB)");
    for output in &quantized.report.outputs {
        println!("  {output:?}");
    }
    let counts = node_counts(runtime, &quantized.model, Optimisation::All)?;
    println!("  {counts:?}");
    println!(
        "  {} KiB float, {} KiB INT8",
        float.len() / 1024,
        quantized.model.len() / 1024
    );
    let in_float = counts.get("Conv").copied().unwrap_or(0);
    let lean = verdict("peak memory, MB", peak, peak < PEAK_MEMORY_MB, "under 1000");
    let fused = verdict("convolutions in float", in_float as f64, in_float == 0, "none");
    Ok((quantized.model, lean && fused))
}

fn verdict(name: &str, value: f64, kept: bool, promised: &str) -> bool {
    let word = if kept { "good" } else { "TOO MUCH" };
    println!("  {word}: {name} {value:.3} (promised: {promised})");
    kept
}

fn network(depth: u32, side: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let config = ImageClassifier {
        classes: CLASSES,
        channels: 3,
        size: [side, side],
    };
    let graph = resnet(depth, &config)?;
    let features = if depth >= 50 { 2048 } else { 512 };
    let heads = Heads {
        temperature: 1.0,
        top_k: 2,
        novelty: Some(Novelty::placeholder(features, 32, CLASSES)),
    };
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut parameters = Parameters::new();
    for parameter in graph.parameters() {
        let values: ArrayD<f32> = match parameter.initializer.distribution(&parameter.shape) {
            Distribution::Constant(value) => ArrayD::from_elem(parameter.shape.clone(), value),
            Distribution::Normal { mean, std } => ArrayD::from_shape_simple_fn(parameter.shape.clone(), || {
                let x: f32 = StandardNormal.sample(&mut random);
                mean + std * x
            }),
            Distribution::Uniform { bound } => ArrayD::from_shape_simple_fn(parameter.shape.clone(), || {
                let x: f32 = StandardUniform.sample(&mut random);
                bound * (2.0 * x - 1.0)
            }),
        };
        parameters.insert(parameter.name.clone(), values);
    }
    Ok(export(&classifier(graph, &heads)?, &parameters)?)
}

/// Noise over a soft blob whose place the seed sets.
fn image(side: usize, seed: u64) -> Array4<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = || -> f32 { StandardUniform.sample(&mut random) };
    let place = [uniform(), uniform()].map(|x| x * side as f32);
    Array4::from_shape_fn((1, 3, side, side), |(_, _, y, x)| {
        let distance = ((y as f32 - place[0]).powi(2) + (x as f32 - place[1]).powi(2)) / (side * side) as f32;
        3.0 * (-8.0 * distance).exp() - 1.5 + uniform()
    })
}

fn latency(runtime: &Runtime, float: &[u8], int8: &[u8], side: usize) -> Result<bool, Box<dyn Error>> {
    let input = image(side, 0).into_dyn();
    let open = |model: &[u8]| Session::from_bytes(runtime, model, &SessionOptions::default());
    let mut sessions = [open(float)?, open(int8)?];
    let mut best = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        for (session, best) in sessions.iter_mut().zip(&mut best) {
            for _ in 0..RUNS {
                let start = Instant::now();
                session.run(&[("image", input.view())])?;
                *best = best.min(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    println!(
        "float {:.2} ms, INT8 {:.2} ms, one thread, least of {ROUNDS} x {RUNS} in turns",
        best[0], best[1]
    );
    let ratio = best[1] / best[0];
    Ok(verdict("INT8 / float", ratio, ratio <= LATENCY_RATIO, "at most 0.35"))
}

/// Lets the system measure the peak anew, without what building the network took.
fn restart_peak_memory() {
    // Where this is not possible, the peak is that of the whole process, which is no less.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Largest resident memory of this process so far, where the system tells it.
fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|value| value.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}
