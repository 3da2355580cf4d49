//! The tensors that training changes, under torchvision's names and in the graph's order.

use indexmap::IndexMap;
use ndarray::ArrayD;
use onnx::graph::{Distribution, Graph, Parameter as Description, ParameterKind};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Normal, Uniform};
use tch::{Device, Kind, TchError, Tensor};

use super::memory::MemoryOrder;
use crate::seed;

/// Why parameters cannot be made, read or set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// The network has no such parameter.
    #[error("the network has no parameter {name:?}")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// A tensor of another shape.
    #[error("parameter {name:?} has shape {wanted:?}, got a tensor of shape {found:?}")]
    Shape {
        /// The parameter.
        name: String,
        /// Shape in the graph.
        wanted: Vec<i64>,
        /// Shape given.
        found: Vec<i64>,
    },
    /// libtorch refused.
    #[error("parameter {name:?}: {source}")]
    Torch {
        /// The parameter.
        name: String,
        /// libtorch's message.
        source: TchError,
    },
}

/// One parameter: float32, on the device and in the memory order of its [`Parameters`].
#[derive(Debug)]
pub struct Parameter {
    /// The tensor. A trainable one is a leaf that requires a gradient.
    pub tensor: Tensor,
    /// Changed by the optimizer, or a running statistic.
    pub kind: ParameterKind,
}

/// All parameters of a graph, by name, in its order.
#[derive(Debug)]
pub struct Parameters {
    entries: IndexMap<String, Parameter>,
    device: Device,
    order: MemoryOrder,
}

/// What a graph reads its parameters from: the parameters as they are, or some of them changed for one run (bounded
/// by spectral normalisation, averaged over the steps).
pub trait ParameterSource {
    /// The tensor of this name.
    fn tensor(&self, name: &str) -> Option<&Tensor>;

    /// How images should lie in memory.
    fn memory_order(&self) -> MemoryOrder;
}

impl ParameterSource for Parameters {
    fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.get(name)
    }

    fn memory_order(&self) -> MemoryOrder {
        self.order
    }
}

impl Parameters {
    /// Fresh parameters by the graph's own rules. Each is drawn from (seed, its name), so taking some from a file
    /// leaves the others as they would have been.
    ///
    /// # Errors
    /// [`ParameterError::Torch`] when the device has no room.
    pub fn initialise(graph: &Graph, seed: u64, device: Device, order: MemoryOrder) -> Result<Self, ParameterError> {
        let mut entries = IndexMap::with_capacity(graph.parameters().len());
        for description in graph.parameters() {
            let values = draw(description, seed);
            let shape: Vec<i64> = description.shape.iter().map(|extent| *extent as i64).collect();
            let tensor = place(&Tensor::from_slice(&values).reshape(shape), device, order)
                .map_err(|source| torch(&description.name, source))?;
            let trainable = description.kind == ParameterKind::Trainable;
            let tensor = tensor.set_requires_grad(trainable);
            entries.insert(
                description.name.clone(),
                Parameter {
                    tensor,
                    kind: description.kind,
                },
            );
        }
        Ok(Self { entries, device, order })
    }

    /// Where the tensors are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// How their axes lie in memory.
    pub fn order(&self) -> MemoryOrder {
        self.order
    }

    /// How many numbers the optimizer may change.
    pub fn trainable_elements(&self) -> usize {
        self.trainable().map(|(_, tensor)| tensor.numel()).sum()
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.entries.get(name).map(|entry| &entry.tensor)
    }

    /// All of them, in the graph's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Those that the optimizer changes.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.iter()
            .filter(|(_, entry)| entry.kind == ParameterKind::Trainable)
            .map(|(name, entry)| (name, &entry.tensor))
    }

    /// Copies `source` into the parameter.
    ///
    /// # Errors
    /// For an unknown name, another shape, or when libtorch refuses.
    pub fn set(&mut self, name: &str, source: &Tensor) -> Result<(), ParameterError> {
        let entry = self
            .entries
            .get_mut(name)
            .ok_or_else(|| ParameterError::Unknown { name: name.to_owned() })?;
        let (wanted, found) = (entry.tensor.size(), source.size());
        if wanted != found {
            return Err(ParameterError::Shape {
                name: name.to_owned(),
                wanted,
                found,
            });
        }
        tch::no_grad(|| entry.tensor.f_copy_(source)).map_err(|source| torch(name, source))
    }

    /// Copies the named arrays into their parameters.
    ///
    /// # Errors
    /// As [`Parameters::set`].
    pub fn set_arrays(&mut self, arrays: &IndexMap<String, ArrayD<f32>>) -> Result<(), ParameterError> {
        for (name, array) in arrays {
            self.set(name, &tensor_of(array))?;
        }
        Ok(())
    }

    /// Copies of all parameters, for export.
    ///
    /// # Errors
    /// When libtorch refuses the copy.
    pub fn to_arrays(&self) -> Result<IndexMap<String, ArrayD<f32>>, ParameterError> {
        self.iter()
            .map(|(name, entry)| {
                let array = array_of(&entry.tensor).map_err(|source| torch(name, source))?;
                Ok((name.to_owned(), array))
            })
            .collect()
    }

    /// Drops all gradients.
    pub fn zero_gradients(&mut self) {
        for entry in self.entries.values_mut() {
            if entry.kind == ParameterKind::Trainable {
                entry.tensor.zero_grad();
            }
        }
    }
}

fn torch(name: &str, source: TchError) -> ParameterError {
    ParameterError::Torch {
        name: name.to_owned(),
        source,
    }
}

fn place(tensor: &Tensor, device: Device, order: MemoryOrder) -> Result<Tensor, TchError> {
    order.apply(&tensor.f_to_device(device)?)
}

/// The array as a float32 tensor on the CPU.
pub fn tensor_of(array: &ArrayD<f32>) -> Tensor {
    let shape: Vec<i64> = array.shape().iter().map(|extent| *extent as i64).collect();
    match array.as_slice() {
        Some(slice) => Tensor::from_slice(slice).reshape(shape),
        None => Tensor::from_slice(&array.iter().copied().collect::<Vec<f32>>()).reshape(shape),
    }
}

/// A float32 copy of the tensor, in `[N,C,H,W]` order.
///
/// # Errors
/// When libtorch refuses the copy.
pub fn array_of(tensor: &Tensor) -> Result<ArrayD<f32>, TchError> {
    let shape: Vec<usize> = tensor.size().iter().map(|extent| *extent as usize).collect();
    let flat = tensor
        .detach()
        .f_to_device(Device::Cpu)?
        .f_to_kind(Kind::Float)?
        .f_contiguous()?
        .f_reshape([-1])?;
    let mut values = vec![0.0_f32; flat.numel()];
    let count = values.len();
    flat.f_copy_data(&mut values, count)?;
    ArrayD::from_shape_vec(shape, values).map_err(|error| TchError::Shape(error.to_string()))
}

fn draw(description: &Description, seed: u64) -> Vec<f32> {
    let count = description.shape.iter().product();
    let mut random = ChaCha8Rng::seed_from_u64(seed::mix(seed, &description.name));
    match description.initializer.distribution(&description.shape) {
        Distribution::Constant(value) => vec![value; count],
        // A standard deviation or a bound of the graph's rules is positive and finite; were one not, its mean
        // (which is 0 for the uniform one) is what is left of it.
        Distribution::Normal { mean, std } => match Normal::new(mean, std) {
            Ok(normal) => normal.sample_iter(&mut random).take(count).collect(),
            Err(_) => vec![mean; count],
        },
        Distribution::Uniform { bound } => match Uniform::new(-bound, bound) {
            Ok(uniform) => uniform.sample_iter(&mut random).take(count).collect(),
            Err(_) => vec![0.0; count],
        },
    }
}
