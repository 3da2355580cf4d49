//! The program `scanside-trainer` as a person starts it. Everything that can be refused is refused before a run folder
//! is there; Ctrl-C loses nothing; exit codes and words are those that the documentation promises.

use std::fs;
use std::io::{BufRead, BufReader, Read};
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

/// Augmented, in bf16, by several steps an epoch: what a step draws must not depend on when the run was cut.
const LONGER: &str = r#"
epochs = 4
precision = "bf16"
"#;
const AUGMENT: &str = r#"
[augment]
rotate_degrees = 8.0
shift = 0.05
noise = 0.03
flip = 0.5
erase = 0.5
erase_area = 0.1
"#;

#[test]
fn ctrl_c_within_an_epoch_and_the_command_it_tells_end_in_the_same_weights() {
    let scratch = Scratch::new();
    scratch.succeeds("data phantoms --classes consolidation --size 96 --per-class 48 --seed 2 --out more");
    let recipe = RECIPE.replace("\nepochs = 1\n", LONGER) + AUGMENT;
    fs::write(scratch.at("recipe.toml"), recipe).unwrap();
    let train = "train recipe.toml --data more/manifest.csv --device cpu --no-bundle --out";
    scratch.succeeds(&format!("{train} whole"));

    let mut command = scratch.trainer();
    command.args(train.split(' ')).arg("parts");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("epoch")));
    assert!(first.is_some(), "no epoch was told");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    lines.for_each(drop);
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{error}");
    let epochs = |run: &str| {
        let metrics = fs::read_to_string(scratch.at(run).join("metrics.jsonl")).unwrap();
        metrics.lines().count()
    };
    assert!(epochs("parts") < 4, "the run had ended before it was interrupted");

    let (_, told) = error.trim().split_once("go on with: scanside-trainer ").unwrap();
    scratch.succeeds(told);
    assert_eq!((epochs("parts"), epochs("whole")), (4, 4));
    let checkpoint = |run: &str, file: &str| scratch.at(run).join("checkpoints").join(file);
    let [ours, theirs] = ["parts", "whole"].map(|run| {
        let path = checkpoint(run, "last.safetensors");
        trainer::training::checkpoint::load_state(&path).unwrap()
    });
    for (name, tensor) in &theirs.parameters {
        assert!(ours.parameters[name].equal(tensor), "{name}");
    }
    for (name, tensor) in &theirs.optimizer {
        assert!(ours.optimizer[name].equal(tensor), "{name}");
    }
    let best = |run| fs::read(checkpoint(run, "best.safetensors")).unwrap();
    assert!(best("parts") == best("whole"));
}

#[test]
fn provenance_names_the_sources_and_not_the_folder_that_the_program_is_started_in() {
    let scratch = Scratch::new();
    let git = |arguments: &str| {
        let mut command = Command::new("git");
        command.current_dir(scratch.folder.path());
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"];
        let output = command.args(identity).args(arguments.split(' ')).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !git("init --quiet") {
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "git is absent");
        eprintln!("skipped: git is absent; apt-get install git");
        return;
    }
    assert!(git("commit --quiet --allow-empty --message another"));
    scratch.succeeds(&format!("train recipe.toml --device cpu --out run {SEEN} --no-bundle"));
    let record = fs::read_to_string(scratch.at("run/run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    // Set by the build script, which asks the repository of the sources.
    assert_eq!(record["git_revision"].as_str(), option_env!("SCANSIDE_GIT_REVISION"));
    let (code, text) = scratch.run("version");
    assert_eq!(code, Some(0));
    assert!(
        text.contains(concat!("libtorch ", env!("SCANSIDE_LIBTORCH_VERSION"))),
        "{text}"
    );
}

#[test]
fn exit_codes_tell_wrong_words_from_missing_files() {
    let scratch = Scratch::new();
    for (arguments, code, part) in [
        (
            format!("train recipe.toml --device foo --out run {SEEN} --no-bundle"),
            2,
            "foo",
        ),
        (
            "train recipe.toml --device cpu --out run --data none.csv --no-bundle".to_owned(),
            1,
            "none.csv",
        ),
        ("data check none.csv".to_owned(), 1, "none.csv"),
        ("data phantoms --out seen".to_owned(), 2, "seen: is not empty"),
        (
            "data phantoms --out new --place up".to_owned(),
            2,
            "allowed: right or left",
        ),
    ] {
        let (found, text) = scratch.run(&arguments);
        assert!(
            found == Some(code) && text.contains(part),
            "{arguments}: {found:?} {text}"
        );
    }
    assert!(!scratch.at("run").exists());
}

#[test]
fn rows_that_are_left_out_are_told() {
    let scratch = Scratch::new();
    let recipe = RECIPE.replace(
        "[data.split]",
        "[data]\nlabels = [\"normal\", \"consolidation\"]\n[data.split]",
    );
    fs::write(scratch.at("recipe.toml"), recipe).unwrap();
    let manifest = fs::read_to_string(scratch.at("seen/manifest.csv")).unwrap();
    let other = manifest
        .lines()
        .nth(1)
        .unwrap()
        .replacen(",normal,", ",something else,", 1);
    fs::write(scratch.at("seen/manifest.csv"), format!("{manifest}{other}\n")).unwrap();
    let (code, text) = scratch.run(&format!("train recipe.toml --device cpu --out run {SEEN} --no-bundle"));
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("labels that the model does not know: 1 rows (something else 1)"),
        "{text}"
    );
}

#[test]
fn explain_names_each_failure_once_and_gives_each_image_a_file() {
    let scratch = Scratch::new();
    scratch.succeeds(&format!("train recipe.toml --device cpu --out run {SEEN} --no-bundle"));
    let image = "seen/images/normal_00001.png";
    fs::create_dir(scratch.at("b")).unwrap();
    fs::copy(scratch.at(image), scratch.at("b/normal_00001.png")).unwrap();
    let class = "--class normal --device cpu --run run --out maps";
    scratch.succeeds(&format!("explain {image} b/normal_00001.png {class}"));
    for name in ["normal_00001.last.normal.png", "normal_00001-2.last.normal.png"] {
        assert!(scratch.at("maps").join(name).is_file(), "{name}");
    }
    let (code, text) = scratch.run(&format!("explain {image} none.png {class}"));
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(text.matches("none.png").count(), 1, "{text}");
    fs::write(scratch.at("text.dcm"), "no image").unwrap();
    let (code, text) = scratch.run(&format!("explain none.png text.dcm {class}"));
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("none.png") && text.contains("text.dcm") && text.contains("2 of 2"),
        "{text}"
    );
}
