//! What `train` does before its first step: everything that can be refused is refused before a run folder is there.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const RECIPE: &str = r#"
[data.split]
fractions = { train = 0.5, validation = 0.25, test = 0.25 }
[preprocess]
size = [64, 64]
channels = 1
mean = [0.5]
std = [0.25]
[network]
architecture = "small_cnn"
[train]
epochs = 1
batch = 4
[bundle]
name = "tiny"
"#;

/// The password of the key `site`.
const PASSWORD: &str = "open sesame";

/// A scratch folder with the recipe `recipe.toml` and the phantoms `seen/manifest.csv`.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let this = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(this.at("recipe.toml"), RECIPE).unwrap();
        let phantoms = "data phantoms --classes consolidation --size 96 --per-class 8 --seed 1 --out seen";
        this.succeeds(phantoms);
        this
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The program in this folder, where it finds no ONNX Runtime: that is looked for after all that data, recipe and
    /// key can be refused for.
    fn trainer(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scanside-trainer"));
        command
            .current_dir(self.folder.path())
            .env("ORT_DYLIB_PATH", self.at("no-onnxruntime"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &str) -> (Option<i32>, String) {
        said(self.trainer().args(arguments.split_whitespace()).output().unwrap())
    }

    fn succeeds(&self, arguments: &str) {
        let (code, text) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments}: {text}");
    }

    /// The exit code and words of a `train` that must leave nothing behind.
    fn refused(&self, arguments: &str) -> (Option<i32>, String) {
        let answer = self.run(&format!("train recipe.toml --device cpu --out run {arguments}"));
        assert!(!self.at("run").exists(), "{arguments} left a run folder: {}", answer.1);
        answer
    }

    /// The key pair `site` with [`PASSWORD`], which stands in the file `password`.
    fn protected_key(&self) {
        fs::write(self.at("password"), format!("{PASSWORD}\n")).unwrap();
        self.succeeds("key new --out site --password-file password");
    }

    /// The phantoms as a folder of two class folders.
    fn class_folders(&self, name: &str, classes: [&str; 2]) {
        let manifest = fs::read_to_string(self.at("seen/manifest.csv")).unwrap();
        for (at, row) in manifest.lines().skip(1).enumerate() {
            let image = row.split(',').find(|cell| cell.ends_with(".png")).unwrap();
            let class = classes[usize::from(image.contains("consolidation"))];
            let folder = self.at(name).join(class);
            fs::create_dir_all(&folder).unwrap();
            fs::copy(self.at("seen").join(image), folder.join(format!("{at}.png"))).unwrap();
        }
    }
}

fn said(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

const SEEN: &str = "--data seen/manifest.csv";

#[test]
fn a_refused_key_leaves_no_run_folder() {
    let scratch = Scratch::new();
    scratch.protected_key();
    let (code, text) = scratch.refused(&format!("{SEEN} --secret-key none.key"));
    assert!(code == Some(2) && text.contains("none.key"), "{code:?} {text}");
    let (code, text) = scratch.refused(&format!("{SEEN} --secret-key site.key --password-file recipe.toml"));
    assert!(code == Some(2) && text.contains("password"), "{code:?} {text}");
    let (code, text) = scratch.refused(&format!("{SEEN} --secret-key site.key --password-file password"));
    assert!(code == Some(5) && text.contains("ONNX Runtime"), "{code:?} {text}");
}

#[test]
fn a_missing_password_is_said_with_its_option() {
    let scratch = Scratch::new();
    scratch.protected_key();
    let (code, text) = scratch.refused(&format!("{SEEN} --secret-key site.key"));
    assert!(code == Some(2) && text.contains("--password-file"), "{code:?} {text}");
}

#[test]
fn a_password_is_asked_for_on_a_terminal() {
    if !fs::exists("/usr/bin/script").unwrap() {
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "script is absent");
        eprintln!("skipped: script is absent; apt-get install bsdutils");
        return;
    }
    let scratch = Scratch::new();
    scratch.protected_key();
    let train = format!(
        "{} train recipe.toml --device cpu --out run {SEEN} --secret-key site.key",
        env!("CARGO_BIN_EXE_scanside-trainer")
    );
    // The right password leads on to the missing ONNX Runtime.
    for (password, code) in [("open barley", 2), (PASSWORD, 5)] {
        fs::write(scratch.at("typed"), format!("{password}\n")).unwrap();
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &train, "/dev/null"])
            .current_dir(scratch.folder.path())
            .env("ORT_DYLIB_PATH", scratch.at("no-onnxruntime"))
            .stdin(fs::File::open(scratch.at("typed")).unwrap())
            .output()
            .unwrap();
        let (found, text) = said(output);
        assert_eq!(found, Some(code), "{text}");
        assert!(text.contains("assword"), "{text}");
        assert!(!scratch.at("run").exists());
    }
}

#[test]
fn data_without_a_label_for_no_finding_is_refused_before_training() {
    let scratch = Scratch::new();
    scratch.class_folders("unnamed", ["a", "b"]);
    let (code, text) = scratch.refused("--data unnamed");
    assert!(
        code == Some(2) && text.contains("operating_point.no_finding"),
        "{code:?} {text}"
    );
    // Whatever its letters are, this is the label that flags nothing; so only ONNX Runtime is missing.
    scratch.class_folders("capitals", ["NORMAL", "b"]);
    let (code, text) = scratch.refused("--data capitals");
    assert!(code == Some(5) && text.contains("ONNX Runtime"), "{code:?} {text}");
}

#[test]
fn labels_that_a_bundle_cannot_name_are_refused_before_training() {
    let scratch = Scratch::new();
    scratch.class_folders("unnamable", ["normal", "肺炎"]);
    let (code, text) = scratch.refused("--data unnamable");
    assert!(code == Some(2) && text.contains("肺炎"), "{code:?} {text}");
}

#[test]
fn refused_weights_leave_no_run_folder() {
    let scratch = Scratch::new();
    let recipe = RECIPE.replace("[train]", "weights = \"site.pth\"\n[train]");
    fs::write(scratch.at("recipe.toml"), recipe).unwrap();
    fs::write(scratch.at("site.pth"), "not weights at all").unwrap();
    let (code, text) = scratch.refused(&format!("{SEEN} --no-bundle"));
    assert!(code == Some(3) && text.contains("site.pth"), "{code:?} {text}");
}

#[test]
fn a_run_that_ended_in_its_first_epoch_goes_on_from_the_start() {
    let scratch = Scratch::new();
    scratch.succeeds(&format!("train recipe.toml --device cpu --out run {SEEN} --no-bundle"));
    let epochs = || fs::read_to_string(scratch.at("run/metrics.jsonl")).unwrap();
    let first = epochs();
    for file in ["last.safetensors", "best.safetensors"] {
        fs::remove_file(scratch.at("run/checkpoints").join(file)).unwrap();
    }
    scratch.succeeds("train --resume --device cpu --out run --no-bundle");
    assert!(scratch.at("run/checkpoints/best.safetensors").is_file());
    assert_eq!(epochs().lines().count(), first.lines().count());
}

#[test]
fn a_limit_of_steps_shortens_a_run_that_can_still_be_resumed() {
    let scratch = Scratch::new();
    // 8 training rows in batches of 4: two steps an epoch.
    let recipe = RECIPE.replace("epochs = 1", "epochs = 9\nmax_steps = 5");
    fs::write(scratch.at("recipe.toml"), recipe).unwrap();
    let epochs = |run: &str| {
        let metrics = fs::read_to_string(scratch.at(run).join("metrics.jsonl")).unwrap();
        metrics.lines().count()
    };
    scratch.succeeds(&format!("train recipe.toml --device cpu --out run {SEEN} --no-bundle"));
    assert_eq!(epochs("run"), 2);
    scratch.succeeds("train recipe.toml --resume --device cpu --out run --no-bundle");
    scratch.succeeds(&format!(
        "train recipe.toml --device cpu --out longer --epochs 3 {SEEN} --no-bundle"
    ));
    assert_eq!(epochs("longer"), 3, "what is said on the command line counts");
}

#[test]
fn a_fine_tuning_begins_where_the_earlier_run_ended_and_keeps_its_sides() {
    let scratch = Scratch::new();
    let phantoms = "data phantoms --classes consolidation --size 96 --per-class 16 --seed 1 --out many";
    scratch.succeeds(phantoms);
    const MANY: &str = "--data many/manifest.csv";
    // Of each class the first twelve of sixteen are known at first.
    let manifest = fs::read_to_string(scratch.at("many/manifest.csv")).unwrap();
    let (head, rows) = manifest.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let known = [&[head], &rows[..12], &rows[16..28]].concat().join("\n");
    fs::write(scratch.at("many/known.csv"), known).unwrap();
    scratch.succeeds("train recipe.toml --data many/known.csv --device cpu --out run --no-bundle");

    let (code, text) = scratch.run(&format!(
        "train {MANY} --from nowhere --device cpu --out tuned --no-bundle"
    ));
    assert!(code == Some(2) && text.contains("nowhere"), "{code:?} {text}");
    let arguments = "--from run --head-only --epochs 2 --learning-rate 1e-2 --bundle-version 0.2.0 --device cpu";
    scratch.succeeds(&format!("train {MANY} {arguments} --out tuned --no-bundle"));
    let read = |path: &str| fs::read_to_string(scratch.at(path)).unwrap();
    let sides = |path: &str| -> Vec<String> { read(path).lines().skip(1).map(str::to_owned).collect() };
    let (before, after) = (sides("run/split.csv"), sides("tuned/split.csv"));
    assert_eq!((before.len(), after.len()), (24, 32));
    assert!(before.iter().all(|line| after.contains(line)), "{before:?} {after:?}");
    let recipe = read("tuned/recipe.toml");
    assert!(
        recipe.contains("version = \"0.2.0\"") && recipe.contains("learning_rate = 0.01"),
        "{recipe}"
    );

    // Only the last layer learnt.
    let weights = |path: &str| trainer::training::weights::read(&scratch.at(path)).unwrap();
    let [old, new] = ["run", "tuned"].map(|run| weights(&format!("{run}/checkpoints/best.safetensors")));
    let moved = old.iter().filter(|(name, tensor)| **tensor != new[name.as_str()]);
    let moved: Vec<&str> = moved.map(|(name, _)| name.as_str()).collect();
    assert_eq!(moved, ["fc.bias", "fc.weight"]);
    scratch.succeeds("train --resume --device cpu --out tuned --no-bundle");
}
