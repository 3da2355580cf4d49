//! Images of a data set as tensors, exactly as the appliance makes them: decoded, then `PreprocessSpec::apply`.

use std::path::{Path, PathBuf};

use imaging::decode::{Limits, first_frame};
use imaging::preprocess::PreprocessSpec;
use ndarray::{Array3, Array4, Axis};

use crate::data::dataset::Sample;

/// Images that are decoded and run through a network together: bounds the memory.
const BATCH_IMAGES: usize = 16;

/// Tensors with the rows that they belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Row of each image in the data set.
    pub rows: Vec<usize>,
    /// `[N,C,H,W]`.
    pub images: Array4<f32>,
}

/// An image that could not be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// What decoding or preprocessing says.
    pub reason: String,
}

/// Batches of the chosen rows, in their order, decoded on all cores. Unreadable images are left out and listed.
#[derive(Debug)]
pub struct Images<'a> {
    samples: &'a [Sample],
    rows: &'a [usize],
    spec: &'a PreprocessSpec,
    at: usize,
    unreadable: Vec<Unreadable>,
}

impl<'a> Images<'a> {
    /// The images of `rows`, which are indices into `samples`.
    pub fn new(samples: &'a [Sample], rows: &'a [usize], spec: &'a PreprocessSpec) -> Self {
        Self {
            samples,
            rows,
            spec,
            at: 0,
            unreadable: Vec::new(),
        }
    }

    /// What was left out so far.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }
}

impl Iterator for Images<'_> {
    type Item = Prepared;

    fn next(&mut self) -> Option<Prepared> {
        while self.at < self.rows.len() {
            let end = (self.at + BATCH_IMAGES).min(self.rows.len());
            let rows = &self.rows[self.at..end];
            self.at = end;
            let [height, width] = self.spec.size.map(|extent| extent as usize);
            let mut batch = Array4::zeros((0, usize::from(self.spec.channels), height, width));
            let mut kept = Vec::with_capacity(rows.len());
            for (&row, prepared) in rows.iter().zip(prepare(self.samples, rows, self.spec)) {
                // Every tensor has the shape that the specification says, so it can be appended.
                match prepared.and_then(|tensor| batch.push(Axis(0), tensor.view()).map_err(|e| e.to_string())) {
                    Ok(()) => kept.push(row),
                    Err(reason) => {
                        self.unreadable.push(Unreadable {
                            path: self.samples[row].file.clone(),
                            reason,
                        });
                    }
                }
            }
            if !kept.is_empty() {
                return Some(Prepared {
                    rows: kept,
                    images: batch,
                });
            }
        }
        None
    }
}

fn prepare(samples: &[Sample], rows: &[usize], spec: &PreprocessSpec) -> Vec<Result<Array3<f32>, String>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = rows.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = rows
            .chunks(share)
            .map(|rows| {
                scope.spawn(move || {
                    rows.iter()
                        .map(|&row| one(&samples[row].file, spec))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let finished = workers.into_iter().zip(rows.chunks(share));
        finished
            .flat_map(|(worker, rows)| {
                worker
                    .join()
                    .unwrap_or_else(|_| vec![Err("decoding ended in a fault".to_owned()); rows.len()])
            })
            .collect()
    })
}

fn one(path: &Path, spec: &PreprocessSpec) -> Result<Array3<f32>, String> {
    let image = first_frame(path, &Limits::default()).map_err(|error| error.to_string())?;
    spec.apply(&image).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use crate::data::manifest::Row;

    use super::*;

    fn sample(path: PathBuf) -> Sample {
        Sample {
            row: Row::default(),
            expanded: None,
            generated: None,
            class: 0,
            file: path,
        }
    }

    #[test]
    fn order_is_kept_and_unreadable_images_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let samples: Vec<Sample> = (0..40_u8)
            .map(|at| {
                let path = folder.path().join(format!("{at}.png"));
                if at == 5 {
                    std::fs::write(&path, b"no image").unwrap();
                } else {
                    image::GrayImage::from_pixel(40, 40, image::Luma([at * 6]))
                        .save(&path)
                        .unwrap();
                }
                sample(path)
            })
            .collect();
        let rows: Vec<usize> = (0..40).rev().collect();
        let spec = PreprocessSpec::grey(32);
        let mut images = Images::new(&samples, &rows, &spec);
        let mut seen = Vec::new();
        for prepared in images.by_ref() {
            assert_eq!(prepared.images.shape()[1..], [1, 32, 32]);
            let values = prepared.images.outer_iter().map(|image| image[[0, 16, 16]]);
            seen.extend(prepared.rows.into_iter().zip(values));
        }
        assert_eq!(seen.len(), 39);
        assert!(
            seen.windows(2)
                .all(|pair| pair[0].0 > pair[1].0 && pair[0].1 > pair[1].1)
        );
        assert_eq!(images.unreadable().len(), 1);
        assert!(images.unreadable()[0].path.ends_with("5.png"));
    }
}
