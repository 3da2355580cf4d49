//! A bundle's model on this machine: whether it does what the bundle's maker measured.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use bundle::manifest::HardwareRequirement;
use ndarray::Array4;
use onnx::runtime::ProviderUse;
use onnx::runtime::provider::saturates_u8s8;
use serde::Serialize;

use crate::appliance::{Appliance, mebibytes};
use crate::cli::{Loaded, Settings, model_failed};
use crate::exit::Exit;
use crate::golden::{self, GoldenResult};
use crate::inference::{Model, ModelIdentity};

/// Inferences before the clock runs, and those that are timed.
const WARM_UP_RUNS: usize = 3;
const TIMED_RUNS: usize = 15;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Which model.
    pub model: ModelIdentity,
    precision: String,
    hardware: HardwareReport,
    onnxruntime: LibraryReport,
    providers: ProviderReport,
    golden: Vec<GoldenResult>,
    latency_ms: Latency,
    displays: Vec<DisplayReport>,
    notes: Vec<String>,
    healthy: bool,
}

#[derive(Debug, Serialize)]
struct HardwareReport {
    needs: HardwareRequirement,
    has: Appliance,
}

#[derive(Debug, Serialize)]
struct LibraryReport {
    version: String,
    path: PathBuf,
    found_by: String,
}

#[derive(Debug, Serialize)]
struct ProviderReport {
    asked_for: String,
    /// Nodes that each provider ran in a real inference.
    ran: Option<ProviderUse>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Latency {
    threads: usize,
    runs: usize,
    min: f64,
    median: f64,
}

/// A display beside the model.
#[derive(Debug, Serialize)]
pub struct DisplayReport {
    /// Which one.
    pub display: String,
    /// Why it shows nothing.
    pub problem: Option<String>,
}

/// Runs a bundle's model on this machine. `displays` were looked at beside it.
///
/// # Errors
/// What keeps the model from running: bundle, library.
pub(super) fn examine(mut settings: Settings, displays: Vec<DisplayReport>) -> Result<(Report, Exit)> {
    settings.session.profile_first_run = true;
    let appliance = settings.appliance();
    let Loaded {
        mut model,
        golden,
        engine,
        runtime,
    } = settings.load(true)?;
    // The first run is the profiled one.
    let latency = latency(&mut model, engine.threads)?;
    let golden = golden::run(&mut model, &golden, |_| ()).map_err(model_failed)?;
    let library = runtime.library();
    let exit = exit(&golden, &displays);
    let report = Report {
        model: model.identity().clone(),
        precision: engine.precision.clone(),
        hardware: HardwareReport {
            needs: model.manifest().hardware.clone(),
            has: appliance,
        },
        onnxruntime: LibraryReport {
            version: library.version.clone(),
            path: library.path.clone(),
            found_by: library.source.to_string(),
        },
        notes: notes(&model, &engine.provider),
        providers: ProviderReport {
            asked_for: engine.provider,
            ran: model.provider_use().cloned(),
        },
        golden,
        latency_ms: latency,
        displays,
        healthy: exit == Exit::Done,
    };
    Ok((report, exit))
}

impl Report {
    /// The model and its golden cases in a line.
    pub fn summary(&self) -> String {
        let (cases, failed) = (self.golden.len(), self.failed());
        let ModelIdentity { name, version, .. } = &self.model;
        match failed {
            0 => format!(
                "{name} {version}, {cases} golden cases agree, {:.1} ms",
                self.latency_ms.median
            ),
            failed => format!(
                "{name} {version}, {failed} of {cases} golden cases differ too much from what the bundle's maker computed; flash \
                 it again, and if that does not help do not use it on this appliance"
            ),
        }
    }

    fn failed(&self) -> usize {
        self.golden.iter().filter(|case| !case.passed).count()
    }
}

/// Latency of the network with its heatmaps on an input of zeros: INT8 takes the same time for every image.
fn latency(model: &mut Model, threads: usize) -> Result<Latency> {
    let spec = &model.manifest().preprocess;
    let [height, width] = spec.size.map(|side| side as usize);
    let tensor = Array4::zeros((1, usize::from(spec.channels), height, width));
    let mut times = Vec::with_capacity(TIMED_RUNS);
    for run in 0..WARM_UP_RUNS + TIMED_RUNS {
        let start = Instant::now();
        model.run_tensor(tensor.view()).map_err(model_failed)?;
        if run >= WARM_UP_RUNS {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(Latency {
        threads,
        runs: TIMED_RUNS,
        min: times[0],
        median: times[TIMED_RUNS / 2],
    })
}

fn exit(golden: &[GoldenResult], displays: &[DisplayReport]) -> Exit {
    let unverified = golden.iter().any(|case| !case.passed);
    let broken = displays.iter().any(|display| display.problem.is_some());
    match (broken, unverified) {
        (true, _) => Exit::Device,
        (false, true) => Exit::Unverified,
        (false, false) => Exit::Done,
    }
}

fn notes(model: &Model, asked_for: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let manifest = model.manifest();
    if saturates_u8s8() && manifest.model.precision.contains("u8s8") {
        notes.push(
            "this processor has no VNNI: its fast 8-bit products saturate, so slower ones are used, and INT8 may be no faster \
             than float here"
                .to_owned(),
        );
    }
    if manifest.golden.is_empty() {
        notes.push("the bundle has no golden cases: nothing shows that the model computes the same here".to_owned());
    }
    let ran = model.provider_use().and_then(ProviderUse::main);
    let names = [
        ("cpu", "CPU"),
        ("cuda", "CUDA"),
        ("tensorrt", "Tensorrt"),
        ("openvino", "OpenVINO"),
    ];
    let wanted = names.iter().find(|(name, _)| *name == asked_for);
    if let (Some(ran), Some((_, prefix))) = (ran, wanted)
        && !ran.starts_with(prefix)
    {
        notes.push(format!("{asked_for} was asked for but most nodes ran on {ran}"));
    }
    notes
}

/// The report for people, with its verdict.
pub fn describe(report: &Report) -> String {
    let mut text = describe_model(report);
    text.push('\n');
    for display in &report.displays {
        let state = display.problem.as_deref().unwrap_or("good");
        let _ = writeln!(text, "display       {}: {state}", display.display);
    }
    if report.displays.is_empty() {
        let _ = writeln!(text, "display       none checked; give --framebuffer DEVICE");
    }
    text += &verdict(report);
    text
}

/// The model alone, for people.
pub fn describe_model(report: &Report) -> String {
    let mut text = format!(
        "model         {} {} ({}, {})\n              bundle {}, signed by key {}\n",
        report.model.name,
        report.model.version,
        report.model.role,
        report.precision,
        report.model.digest,
        report.model.key_id
    );
    let library = &report.onnxruntime;
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "onnx runtime  {} at {} ({})",
        library.version,
        library.path.display(),
        library.found_by
    );
    let _ = writeln!(text, "hardware      {}", hardware_words(&report.hardware));
    let _ = writeln!(text, "provider      {}", provider_words(&report.providers));
    for case in &report.golden {
        let word = if case.passed { "good" } else { "FAILED" };
        let novelty = case
            .novelty_difference
            .map_or(String::new(), |d| format!(", novelty {d:.4}"));
        let _ = writeln!(
            text,
            "golden case   {word}: {} (differences: probability {:.4}, heatmap {:.4}{novelty})",
            case.name, case.probability_difference, case.heatmap_difference
        );
    }
    let latency = report.latency_ms;
    let _ = writeln!(
        text,
        "latency       {:.1} ms in the median of {} inferences, {:.1} ms at best, {}",
        latency.median,
        latency.runs,
        latency.min,
        threads_words(latency.threads)
    );
    for note in &report.notes {
        let _ = writeln!(text, "note          {note}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn threads_words(threads: usize) -> String {
    match threads {
        0 => "a thread a core".to_owned(),
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    }
}

/// The last line: what the report amounts to, and what to do.
fn verdict(report: &Report) -> String {
    let differ = report.failed();
    let mut wrong = Vec::new();
    if differ > 0 {
        wrong.push(format!(
            "{differ} of {} golden cases differ too much from what the bundle's maker computed, so do not use this \
             model on this appliance",
            report.golden.len()
        ));
    }
    if report.displays.iter().any(|display| display.problem.is_some()) {
        wrong.push("a display does not work".to_owned());
    }
    if wrong.is_empty() {
        "healthy".to_owned()
    } else {
        format!("NOT healthy: {}", wrong.join("; "))
    }
}

/// "x86_64, 7900 MiB free, cpu; the bundle asks for 300 MiB, x86_64 or aarch64, cpu".
fn hardware_words(HardwareReport { needs, has }: &HardwareReport) -> String {
    let free = has.memory_bytes.map_or("memory not known".to_owned(), |bytes| {
        format!("{} MiB free", mebibytes(bytes))
    });
    let mut wanted = Vec::new();
    if needs.memory_bytes > 0 {
        wanted.push(format!("{} MiB", mebibytes(needs.memory_bytes)));
    }
    for names in [&needs.architectures, &needs.providers] {
        if !names.is_empty() {
            wanted.push(names.join(" or "));
        }
    }
    if wanted.is_empty() {
        wanted.push("nothing in particular".to_owned());
    }
    format!(
        "{}, {free}, {}; the bundle asks for {}",
        has.architecture,
        has.provider_names().join(" and "),
        wanted.join(", ")
    )
}

fn provider_words(providers: &ProviderReport) -> String {
    let Some(ran) = &providers.ran else {
        return format!("{}, which ran is not known", providers.asked_for);
    };
    let ran: Vec<String> = ran
        .nodes
        .iter()
        .map(|(name, count)| format!("{count} nodes on {name}"))
        .collect();
    format!("{} asked for; ran {}", providers.asked_for, ran.join(", "))
}
