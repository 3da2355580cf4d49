//! Which images each arm learns from, and for how long.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::manifest::Row;
use crate::data::{DataError, Dataset, Manifest, Part, Sample, Sides, Split, generated, table};
use crate::recipes::{AugmentSection, Recipe};

/// The arm that learns from real images as they are.
pub const REAL: &str = "real";
/// The arm that learns from real images with the recipe's augmentation.
pub const AUGMENTED: &str = "augmented";
/// The source of generated rows, as `gan sample` writes it.
pub const GENERATED: &str = "generated";

/// Which images an arm adds to the real ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addition {
    /// None.
    Nothing,
    /// None, but each real one is changed anew in each epoch, as the recipe's `[augment]` says.
    Augmentation,
    /// Images of the generator with this name.
    Generated,
}

/// One arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Its name: [`REAL`], [`AUGMENTED`], or the generator's.
    pub name: String,
    /// What it adds.
    pub addition: Addition,
}

/// The arms for these generators: real images, augmented ones, and one for each generator.
#[must_use]
pub fn arms<'a>(generators: impl IntoIterator<Item = &'a str>) -> Vec<Arm> {
    let plain = [(REAL, Addition::Nothing), (AUGMENTED, Addition::Augmentation)];
    let plain = plain.map(|(name, addition)| Arm {
        name: name.to_owned(),
        addition,
    });
    let generated = generators.into_iter().map(|name| Arm {
        name: name.to_owned(),
        addition: Addition::Generated,
    });
    plain.into_iter().chain(generated).collect()
}

/// The recipe of an arm's training: its augmentation only where that is the arm, and as many whole epochs as come nearest
/// to `steps`, where an epoch takes `steps_an_epoch`.
#[must_use]
pub fn recipe_of(recipe: &Recipe, arm: &Arm, seed: u64, steps: u64, steps_an_epoch: u64) -> Recipe {
    let mut recipe = recipe.clone();
    if arm.addition != Addition::Augmentation {
        recipe.augment = AugmentSection::default();
    }
    let epochs = steps as f64 / steps_an_epoch.max(1) as f64;
    recipe.train.epochs = (epochs.round() as usize).max(1);
    recipe.train.max_steps = None;
    recipe.train.warmup_epochs = recipe.train.warmup_epochs.min(recipe.train.epochs as f64);
    recipe.train.seed = seed;
    recipe
}

/// Real rows with their sides, and generated ones, which stand in training.
///
/// # Errors
/// A generated row that is not marked so, or of an unknown label.
pub fn with_generated(
    real: &Dataset,
    split: &Split,
    generated: Option<&Manifest>,
) -> Result<(Dataset, Split), DataError> {
    let mut dataset = real.clone();
    let mut parts = split.parts.clone();
    if let Some(manifest) = generated {
        let class_of = |row: &Row| match real.class_of(&row.label) {
            Some(class) => Ok(Some(class)),
            None => Err(DataError::Provenance {
                row: row.path.clone(),
                reason: format!("`{}` is no label of the recipe", row.label),
            }),
        };
        dataset.samples.extend(generated::samples(real, manifest, 0, class_of)?);
        parts.resize(dataset.samples.len(), Part::Train);
    }
    Ok((dataset, Split { parts }))
}

/// Writes the rows of a data set as a manifest with absolute paths, so that its runs can be gone on with and evaluated
/// like any other.
///
/// # Errors
/// The file cannot be written.
pub fn write_manifest(dataset: &Dataset, path: &Path) -> Result<(), DataError> {
    let columns = [
        "path",
        "label",
        "patient_id",
        "source",
        "group_id",
        "sha256",
        "provenance",
    ];
    let line = |sample: &Sample| {
        let Row {
            label,
            patient_id,
            source,
            group_id,
            sha256,
            provenance,
            ..
        } = &sample.row;
        let file = std::path::absolute(&sample.file).map_err(DataError::io(&sample.file))?;
        let known = |value: &Option<String>| value.clone().unwrap_or_default();
        Ok([
            file.to_string_lossy().into_owned(),
            label.clone(),
            known(patient_id),
            source.clone(),
            known(group_id),
            known(sha256),
            provenance.name().to_owned(),
        ])
    };
    let lines = dataset
        .samples
        .iter()
        .map(line)
        .collect::<Result<Vec<_>, DataError>>()?;
    table::write(path, &columns, lines)
}

/// Images that a generator learnt from (their sides in its run) and that stand in validation or test here, by side.
#[must_use]
pub fn leaked(dataset: &Dataset, split: &Split, learnt: &Sides) -> BTreeMap<Part, usize> {
    let mut counts = BTreeMap::new();
    for (sample, part) in dataset.samples.iter().zip(&split.parts) {
        let evaluated = matches!(part, Part::Validation | Part::Test);
        if evaluated && learnt.side(&sample.row.path) == Some(Part::Train) {
            *counts.entry(*part).or_insert(0) += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Provenance;

    fn dataset(rows: &[(&str, &str)]) -> Dataset {
        let manifest = Manifest {
            origin: "m.csv".into(),
            root: "/data".into(),
            rows: rows
                .iter()
                .map(|(path, label)| Row {
                    path: (*path).into(),
                    label: (*label).into(),
                    ..Row::default()
                })
                .collect(),
        };
        Dataset::of_manifest(&manifest, &crate::recipes::DataSection::default()).unwrap()
    }

    fn made(provenance: Provenance, label: &str) -> Manifest {
        Manifest {
            origin: "g.csv".into(),
            root: "/made".into(),
            rows: vec![Row {
                path: "0.png".into(),
                label: label.into(),
                provenance,
                ..Row::default()
            }],
        }
    }

    #[test]
    fn generated_images_train_and_nothing_else_does_with_them() {
        let real = dataset(&[("a.png", "a"), ("b.png", "b")]);
        let split = Split {
            parts: vec![Part::Train, Part::Test],
        };
        let (all, parts) = with_generated(&real, &split, Some(&made(Provenance::Synthetic, "b"))).unwrap();
        assert_eq!(parts.parts, [Part::Train, Part::Test, Part::Train]);
        assert_eq!(
            (all.samples[2].class, all.samples[2].file.to_str()),
            (1, Some("/made/0.png"))
        );
        for (manifest, word) in [
            (made(Provenance::Real, "b"), "images of a generator are wanted"),
            (made(Provenance::Synthetic, "c"), "no label"),
        ] {
            let error = with_generated(&real, &split, Some(&manifest)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_a_generator_learnt_from_is_seen_in_test() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.csv");
        std::fs::write(
            &path,
            "path,label,source,unit,side\na.png,a,,a.png,train\nb.png,b,,b.png,test\n",
        )
        .unwrap();
        let learnt = Sides::read(&path).unwrap();
        let real = dataset(&[("a.png", "a"), ("b.png", "b")]);
        let of = |parts: [Part; 2]| leaked(&real, &Split { parts: parts.into() }, &learnt);
        assert_eq!(of([Part::Test, Part::Train]), [(Part::Test, 1)].into());
        assert!(of([Part::Train, Part::Test]).is_empty());
    }

    #[test]
    fn every_arm_learns_about_as_many_steps() {
        let recipe = Recipe::load("folder-quick").unwrap();
        let arms = arms(["gan"]);
        let names: Vec<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(names, [REAL, AUGMENTED, "gan"]);
        let epochs = |steps_an_epoch| recipe_of(&recipe, &arms[0], 7, 300, steps_an_epoch).train.epochs;
        assert_eq!([10, 16, 1000].map(epochs), [30, 19, 1]);
        let of = |arm: &Arm| recipe_of(&recipe, arm, 7, 300, 10);
        assert_eq!(of(&arms[1]).augment, recipe.augment);
        assert_eq!(of(&arms[2]).augment, AugmentSection::default());
        assert_eq!(of(&arms[2]).train.seed, 7);
    }
}
