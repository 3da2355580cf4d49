//! Images that a generator made: PNG files with a manifest that says where each comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::{Axis, Ix4};
use tch::Tensor;
use trainer::autograd::parameters::array_of;
use trainer::data::manifest::hex;
use trainer::data::order::evenly;
use trainer::data::{Dataset, Part, Provenance, Split, table};
use trainer::interrupt::Interrupt;
use trainer::progress::Progress;
use trainer::recipes::TranslateSection;
use trainer::report::sheet;
use trainer::training::gan::prepare::load_images;
use trainer::training::gan::trained::Trained;

use super::failure;
use crate::cli::failure::{Code, Failure};
use crate::cli::output::Output;

/// Images made at once.
const BATCH: usize = 64;

/// Columns of the manifest.
const COLUMNS: [&str; 9] = [
    "path",
    "label",
    "source",
    "provenance",
    "generator",
    "seed",
    "number",
    "made_from",
    "sha256",
];

/// One image's row, apart from its file.
#[derive(Debug, Clone)]
pub struct Made {
    /// Name of the file below the folder, with `/`.
    pub path: String,
    /// What it shows.
    pub label: String,
    /// Seed that it was drawn with.
    pub seed: u64,
    /// Its number among those of its label.
    pub number: u64,
    /// The image that was translated, if it was.
    pub made_from: String,
}

/// A folder of made images.
pub struct Folder {
    root: PathBuf,
    generator: String,
    lines: Vec<[String; 9]>,
}

impl Folder {
    /// A new folder for the images of the generator with this digest.
    ///
    /// # Errors
    /// Something is in it already, or it cannot be made.
    pub fn create(root: &Path, generator: &str) -> Result<Self, Failure> {
        if root.exists() && std::fs::read_dir(root)?.next().is_some() {
            let message = format!("{}: not empty; give another --out", root.display());
            return Err(Failure::new(Code::Usage, message));
        }
        std::fs::create_dir_all(root)?;
        Ok(Self {
            root: root.to_owned(),
            generator: generator.to_owned(),
            lines: Vec::new(),
        })
    }

    /// Writes images `[n,C,H,W]` in [-1, 1] with a row each.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn add(&mut self, images: &Tensor, rows: Vec<Made>) -> Result<(), Failure> {
        let array = array_of(images)?.into_dimensionality::<Ix4>()?;
        for (image, row) in array.axis_iter(Axis(0)).zip(rows) {
            let file = self.root.join(&row.path);
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            sheet::write_one(&file, image)?;
            let digest = <sha2::Sha256 as sha2::Digest>::digest(std::fs::read(&file)?);
            self.lines.push([
                row.path,
                row.label,
                "generated".to_owned(),
                Provenance::Synthetic.name().to_owned(),
                self.generator.clone(),
                row.seed.to_string(),
                row.number.to_string(),
                row.made_from,
                hex(&digest),
            ]);
        }
        Ok(())
    }

    /// Writes the manifest and says where it lies.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> Result<PathBuf, Failure> {
        let path = self.root.join("manifest.csv");
        table::write(&path, &COLUMNS, &self.lines)?;
        Ok(path)
    }
}

/// Images wanted of a generator.
pub struct Wanted<'a> {
    /// The generator.
    pub trained: &'a Trained,
    /// How many of each label.
    pub per_class: u64,
    /// Draws noise, or which images are translated.
    pub seed: u64,
}

impl Wanted<'_> {
    /// Draws images of these classes, with their labels, from noise.
    ///
    /// # Errors
    /// What ended it.
    pub fn draw(
        &self,
        classes: &[(usize, String)],
        folder: &mut Folder,
        output: &Output,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        output.begin("making images", self.per_class * classes.len() as u64, "image");
        for (class, label) in classes {
            let mut done = 0;
            while done < self.per_class && !interrupt.is_raised() {
                let count = BATCH.min((self.per_class - done) as usize);
                let images = self.trained.sample(*class, done, count, self.seed).map_err(failure)?;
                let made = |number: u64| Made {
                    path: format!("{label}/{number:06}.png"),
                    label: label.clone(),
                    seed: self.seed,
                    number,
                    made_from: String::new(),
                };
                folder.add(&images, (done..done + count as u64).map(made).collect())?;
                done += count as u64;
                output.advance(count as u64, label);
            }
        }
        output.end();
        Ok(())
    }

    /// A new folder of images that a training set may be enlarged by: of every label from noise, or training images of one
    /// label translated into another.
    ///
    /// # Errors
    /// What ended it, as for a generator that knows no labels.
    pub fn make(
        &self,
        path: &Path,
        real: &Dataset,
        split: &Split,
        output: &Output,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let (recipe, labels) = (&self.trained.recipe, &self.trained.record.labels);
        let mut folder = Folder::create(path, &self.trained.digest)?;
        match &recipe.translate {
            Some(translate) => self.translate(translate, real, split, &mut folder, output, interrupt)?,
            None if recipe.generator.conditional => {
                let classes: Vec<(usize, String)> = labels.iter().cloned().enumerate().collect();
                self.draw(&classes, &mut folder, output, interrupt)?;
            }
            None => {
                let message =
                    "a generator that knows no labels (generator.conditional = false) makes no training images";
                return Err(Failure::new(Code::Usage, message));
            }
        }
        if interrupt.is_raised() {
            return Err(Failure::new(Code::Failed, "interrupted; the same command goes on"));
        }
        folder.finish().map(drop)
    }

    /// As many as there are training images to translate, at most.
    fn translate(
        &self,
        translate: &TranslateSection,
        real: &Dataset,
        split: &Split,
        folder: &mut Folder,
        output: &Output,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let is_source = |row: &usize| real.labels[real.samples[*row].class] == translate.from;
        let rows: Vec<usize> = split.rows(Part::Train).into_iter().filter(is_source).collect();
        let rows = evenly(&rows, |_| 0, self.per_class as usize, self.seed);
        let dataset = Arc::new(real.clone());
        output.begin("translating", rows.len() as u64, "image");
        for (number, row) in rows.into_iter().enumerate() {
            if interrupt.is_raised() {
                break;
            }
            let source = load_images(&self.trained.recipe, &dataset, vec![row]).map_err(failure)?;
            let made = self.trained.translate(&source, None).map_err(failure)?;
            let row = Made {
                path: format!("{}/{number:06}.png", translate.to),
                label: translate.to.clone(),
                seed: self.seed,
                number: number as u64,
                made_from: real.samples[row].row.path.clone(),
            };
            folder.add(&made, vec![row])?;
            output.advance(1, "");
        }
        output.end();
        Ok(())
    }
}
