//! The steps from checkpoint to bundle, one function each, and all of them at once.

use std::path::{Path, PathBuf};

use onnx::proto::ModelProto;
use onnx::quantize::QuantizationReport;
use onnx::runtime::Runtime;

use super::context::{
    BUNDLE_FILE, CALIBRATION_FILE, Context, EVALUATION_FILE, FLOAT_FILE, GATE_FILE, INT8_FILE, QUANTIZATION_FILE,
    digest, runtime,
};
use super::error::ExportError;
use super::evaluation::{Evaluation, Labelled, evaluate};
use super::gate::GateReport;
use super::images::Images;
use super::observe::{Keep, Observed, Observer};
use super::pack::{Calibration, Parts};
use super::signing::SigningKey;
use super::{calibration_set, golden, model, novelty, operating, pack, parity};
use crate::data::order;
use crate::data::split::Part;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::seed;
use crate::training::checkpoint;

/// Training images whose features make the novelty statistics: more change them little.
const NOVELTY_IMAGES: usize = 2000;

/// What a finished run has.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The signed bundle.
    pub bundle: PathBuf,
    /// The public key that verifies it, in the run folder too.
    pub public_key: PathBuf,
    /// The report page.
    pub report: PathBuf,
    /// The gate.
    pub gate: GateReport,
    /// Evaluations on validation and test.
    pub evaluations: Vec<Evaluation>,
}

/// Takes a trained run to its bundle: exports, quantizes, calibrates, judges, evaluates, reports, packs. `data` is where
/// the images lie now, if not where the run remembers them.
///
/// # Errors
/// [`ExportError::GateFailed`] if INT8 loses too much; the report is written all the same, the bundle is not. Else what
/// stopped a step.
pub fn finish_run(
    run: &Path,
    key: &SigningKey,
    data: Option<&Path>,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Finished, ExportError> {
    let runtime = runtime()?;
    let context = Context::open(run, data)?;
    export_float(&context)?;
    quantize(&context, runtime, progress, interrupt)?;
    let gate = calibrate_and_judge(&context, runtime, progress, interrupt)?;
    progress.record(
        "gate",
        &serde_json::json!({ "held": gate.held, "figures": gate.figures }),
    );
    progress.line(&format!("parity gate, INT8 against float:\n{}", gate.table()));
    let evaluations = evaluate_run(&context, runtime, progress, interrupt)?;
    let report = crate::report::training::write(&context, runtime)?;
    if !gate.held {
        return Err(ExportError::GateFailed(Box::new(gate)));
    }
    let SignedBundle { bundle, public_key } = pack(&context, runtime, key, progress)?;
    Ok(Finished {
        bundle,
        public_key,
        report,
        gate,
        evaluations,
    })
}

/// Step 1: `model.onnx` from the best checkpoint.
///
/// # Errors
/// There is no checkpoint, or it does not fit the recipe.
pub fn export_float(context: &Context) -> Result<PathBuf, ExportError> {
    let checkpoint = context.folder.best_checkpoint();
    if !checkpoint.is_file() {
        let run = context.folder.path().to_owned();
        return Err(ExportError::StepMissing {
            path: checkpoint,
            verb: "train --resume",
            run,
        });
    }
    let parameters = checkpoint::load_parameters(&checkpoint)?;
    let bytes = model::float_model(&context.recipe, context.record.labels.len(), &parameters)?;
    // What was made from an older file must not be taken for this one's.
    context.remove(&[
        INT8_FILE,
        QUANTIZATION_FILE,
        CALIBRATION_FILE,
        GATE_FILE,
        EVALUATION_FILE,
        BUNDLE_FILE,
    ])?;
    context.write(FLOAT_FILE, &bytes)
}

/// Step 2: `model.int8.onnx` and the quantizer's report.
///
/// # Errors
/// There is no float file, or quantization fails.
pub fn quantize(
    context: &Context,
    runtime: &Runtime,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<QuantizationReport, ExportError> {
    let float = context.read(FLOAT_FILE, "export")?;
    let samples = &context.dataset.samples;
    let training = context.rows(Part::Train);
    let rows = calibration_rows(context, &training, progress);
    let source = (samples.as_slice(), rows.as_slice(), &context.recipe.preprocess);
    let mut quantized =
        calibration_set::quantize(runtime, &float, source, &context.recipe.quantize, progress, interrupt)?;
    // Until the gate sets its statistics, the novelty head is a placeholder: what it gives is equal in both files.
    quantized
        .report
        .outputs
        .retain(|output| output.name != onnx::heads::NOVELTY);
    context.remove(&[CALIBRATION_FILE, GATE_FILE, EVALUATION_FILE, BUNDLE_FILE])?;
    context.write(INT8_FILE, &quantized.model)?;
    context.write_json(QUANTIZATION_FILE, &quantized.report)?;
    let images = rows.iter().map(|&row| samples[row].row.path.as_str());
    context.folder.write_calibration_images(images)?;
    Ok(quantized.report)
}

/// Where only the last layer was fine-tuned: the images that calibrated the earlier run. Else drawn from the seed.
fn calibration_rows(context: &Context, training: &[usize], progress: &dyn Progress) -> Vec<usize> {
    let samples = &context.dataset.samples;
    let chosen = || calibration_set::choose(samples, training, &context.recipe.quantize, context.record.seed);
    let earlier = context.record.fine_tuning.as_ref();
    let Some(earlier) = earlier.filter(|earlier| !earlier.calibration_images.is_empty()) else {
        return chosen();
    };
    calibration_set::again(samples, training, &earlier.calibration_images).unwrap_or_else(|| {
        progress.line(&format!(
            "not all images that calibrated {} are training images here: others calibrate, and the quantized layers \
             will not be byte for byte as they were",
            earlier.run.display()
        ));
        chosen()
    })
}

/// Step 3: temperature, operating points, conformal quantiles and novelty on the INT8 file's outputs, set in that file;
/// then INT8 against float on validation. The verdict may be that the gate does not hold.
///
/// # Errors
/// A file is missing, or validation or training has no readable image.
pub fn calibrate_and_judge(
    context: &Context,
    runtime: &Runtime,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<GateReport, ExportError> {
    let (float, int8) = (
        context.read(FLOAT_FILE, "export")?,
        context.read(INT8_FILE, "quantize")?,
    );
    let mut proto = ModelProto::from_bytes(int8.as_slice()).map_err(|error| ExportError::NotOnnx {
        path: context.path(INT8_FILE),
        reason: error.to_string(),
    })?;
    let (opened, features) = model::with_features(&proto)?;
    let observer = |bytes: &[u8], maps: usize, features: Option<&String>| {
        Observer::new(
            runtime,
            bytes,
            &model::outputs(),
            Keep {
                maps,
                features: features.cloned(),
            },
        )
    };
    let maps = context.recipe.gate.cam_images;

    let validation = context.rows(Part::Validation);
    let networks = vec![observer(&float, maps, None)?, observer(&opened, maps, Some(&features))?];
    let [of_float, of_int8] = two(run(context, &validation, networks, "validation", progress, interrupt)?)
        .ok_or_else(|| no_images("validation", "temperature, operating points and the parity gate"))?;
    let truth = context.truth(&of_int8.rows);
    let labels = &context.record.labels;
    let decision = operating::decide(of_int8.logits.view(), &truth, labels, &context.recipe.operating_point)?;

    let seed = seed::mix(context.record.seed, "novelty set");
    let samples = &context.dataset.samples;
    let training = order::evenly(
        &context.rows(Part::Train),
        |row| samples[row].class,
        NOVELTY_IMAGES,
        seed,
    );
    let networks = vec![observer(&opened, 0, Some(&features))?];
    let of_training = run(context, &training, networks, "novelty", progress, interrupt)?.pop();
    let of_training = of_training.filter(|observed| !observed.rows.is_empty());
    let of_training = of_training.ok_or_else(|| no_images("training", "novelty statistics"))?;
    let components = components(&proto).unwrap_or(0);
    let classes = context.truth(&of_training.rows);
    let statistics = novelty::statistics(of_training.features.view(), &classes, labels.len(), components)?;
    let distances = novelty::distances(&statistics, of_int8.features.view());
    let limit = novelty::limit(&distances, components).ok_or_else(|| no_images("validation", "the novelty limit"))?;

    context.remove(&[EVALUATION_FILE, BUNDLE_FILE])?;
    model::set_calibration(&mut proto, decision.temperature, &statistics)?;
    let calibrated = proto.to_bytes();
    context.write(INT8_FILE, &calibrated)?;
    let parity = parity::compare(&of_float, &of_int8, &truth, labels, &decision);
    let gate = GateReport::judge(parity, &context.recipe.gate, digest(&calibrated));
    context.write_json(
        CALIBRATION_FILE,
        &Calibration {
            decision,
            novelty: limit,
        },
    )?;
    context.write_json(GATE_FILE, &gate)?;
    Ok(gate)
}

fn two(observed: Vec<Observed>) -> Option<[Observed; 2]> {
    <[Observed; 2]>::try_from(observed)
        .ok()
        .filter(|[first, _]| !first.rows.is_empty())
}

fn no_images(side: &'static str, purpose: &'static str) -> ExportError {
    ExportError::NoImages {
        side,
        purpose,
        detail: String::new(),
    }
}

/// Directions of the file's novelty head.
fn components(model: &ModelProto) -> Option<usize> {
    let initializers = &model.graph.as_ref()?.initializer;
    let projection = initializers
        .iter()
        .find(|tensor| tensor.name == onnx::heads::novelty::PROJECTION)?;
    projection.dims.get(1).map(|&extent| extent as usize)
}

/// Runs several networks over the same images, each of which is decoded once.
fn run(
    context: &Context,
    rows: &[usize],
    mut networks: Vec<Observer>,
    stage: &str,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Vec<Observed>, ExportError> {
    progress.begin(stage, rows.len() as u64, "image");
    let mut images = Images::new(&context.dataset.samples, rows, &context.recipe.preprocess);
    for batch in images.by_ref() {
        if interrupt.is_raised() {
            progress.end();
            return Err(ExportError::Interrupted);
        }
        for network in &mut networks {
            network.run(&batch)?;
        }
        progress.advance(batch.rows.len() as u64, "");
    }
    progress.end();
    for one in images.unreadable() {
        progress.line(&format!("left out: {}: {}", one.path.display(), one.reason));
    }
    Ok(networks.into_iter().map(Observer::finish).collect())
}

/// Evaluates the calibrated INT8 file on validation and test, and keeps the figures in `evaluation.json`. Validation
/// chose the thresholds, so its figures flatter; test, if there is one, does not.
///
/// # Errors
/// A step before is missing.
pub fn evaluate_run(
    context: &Context,
    runtime: &Runtime,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Vec<Evaluation>, ExportError> {
    let int8 = context.read(INT8_FILE, "quantize")?;
    let calibration: Calibration = context.read_json(CALIBRATION_FILE, "gate")?;
    let labels = &context.record.labels;
    let thresholds: Vec<Option<f32>> = (0..labels.len())
        .map(|class| calibration.decision.point_of(class).map(|point| point.threshold))
        .collect();
    let mut evaluations = Vec::new();
    for part in [Part::Validation, Part::Test] {
        let rows = context.rows(part);
        if rows.is_empty() {
            continue;
        }
        let network = Observer::new(runtime, &int8, &model::outputs(), Keep::default())?;
        let stage = format!("evaluation on {part}");
        let Some(observed) = run(context, &rows, vec![network], &stage, progress, interrupt)?.pop() else {
            continue;
        };
        if observed.rows.is_empty() {
            continue;
        }
        let mut evaluation = evaluate(
            part.name(),
            Labelled {
                probabilities: observed.probabilities.view(),
                rows: &observed.rows,
                samples: &context.dataset.samples,
                labels,
                thresholds: &thresholds,
            },
        );
        evaluation.unreadable = rows.len() - observed.rows.len();
        evaluations.push(evaluation);
    }
    context.write_json(EVALUATION_FILE, &evaluations)?;
    Ok(evaluations)
}

/// A bundle with what verifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBundle {
    /// The bundle.
    pub bundle: PathBuf,
    /// The public half of the key that signed it.
    pub public_key: PathBuf,
}

/// Whether the run may be packed: better known before a key is made or a password asked for.
///
/// # Errors
/// [`ExportError::GateFailed`], [`ExportError::GateStale`], or a step before is missing.
pub fn may_pack(context: &Context) -> Result<(), ExportError> {
    let int8 = context.read(INT8_FILE, "quantize")?;
    pack::gate_holds(context, &context.read_json(GATE_FILE, "gate")?, &int8)
}

/// Step 4: golden cases and the signed bundle `model.scanside`.
///
/// # Errors
/// [`ExportError::GateFailed`], [`ExportError::GateStale`], or a step before is missing.
pub fn pack(
    context: &Context,
    runtime: &Runtime,
    key: &SigningKey,
    progress: &dyn Progress,
) -> Result<SignedBundle, ExportError> {
    let int8 = context.read(INT8_FILE, "quantize")?;
    let quantization: QuantizationReport = context.read_json(QUANTIZATION_FILE, "quantize")?;
    let calibration: Calibration = context.read_json(CALIBRATION_FILE, "gate")?;
    let gate: GateReport = context.read_json(GATE_FILE, "gate")?;
    let evaluations: Vec<Evaluation> = context.read_json(EVALUATION_FILE, "gate")?;
    let phantoms = golden::phantoms(&context.recipe.preprocess, context.recipe.gate.golden_cases)?;
    let observed = golden::observe(runtime, &int8, &model::outputs(), &phantoms)?;
    let parts = Parts {
        int8: &int8,
        calibration: &calibration,
        gate: &gate,
        quantization: &quantization,
        evaluations: &evaluations,
        golden: golden::cases(&phantoms, &observed)?,
    };
    let (bytes, packed) = pack::pack(context, parts, key.secret())?;
    let public_key = key.keep_public(context.folder.path())?;
    let path = context.write(BUNDLE_FILE, &bytes)?;
    let manifest = &packed.manifest;
    progress.record(
        "bundle",
        &serde_json::json!({
            "path": path,
            "name": manifest.name,
            "version": manifest.version,
            "bytes": packed.file_bytes,
            "digest": bundle::container::hexadecimal(&packed.image_digest),
        }),
    );
    Ok(SignedBundle {
        bundle: path,
        public_key,
    })
}
