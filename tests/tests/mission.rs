//! The whole mission with the built programs: phantoms, training, bundle, evaluation, triage, doctor.
//!
//! The model here is trained for seconds: what is asserted is that every program takes what the one
//! before it made, not how good the model is. `cargo xtask demo` trains a useful one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use scanside_tests::program;
use serde_json::{Value, json};

/// A recipe that ends within seconds. The gate's limits are wide because so young a model's maps are noise.
const RECIPE: &str = r#"
[data]
labels = ["normal", "consolidation"]
[data.split]
by = "group"
fractions = { train = 0.5, validation = 0.25, test = 0.25 }
seed = 1
[preprocess]
size = [64, 64]
filter = "bilinear"
channels = 1
mean = [0.5]
std = [0.25]
[network]
architecture = "small_cnn"
cam_classes = 1
[train]
epochs = 2
batch = 8
learning_rate = 2e-3
seed = 1
[quantize]
calibration_images = 8
[gate]
max_auroc_loss = 0.5
max_sensitivity_loss = 1.0
max_specificity_loss = 1.0
min_cam_pearson = -1.0
min_cam_iou = 0.0
golden_cases = 2
[operating_point]
no_finding = "normal"
measure = "sensitivity"
value = 0.9
[bundle]
name = "mission"
version = "0.1.0"
role = "chest-xray"
[bundle.intended_use]
modality = ["DX", "CR"]
body_part = ["CHEST"]
words = "A test on generated phantoms."
"#;

struct Mission {
    folder: tempfile::TempDir,
    trainer: PathBuf,
    edge: PathBuf,
}

impl Mission {
    /// The programs and ONNX Runtime, or `None` with a line that says what is missing.
    fn prepare() -> Option<Self> {
        let (trainer, edge) = (program("scanside-trainer")?, program("scanside-edge")?);
        scanside_tests::onnxruntime()?;
        let folder = tempfile::tempdir().expect("a scratch folder");
        Some(Self { folder, trainer, edge })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Runs `program` in the scratch folder.
    fn run(&self, program: &Path, arguments: &str) -> Output {
        let mut command = Command::new(program);
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path());
        if let Some(library) = scanside_tests::onnxruntime() {
            command.env("ORT_DYLIB_PATH", library);
        }
        command.output().expect("the program starts")
    }

    /// As [`Mission::run`], and it must succeed; gives the standard output.
    fn done(&self, program: &Path, arguments: &str) -> String {
        let output = self.run(program, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {} {error}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, program: &Path, arguments: &str) -> Value {
        let text = self.done(program, arguments);
        let last = text.trim().lines().last().unwrap_or_default();
        serde_json::from_str(&text)
            .or_else(|_| serde_json::from_str(last))
            .unwrap_or_else(|e| panic!("{arguments}: {e} in {text}"))
    }

    /// Phantoms, a key, and a trained, packed run.
    fn train(&self) {
        let phantoms = "data phantoms --classes consolidation --size 192 --dicom";
        self.done(&self.trainer, &format!("{phantoms} --per-class 16 --seed 1 --out seen"));
        self.done(
            &self.trainer,
            &format!("{phantoms} --per-class 2 --seed 2 --out unseen"),
        );
        self.done(&self.trainer, "key new --no-password --out site");
        fs::write(self.at("recipe.toml"), RECIPE).expect("the recipe is written");
        self.done(
            &self.trainer,
            "train recipe.toml --data seen/manifest.csv --out run --device cpu --secret-key site.key",
        );
    }

    fn unseen(&self) -> String {
        let entries = fs::read_dir(self.at("unseen/dicom")).expect("DICOM phantoms");
        let mut paths: Vec<String> = entries
            .map(|entry| entry.expect("an entry").path().display().to_string())
            .collect();
        paths.sort();
        assert_eq!(paths.len(), 4, "{paths:?}");
        paths.join(" ")
    }
}

const TRUSTED: &str = "--bundle run/model.scanside --key site.pub";

#[test]
fn from_phantoms_to_a_triage() {
    let Some(mission) = Mission::prepare() else { return };
    mission.train();
    evaluation_counts_every_image(&mission);
    evaluation_says_what_it_leaves_out(&mission);
    evaluation_and_triage_see_the_same_probabilities(&mission);
    triage_says_the_same_as_its_files(&mission);
    doctor_repeats_the_golden_cases(&mission);
    a_changed_bundle_is_refused_by_both(&mission);
}

fn evaluation_counts_every_image(mission: &Mission) {
    let report = mission.json(
        &mission.trainer,
        &format!("evaluate {TRUSTED} --data unseen/manifest.csv --json"),
    );
    assert_eq!(report["all"]["n"], 4, "{report}");
    // The run knows the key that its bundle was signed with.
    let of_run = mission.json(&mission.trainer, "evaluate --run run --data unseen/manifest.csv --json");
    assert_eq!(of_run["all"], report["all"]);
}

fn evaluation_says_what_it_leaves_out(mission: &Mission) {
    let rows = "path,label,source\n\
                images/normal_00001.png,normal,a\n\
                images/normal_00002.png,normal,b\n\
                images/consolidation_00001.png,Infiltrate,a\n\
                images/consolidation_00002.png,Effusion,a\n";
    fs::write(mission.at("unseen/relabelled.csv"), rows).expect("a manifest");
    let choice = "--source a --map Infiltrate=consolidation";
    let report = mission.json(
        &mission.trainer,
        &format!("evaluate {TRUSTED} --data unseen/relabelled.csv {choice} --json"),
    );
    assert_eq!(report["all"]["n"], 2, "{report}");
    let left_out = json!({ "other_sources": { "b": 1 }, "unknown_labels": { "Effusion": 1 } });
    assert_eq!(report["left_out"], left_out, "{report}");
}

fn evaluation_and_triage_see_the_same_probabilities(mission: &Mission) {
    mission.done(
        &mission.trainer,
        &format!("evaluate {TRUSTED} --data unseen/manifest.csv --predictions predictions.csv"),
    );
    let text = fs::read_to_string(mission.at("predictions.csv")).expect("the predictions");
    let mut lines = text.lines();
    let labels: Vec<&str> = lines.next().expect("a heading").split(',').skip(2).collect();
    assert_eq!(lines.clone().count(), 4, "{text}");
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let triage = format!("triage unseen/{} {TRUSTED} --json", cells[0]);
        let output = mission.run(&mission.edge, &triage);
        let finding: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
        let probabilities = finding["probabilities"].as_array().expect("a list");
        assert_eq!(probabilities.len(), labels.len(), "{finding}");
        for (label, cell) in labels.iter().zip(&cells[2..]) {
            let of_label = probabilities
                .iter()
                .find(|one| one["label"] == **label)
                .expect("the label");
            let (theirs, ours): (f64, f64) = (
                of_label["probability"].as_f64().expect("a number"),
                cell.parse().expect("a number"),
            );
            assert!((theirs - ours).abs() < 1e-6, "{line}: {label} {theirs}");
        }
    }
}

fn triage_says_the_same_as_its_files(mission: &Mission) {
    let outputs = "--json --json-out result.json --screen screen.png --heatmap heatmap.png";
    let text = mission.done(
        &mission.edge,
        &format!("triage {} {TRUSTED} {outputs}", mission.unseen()),
    );
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert_eq!(lines.len(), 4);
    for line in &lines {
        let sum: f64 = line["probabilities"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|p| p["probability"].as_f64())
            .sum();
        assert!((sum - 1.0).abs() < 1e-4, "{line}");
        let stem = Path::new(line["source"]["file"].as_str().expect("a name"))
            .file_stem()
            .expect("a stem")
            .to_owned();
        let stem = stem.to_str().expect("text");
        let kept: Value =
            serde_json::from_slice(&fs::read(mission.at(&format!("result-{stem}.json"))).expect("its file"))
                .expect("JSON");
        assert_eq!(kept["decision"], line["decision"]);
        assert!(fs::metadata(mission.at(&format!("screen-{stem}.png"))).is_ok_and(|file| file.len() > 10_000));
        assert!(mission.at(&format!("heatmap-{stem}.png")).exists());
    }
}

fn doctor_repeats_the_golden_cases(mission: &Mission) {
    let report = mission.json(&mission.edge, &format!("doctor {TRUSTED} --json"));
    assert_eq!(report["healthy"], true, "{report}");
    assert_eq!(report["golden"].as_array().map(Vec::len), Some(2), "{report}");
}

fn a_changed_bundle_is_refused_by_both(mission: &Mission) {
    let mut bytes = fs::read(mission.at("run/model.scanside")).expect("the bundle");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(mission.at("changed.scanside"), bytes).expect("the changed bundle");
    for (program, arguments) in [
        (
            &mission.edge,
            format!("triage {} --bundle changed.scanside --key site.pub", mission.unseen()),
        ),
        (
            &mission.trainer,
            "evaluate --bundle changed.scanside --key site.pub --data unseen/manifest.csv".to_owned(),
        ),
    ] {
        let output = mission.run(program, &arguments);
        assert_eq!(
            output.status.code(),
            Some(4),
            "{arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
