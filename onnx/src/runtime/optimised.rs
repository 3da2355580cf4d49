//! What ONNX Runtime makes of a model: its rewritten graph, counted.

use std::collections::BTreeMap;

use super::library::Runtime;
use super::session::{Optimisation, Session, SessionError, SessionOptions};
use crate::proto::ModelProto;

/// How many nodes of each operator type are left after ONNX Runtime's rewriting for this
/// processor, without regard to operator domains.
///
/// A quantized model without float islands has no `Conv` here, only `QLinearConv`.
///
/// # Errors
/// [`SessionError::Load`] for a model that ONNX Runtime does not accept.
pub fn node_counts(
    runtime: &Runtime,
    model: &[u8],
    optimisation: Optimisation,
) -> Result<BTreeMap<String, usize>, SessionError> {
    let failed = |reason: String| SessionError::Load {
        path: None,
        version: runtime.library().version.clone(),
        reason: format!("the optimised model cannot be read back: {reason}"),
    };
    let folder = tempfile::tempdir().map_err(|e| failed(e.to_string()))?;
    let path = folder.path().join("optimised.onnx");
    let options = SessionOptions {
        optimisation,
        optimised_model_path: Some(path.clone()),
        ..SessionOptions::default()
    };
    drop(Session::from_bytes(runtime, model, &options)?);
    let bytes = std::fs::read(&path).map_err(|e| failed(e.to_string()))?;
    let optimised = ModelProto::from_bytes(&bytes).map_err(|e| failed(e.to_string()))?;
    let mut counts = BTreeMap::new();
    for node in optimised.graph.unwrap_or_default().node {
        *counts.entry(node.op_type).or_insert(0) += 1;
    }
    Ok(counts)
}
