//! The model that benches run: an INT8 ResNet-18 with heatmaps and novelty. Its weights are random, because time and memory
//! do not depend on them.

use std::error::Error;

use bundle::container::PayloadFile;
use bundle::manifest::{FileKind, Manifest};
use imaging::PreprocessSpec;
use ndarray::Array4;
use onnx::heads::{Heads, Novelty, classifier};
use onnx::networks::{ImageClassifier, resnet};
use onnx::quantize::{ImageError, QuantizeOptions, quantize};
use onnx::runtime;

use crate::support::{self, Says};

/// Side of the network's input, in pixels.
const SIDE: usize = 224;
const CALIBRATION_IMAGES: usize = 8;

/// Its manifest and payload.
pub fn resnet18() -> Result<(Manifest, Vec<PayloadFile>), Box<dyn Error>> {
    let image = ImageClassifier {
        classes: 3,
        channels: 3,
        size: [SIDE, SIDE],
    };
    let plain = resnet(18, &image)?;
    let heads = Heads {
        temperature: 1.0,
        top_k: 2,
        novelty: Some(Novelty::placeholder(512, 32, 3)),
    };
    let graph = classifier(plain, &heads)?;
    let float = onnx::export::export(&graph, &support::parameters(&graph))?;
    let mut noise = 1_u32;
    let mut images = (0..CALIBRATION_IMAGES).map(|_| {
        Ok::<_, ImageError>(Array4::from_shape_simple_fn((1, 3, SIDE, SIDE), || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 8) as f32 / (1 << 23) as f32 - 1.0
        }))
    });
    let options = QuantizeOptions {
        compared_images: 0,
        ..QuantizeOptions::default()
    };
    let quantized = quantize(runtime::load(None)?, &float, &mut images, &options)?;
    let (tiny, _) = support::tiny(Says::Finding);
    let mut manifest = Manifest {
        preprocess: PreprocessSpec::imagenet(SIDE as u32),
        golden: Vec::new(),
        ..tiny
    };
    manifest.model.precision = "int8-u8s8".to_owned();
    let model = PayloadFile::new(&manifest.model.file, FileKind::Model, quantized.model);
    Ok((manifest, vec![model]))
}
