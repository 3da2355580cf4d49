//! What quantization costs: signal to noise by layer, and the outputs compared.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::affine::Affine;
use super::calibrate::{Calibration, Probe, Seen};
use super::plan::Plan;
use super::{QuantizeError, QuantizeOptions};
use crate::proto::NodeProto;
use crate::runtime::Runtime;

/// Ratios are capped here: no error at all would be infinite, which JSON cannot hold.
const MOST_DECIBELS: f64 = 200.0;

/// Running comparison of values with what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Comparison {
    /// Sum of squares of the true values.
    pub signal: f64,
    /// Sum of squared errors.
    pub noise: f64,
    product: f64,
    other: f64,
    largest: f64,
}

impl Comparison {
    /// Takes in a value and its approximation.
    pub fn add(&mut self, value: f32, approximation: f32) {
        let (x, y) = (f64::from(value), f64::from(approximation));
        self.signal += x * x;
        self.noise += (x - y) * (x - y);
        self.product += x * y;
        self.other += y * y;
        self.largest = self.largest.max((x - y).abs());
    }

    fn cosine(&self) -> f64 {
        let norms = (self.signal * self.other).sqrt();
        if norms > 0.0 {
            self.product / norms
        } else {
            f64::from(self.noise == 0.0)
        }
    }
}

/// Ratio of signal to noise in dB, between -200 and 200.
pub fn decibels(signal: f64, noise: f64) -> f64 {
    match (signal > 0.0, noise > 0.0) {
        (_, false) => MOST_DECIBELS,
        (false, true) => -MOST_DECIBELS,
        (true, true) => (10.0 * (signal / noise).log10()).clamp(-MOST_DECIBELS, MOST_DECIBELS),
    }
}

/// The rounding of one activation tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivationReport {
    /// Scale and zero point.
    pub numbers: Affine,
    /// Smallest value seen in calibration.
    pub low: f32,
    /// Largest value seen in calibration.
    pub high: f32,
    /// Signal to noise ratio of rounding the float network's tensor, in dB.
    pub rounding_db: f64,
    /// Signal to noise ratio of the quantized network's tensor against the float network's, with
    /// the errors of all layers before it, in dB.
    pub accumulated_db: f64,
}

/// One layer or tensor that runs in 8 bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Name of the tensor it writes.
    pub name: String,
    /// Operator that writes it; `input` for an input of the network.
    pub operator: String,
    /// Signal to noise ratio of its weights, in dB; None for an operator without.
    pub weights_db: Option<f64>,
    /// Its output's rounding; None where the output stays float.
    pub activation: Option<ActivationReport>,
}

/// One output of the network, quantized against float, over the compared images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputReport {
    /// Name of the output.
    pub name: String,
    /// Signal to noise ratio, in dB; None for an output of integers.
    pub ratio_db: Option<f64>,
    /// Cosine of the angle between the two; None for an output of integers.
    pub cosine: Option<f64>,
    /// Largest difference; None for an output of integers.
    pub largest_error: Option<f64>,
    /// Share of equal elements of an output of integers (such as which classes come first).
    pub equal: Option<f64>,
}

/// What was quantized, how, and at what cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizationReport {
    /// The options.
    pub options: QuantizeOptions,
    /// Calibration images.
    pub images: usize,
    /// Images over which float and quantized network were compared: the first ones.
    pub compared_images: usize,
    /// Layers, in the order of the graph.
    pub layers: Vec<LayerReport>,
    /// Outputs. Maps (rank 3 and more) are compared on those images only whose integer outputs
    /// agree, because a map of another class is another map.
    pub outputs: Vec<OutputReport>,
}

impl QuantizationReport {
    /// The layers with the least accumulated ratio first: where to look when an output is bad.
    pub fn worst(&self) -> Vec<&LayerReport> {
        let mut layers: Vec<&LayerReport> = self.layers.iter().filter(|l| l.activation.is_some()).collect();
        let ratio = |layer: &LayerReport| layer.activation.as_ref().map_or(0.0, |a| a.accumulated_db);
        layers.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        layers
    }
}

/// A table for people.
impl fmt::Display for QuantizationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .layers
            .iter()
            .map(|layer| layer.name.len())
            .max()
            .unwrap_or(0)
            .max(8);
        writeln!(
            f,
            "{:width$}  {:17}  {:>10}  {:>11}  {:>14}  {:>10}  {:>4}",
            "tensor", "operator", "weights dB", "rounding dB", "accumulated dB", "scale", "zero"
        )?;
        for layer in &self.layers {
            write!(f, "{:width$}  {:17}  ", layer.name, layer.operator)?;
            match layer.weights_db {
                Some(ratio) => write!(f, "{ratio:10.1}")?,
                None => write!(f, "{:>10}", "-")?,
            }
            match &layer.activation {
                Some(a) => writeln!(
                    f,
                    "  {:11.1}  {:14.1}  {:10.3e}  {:4}",
                    a.rounding_db, a.accumulated_db, a.numbers.scale, a.numbers.zero_point
                )?,
                None => writeln!(f, "  {:>11}", "float")?,
            }
        }
        for output in &self.outputs {
            write!(f, "{:width$}  output", output.name)?;
            if let (Some(ratio), Some(cosine), Some(error)) = (output.ratio_db, output.cosine, output.largest_error) {
                write!(f, "  {ratio:.1} dB, cosine {cosine:.6}, largest error {error:.3e}")?;
            }
            if let Some(equal) = output.equal {
                write!(f, "  {:.1} % equal", equal * 100.0)?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "{} calibration images, {} compared",
            self.images, self.compared_images
        )
    }
}

/// Runs both networks over the kept images and fills the report.
pub(super) struct Assessment<'a> {
    pub runtime: &'a Runtime,
    pub float: &'a [u8],
    pub quantized: &'a [u8],
    pub plan: &'a Plan,
    pub nodes: &'a [NodeProto],
    pub affine: &'a HashMap<String, Affine>,
    pub weight_ratios: &'a HashMap<String, f64>,
    pub calibration: &'a Calibration,
    pub options: &'a QuantizeOptions,
}

impl Assessment<'_> {
    pub(super) fn report(&self) -> Result<QuantizationReport, QuantizeError> {
        let mut tally = Tally::default();
        if !self.calibration.kept.is_empty() {
            let mut float = Probe::new(self.runtime, self.float, self.plan, self.options)?;
            let mut quantized = Probe::new(self.runtime, self.quantized, self.plan, self.options)?;
            for image in &self.calibration.kept {
                let (a, b) = (float.run(image)?, quantized.run(image)?);
                self.compare_tensors(&mut tally, &a, &b)?;
                self.compare_outputs(&mut tally, &a, &b)?;
            }
        }
        Ok(QuantizationReport {
            options: self.options.clone(),
            images: self.calibration.images,
            compared_images: self.calibration.kept.len(),
            layers: self.layers(&tally),
            outputs: tally.outputs.iter().map(OutputTally::report).collect(),
        })
    }

    fn compare_tensors(&self, tally: &mut Tally, a: &Seen<'_>, b: &Seen<'_>) -> Result<(), QuantizeError> {
        for tensor in &self.plan.tensors {
            let Some(affine) = self.affine.get(&tensor.range_of) else {
                continue;
            };
            let (rounding, accumulated) = tally.tensors.entry(tensor.name.clone()).or_default();
            let true_values = a.tensor(&tensor.name)?;
            for (x, y) in true_values.iter().zip(b.tensor(&tensor.name)?.iter()) {
                let rounded = affine.round_trip(*x);
                rounding.add(*x, rounded);
                // An input is the same for both networks; only its rounding makes a difference.
                accumulated.add(*x, if a.is_input(&tensor.name) { rounded } else { *y });
            }
        }
        Ok(())
    }

    fn compare_outputs(&self, tally: &mut Tally, a: &Seen<'_>, b: &Seen<'_>) -> Result<(), QuantizeError> {
        let own: Vec<&str> = a
            .outputs
            .names()
            .filter(|name| self.plan.ends.contains(*name))
            .collect();
        let mut same_classes = true;
        for name in &own {
            if let (Ok(x), Ok(y)) = (a.outputs.array::<i64>(name), b.outputs.array::<i64>(name)) {
                let equal = x.iter().zip(y.iter()).filter(|(x, y)| x == y).count();
                same_classes &= equal == x.len();
                let output = tally.output(name);
                output.elements += x.len();
                output.equal += equal;
            }
        }
        for name in &own {
            if let (Ok(x), Ok(y)) = (a.outputs.array::<f32>(name), b.outputs.array::<f32>(name)) {
                let output = tally.output(name);
                let floats = output.floats.get_or_insert_default();
                if x.ndim() < 3 || same_classes {
                    x.iter().zip(y.iter()).for_each(|(x, y)| floats.add(*x, *y));
                }
            }
        }
        Ok(())
    }

    fn layers(&self, tally: &Tally) -> Vec<LayerReport> {
        let mut layers: Vec<LayerReport> = Vec::new();
        for tensor in &self.plan.tensors {
            let observer = self.calibration.observers.get(&tensor.name);
            let (low, high) = observer.map_or((0.0, 0.0), |o| o.extremes());
            let compared = tally.tensors.get(&tensor.name).copied().unwrap_or_default();
            let activation = self.affine.get(&tensor.range_of).map(|numbers| ActivationReport {
                numbers: *numbers,
                low,
                high,
                rounding_db: decibels(compared.0.signal, compared.0.noise),
                accumulated_db: decibels(compared.1.signal, compared.1.noise),
            });
            layers.push(LayerReport {
                name: tensor.name.clone(),
                operator: self.operator(&tensor.name),
                weights_db: self.weight_ratios.get(&tensor.name).copied(),
                activation,
            });
        }
        let rounded = |name: &str| self.plan.tensors.iter().any(|tensor| tensor.name == name);
        for layer in self.plan.layers.iter().filter(|layer| !rounded(&layer.output)) {
            layers.push(LayerReport {
                name: layer.output.clone(),
                operator: self.operator(&layer.output),
                weights_db: self.weight_ratios.get(&layer.output).copied(),
                activation: None,
            });
        }
        layers
    }

    /// The operator behind a tensor; of a layer with a folded ReLU, the layer.
    fn operator(&self, tensor: &str) -> String {
        let folded = self.plan.folded_outputs.iter().find(|(_, wrote)| *wrote == tensor);
        let written = folded.map_or(tensor, |(read, _)| read.as_str());
        let node = self.nodes.iter().find(|node| node.output.iter().any(|o| o == written));
        match (node, folded) {
            (Some(node), Some(_)) => format!("{} + Relu", node.op_type),
            (Some(node), None) => node.op_type.clone(),
            (None, _) => "input".to_owned(),
        }
    }
}

#[derive(Default)]
struct Tally {
    tensors: HashMap<String, (Comparison, Comparison)>,
    outputs: Vec<OutputTally>,
}

#[derive(Default)]
struct OutputTally {
    name: String,
    floats: Option<Comparison>,
    elements: usize,
    equal: usize,
}

impl Tally {
    fn output(&mut self, name: &str) -> &mut OutputTally {
        let position = self.outputs.iter().position(|output| output.name == name);
        let position = position.unwrap_or_else(|| {
            self.outputs.push(OutputTally {
                name: name.to_owned(),
                ..Default::default()
            });
            self.outputs.len() - 1
        });
        &mut self.outputs[position]
    }
}

impl OutputTally {
    fn report(&self) -> OutputReport {
        OutputReport {
            name: self.name.clone(),
            ratio_db: self.floats.map(|c| decibels(c.signal, c.noise)),
            cosine: self.floats.map(|c| c.cosine()),
            largest_error: self.floats.map(|c| c.largest),
            equal: (self.elements > 0).then(|| self.equal as f64 / self.elements as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_finite_and_right() {
        assert_eq!(decibels(100.0, 1.0), 20.0);
        assert_eq!(decibels(1.0, 0.0), MOST_DECIBELS);
        assert_eq!(decibels(0.0, 1.0), -MOST_DECIBELS);
        assert_eq!(decibels(0.0, 0.0), MOST_DECIBELS);
    }

    #[test]
    fn a_comparison_knows_angle_and_largest_error() {
        let mut comparison = Comparison::default();
        comparison.add(3.0, 3.0);
        comparison.add(4.0, 0.0);
        assert!((comparison.cosine() - 0.6).abs() < 1e-12);
        assert_eq!(comparison.largest, 4.0);
        assert_eq!(Comparison::default().cosine(), 1.0);
    }
}
