//! Spectral normalisation (Miyato et al. 2018, arXiv 1802.05957): a weight is divided by its largest singular value, so
//! that the discriminator cannot become arbitrarily steep.
//!
//! The singular value is followed by one power iteration a step, from a vector `u` that is kept with the checkpoint.

use indexmap::IndexMap;
use tch::{Kind, TchError, Tensor};

use crate::autograd::{MemoryOrder, ParameterSource, Parameters};
use crate::seed;

/// Keeps a quotient finite.
const EPSILON: f64 = 1e-12;

/// The vectors of all weights that are normalised.
#[derive(Debug)]
pub struct SpectralNorm {
    vectors: IndexMap<String, Tensor>,
}

/// Parameters with normalised weights in their place.
#[derive(Debug)]
pub struct Normalised<'a> {
    parameters: &'a Parameters,
    weights: IndexMap<String, Tensor>,
}

impl ParameterSource for Normalised<'_> {
    fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.weights.get(name).or_else(|| self.parameters.get(name))
    }

    fn memory_order(&self) -> MemoryOrder {
        self.parameters.order()
    }
}

impl SpectralNorm {
    /// Over all trainable weights of two and more axes: convolutions, linear layers, embeddings.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn new(parameters: &Parameters, seed: u64) -> Result<Self, TchError> {
        let mut vectors = IndexMap::new();
        for (name, tensor) in parameters.trainable().filter(|(_, tensor)| tensor.dim() > 1) {
            tch::manual_seed(seed::mix(seed, &format!("spectral {name}")) as i64);
            let u = Tensor::f_randn([tensor.size()[0]], (Kind::Float, tch::Device::Cpu))?;
            vectors.insert(name.to_owned(), unit(&u)?.f_to_device(parameters.device())?);
        }
        let mut made = Self { vectors };
        // From a random vector the first steps would divide by far too little.
        for _ in 0..15 {
            made.follow(parameters)?;
        }
        Ok(made)
    }

    /// One power iteration: to be called once a step of the discriminator.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn follow(&mut self, parameters: &Parameters) -> Result<(), TchError> {
        tch::no_grad(|| {
            for (name, u) in &mut self.vectors {
                if let Some(weight) = parameters.get(name) {
                    let matrix = as_matrix(weight)?;
                    let v = unit(&matrix.f_tr()?.f_mv(u)?)?;
                    *u = unit(&matrix.f_mv(&v)?)?;
                }
            }
            Ok(())
        })
    }

    /// The parameters with every such weight divided by its singular value. Gradients reach the weights through the
    /// quotient; the vectors count as constants.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn normalised<'a>(&self, parameters: &'a Parameters) -> Result<Normalised<'a>, TchError> {
        let mut weights = IndexMap::with_capacity(self.vectors.len());
        for (name, u) in &self.vectors {
            if let Some(weight) = parameters.get(name) {
                weights.insert(name.clone(), weight.f_div(&sigma(weight, u)?)?);
            }
        }
        Ok(Normalised { parameters, weights })
    }

    /// The vectors by the weight's name, for the checkpoint; shared, not copied.
    pub fn vectors(&self) -> &IndexMap<String, Tensor> {
        &self.vectors
    }

    /// Takes saved vectors; says which one is missing or of another shape.
    ///
    /// # Errors
    /// The name of the vector.
    pub fn restore(&mut self, saved: &IndexMap<String, Tensor>) -> Result<(), String> {
        for (name, u) in &mut self.vectors {
            let found = saved.get(name).filter(|found| found.size() == u.size());
            *u = found.ok_or_else(|| name.clone())?.copy().to_device(u.device());
        }
        Ok(())
    }
}

/// The largest singular value, seen from `u`; differentiable in the weight.
fn sigma(weight: &Tensor, u: &Tensor) -> Result<Tensor, TchError> {
    let matrix = as_matrix(weight)?;
    let v = tch::no_grad(|| unit(&matrix.f_tr()?.f_mv(u)?))?;
    matrix.f_mv(&v)?.f_dot(u)
}

/// `[O, everything else]`.
fn as_matrix(weight: &Tensor) -> Result<Tensor, TchError> {
    weight.f_reshape([weight.size()[0], -1])
}

fn unit(vector: &Tensor) -> Result<Tensor, TchError> {
    vector.f_div(&vector.f_norm()?.f_add_scalar(EPSILON)?)
}

#[cfg(test)]
mod tests {
    use onnx::graph::layers::Conv2d;
    use onnx::graph::{ElementType, Graph, GraphBuilder, Shape};
    use tch::Device;

    use super::*;
    use crate::seed::testing::seeded;

    fn graph() -> Graph {
        let mut b = GraphBuilder::new("one");
        let x = b.input("x", ElementType::F32, Shape::batch(&[3, 8, 8])).unwrap();
        let y = b.conv2d("conv", x, Conv2d::new(6, 3).with_bias()).unwrap();
        b.output("y", y).unwrap();
        b.finish().unwrap()
    }

    #[test]
    fn the_largest_singular_value_becomes_one() {
        let parameters = Parameters::initialise(&graph(), 1, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
        let generator = seeded(1);
        let mut norm = SpectralNorm::new(&parameters, 1).unwrap();
        drop(generator);
        for _ in 0..50 {
            norm.follow(&parameters).unwrap();
        }
        let bounded = norm.normalised(&parameters).unwrap();
        let weight = bounded.tensor("conv.weight").unwrap().detach();
        let (_, values, _) = weight.reshape([6, -1]).svd(true, false);
        let largest = f64::try_from(&values.max()).unwrap();
        assert!((largest - 1.0).abs() < 1e-4, "{largest}");
        // The bias is as it was, and a weight's scale makes no difference.
        assert!(
            bounded
                .tensor("conv.bias")
                .unwrap()
                .equal(parameters.get("conv.bias").unwrap())
        );
        let sum = bounded.tensor("conv.weight").unwrap().square().sum(Kind::Float);
        sum.backward();
        let raw = parameters.get("conv.weight").unwrap();
        let along = f64::try_from(&(raw.grad() * raw).sum(Kind::Float)).unwrap();
        assert!(along.abs() < 1e-3, "{along}");
    }
}
