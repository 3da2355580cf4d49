//! One training step, and one pass over the validation rows.

use ndarray::{Array2, ArrayView2};
use tch::{Device, IndexOp, Kind, Reduction, TchError, Tensor};

use super::batches::{Batch, Batches};
use super::error::TrainError;
use super::optimizer::Optimizer;
use crate::autograd::{Interpreter, Mode, Modes, Parameters};
use crate::interrupt::Interrupt;
use crate::metrics::{argmax, auroc, balanced_accuracy::balanced_accuracy, confusion::ConfusionMatrix};
use crate::native::Autocast;
use crate::progress::Progress;

/// A network with its parameters, on a device.
#[derive(Debug)]
pub struct Network {
    /// Runs the graph.
    pub interpreter: Interpreter,
    /// What it learns.
    pub parameters: Parameters,
    /// Where.
    pub device: Device,
}

/// What a step needs besides the batch.
#[derive(Debug)]
pub struct StepSettings<'a> {
    /// Which parts learn.
    pub modes: &'a Modes,
    /// Weights of the classes in the loss, `[K]`.
    pub class_weights: Option<&'a Tensor>,
    /// Probability spread over all classes.
    pub label_smoothing: f64,
    /// Convolutions and products in bfloat16.
    pub bf16: bool,
    /// Rate of this step.
    pub learning_rate: f64,
    /// Largest norm of the gradient.
    pub clip_norm: Option<f64>,
}

/// What a step gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepFigures {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Images classified rightly.
    pub correct: u64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
}

impl Network {
    /// Forward, loss, backward, and one step of the optimizer.
    ///
    /// # Errors
    /// [`TrainError`]; a loss that is not finite leaves the parameters untouched.
    pub fn train_step(
        &mut self,
        optimizer: &mut Optimizer,
        batch: &Batch,
        settings: &StepSettings<'_>,
    ) -> Result<StepFigures, TrainError> {
        let (images, labels) = batch.tensors()?;
        let labels = labels.f_to_device(self.device)?;
        self.parameters.zero_gradients();
        let logits = {
            let _autocast = Autocast::begin(self.device, settings.bf16);
            let values = self.interpreter.run(&[images], &self.parameters, settings.modes, &[])?;
            values.first().f_to_kind(Kind::Float)?
        };
        let loss = logits.f_cross_entropy_loss(
            &labels,
            settings.class_weights,
            Reduction::Mean,
            IGNORE_NOTHING,
            settings.label_smoothing,
        )?;
        loss.f_backward()?;
        let value = f64::try_from(&loss)?;
        if !value.is_finite() {
            return Err(TrainError::Diverged { loss: value });
        }
        let gradient_norm = optimizer.step(&self.parameters, settings.learning_rate, settings.clip_norm)?;
        let correct = correct(&logits, &labels)?;
        Ok(StepFigures {
            loss: value,
            correct,
            gradient_norm,
        })
    }

    /// Logits `[N,K]` of images `[N,C,H,W]`, in eval mode and float32.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn logits(&self, images: &Tensor) -> Result<Array2<f32>, TrainError> {
        tch::no_grad(|| {
            let modes = Modes::all(Mode::Eval);
            let values = self
                .interpreter
                .run(&[images.shallow_clone()], &self.parameters, &modes, &[])?;
            Ok(matrix(values.first())?)
        })
    }

    /// Figures over the validation batches; none if there are none, or when interrupted.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn evaluate(
        &self,
        batches: Batches<'_>,
        count: u64,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Option<Evaluation>, TrainError> {
        let mut logits: Vec<f32> = Vec::new();
        let mut truth: Vec<usize> = Vec::new();
        let mut classes = 0;
        progress.begin("validation", count, "batch");
        for batch in batches {
            if interrupt.is_raised() {
                return Ok(None);
            }
            let batch = batch.map_err(TrainError::Source)?;
            let (images, _) = batch.tensors()?;
            let matrix = self.logits(&images)?;
            classes = matrix.ncols();
            logits.extend(matrix.iter());
            truth.extend(batch.labels.iter().map(|label| *label as usize));
            progress.advance(1, "");
        }
        progress.end();
        if truth.is_empty() {
            return Ok(None);
        }
        let logits = Array2::from_shape_vec((truth.len(), classes), logits)
            .map_err(|error| TchError::Shape(error.to_string()))?;
        Ok(Some(Evaluation::of(logits.view(), &truth)))
    }
}

/// Cross-entropy's `ignore_index` where no label is to be ignored: torch's own default, which is no class.
const IGNORE_NOTHING: i64 = -100;

fn correct(logits: &Tensor, labels: &Tensor) -> Result<u64, TchError> {
    let hits = logits
        .detach()
        .f_argmax(1, false)?
        .f_eq_tensor(labels)?
        .f_sum(Kind::Int64)?;
    Ok(i64::try_from(&hits)? as u64)
}

fn matrix(tensor: &Tensor) -> Result<Array2<f32>, TchError> {
    let (rows, columns) = tensor.size2()?;
    let flat = tensor
        .f_to_device(Device::Cpu)?
        .f_to_kind(Kind::Float)?
        .f_contiguous()?;
    let mut values = vec![0.0_f32; flat.numel()];
    let count = values.len();
    flat.i(..).f_reshape([-1])?.f_copy_data(&mut values, count)?;
    Array2::from_shape_vec((rows as usize, columns as usize), values)
        .map_err(|error| TchError::Shape(error.to_string()))
}

/// Figures of a network over labelled images.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share classified rightly.
    pub accuracy: f64,
    /// Mean sensitivity over the classes that occur.
    pub balanced_accuracy: Option<f64>,
    /// Mean one-against-rest area under the ROC curve.
    pub auroc: Option<f64>,
}

impl Evaluation {
    /// Figures of logits `[N,K]` against the true classes.
    pub fn of(logits: ArrayView2<'_, f32>, truth: &[usize]) -> Self {
        let mut probabilities = logits.to_owned();
        let mut loss = 0.0;
        for (mut row, class) in probabilities.rows_mut().into_iter().zip(truth) {
            let largest = row.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            row.mapv_inplace(|value| (value - largest).exp());
            let sum = row.sum();
            row /= sum;
            loss -= f64::from(row.get(*class).copied().unwrap_or(0.0).max(f32::MIN_POSITIVE)).ln();
        }
        let predicted = logits
            .rows()
            .into_iter()
            .map(|row| argmax(&row.to_vec()).unwrap_or(0))
            .collect::<Vec<_>>();
        let pairs = truth.iter().copied().zip(predicted);
        let confusion = ConfusionMatrix::from_pairs(logits.ncols(), pairs);
        Self {
            loss: loss / truth.len().max(1) as f64,
            accuracy: confusion.correct() as f64 / truth.len().max(1) as f64,
            balanced_accuracy: balanced_accuracy(&confusion),
            auroc: auroc::macro_mean(probabilities.view(), truth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn figures_of_known_logits() {
        let logits = array![[2.0_f32, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 2.0]];
        let evaluation = Evaluation::of(logits.view(), &[0, 1, 1, 1]);
        let (right, wrong) = ((1.0_f64 + (-2.0_f64).exp()).ln(), (1.0 + 2.0_f64.exp()).ln());
        assert!((evaluation.loss - (3.0 * right + wrong) / 4.0).abs() < 1e-6);
        assert_eq!(evaluation.accuracy, 0.75);
        assert!((evaluation.balanced_accuracy.unwrap() - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
    }
}
