//! The visual Turing test kit: what it gives away (nothing), a reading in a real browser, and the score by hand.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::Array2;
use trainer::data::filter::blur;
use trainer::data::phantom::{Request, render};
use trainer::turing::{Answer, Answers, FORMAT, Key, Kind, digest};

/// Images of each kind; of both together, so many are shown again.
const COUNT: usize = 6;
const REPEATS: usize = 4;

/// Phantoms as the real images, and blurred ones of other patients as the generated ones, of another size.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let this = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for (name, size, first) in [("hospital", 120, 0), ("made_by_gan", 96, 100)] {
            let folder = this.at(name);
            fs::create_dir(&folder).unwrap();
            for number in 0..COUNT as u64 + 2 {
                let request = Request {
                    seed: 5,
                    patient: first + number,
                    image: 0,
                    size,
                    lesion: None,
                };
                let mut picture = render(&request).picture;
                if first > 0 {
                    blur(picture.as_slice_mut().unwrap(), size, size, 1.5);
                }
                save(&picture, &folder.join(format!("{name}_{number}.png")));
            }
        }
        this
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &str) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scanside-trainer"));
        said(
            command
                .current_dir(self.folder.path())
                .args(arguments.split(' '))
                .output()
                .unwrap(),
        )
    }

    fn succeeds(&self, arguments: &str) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments}: {text}");
        text
    }

    fn make(&self, out: &str) -> Key {
        self.succeeds(&format!(
            "turing make --real hospital --generated made_by_gan --count {COUNT} --repeats {REPEATS} --seed 4 --out {out}"
        ));
        serde_json::from_slice(&fs::read(self.at(out).join("key.json")).unwrap()).unwrap()
    }

    /// An answer file by a rule.
    fn answers(&self, kit: &str, reader: &str, rule: impl Fn(usize, &trainer::turing::Item) -> Kind) -> PathBuf {
        let bytes = fs::read(self.at(kit).join("key.json")).unwrap();
        let key: Key = serde_json::from_slice(&bytes).unwrap();
        let answers = key.items.iter().enumerate().map(|(at, item)| Answer {
            item: at + 1,
            answer: rule(at, item),
            milliseconds: 1000 + at as u64,
        });
        let file = Answers {
            format: FORMAT,
            kit: digest(&bytes),
            reader: reader.to_owned(),
            begun: "2026-01-01T00:00:00.000Z".into(),
            ended: "2026-01-01T00:10:00.000Z".into(),
            answers: answers.collect(),
        };
        let path = self.at(&format!("answers-{reader}.json"));
        fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
        path
    }
}

fn said(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn save(picture: &Array2<f32>, path: &Path) {
    let (height, width) = picture.dim();
    let bytes = picture
        .iter()
        .map(|value| (value.clamp(0.0, 1.0) * 255.0) as u8)
        .collect();
    image::GrayImage::from_raw(width as u32, height as u32, bytes)
        .unwrap()
        .save(path)
        .unwrap();
}

#[test]
fn a_kit_is_balanced_seeded_and_gives_nothing_away() {
    let scratch = Scratch::new();
    let key = scratch.make("kit");
    assert_eq!(key.items.len(), 2 * COUNT + REPEATS);
    assert_eq!(key.side, 96, "the shortest side of all images");
    for kind in [Kind::Real, Kind::Generated] {
        let firsts = key
            .items
            .iter()
            .filter(|item| item.kind == kind && item.repeats.is_none());
        assert_eq!(firsts.map(|item| &item.file).collect::<HashSet<_>>().len(), COUNT);
        assert_eq!(
            key.items
                .iter()
                .filter(|item| item.kind == kind && item.repeats.is_some())
                .count(),
            REPEATS / 2
        );
    }
    let page = fs::read_to_string(scratch.at("kit/test.html")).unwrap();
    for hint in ["hospital", "made_by_gan", ".png", "http:", "https:", "{{", "sha256"] {
        assert!(!page.contains(hint), "the page holds {hint:?}");
    }
    for item in &key.items {
        assert!(!page.contains(&item.sha256));
    }
    let key_bytes = fs::read(scratch.at("kit/key.json")).unwrap();
    assert!(page.contains(&digest(&key_bytes)), "the page seals the key");
    assert_eq!(
        fs::metadata(scratch.at("kit/key.json")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // The same seed, the same kit; another, another.
    scratch.make("again");
    assert_eq!(fs::read_to_string(scratch.at("again/test.html")).unwrap(), page);
    scratch.succeeds("turing make --real hospital --generated made_by_gan --count 6 --repeats 4 --seed 5 --out other");
    assert_ne!(fs::read(scratch.at("other/key.json")).unwrap(), key_bytes);
    // A key that was answered to is not overwritten.
    let (code, text) =
        scratch.run("turing make --real hospital --generated made_by_gan --count 6 --repeats 4 --out kit");
    assert!(code == Some(1) && text.contains("key.json"), "{code:?} {text}");
}

#[test]
fn what_cannot_be_a_kit_is_refused_with_what_can() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("empty")).unwrap();
    fs::write(
        scratch.at("made_by_gan/manifest.csv"),
        "path,label,provenance\nmade_by_gan_0.png,a,phantom\n",
    )
    .unwrap();
    for (arguments, code, part) in [
        ("--real empty --generated hospital", 3, "no image lies in it"),
        (
            "--real hospital --generated hospital --count 9",
            3,
            "8 real images, 9 are wanted",
        ),
        (
            "--real hospital --generated made_by_gan --count 1 --repeats 0",
            3,
            "its provenance is phantom",
        ),
        (
            "--real hospital --generated hospital --count 4 --repeats 3",
            2,
            "an even number up to 8",
        ),
        (
            "--real hospital --generated hospital --count 4 --repeats 2 --side 500",
            2,
            "told by their blur",
        ),
    ] {
        let (found, text) = scratch.run(&format!("turing make {arguments} --out kit"));
        assert!(
            found == Some(code) && text.contains(part),
            "{arguments}: {found:?} {text}"
        );
        assert!(!scratch.at("kit").exists(), "{arguments} left something");
    }
}

#[test]
fn scores_are_those_by_hand() {
    let scratch = Scratch::new();
    scratch.make("kit");
    // One takes the first two generated images for real, and is consistent; one says real to everything.
    let key: Key = serde_json::from_slice(&fs::read(scratch.at("kit/key.json")).unwrap()).unwrap();
    let mut fooled: Vec<&PathBuf> = Vec::new();
    for item in key
        .items
        .iter()
        .filter(|item| item.kind == Kind::Generated && item.repeats.is_none())
    {
        if fooled.len() < 2 {
            fooled.push(&item.file);
        }
    }
    scratch.answers("kit", "anna", |_, item| match fooled.contains(&&item.file) {
        true => Kind::Real,
        false => item.kind,
    });
    scratch.answers("kit", "ben", |_, _| Kind::Real);
    let text = scratch.succeeds("--json turing score --key kit/key.json answers-anna.json answers-ben.json");
    let score: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    let value = |who: &serde_json::Value, what: &str| {
        let estimate = &who[what];
        [estimate["value"].as_f64().unwrap(), estimate["n"].as_f64().unwrap()]
    };
    let (anna, ben, all) = (&score["readers"][0], &score["readers"][1], &score["all"]);
    assert_eq!(value(anna, "fooling"), [2.0 / 6.0, 6.0]);
    assert_eq!(value(anna, "sensitivity"), [4.0 / 6.0, 6.0]);
    assert_eq!(value(anna, "specificity"), [1.0, 6.0]);
    assert_eq!(value(anna, "accuracy"), [10.0 / 12.0, 12.0]);
    assert_eq!(value(anna, "consistency"), [1.0, 4.0]);
    assert_eq!(value(ben, "fooling"), [1.0, 6.0]);
    assert_eq!(value(ben, "accuracy"), [0.5, 12.0]);
    assert_eq!(value(all, "fooling"), [8.0 / 12.0, 12.0]);
    // statsmodels' proportion_confint(2, 6, method="wilson").
    let interval = [&anna["fooling"]["low"], &anna["fooling"]["high"]].map(|end| end.as_f64().unwrap());
    assert!(
        (interval[0] - 0.096_771_4).abs() < 1e-6 && (interval[1] - 0.700_006_7).abs() < 1e-6,
        "{interval:?}"
    );
    // By hand: 8 of 12 images agreed on; 20 of 24 answers are `real`.
    let (observed, by_chance) = (8.0 / 12.0, (20.0_f64 / 24.0).powi(2) + (4.0_f64 / 24.0).powi(2));
    assert!((score["kappa"].as_f64().unwrap() - (observed - by_chance) / (1.0 - by_chance)).abs() < 1e-12);
    let table = scratch.succeeds("turing score --key kit/key.json answers-anna.json answers-ben.json");
    assert!(
        table.contains("fooling rate") && table.contains("Fleiss' kappa"),
        "{table}"
    );
}

#[test]
fn answers_of_another_kit_unfinished_or_doubled_ones_are_refused() {
    let scratch = Scratch::new();
    scratch.make("kit");
    let anna = scratch.answers("kit", "anna", |_, item| item.kind);
    let refusal = |arguments: &str| scratch.run(&format!("turing score --key kit/key.json {arguments}"));
    let (code, text) = refusal("answers-anna.json answers-anna.json");
    assert!(
        code == Some(3) && text.contains("another file already"),
        "{code:?} {text}"
    );
    let mut file: Answers = serde_json::from_slice(&fs::read(&anna).unwrap()).unwrap();
    file.answers.pop();
    fs::write(&anna, serde_json::to_vec(&file).unwrap()).unwrap();
    let (code, text) = refusal("answers-anna.json");
    assert!(code == Some(3) && text.contains("15 of 16"), "{code:?} {text}");
    // Somebody turns the key's truth round after the reading.
    let anna = scratch.answers("kit", "anna", |_, item| item.kind);
    let key = fs::read_to_string(scratch.at("kit/key.json")).unwrap();
    fs::write(scratch.at("kit/key.json"), key.replacen("\"real\"", "\"generated\"", 1)).unwrap();
    let (code, text) = refusal(&anna.file_name().unwrap().to_string_lossy());
    assert!(
        code == Some(4) && text.contains("was the key changed"),
        "{code:?} {text}"
    );
}

/// Whether a browser can be driven, or a line that says what to install. In CI it must.
fn browser() -> bool {
    let runs = |program: &str, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .output()
            .is_ok_and(|o| o.status.success())
    };
    let here = runs("/usr/bin/chromium", &["--version"])
        && runs("/usr/bin/chromedriver", &["--version"])
        && runs("python3", &["-c", "import selenium"]);
    let why = "no browser to drive: apt-get install chromium chromium-driver, pip install selenium";
    assert!(here || std::env::var_os("CI").is_none_or(|v| v != "true"), "{why}");
    if !here {
        eprintln!("skipped: {why}");
    }
    here
}

#[test]
fn a_reading_by_keyboard_in_chromium_saves_a_file_that_scores() {
    if !browser() {
        return;
    }
    let scratch = Scratch::new();
    let key = scratch.make("kit");
    let downloads = scratch.at("downloads");
    fs::create_dir(&downloads).unwrap();
    // Right about all but the last image.
    let last = key.items.len() - 1;
    let letters: String = key
        .items
        .iter()
        .enumerate()
        .map(|(at, item)| {
            if (item.kind == Kind::Real) == (at != last) {
                'r'
            } else {
                'g'
            }
        })
        .collect();
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/turing/session.py"));
    command
        .arg(scratch.at("kit/test.html"))
        .args(["Dr. Jane Q", &letters])
        .arg(&downloads);
    if let Some(keep) = std::env::var_os("KEEP_PLOTS") {
        command.arg(keep);
    }
    let (code, text) = said(command.output().unwrap());
    assert_eq!(code, Some(0), "{text}");
    let seen: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert!(seen["refused"].as_str().unwrap().contains("Give a name"), "{text}");
    assert_eq!(
        (seen["seen"].as_u64(), seen["images"].as_u64()),
        (Some(16), Some(12)),
        "repeated images are the same: {text}"
    );
    assert!(
        seen["end"].as_str().unwrap().contains("answers-Dr-Jane-Q.json"),
        "{text}"
    );
    let score = scratch.succeeds("--json turing score --key kit/key.json downloads/answers-Dr-Jane-Q.json");
    let score: serde_json::Value = serde_json::from_str(score.trim()).unwrap();
    assert_eq!(score["readers"][0]["reader"], "Dr. Jane Q");
    let right = score["all"]["accuracy"]["value"].as_f64().unwrap();
    let consistent = score["all"]["consistency"]["value"].as_f64().unwrap();
    // The last image is a first showing or a repeated one.
    match key.items[last].repeats {
        None => assert!((right - 11.0 / 12.0).abs() < 1e-12 && consistent == 1.0),
        Some(_) => assert!(right == 1.0 && (consistent - 0.75).abs() < 1e-12),
    }
}
