//! `cargo xtask demo`: the whole mission once, from images to a triage on the display.

mod appliance;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::command::{built, cargo, heading, root, run as run_command};
use crate::native;

/// Unseen phantoms come from another seed than the training set's.
const TRAINING_SEED: &str = "1";
const UNSEEN_SEED: &str = "2";
/// The findings that the recipe phantom-demo knows.
const ABNORMAL: &str = "consolidation,ground_glass";
/// Images of each class: enough for a useful model within the demo's five minutes.
const TRAINING_PER_CLASS: &str = "240";
/// Unseen images shown on the screens, of each class.
const UNSEEN_PER_CLASS: &str = "2";
/// Images of the user's own test side shown, of each label.
const OWN_PER_CLASS: usize = 3;

/// Arguments of `demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Your own images: a manifest CSV, or a folder with one folder per class
    #[arg(long, value_name = "MANIFEST_OR_FOLDER")]
    data: Option<PathBuf>,
    /// The recipe to train by [default: phantom-demo for phantoms, folder-quick for --data]
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Where everything is written; replaced if an earlier demo made it
    #[arg(long, default_value = "demo-out")]
    out: PathBuf,
}

/// The programs that the demo drives.
struct Programs {
    trainer: PathBuf,
    edge: PathBuf,
    flash: PathBuf,
}

/// Where the demo's pieces lie.
struct Places {
    run: PathBuf,
    keys: PathBuf,
    appliance: PathBuf,
    triage: PathBuf,
    unseen: PathBuf,
    phantoms: PathBuf,
}

/// Builds, trains, packs and triages.
///
/// # Errors
/// The step that failed, as its program said it.
pub fn run(args: &Args) -> Result<()> {
    native::setup_all()?;
    let programs = build()?;
    let started = Instant::now();
    let places = Places::make(&args.out)?;
    let own = match &args.data {
        Some(own) => Some(
            own.canonicalize()
                .with_context(|| format!("cannot open {}", own.display()))?,
        ),
        None => None,
    };
    let data = match &own {
        Some(own) => own.clone(),
        None => make_phantoms(&programs, &places)?,
    };
    let recipe = args
        .recipe
        .clone()
        .unwrap_or_else(|| default_recipe(args.data.is_some()));
    train(&programs, &places, &recipe, &data)?;
    let flashed = appliance::flash(&programs, &places)?;
    triage(&programs, &places, &flashed, &unseen_images(&places, own.as_deref())?)?;
    tell(&places, started);
    Ok(())
}

fn build() -> Result<Programs> {
    heading("build (the first one takes some minutes)");
    run_command(&mut cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "scanside-trainer",
        "--package",
        "scanside-edge",
        "--package",
        "scanside-flash",
    ]))?;
    Ok(Programs {
        trainer: built("release", "scanside-trainer")?,
        edge: built("release", "scanside-edge")?,
        flash: built("release", "scanside-flash")?,
    })
}

fn default_recipe(own_data: bool) -> PathBuf {
    let name = if own_data {
        "folder-quick.toml"
    } else {
        "phantom-demo.toml"
    };
    root().join("trainer/recipes").join(name)
}

impl Places {
    /// A fresh output folder; only a folder that a demo made is replaced.
    fn make(out: &Path) -> Result<Self> {
        let marker = out.join(".scanside-demo");
        if out.exists() {
            if !marker.exists() {
                bail!(
                    "{} exists and was not made by a demo; give another --out",
                    out.display()
                );
            }
            fs::remove_dir_all(out).with_context(|| format!("cannot replace {}", out.display()))?;
        }
        fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        fs::write(&marker, "made by cargo xtask demo\n")?;
        let out = out.canonicalize()?;
        let places = Self {
            run: out.join("run"),
            keys: out.join("keys"),
            appliance: out.join("appliance"),
            triage: out.join("triage"),
            unseen: out.join("unseen"),
            phantoms: out.join("phantoms"),
        };
        fs::create_dir_all(&places.keys)?;
        fs::create_dir_all(&places.triage)?;
        Ok(places)
    }

    fn secret_key(&self) -> PathBuf {
        self.keys.join("demo.key")
    }

    fn public_key(&self) -> PathBuf {
        self.keys.join("demo.pub")
    }

    fn bundle(&self) -> PathBuf {
        self.run.join("model.scanside")
    }
}

/// The training set, and a few images that training never sees.
fn make_phantoms(programs: &Programs, places: &Places) -> Result<PathBuf> {
    heading("chest phantoms");
    // Training reads the PNG files; what the appliance sees comes as DICOM.
    let sets: [(_, _, _, &[&str]); 2] = [
        (&places.phantoms, TRAINING_PER_CLASS, TRAINING_SEED, &[]),
        (&places.unseen, UNSEEN_PER_CLASS, UNSEEN_SEED, &["--dicom"]),
    ];
    for (folder, count, seed, files) in sets {
        let mut phantoms = Command::new(&programs.trainer);
        phantoms
            .args(["data", "phantoms", "--classes", ABNORMAL, "--size", "256"])
            .args(files);
        phantoms
            .args(["--per-class", count, "--seed", seed, "--out"])
            .arg(folder);
        run_command(&mut phantoms)?;
    }
    Ok(places.phantoms.join("manifest.csv"))
}

fn train(programs: &Programs, places: &Places, recipe: &Path, data: &Path) -> Result<()> {
    heading("a signing key");
    let mut key = Command::new(&programs.trainer);
    key.args(["key", "new", "--no-password", "--out"])
        .arg(places.keys.join("demo"));
    run_command(&mut key)?;
    heading("train, export, quantize, check, sign");
    let mut train = Command::new(&programs.trainer);
    train
        .arg("train")
        .arg(recipe)
        .arg("--data")
        .arg(data)
        .arg("--out")
        .arg(&places.run);
    train.arg("--secret-key").arg(places.secret_key());
    run_command(&mut train)
}

/// The phantoms made for this, or the test side of the split of the user's own images.
fn unseen_images(places: &Places, own_data: Option<&Path>) -> Result<Vec<PathBuf>> {
    let images = match own_data {
        Some(data) => {
            let base = if data.is_dir() { Some(data) } else { data.parent() };
            let test = rows(&places.run.join("split.csv"), ["path", "label", "side"])?;
            let test = test.into_iter().filter(|[_, _, side]| side == "test");
            a_few_of_each(test.map(|[path, label, _]| (label, base.unwrap_or(Path::new("")).join(path))))
        }
        None => rows(&places.unseen.join("manifest.csv"), ["dicom"])?
            .into_iter()
            .map(|[path]| places.unseen.join(path))
            .collect(),
    };
    if images.is_empty() {
        bail!("no unseen image was left to triage; give more images");
    }
    Ok(images)
}

/// The named columns of a CSV file.
fn rows<const N: usize>(file: &Path, columns: [&str; N]) -> Result<Vec<[String; N]>> {
    let mut reader = csv::Reader::from_path(file).with_context(|| format!("cannot read {}", file.display()))?;
    let header = reader.headers()?.clone();
    let place = |name: &str| {
        let found = header.iter().position(|title| title == name);
        found.with_context(|| format!("{} has no column {name}", file.display()))
    };
    let places: Vec<usize> = columns.iter().map(|name| place(name)).collect::<Result<_>>()?;
    let cells = |row: csv::StringRecord| std::array::from_fn(|i| row.get(places[i]).unwrap_or_default().to_owned());
    reader.records().map(|row| Ok(cells(row?))).collect()
}

/// The first images of each label.
fn a_few_of_each(images: impl Iterator<Item = (String, PathBuf)>) -> Vec<PathBuf> {
    let mut shown: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (label, path) in images {
        let of_label = shown.entry(label).or_default();
        if of_label.len() < OWN_PER_CLASS {
            of_label.push(path);
        }
    }
    shown.into_values().flatten().collect()
}

fn triage(programs: &Programs, places: &Places, flashed: &Path, images: &[PathBuf]) -> Result<()> {
    heading("triage of unseen images with what was flashed");
    let mut triage = Command::new(&programs.edge);
    triage.arg("triage").args(images);
    triage
        .arg("--bundle")
        .arg(flashed)
        .arg("--key")
        .arg(places.public_key());
    triage.arg("--screen").arg(places.triage.join("screen.png"));
    triage.arg("--heatmap").arg(places.triage.join("heatmap.png"));
    triage.arg("--json-out").arg(places.triage.join("result.json"));
    run_command(&mut triage)
}

fn tell(places: &Places, started: Instant) {
    heading(&format!("done in {} s after the build", started.elapsed().as_secs()));
    for (what, place) in [
        ("screens, heatmaps, results", places.triage.clone()),
        ("training report", places.run.join("report/index.html")),
        ("bundle", places.bundle()),
        ("key that the appliance trusts", places.public_key()),
        ("the appliance: slots, log, display", places.appliance.clone()),
    ] {
        println!("{what:34} {}", place.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A demo's output folder with the split of a run.
    fn places(folder: &Path, split: &str) -> Places {
        let places = Places::make(&folder.join("out")).unwrap();
        fs::create_dir_all(&places.run).unwrap();
        fs::write(places.run.join("split.csv"), split).unwrap();
        places
    }

    const SPLIT: &str = "side,path,label\n\
                         train,a/1.png,a\n\
                         test,a/2.png,a\n\
                         test,b/1.png,b\n\
                         test,b/2.png,b\n\
                         test,b/3.png,b\n\
                         test,b/4.png,b\n\
                         validation,b/5.png,b\n";

    #[test]
    fn own_images_are_a_few_of_each_label_of_the_test_side() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path(), SPLIT);
        let own = folder.path().join("own");
        fs::create_dir(&own).unwrap();
        let wanted = ["a/2.png", "b/1.png", "b/2.png", "b/3.png"].map(|name| own.join(name));
        // A folder, and a manifest in it: paths are relative to the folder.
        for data in [own.clone(), own.join("manifest.csv")] {
            assert_eq!(unseen_images(&places, Some(&data)).unwrap(), wanted);
        }
    }

    #[test]
    fn a_split_without_test_images_or_columns_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path(), "path,label,side\na/1.png,a,train\n");
        let error = unseen_images(&places, Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("no unseen image"), "{error}");
        fs::write(places.run.join("split.csv"), "path,label\na/1.png,a\n").unwrap();
        let error = unseen_images(&places, Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("no column side"), "{error}");
    }

    #[test]
    fn phantoms_are_triaged_as_dicom() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path(), SPLIT);
        fs::create_dir(&places.unseen).unwrap();
        fs::write(places.unseen.join("manifest.csv"), "path,dicom\nx.png,dicom/x.dcm\n").unwrap();
        assert_eq!(
            unseen_images(&places, None).unwrap(),
            [places.unseen.join("dicom/x.dcm")]
        );
    }

    #[test]
    fn only_a_folder_that_a_demo_made_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        places(folder.path(), SPLIT);
        assert!(!places(folder.path(), SPLIT).unseen.exists());
        fs::remove_file(folder.path().join("out/.scanside-demo")).unwrap();
        assert!(Places::make(&folder.path().join("out")).is_err());
        assert!(folder.path().join("out/run/split.csv").exists());
    }
}
