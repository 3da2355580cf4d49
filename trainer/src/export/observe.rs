//! What a network says of images: its outputs, collected over batches.

use bundle::manifest::Outputs;
use ndarray::{Array2, Array4, ArrayD, ArrayView2, ArrayView3, Axis};
use onnx::networks::IMAGE;
use onnx::runtime::{Runtime, Session, SessionError, SessionOptions};

use super::images::Prepared;

/// Outputs over all images seen, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Row of each image in the data set.
    pub rows: Vec<usize>,
    /// `[N,K]`.
    pub logits: Array2<f32>,
    /// `[N,K]`.
    pub probabilities: Array2<f32>,
    /// Maps of the first images `[M,k,h,w]`; M is what was asked for, or N if that is less.
    pub cam: Array4<f32>,
    /// Classes of the maps `[N,k]`.
    pub cam_class: Array2<i64>,
    /// `[N]`; empty if the network has no such output.
    pub novelty: Vec<f32>,
    /// The inner value that was asked for `[N,D]`; `[N,0]` if none was.
    pub features: Array2<f32>,
}

impl Observed {
    /// The map of `class` for the image at `position`, if it is among those kept.
    pub fn map_of(&self, position: usize, class: usize) -> Option<ArrayView2<'_, f32>> {
        let of_image: ArrayView3<'_, f32> =
            (position < self.cam.len_of(Axis(0))).then(|| self.cam.index_axis(Axis(0), position))?;
        let at = self
            .cam_class
            .row(position)
            .iter()
            .position(|&found| found == class as i64)?;
        Some(of_image.index_axis_move(Axis(0), at))
    }
}

/// What is kept beside logits and probabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Maps of this many images.
    pub maps: usize,
    /// An output `[N,D]` of this name.
    pub features: Option<String>,
}

/// Runs a network and collects.
#[derive(Debug)]
pub struct Observer {
    session: Session,
    outputs: Outputs,
    keep: Keep,
    rows: Vec<usize>,
    logits: Stack,
    probabilities: Stack,
    cam: Stack,
    cam_class: Vec<i64>,
    novelty: Vec<f32>,
    features: Stack,
}

/// Rows of arrays of one shape, one after another.
#[derive(Debug, Default)]
struct Stack {
    values: Vec<f32>,
    /// Shape of one row.
    shape: Vec<usize>,
}

impl Stack {
    fn push(&mut self, array: &ndarray::ArrayViewD<'_, f32>, rows: usize) {
        self.shape = array.shape()[1..].to_vec();
        for row in array.outer_iter().take(rows) {
            self.values.extend(row.iter());
        }
    }

    fn array<D: ndarray::Dimension>(self) -> ndarray::Array<f32, D> {
        let each = self.shape.iter().product::<usize>().max(1);
        let shape: Vec<usize> = std::iter::once(self.values.len() / each).chain(self.shape).collect();
        // Pushing keeps the values a multiple of the row's shape; nothing pushed leaves an empty array.
        ArrayD::from_shape_vec(shape, self.values)
            .ok()
            .and_then(|array| array.into_dimensionality().ok())
            .unwrap_or_else(|| ndarray::Array::zeros(D::zeros(D::NDIM.unwrap_or(1))))
    }
}

impl Observer {
    /// Loads the ONNX file `model`, whose outputs have the names `outputs`.
    ///
    /// # Errors
    /// ONNX Runtime refuses the model.
    pub fn new(runtime: &Runtime, model: &[u8], outputs: &Outputs, keep: Keep) -> Result<Self, SessionError> {
        let options = SessionOptions {
            intra_threads: 0,
            ..SessionOptions::default()
        };
        Ok(Self {
            session: Session::from_bytes(runtime, model, &options)?,
            outputs: outputs.clone(),
            keep,
            rows: Vec::new(),
            logits: Stack::default(),
            probabilities: Stack::default(),
            cam: Stack::default(),
            cam_class: Vec::new(),
            novelty: Vec::new(),
            features: Stack::default(),
        })
    }

    /// Runs a batch.
    ///
    /// # Errors
    /// ONNX Runtime refuses the batch, or an output is missing.
    pub fn run(&mut self, batch: &Prepared) -> Result<(), SessionError> {
        let n = batch.rows.len();
        let maps_left = self.keep.maps.saturating_sub(self.rows.len());
        let answer = self.session.run(&[(IMAGE, batch.images.view().into_dyn())])?;
        self.logits.push(&answer.array::<f32>(&self.outputs.logits)?, n);
        self.probabilities
            .push(&answer.array::<f32>(&self.outputs.probabilities)?, n);
        self.cam
            .push(&answer.array::<f32>(&self.outputs.cam)?, maps_left.min(n));
        self.cam_class
            .extend(answer.array::<i64>(&self.outputs.cam_class)?.iter());
        if let Some(name) = &self.outputs.novelty {
            self.novelty.extend(answer.array::<f32>(name)?.iter());
        }
        if let Some(name) = &self.keep.features {
            self.features.push(&answer.array::<f32>(name)?, n);
        }
        self.rows.extend(&batch.rows);
        Ok(())
    }

    /// All that was collected.
    pub fn finish(self) -> Observed {
        let n = self.rows.len();
        let per_image = self.cam_class.len() / n.max(1);
        Observed {
            logits: self.logits.array(),
            probabilities: self.probabilities.array(),
            cam: self.cam.array(),
            cam_class: Array2::from_shape_vec((n, per_image), self.cam_class).unwrap_or_default(),
            novelty: self.novelty,
            features: self.features.array(),
            rows: self.rows,
        }
    }
}
