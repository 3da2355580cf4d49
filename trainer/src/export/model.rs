//! The float ONNX file: the network of the recipe, the best parameters, and the heads.

use bundle::manifest::Outputs;
use ndarray::ArrayD;
use onnx::export::patch;
use onnx::graph::{Dim, Graph};
use onnx::heads::{self, Heads, Novelty};
use onnx::parameters::Parameters;
use onnx::proto::ModelProto;

use super::error::ExportError;
use crate::recipes::Recipe;
use crate::training::network;

/// Directions in which novelty is measured, or the number of features if that is less: enough for what a ResNet's
/// features hold, few enough to be estimated from some hundred images.
const NOVELTY_COMPONENTS: usize = 32;

/// Names of the outputs of every file that is exported here.
pub fn outputs() -> Outputs {
    Outputs {
        logits: onnx::networks::LOGITS.to_owned(),
        probabilities: heads::PROBABILITIES.to_owned(),
        cam: heads::CAM.to_owned(),
        cam_class: heads::CAM_CLASS.to_owned(),
        novelty: Some(heads::NOVELTY.to_owned()),
    }
}

/// The float ONNX file of `parameters` with all heads. Temperature is 1 and the novelty statistics are 0 until the
/// INT8 file is calibrated.
///
/// # Errors
/// The parameters do not fit the recipe's network.
pub fn float_model(recipe: &Recipe, classes: usize, parameters: &Parameters) -> Result<Vec<u8>, ExportError> {
    let graph = network::build(recipe, classes)?;
    let features = feature_count(&graph)?;
    let heads = Heads {
        temperature: 1.0,
        top_k: recipe.network.cam_classes.clamp(1, classes),
        novelty: Some(Novelty::placeholder(
            features,
            features.min(NOVELTY_COMPONENTS),
            classes,
        )),
    };
    Ok(onnx::export::export(&heads::classifier(graph, &heads)?, parameters)?)
}

fn feature_count(graph: &Graph) -> Result<usize, ExportError> {
    let pooled = graph.value(graph.classifier()?.pooled);
    Ok(match pooled.shape.iter().last() {
        Some(Dim::Fixed(extent)) => *extent,
        _ => 0,
    })
}

/// The file with the pooled features that novelty reads as an output more, and that output's name.
///
/// # Errors
/// The file has no novelty head.
pub fn with_features(model: &ModelProto) -> Result<(Vec<u8>, String), ExportError> {
    let name = heads::novelty::features_value(model)
        .ok_or_else(|| patch::PatchError::UnknownInitializer {
            name: heads::novelty::MEAN.to_owned(),
        })?
        .to_owned();
    let mut opened = model.clone();
    patch::add_output(&mut opened, &name)?;
    Ok((opened.to_bytes(), name))
}

/// Sets what calibration found in the finished file.
///
/// # Errors
/// The file has other heads.
pub fn set_calibration(model: &mut ModelProto, temperature: f32, novelty: &Novelty) -> Result<(), ExportError> {
    patch::set_initializer(
        model,
        heads::TEMPERATURE,
        &ArrayD::from_elem(ndarray::IxDyn(&[]), temperature),
    )?;
    for (name, value) in novelty.initializers() {
        patch::set_initializer(model, name, &value)?;
    }
    Ok(())
}
