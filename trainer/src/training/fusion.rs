//! The parameters of a fusion: those of its members put together, and the ratio between them.

use std::path::{Path, PathBuf};

use onnx::graph::Graph;
use onnx::networks::fusion::{WEIGHT, member_path};
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

use super::error::TrainError;
use super::network::NetworkError;
use super::{checkpoint, weights};
use crate::autograd::Parameters;
use crate::autograd::parameters::array_of;

/// The ratio at one step of the optimizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioPoint {
    /// Steps done.
    pub step: u64,
    /// Shares by member, each with one number or one a class; over the members they add up to 1.
    pub shares: Vec<Vec<f64>>,
}

/// The ratio between `members` networks as the parameters of a fusion hold it.
///
/// # Errors
/// libtorch, or parameters of another network.
pub fn ratio(parameters: &Parameters, members: usize) -> Result<Vec<Vec<f64>>, TchError> {
    let weight = parameters
        .get(WEIGHT)
        .ok_or_else(|| TchError::Shape(format!("no parameter {WEIGHT}")))?;
    let table = tch::no_grad(|| {
        let table = weight.f_reshape([members as i64, -1])?;
        array_of(&table.f_softmax(0, Kind::Double)?)
    })?;
    let rows = table.outer_iter();
    Ok(rows
        .map(|row| row.iter().map(|share| f64::from(*share)).collect())
        .collect())
}

/// The tensors of member `number` of the fusion `graph` in the weights file of that member alone, under their names in
/// the fusion.
///
/// # Errors
/// The file cannot be read, or does not hold the whole member.
pub fn member_tensors(graph: &Graph, number: usize, file: &Path) -> Result<Vec<(String, Tensor)>, NetworkError> {
    let tensors = weights::read(file)?;
    let prefix = format!("{}.", member_path(number));
    let own = graph
        .parameters()
        .iter()
        .filter_map(|parameter| Some((parameter, parameter.name.strip_prefix(&prefix)?)));
    own.map(|(parameter, name)| {
        let shape: Vec<i64> = parameter.shape.iter().map(|extent| *extent as i64).collect();
        match tensors.get(name).filter(|tensor| tensor.size() == shape) {
            Some(tensor) => Ok((parameter.name.clone(), tensor.shallow_clone())),
            None => Err(NetworkError::Member {
                path: file.to_owned(),
                network: member_path(number),
                name: name.to_owned(),
            }),
        }
    })
    .collect()
}

/// Writes the first weights of the fusion `graph`: the members' from their files, in the order of the members.
///
/// # Errors
/// A file does not hold the whole member, or the new one cannot be written.
pub fn join(graph: &Graph, files: &[PathBuf], out: &Path) -> Result<(), TrainError> {
    let mut tensors = Vec::new();
    for (number, file) in files.iter().enumerate() {
        tensors.extend(member_tensors(graph, number, file)?);
    }
    Ok(checkpoint::save_tensors(out, tensors)?)
}
