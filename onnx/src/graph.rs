//! The typed graph in which every network is described, once.
//!
//! A [`Graph`] is a list of [`Node`]s in topological order over numbered [`Value`]s. A value comes
//! from the caller (an input), from training (a [`Parameter`] with torchvision's name), from the
//! description itself (a [`Constant`]) or from a node. The trainer runs the graph operator by
//! operator, [`export`](crate::export) writes it as an ONNX file.
//!
//! ```
//! use scanside_onnx::graph::{ElementType, GraphBuilder, Shape};
//! use scanside_onnx::graph::layers::Conv2d;
//!
//! let mut b = GraphBuilder::new("tiny");
//! let image = b.input("image", ElementType::F32, Shape::batch(&[1, 32, 32]))?;
//! let x = b.conv2d("conv", image, Conv2d::new(8, 3).stride(2).padding(1))?;
//! let x = b.relu("relu", x)?;
//! b.output("features", x)?;
//! let graph = b.finish()?;
//! assert_eq!(graph.value(x).shape.to_string(), "[N, 8, 16, 16]");
//! # Ok::<(), scanside_onnx::graph::GraphError>(())
//! ```

pub mod builder;
pub mod cost;
mod embed;
pub mod initializer;
pub mod layers;
pub mod operator;
pub mod shape;

pub use crate::proto::ElementType;
pub use builder::GraphBuilder;
pub use initializer::{Distribution, Initializer};
pub use operator::Operator;
pub use shape::{Dim, Shape, ShapeError};

use indexmap::IndexMap;
use ndarray::ArrayD;

/// Why a graph could not be built or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A node's inputs do not suit its operator.
    #[error("node `{node}` ({operator}): {source}")]
    Shape {
        /// Name of the node.
        node: String,
        /// ONNX name of its operator.
        operator: &'static str,
        /// What does not fit.
        source: ShapeError,
    },
    /// A name is used twice.
    #[error("the name `{name}` is already taken in this graph")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// No value, parameter or intermediate has this name.
    #[error("the graph `{graph}` has no value named `{name}`")]
    UnknownName {
        /// The graph.
        graph: String,
        /// The name asked for.
        name: String,
    },
    /// A graph was finished without outputs.
    #[error("the graph `{graph}` has no outputs")]
    NoOutputs {
        /// The graph.
        graph: String,
    },
    /// A configuration value is out of its range.
    #[error("{what} is {found}; allowed: {allowed}")]
    Config {
        /// The setting.
        what: &'static str,
        /// The value given.
        found: String,
        /// The values allowed.
        allowed: String,
    },
    /// A head asks for something that the network lacks.
    #[error("the graph `{graph}` is no classifier with global average pooling and one linear layer")]
    NotAClassifier {
        /// The graph.
        graph: String,
    },
}

/// Number of a value in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize);

impl ValueId {
    /// Position in [`Graph::values`]; an interpreter can keep its tensors in a vector.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The caller gives it.
    Input,
    /// Position in [`Graph::parameters`].
    Parameter(usize),
    /// Position in [`Graph::constants`].
    Constant(usize),
    /// Position in [`Graph::nodes`] and the number of the output.
    Node(usize, usize),
}

/// A tensor that flows through the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Unique name; the one in the ONNX file.
    pub name: String,
    /// Element type.
    pub element: ElementType,
    /// Shape; the batch is its only unknown extent.
    pub shape: Shape,
    /// Where it comes from.
    pub origin: Origin,
}

/// One operator applied to values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique name: the module's path in torchvision (`layer1.0.bn1`), by which a mode (train,
    /// eval, frozen) is chosen at run time.
    pub name: String,
    /// What is done.
    pub operator: Operator,
    /// Inputs in ONNX order; trailing optional ones may be absent.
    pub inputs: Vec<ValueId>,
    /// Outputs.
    pub outputs: Vec<ValueId>,
}

/// What happens to a parameter in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParameterKind {
    /// Changed by the optimizer.
    Trainable,
    /// Changed by BatchNorm's running average in train mode, never by the optimizer.
    RunningStatistic,
}

/// A tensor that training determines.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name in torchvision's state_dict (`layer1.0.conv1.weight`).
    pub name: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// Trainable or running statistic.
    pub kind: ParameterKind,
    /// What a fresh one holds.
    pub initializer: Initializer,
    /// Its value in the graph.
    pub value: ValueId,
}

/// Elements of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum ConstantData {
    /// Floats.
    F32(ArrayD<f32>),
    /// Integers, such as indices.
    I64(ArrayD<i64>),
}

/// A tensor that the description itself fixes.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Its value in the graph.
    pub value: ValueId,
    /// Elements.
    pub data: ConstantData,
}

/// The parts of a classifier that heads and explanations need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classifier {
    /// Output of the last convolutional stage, `[N, C, h, w]`.
    pub features: ValueId,
    /// Global average of `features`, flattened, `[N, C]`.
    pub pooled: ValueId,
    /// Output of the linear layer, `[N, K]`.
    pub logits: ValueId,
    /// Weight of the linear layer, `[K, C]`.
    pub weight: ValueId,
    /// Name of the linear layer: its parameters are `<linear>.weight` and `<linear>.bias`.
    pub linear: String,
}

/// A part of the network that is frozen, or given its own learning rate, as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Name: `stem`, `layer1` ... `fc`.
    pub name: String,
    /// Module paths: all nodes and parameters that equal one or lie below it.
    pub modules: Vec<String>,
}

impl Stage {
    /// Whether a node or parameter of this name belongs to the stage.
    pub fn contains(&self, name: &str) -> bool {
        self.modules.iter().any(|module| is_under(name, module))
    }
}

/// Whether `name` is the module `path` or something below it.
pub fn is_under(name: &str, path: &str) -> bool {
    name.strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A network: nodes in topological order over values. Made by [`GraphBuilder`], then unchanging.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub(crate) name: String,
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) constants: Vec<Constant>,
    pub(crate) intermediates: IndexMap<String, ValueId>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) classifier: Option<Classifier>,
}

impl Graph {
    /// Name of the architecture, such as `resnet18`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All values; a [`ValueId`] is a position in this list.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value of this number.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// Nodes, each after those whose outputs it reads.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Inputs.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Outputs; an output's name is its value's name.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// Parameters in torchvision's order of registration.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Constants of the description.
    pub fn constants(&self) -> &[Constant] {
        &self.constants
    }

    /// Values that the architecture names for the world (`layer4`), in order of computation.
    pub fn intermediates(&self) -> &IndexMap<String, ValueId> {
        &self.intermediates
    }

    /// The value of this name: an intermediate, or any value by its own name.
    ///
    /// # Errors
    /// [`GraphError::UnknownName`].
    pub fn find(&self, name: &str) -> Result<ValueId, GraphError> {
        if let Some(id) = self.intermediates.get(name) {
            return Ok(*id);
        }
        let position = self.values.iter().position(|value| value.name == name);
        position.map(ValueId).ok_or_else(|| GraphError::UnknownName {
            graph: self.name.clone(),
            name: name.to_owned(),
        })
    }

    /// Stages from the image to the output.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The parts that heads need, if the network is a classifier.
    ///
    /// # Errors
    /// [`GraphError::NotAClassifier`].
    pub fn classifier(&self) -> Result<&Classifier, GraphError> {
        self.classifier.as_ref().ok_or_else(|| GraphError::NotAClassifier {
            graph: self.name.clone(),
        })
    }
}
