//! Runs the nodes of a graph in order.

use std::sync::Arc;

use indexmap::IndexMap;
use onnx::graph::{ConstantData, Graph, GraphError, Node, Origin, ValueId};
use tch::{Device, TchError, Tensor};

use super::memory::MemoryOrder;
use super::modes::{Mode, Modes};
use super::operators;
use super::parameters::{ParameterSource, tensor_of};

/// Why a graph could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterpreterError {
    /// A node's operator was refused by libtorch.
    #[error("node `{node}` ({operator}) on inputs of shapes {shapes:?}: {source}")]
    Node {
        /// Name of the node.
        node: String,
        /// ONNX name of its operator.
        operator: &'static str,
        /// Shapes of its inputs.
        shapes: Vec<Vec<i64>>,
        /// libtorch's message.
        source: Box<TchError>,
    },
    /// The parameters are those of another network.
    #[error("the network `{graph}` needs the parameter {name:?}, which is not among those given")]
    MissingParameter {
        /// The graph.
        graph: String,
        /// The parameter.
        name: String,
    },
    /// Too few or too many inputs, or one of a wrong shape.
    #[error("input `{name}` of `{graph}` wants shape {wanted}, got {found:?}")]
    Input {
        /// The graph.
        graph: String,
        /// The input.
        name: String,
        /// Its shape in the graph.
        wanted: String,
        /// Shape given; none where the tensor is missing.
        found: Option<Vec<i64>>,
    },
    /// No value has this name.
    #[error(transparent)]
    Name(#[from] GraphError),
    /// A constant or input could not be brought to the device.
    #[error("a tensor of `{graph}` cannot be placed on {device:?}: {source}")]
    Place {
        /// The graph.
        graph: String,
        /// The device.
        device: Device,
        /// libtorch's message.
        source: TchError,
    },
}

/// Tensors that a run gave: the graph's outputs, and the values that were asked for, by name.
#[derive(Debug)]
pub struct Values {
    tensors: IndexMap<String, Tensor>,
}

impl Values {
    /// The tensor of this output or kept value.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The first output.
    pub fn first(&self) -> &Tensor {
        // A graph without outputs cannot be built.
        &self.tensors[0]
    }
}

/// A graph made ready to run in libtorch: its constants are on the device.
#[derive(Debug)]
pub struct Interpreter {
    graph: Arc<Graph>,
    constants: Vec<Tensor>,
    /// For every value, how many node inputs read it.
    readers: Vec<usize>,
    device: Device,
}

impl Interpreter {
    /// Makes `graph` ready on `device`.
    ///
    /// # Errors
    /// [`InterpreterError::Place`] when the device has no room for the constants.
    pub fn new(graph: impl Into<Arc<Graph>>, device: Device) -> Result<Self, InterpreterError> {
        let graph = graph.into();
        let constants = graph
            .constants()
            .iter()
            .map(|constant| place_constant(&constant.data, device))
            .collect::<Result<_, _>>()
            .map_err(|source| place(&graph, device, source))?;
        let mut readers = vec![0; graph.values().len()];
        for input in graph.nodes().iter().flat_map(|node| &node.inputs) {
            readers[input.index()] += 1;
        }
        Ok(Self {
            graph,
            constants,
            readers,
            device,
        })
    }

    /// The graph that runs.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs the graph on `inputs` (in the graph's order, on any device) and gives its outputs and the values named in
    /// `keep`: an architecture's intermediates (`layer4`), or any value by its own name. Nodes in [`Mode::Train`] move
    /// the running statistics in `parameters`.
    ///
    /// # Errors
    /// [`InterpreterError`].
    pub fn run(
        &self,
        inputs: &[Tensor],
        parameters: &dyn ParameterSource,
        modes: &Modes,
        keep: &[&str],
    ) -> Result<Values, InterpreterError> {
        let kept = self.wanted(keep)?;
        let mut slots: Vec<Option<Tensor>> = Vec::new();
        slots.resize_with(self.graph.values().len(), || None);
        self.place_inputs(inputs, parameters.memory_order(), &mut slots)?;
        let mut readers = self.readers.clone();
        for id in kept.values() {
            readers[id.index()] += 1;
        }
        for (node, mode) in self.graph.nodes().iter().zip(modes.resolve(&self.graph)) {
            self.run_node(node, mode, parameters, &mut slots)?;
            // What nobody reads any more is freed at once; with gradients on, libtorch keeps what it needs.
            for input in &node.inputs {
                readers[input.index()] -= 1;
                if readers[input.index()] == 0 {
                    slots[input.index()] = None;
                }
            }
        }
        let tensors = kept
            .into_iter()
            .map(|(name, id)| Ok((name, self.fetch(id, Mode::Eval, parameters, &slots)?)))
            .collect::<Result<_, InterpreterError>>()?;
        Ok(Values { tensors })
    }

    /// The outputs, then the values asked for.
    fn wanted(&self, keep: &[&str]) -> Result<IndexMap<String, ValueId>, InterpreterError> {
        let outputs = self.graph.outputs().iter();
        let mut wanted: IndexMap<String, ValueId> =
            outputs.map(|id| (self.graph.value(*id).name.clone(), *id)).collect();
        for name in keep {
            wanted.insert((*name).to_owned(), self.graph.find(name)?);
        }
        Ok(wanted)
    }

    fn place_inputs(
        &self,
        inputs: &[Tensor],
        order: MemoryOrder,
        slots: &mut [Option<Tensor>],
    ) -> Result<(), InterpreterError> {
        for (position, id) in self.graph.inputs().iter().enumerate() {
            let value = self.graph.value(*id);
            let tensor = inputs.get(position);
            let fits = |tensor: &Tensor| {
                let size = tensor.size();
                size.len() == value.shape.len()
                    && size
                        .iter()
                        .zip(value.shape.iter())
                        .all(|(extent, dim)| dim.fixed().is_none_or(|wanted| wanted as i64 == *extent))
            };
            let Some(tensor) = tensor.filter(|tensor| fits(tensor)) else {
                return Err(InterpreterError::Input {
                    graph: self.graph.name().to_owned(),
                    name: value.name.clone(),
                    wanted: value.shape.to_string(),
                    found: tensor.map(Tensor::size),
                });
            };
            let placed = tensor
                .f_to_device(self.device)
                .and_then(|tensor| order.apply(&tensor))
                .map_err(|source| place(&self.graph, self.device, source))?;
            slots[id.index()] = Some(placed);
        }
        Ok(())
    }

    fn run_node(
        &self,
        node: &Node,
        mode: Mode,
        parameters: &dyn ParameterSource,
        slots: &mut [Option<Tensor>],
    ) -> Result<(), InterpreterError> {
        let inputs = node
            .inputs
            .iter()
            .map(|id| self.fetch(*id, mode, parameters, slots))
            .collect::<Result<Vec<Tensor>, _>>()?;
        let outputs = operators::apply(&node.operator, &inputs, mode).map_err(|source| InterpreterError::Node {
            node: node.name.clone(),
            operator: node.operator.name(),
            shapes: inputs.iter().map(Tensor::size).collect(),
            source: Box::new(source),
        })?;
        for (id, output) in node.outputs.iter().zip(outputs) {
            slots[id.index()] = Some(output);
        }
        Ok(())
    }

    /// The tensor of a value: a computed one, a parameter (without its gradient where frozen), or a constant.
    fn fetch(
        &self,
        id: ValueId,
        mode: Mode,
        parameters: &dyn ParameterSource,
        slots: &[Option<Tensor>],
    ) -> Result<Tensor, InterpreterError> {
        let missing = |name: &str| InterpreterError::MissingParameter {
            graph: self.graph.name().to_owned(),
            name: name.to_owned(),
        };
        match self.graph.value(id).origin {
            Origin::Parameter(position) => {
                let name = &self.graph.parameters()[position].name;
                let tensor = parameters.tensor(name).ok_or_else(|| missing(name))?;
                Ok(if mode == Mode::Frozen {
                    tensor.detach()
                } else {
                    tensor.shallow_clone()
                })
            }
            Origin::Constant(position) => Ok(self.constants[position].shallow_clone()),
            Origin::Input | Origin::Node(..) => {
                let tensor = slots[id.index()].as_ref();
                Ok(tensor
                    .ok_or_else(|| missing(&self.graph.value(id).name))?
                    .shallow_clone())
            }
        }
    }
}

fn place(graph: &Graph, device: Device, source: TchError) -> InterpreterError {
    InterpreterError::Place {
        graph: graph.name().to_owned(),
        device,
        source,
    }
}

fn place_constant(data: &ConstantData, device: Device) -> Result<Tensor, TchError> {
    let tensor = match data {
        ConstantData::F32(array) => tensor_of(array),
        ConstantData::I64(array) => {
            let shape: Vec<i64> = array.shape().iter().map(|extent| *extent as i64).collect();
            Tensor::from_slice(&array.iter().copied().collect::<Vec<i64>>()).reshape(shape)
        }
    };
    tensor.f_to_device(device)
}
