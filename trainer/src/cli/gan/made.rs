//! Images that a generator made: PNG files with a manifest that says where each comes from.

use std::path::{Path, PathBuf};

use ndarray::{Axis, Ix4};
use tch::Tensor;
use trainer::autograd::parameters::array_of;
use trainer::data::Provenance;
use trainer::data::manifest::hex;
use trainer::report::sheet;

use crate::cli::failure::{Code, Failure};

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
        let mut writer = csv::Writer::from_path(&path)?;
        writer.write_record(COLUMNS)?;
        for line in &self.lines {
            writer.write_record(line)?;
        }
        writer.flush()?;
        Ok(path)
    }
}
