//! A bundle on labelled images, run as the appliance runs it: verified, its own preprocessing, its INT8 file, its
//! operating points.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use bundle::container::{self, Policy};
use bundle::manifest::{FileKind, Manifest};
use bundle::{BundleError, TrustedKeys};
use imaging::overlay::upsample_heatmap;
use imaging::preprocess::Rect;
use ndarray::Array2;
use onnx::runtime::Runtime;
use serde::Serialize;

use super::error::ExportError;
use super::evaluation::{Evaluation, Labelled, THRESHOLDS_ALONE, evaluate, words};
use super::images::{Images, Unreadable};
use super::observe::{Keep, Observed, Observer};
use crate::data::Dataset;
use crate::interrupt::Interrupt;
use crate::metrics::pointing::{PointingGame, Shot, game, shoot};
use crate::progress::Progress;
use crate::recipes::label_id;

/// Column of a manifest with the path of the lesion mask: white where the lesion is.
const MASK_COLUMN: &str = "mask";
/// Grey value from which on a mask's pixel is inside.
const MASK_THRESHOLD: u8 = 128;

/// A verified bundle with its network in memory.
#[derive(Clone, Debug)]
pub struct Appliance {
    manifest: Manifest,
    model: Vec<u8>,
    runtime: &'static Runtime,
}

/// What an examination found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Examined {
    /// Name and version of the model.
    pub model: String,
    /// Figures in all and per source.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// The pointing game on correctly flagged images, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointing: Option<Pointing>,
    /// Images that could not be read.
    #[serde(skip)]
    pub unreadable: Vec<Unreadable>,
    /// The images that could, as rows of the data set.
    #[serde(skip)]
    pub rows: Vec<usize>,
    /// Their probabilities `[N,K]`, in the order of the data set's labels.
    #[serde(skip)]
    pub probabilities: Array2<f32>,
}

/// The pointing game, and which images took part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pointing {
    /// Rates; absent if no image took part.
    pub game: Option<PointingGame>,
    /// Images with a lesion mask.
    pub with_mask: usize,
    /// Those of them that were flagged with their own label.
    pub correctly_flagged: usize,
    /// Correctly flagged images without a map of their label: counted as missed.
    pub without_map: usize,
}

impl Appliance {
    /// Opens and verifies a bundle.
    ///
    /// # Errors
    /// It cannot be read, or is refused.
    pub fn open(path: &Path, keys: &TrustedKeys, runtime: &'static Runtime) -> Result<Self, ExportError> {
        let file = File::open(path).map_err(|source| ExportError::file(path, source))?;
        let mut opened = container::open(BufReader::new(file), keys, &Policy::default(), |entry| {
            entry.kind == FileKind::Model
        })
        .map_err(|source: BundleError| ExportError::BundleFile {
            path: path.to_owned(),
            source,
        })?;
        // The manifest was checked: it names a model file of its payload.
        let model = opened.files.remove(&opened.manifest.model.file).unwrap_or_default();
        Ok(Self {
            manifest: opened.manifest,
            model,
            runtime,
        })
    }

    /// What the bundle says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model's labels in the order of its outputs, each as `data` spells it, if it has it under the same stable id.
    pub fn labels_as_in<'a>(&self, data: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut labels: Vec<String> = self.manifest.labels.iter().map(|label| label.id.clone()).collect();
        for spelled in data {
            if let Some(label) = self.manifest.label_index(&label_id(spelled)) {
                labels[label] = spelled.to_owned();
            }
        }
        labels
    }

    /// Runs the model over `dataset`, whose labels are the model's, and evaluates; with `masks` it plays the pointing
    /// game on the images whose manifest row names a mask.
    ///
    /// # Errors
    /// No image can be read, ONNX Runtime fails, or somebody asked to stop.
    pub fn examine(
        &mut self,
        dataset: &Dataset,
        masks: bool,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Examined, ExportError> {
        let rows: Vec<usize> = (0..dataset.samples.len()).collect();
        let keep = Keep {
            maps: if masks { rows.len() } else { 0 },
            features: None,
        };
        let mut network = Observer::new(self.runtime, &self.model, &self.manifest.model.outputs, keep)?;
        let mut images = Images::new(&dataset.samples, &rows, &self.manifest.preprocess);
        progress.begin("evaluation", rows.len() as u64, "image");
        for batch in images.by_ref() {
            if interrupt.is_raised() {
                progress.end();
                return Err(ExportError::Interrupted);
            }
            network.run(&batch)?;
            progress.advance(batch.rows.len() as u64, "");
        }
        progress.end();
        let (observed, unreadable) = (network.finish(), images.unreadable().to_vec());
        if observed.rows.is_empty() {
            let detail = unreadable
                .first()
                .map_or_else(String::new, |one| format!(": {}", one.reason));
            return Err(ExportError::NoImages {
                side: "evaluation",
                purpose: "every figure",
                detail,
            });
        }
        let thresholds = self.thresholds();
        let mut evaluation = evaluate(
            &dataset.origin.display().to_string(),
            Labelled {
                probabilities: observed.probabilities.view(),
                rows: &observed.rows,
                samples: &dataset.samples,
                labels: &dataset.labels,
                thresholds: &thresholds,
            },
        );
        evaluation.left_out = dataset.left_out.clone();
        evaluation.unreadable = unreadable.len();
        Ok(Examined {
            model: format!("{} {}", self.manifest.name, self.manifest.version),
            pointing: masks.then(|| self.point(dataset, &observed, &thresholds)),
            evaluation,
            unreadable,
            rows: observed.rows,
            probabilities: observed.probabilities,
        })
    }

    fn thresholds(&self) -> Vec<Option<f32>> {
        let labels = 0..self.manifest.labels.len();
        labels
            .map(|label| self.manifest.operating_point(label).map(|point| point.threshold))
            .collect()
    }

    fn point(&self, dataset: &Dataset, observed: &Observed, thresholds: &[Option<f32>]) -> Pointing {
        let mut pointing = Pointing {
            game: None,
            with_mask: 0,
            correctly_flagged: 0,
            without_map: 0,
        };
        let mut shots = Vec::new();
        for (at, &row) in observed.rows.iter().enumerate() {
            let sample = &dataset.samples[row];
            let mask = sample.row.extra.get(MASK_COLUMN).filter(|mask| !mask.is_empty());
            let Some(mask) = mask.and_then(|mask| read_mask(&dataset.root.join(mask))) else {
                continue;
            };
            pointing.with_mask += 1;
            let flagged = thresholds[sample.class]
                .is_some_and(|threshold| observed.probabilities[(at, sample.class)] >= threshold);
            if !flagged {
                continue;
            }
            pointing.correctly_flagged += 1;
            let shot = self.shot(observed, at, sample.class, &mask);
            pointing.without_map += usize::from(shot.is_none());
            shots.push(shot.unwrap_or_else(|| missed(&mask)));
        }
        pointing.game = game(&shots);
        pointing
    }

    /// Points with the map as a screen shows it: upsampled to the image.
    fn shot(&self, observed: &Observed, at: usize, class: usize, mask: &Array2<bool>) -> Option<Shot> {
        let (height, width) = mask.dim();
        let field: Rect = self.manifest.preprocess.source_rect(height, width).ok()?;
        let size = [height, width];
        let heat = upsample_heatmap(observed.map_of(at, class)?, field, size, size);
        shoot(heat.mapv(f32::from).view(), mask.view())
    }
}

/// An image whose label got no map: the guesses count, the hit does not.
fn missed(mask: &Array2<bool>) -> Shot {
    let (height, width) = mask.dim();
    let inside = mask.iter().filter(|&&inside| inside).count() as f64;
    Shot {
        hit: false,
        random: inside / mask.len().max(1) as f64,
        centre: mask[(height / 2, width / 2)],
    }
}

/// The mask's pixels; `None` if it cannot be read or is empty.
fn read_mask(path: &Path) -> Option<Array2<bool>> {
    let mask = image::open(path).ok()?.into_luma8();
    let size = (mask.height() as usize, mask.width() as usize);
    let inside = mask
        .into_raw()
        .into_iter()
        .map(|value| value >= MASK_THRESHOLD)
        .collect();
    Array2::from_shape_vec(size, inside)
        .ok()
        .filter(|mask| mask.iter().any(|&inside| inside))
}

impl Examined {
    /// The findings as text for a terminal.
    pub fn table(&self) -> String {
        let mut text = format!("{}\n{}\n{THRESHOLDS_ALONE}", self.model, self.evaluation.table());
        if let Some(pointing) = &self.pointing {
            text.push_str(&pointing.words());
        }
        text
    }
}

impl Pointing {
    fn words(&self) -> String {
        let Some(game) = &self.game else {
            return format!(
                "\npointing game: no correctly flagged image among {} with a mask",
                self.with_mask
            );
        };
        format!(
            "\npointing game: the heatmap's maximum lies in the lesion in {} of {} correctly flagged images (of {} with \
             a mask); a random guess {:.3}, the centre {:.3}",
            words(Some(&game.hits)),
            self.correctly_flagged,
            self.with_mask,
            game.random,
            game.centre
        )
    }
}
