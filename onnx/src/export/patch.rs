//! Changes to a finished file: what calibration finds on the quantized model is set in it, and
//! inner values can be read out.

use ndarray::ArrayD;

use crate::proto::{ElementType, ModelProto, TensorError, TensorProto, ValueInfoProto};

/// Why a file could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The file holds no graph.
    #[error("the model file holds no graph")]
    NoGraph,
    /// No initializer has this name.
    #[error("the model has no initializer `{name}`; was it exported without that head?")]
    UnknownInitializer {
        /// The name.
        name: String,
    },
    /// The initializer has another shape than the new elements.
    #[error("initializer `{name}` has shape {wanted:?}, the new value has {found:?}")]
    Shape {
        /// The name.
        name: String,
        /// Shape in the file.
        wanted: Vec<usize>,
        /// Shape of the new value.
        found: Vec<usize>,
    },
    /// No node writes a value of this name.
    #[error("the model has no value `{name}`")]
    UnknownValue {
        /// The name.
        name: String,
    },
    /// The initializer is no float tensor of this file.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Replaces the elements of a float initializer of the same shape.
///
/// # Errors
/// [`PatchError`] if there is no such initializer, or it has another type or shape.
pub fn set_initializer(model: &mut ModelProto, name: &str, value: &ArrayD<f32>) -> Result<(), PatchError> {
    let graph = model.graph.as_mut().ok_or(PatchError::NoGraph)?;
    let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name == name);
    let tensor = tensor.ok_or_else(|| PatchError::UnknownInitializer { name: name.to_owned() })?;
    let wanted = tensor.to_array_f32()?.shape().to_vec();
    if wanted != value.shape() {
        let found = value.shape().to_vec();
        return Err(PatchError::Shape {
            name: name.to_owned(),
            wanted,
            found,
        });
    }
    let elements: Vec<f32> = value.iter().copied().collect();
    *tensor = TensorProto::from_f32(name, &wanted, &elements);
    Ok(())
}

/// Makes an inner float value an output too, after the others; does nothing if it is one.
///
/// # Errors
/// [`PatchError::UnknownValue`] if no node writes it.
pub fn add_output(model: &mut ModelProto, name: &str) -> Result<(), PatchError> {
    let graph = model.graph.as_mut().ok_or(PatchError::NoGraph)?;
    if graph.output.iter().any(|output| output.name == name) {
        return Ok(());
    }
    if !graph
        .node
        .iter()
        .any(|node| node.output.iter().any(|output| output == name))
    {
        return Err(PatchError::UnknownValue { name: name.to_owned() });
    }
    // A value that no list declares gets its type only; the runtime finds its shape.
    let declared = match graph.value_info.iter().position(|value| value.name == name) {
        Some(position) => graph.value_info.remove(position),
        None => ValueInfoProto::unshaped(name, ElementType::F32),
    };
    graph.output.push(declared);
    Ok(())
}

/// Makes an output an inner value again.
///
/// # Errors
/// [`PatchError::UnknownValue`] if the file has no such output.
pub fn remove_output(model: &mut ModelProto, name: &str) -> Result<(), PatchError> {
    let graph = model.graph.as_mut().ok_or(PatchError::NoGraph)?;
    let position = graph.output.iter().position(|output| output.name == name);
    let position = position.ok_or_else(|| PatchError::UnknownValue { name: name.to_owned() })?;
    let declared = graph.output.remove(position);
    graph.value_info.push(declared);
    Ok(())
}
