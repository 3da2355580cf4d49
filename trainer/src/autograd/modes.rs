//! Train, eval or frozen: chosen per node, when the graph runs.

use onnx::graph::{Graph, is_under};

/// How a node computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// BatchNorm normalises by the batch and moves its running statistics; Dropout drops.
    Train,
    /// BatchNorm uses its running statistics; Dropout is the identity. Parameters still receive gradients.
    #[default]
    Eval,
    /// As [`Mode::Eval`], and the node's own parameters receive no gradient. Gradients pass through to its input.
    Frozen,
}

/// The mode of every node of a graph: a default, and exceptions by module path. Of several that fit, the longest wins.
///
/// ```
/// use trainer::autograd::{Mode, Modes};
/// let modes = Modes::all(Mode::Train).with("layer1", Mode::Frozen).with("layer1.1", Mode::Eval);
/// assert_eq!(modes.of("layer1.0.bn1"), Mode::Frozen);
/// assert_eq!(modes.of("layer1.1.bn1"), Mode::Eval);
/// assert_eq!(modes.of("layer10"), Mode::Train);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Modes {
    default: Mode,
    exceptions: Vec<(String, Mode)>,
}

impl Modes {
    /// The same mode everywhere.
    pub fn all(mode: Mode) -> Self {
        Self {
            default: mode,
            exceptions: Vec::new(),
        }
    }

    /// Another mode for the module at this path and all below it.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, mode: Mode) -> Self {
        self.exceptions.push((path.into(), mode));
        self
    }

    /// The mode of the node (or of the parameter) of this name.
    pub fn of(&self, name: &str) -> Mode {
        self.exceptions
            .iter()
            .filter(|(path, _)| is_under(name, path))
            .max_by_key(|(path, _)| path.len())
            .map_or(self.default, |(_, mode)| *mode)
    }

    /// The mode of each node of the graph, in its order.
    pub fn resolve(&self, graph: &Graph) -> Vec<Mode> {
        graph.nodes().iter().map(|node| self.of(&node.name)).collect()
    }
}
