//! Generated images beside the data, training in two stages, cross-validation, and COVID-Net's input handling.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use trainer::data::{Dataset, Part, Provenance, Split, generated};
use trainer::recipes::{Balance, Recipe, Rows};
use trainer::training::batches::BatchSource;
use trainer::training::run::RunFolder;
use trainer::training::source::SplitSource;
use trainer::training::weights;

const RECIPE: &str = r#"
[data]
labels = ["normal", "consolidation"]
[[data.generated]]
manifest = "made/manifest.csv"
[data.split]
fractions = { train = 0.5, validation = 0.25, test = 0.25 }
[preprocess]
size = [64, 64]
channels = 1
mean = [0.5]
std = [0.25]
[[stages]]
name = "generated"
[stages.train]
rows = "generated"
epochs = 1
batch = 4
[network]
architecture = "small_cnn"
begin = "generated"
[train]
rows = "real"
epochs = 1
batch = 4
layer_rates = { conv1 = 0.0, bn1 = 0.0, layer1 = 0.0 }
weight_decay = 0.0
[bundle]
name = "tiny-two-stage"
"#;

/// Phantoms of 12 patients a class as the data, and translations of some of them as the generated images.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let this = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(this.at("recipe.toml"), RECIPE).unwrap();
        this.succeeds("data phantoms --classes consolidation --size 80 --per-class 16 --seed 1 --out seen");
        fs::create_dir(this.at("made")).unwrap();
        let mut manifest = "path,label,provenance,made_from\n".to_owned();
        for (number, path) in this.normal().iter().enumerate() {
            fs::copy(this.at("seen").join(path), this.at(&format!("made/{number}.png"))).unwrap();
            // As if it had been translated on another machine.
            manifest += &format!("{number}.png,consolidation,synthetic,/elsewhere/seen/{path}\n");
        }
        manifest +=
            "0.png,normal,synthetic,\n1.png,normal,synthetic,\n2.png,normal,synthetic,\n3.png,normal,synthetic,\n";
        this.write_made(&manifest);
        this
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write_made(&self, manifest: &str) {
        fs::write(self.at("made/manifest.csv"), manifest).unwrap();
    }

    /// Paths of the normal phantoms.
    fn normal(&self) -> Vec<String> {
        let manifest = fs::read_to_string(self.at("seen/manifest.csv")).unwrap();
        let rows = manifest.lines().filter(|row| row.contains(",normal,"));
        rows.map(|row| row.split(',').find(|cell| cell.ends_with(".png")).unwrap().to_owned())
            .collect()
    }

    fn run(&self, arguments: &str) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scanside-trainer"));
        command
            .args(arguments.split(' '))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    fn succeeds(&self, arguments: &str) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments}: {text}");
        text
    }

    /// The recipe, its manifest named from here.
    fn recipe(&self, change: impl FnOnce(&mut Recipe)) -> Recipe {
        let mut recipe = Recipe::parse(RECIPE, Path::new("recipe.toml")).unwrap();
        recipe.data.generated[0].manifest = self.at("made/manifest.csv");
        change(&mut recipe);
        recipe
    }

    fn dataset(&self, recipe: &Recipe) -> Result<Dataset, String> {
        Dataset::load(&self.at("seen/manifest.csv"), &recipe.data).map_err(|error| error.to_string())
    }
}

/// What must not meet across the split: the patient, or the group where there is none.
fn unit(dataset: &Dataset, row: usize) -> Option<String> {
    let row = &dataset.samples[row].row;
    row.patient_id.clone().or_else(|| row.group_id.clone())
}

#[test]
fn no_translation_of_an_evaluated_image_is_learnt_from() {
    let scratch = Scratch::new();
    let recipe = scratch.recipe(|_| ());
    let dataset = scratch.dataset(&recipe).unwrap();
    let split = Split::draw(&dataset, &recipe.data.split).unwrap();
    let evaluated: HashSet<String> = [Part::Validation, Part::Test]
        .into_iter()
        .flat_map(|part| split.rows(part))
        .filter_map(|row| unit(&dataset, row))
        .collect();
    let made = |part| {
        let rows = split.rows(part).into_iter();
        rows.filter(|row| dataset.samples[*row].row.provenance == Provenance::Synthetic)
            .collect::<Vec<_>>()
    };
    assert!(made(Part::Validation).is_empty() && made(Part::Test).is_empty());
    let (learnt, left) = (made(Part::Train), made(Part::Unused));
    assert!(!learnt.is_empty() && !left.is_empty());
    for row in learnt {
        assert!(
            unit(&dataset, row).is_none_or(|unit| !evaluated.contains(&unit)),
            "{}",
            dataset.samples[row].row.path
        );
    }
    for row in left {
        assert!(evaluated.contains(&unit(&dataset, row).unwrap()));
    }
}

#[test]
fn a_class_is_filled_to_the_wanted_count_and_no_further() {
    let scratch = Scratch::new();
    let recipe = scratch.recipe(|recipe| {
        recipe.data.generated[0].label = Some("consolidation".into());
        recipe.data.generated[0].fill_to = Some(11);
    });
    let dataset = scratch.dataset(&recipe).unwrap();
    let drawn = Split::draw(&dataset, &recipe.data.split).unwrap();
    let counts = |split: &Split| dataset.class_counts_of(&split.rows(Part::Train));
    let mut filled = drawn.clone();
    generated::fill(&mut filled, &dataset, &recipe.data).unwrap();
    assert!(counts(&drawn)[1] > 11, "{:?}", counts(&drawn));
    assert_eq!(counts(&filled), [counts(&drawn)[0], 11]);
    let mut again = drawn.clone();
    generated::fill(&mut again, &dataset, &recipe.data).unwrap();
    assert_eq!(again, filled, "the same ones for the same seed");

    let too_many = scratch.recipe(|recipe| {
        recipe.data.generated[0].label = Some("consolidation".into());
        recipe.data.generated[0].fill_to = Some(200);
    });
    let mut split = drawn;
    let message = generated::fill(&mut split, &dataset, &too_many.data)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("200") && message.contains("more are needed"),
        "{message}"
    );
}

#[test]
fn what_was_not_generated_or_has_no_known_origin_is_refused() {
    let scratch = Scratch::new();
    for (manifest, part) in [
        (
            "path,label,provenance\n0.png,normal,real\n",
            "images of a generator are wanted",
        ),
        (
            "path,label,provenance,made_from\n0.png,normal,synthetic,other/7.png\n",
            "which is not in the data",
        ),
        ("path,label,provenance\n0.png,nodule,synthetic\n", "no row has it"),
    ] {
        scratch.write_made(manifest);
        let message = scratch.dataset(&scratch.recipe(|_| ())).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
    let (code, text) = scratch.run("train recipe.toml --data seen/manifest.csv --device cpu --no-bundle --out run");
    assert!(code == Some(3) && !scratch.at("run").exists(), "{code:?} {text}");
}

#[test]
fn each_stage_learns_from_its_rows_alone() {
    let scratch = Scratch::new();
    let recipe = scratch.recipe(|_| ());
    let dataset = Arc::new(scratch.dataset(&recipe).unwrap());
    let split = Split::draw(&dataset, &recipe.data.split).unwrap();
    let counts = |recipe: &Recipe| SplitSource::new(&dataset, &split, recipe).unwrap().class_counts();
    let stage = recipe.of_stage(0).unwrap();
    let (generated, real) = (counts(&stage), counts(&recipe));
    let all = counts(&scratch.recipe(|recipe| recipe.train.rows = Rows::All));
    assert_eq!(generated[0], 4);
    assert_eq!(all, [generated[0] + real[0], generated[1] + real[1]]);
    assert!(real.iter().all(|n| *n > 0));
}

#[test]
fn fine_tuning_begins_with_what_the_first_stage_learnt() {
    let scratch = Scratch::new();
    scratch.succeeds("train recipe.toml --data seen/manifest.csv --device cpu --no-bundle --out run");
    let record = RunFolder::open(&scratch.at("run")).unwrap().record().unwrap();
    let begun_with = record.weights.unwrap();
    assert!(
        begun_with
            .path
            .ends_with("run/stages/generated/checkpoints/best.safetensors"),
        "{begun_with:?}"
    );
    assert!(begun_with.taken.missing.is_empty() && begun_with.taken.unexpected.is_empty());
    let read = |run: &str| weights::read(&scratch.at(run).join("checkpoints/best.safetensors")).unwrap();
    let (before, after) = (read("run/stages/generated"), read("run"));
    // A rate of nothing leaves the early layers where the first stage left them; the later ones went on.
    assert!(
        before["conv1.weight"] == after["conv1.weight"]
            && before["layer1.0.conv1.weight"] == after["layer1.0.conv1.weight"]
    );
    assert!(
        before["fc.weight"] != after["fc.weight"] && before["layer3.0.conv1.weight"] != after["layer3.0.conv1.weight"]
    );
}

#[test]
fn every_patient_is_tested_on_in_one_fold() {
    let scratch = Scratch::new();
    let recipe = scratch.recipe(|_| ());
    let dataset = scratch.dataset(&recipe).unwrap();
    let folds = Split::folds(&dataset, &recipe.data.split, 4).unwrap();
    let mut tested = BTreeMap::new();
    for (number, split) in folds.iter().enumerate() {
        let sides = Part::SIDES.map(|part| {
            split
                .rows(part)
                .iter()
                .filter_map(|row| unit(&dataset, *row))
                .collect::<HashSet<_>>()
        });
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            assert!(sides[one].is_disjoint(&sides[other]), "fold {number}");
        }
        let counts = dataset.class_counts_of(&split.rows(Part::Test));
        assert!(
            counts.iter().all(|n| (2..=6).contains(n)),
            "16 images a class in four folds: {counts:?}"
        );
        for row in split.rows(Part::Test) {
            assert_eq!(tested.insert(row, number), None, "row {row} is tested on twice");
        }
    }
    assert_eq!(tested.len(), 32, "every real image, and no generated one");
    let message = Split::folds(&dataset, &recipe.data.split, 20).unwrap_err().to_string();
    assert!(message.contains("too few"), "{message}");
}

#[test]
fn cross_validation_pools_all_test_images_and_goes_on_where_it_was_stopped() {
    let scratch = Scratch::new();
    let verb = "cross-validate recipe.toml --data seen/manifest.csv --folds 3 --device cpu --out folds";
    let text = scratch.succeeds(verb);
    assert!(
        text.contains("fold 3 of 3") && text.contains("3 folds: all: 32 images"),
        "{text}"
    );
    let predictions = fs::read_to_string(scratch.at("folds/predictions.csv")).unwrap();
    assert_eq!(predictions.lines().count(), 1 + 32, "{predictions}");
    let json = fs::read_to_string(scratch.at("folds/cross-validation.json")).unwrap();
    let figures: serde_json::Value = serde_json::from_str(&json).unwrap();
    let all = &figures["all"];
    assert_eq!(all["n"], 32);
    // Accuracy by hand, from the file of predictions.
    let right = predictions.lines().skip(1).filter(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let normal = cells[3].parse::<f64>().unwrap() > cells[4].parse::<f64>().unwrap();
        normal == (cells[1] == "normal")
    });
    let accuracy = right.count() as f64 / 32.0;
    assert!(
        (all["accuracy"]["value"].as_f64().unwrap() - accuracy).abs() < 1e-9,
        "{all}"
    );
    let low = all["accuracy"]["low"].as_f64().unwrap();
    assert!(low <= accuracy);
    // A fold that is lost is trained again, and comes out the same; the others stay.
    let kept = fs::metadata(scratch.at("folds/fold-1/checkpoints/best.safetensors"))
        .unwrap()
        .modified()
        .unwrap();
    fs::remove_dir_all(scratch.at("folds/fold-2")).unwrap();
    scratch.succeeds(verb);
    assert_eq!(
        fs::read_to_string(scratch.at("folds/predictions.csv")).unwrap(),
        predictions
    );
    assert_eq!(
        fs::metadata(scratch.at("folds/fold-1/checkpoints/best.safetensors"))
            .unwrap()
            .modified()
            .unwrap(),
        kept
    );
}

#[test]
fn half_of_every_batch_is_of_the_rare_class() {
    let scratch = Scratch::new();
    let rare = r#"balance = "rare"
rare = { label = "consolidation", share = 0.5 }
"#;
    let text = RECIPE.replace("rows = \"real\"\n", &format!("rows = \"real\"\n{rare}"));
    let mut recipe = Recipe::parse(&text, Path::new("rare.toml")).unwrap();
    recipe.data.generated.clear();
    let dataset = Arc::new(scratch.dataset(&recipe).unwrap());
    let split = Split::draw(&dataset, &recipe.data.split).unwrap();
    let source = SplitSource::new(&dataset, &split, &recipe).unwrap();
    assert!(source.training_batches() > 2);
    for batch in source.training(0, 0) {
        let labels = batch.unwrap().labels;
        assert_eq!(
            (labels.len(), labels.iter().filter(|label| **label == 1).count()),
            (4, 2)
        );
    }
    let refusal = |from: &str, to: &str| {
        let error = Recipe::parse(&text.replace(from, to), Path::new("rare.toml")).unwrap_err();
        error.to_string()
    };
    let message = refusal("balance = \"rare\"\n", "");
    assert!(
        message.contains("train.balance") && message.contains("[train.rare]"),
        "{message}"
    );
    recipe.train.rare.as_mut().unwrap().label = "nodule".into();
    let message = SplitSource::new(&dataset, &split, &recipe).unwrap_err().to_string();
    assert!(
        message.contains("train.rare") && message.contains("nodule"),
        "{message}"
    );
    assert_eq!(Recipe::load("xray-covidnet").unwrap().train.balance, Balance::Rare);
}
