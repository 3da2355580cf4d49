//! A small residual network and images for the tests, from a seed.

use ndarray::Array4;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::ImageError;
use crate::proto::{
    AttributeProto, Dimension, ElementType, GraphProto, IR_VERSION, ModelProto, NodeProto, OPSET_VERSION,
    OperatorSetIdProto, TensorProto, ValueInfoProto,
};

/// Normally distributed numbers from a seed.
pub struct Noise(ChaCha8Rng);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn normal(&mut self) -> f32 {
        StandardNormal.sample(&mut self.0)
    }
}

/// Side of the images.
pub const SIDE: usize = 24;
const CHANNELS: [usize; 2] = [8, 16];
const CLASSES: usize = 3;

struct Builder {
    graph: GraphProto,
    noise: Noise,
}

impl Builder {
    fn node(&mut self, op_type: &str, inputs: &[&str], output: &str) -> &mut NodeProto {
        self.graph.node.push(NodeProto {
            name: output.into(),
            op_type: op_type.into(),
            input: inputs.iter().map(|input| (*input).into()).collect(),
            output: vec![output.into()],
            ..Default::default()
        });
        self.graph.node.last_mut().unwrap()
    }

    fn constant(&mut self, name: &str, dims: &[usize], spread: f32) {
        let values: Vec<f32> = (0..dims.iter().product())
            .map(|_| self.noise.normal() * spread)
            .collect();
        self.graph.initializer.push(TensorProto::from_f32(name, dims, &values));
    }

    /// A convolution with padding that keeps the size, weights after He.
    fn convolution(&mut self, input: &str, output: &str, shape: [usize; 3]) {
        let [outputs, inputs, kernel] = shape;
        let (weight, bias) = (format!("{output}.weight"), format!("{output}.bias"));
        let spread = (2.0 / (inputs * kernel * kernel) as f32).sqrt();
        self.constant(&weight, &[outputs, inputs, kernel, kernel], spread);
        self.constant(&bias, &[outputs], 0.1);
        let pad = (kernel / 2) as i64;
        let node = self.node("Conv", &[input, &weight, &bias], output);
        node.attribute = vec![AttributeProto::ints("pads", [pad; 4])];
    }
}

/// stem -> pool -> (a -> b) + shortcut -> features -> pooled -> logits.
pub fn residual_graph(seed: u64) -> GraphProto {
    let mut b = Builder {
        graph: GraphProto::default(),
        noise: Noise::new(seed),
    };
    let [narrow, wide] = CHANNELS;
    b.convolution("image", "stem", [narrow, 3, 3]);
    b.node("Relu", &["stem"], "stem_relu");
    let pool = b.node("MaxPool", &["stem_relu"], "pool");
    pool.attribute = vec![
        AttributeProto::ints("kernel_shape", [2, 2]),
        AttributeProto::ints("strides", [2, 2]),
    ];
    b.convolution("pool", "a", [wide, narrow, 3]);
    b.node("Relu", &["a"], "a_relu");
    b.convolution("a_relu", "b", [wide, wide, 3]);
    b.convolution("pool", "shortcut", [wide, narrow, 1]);
    b.node("Add", &["b", "shortcut"], "sum");
    b.node("Relu", &["sum"], "features");
    b.node("GlobalAveragePool", &["features"], "pooled");
    b.node("Flatten", &["pooled"], "flat");
    b.constant("fc.weight", &[CLASSES, wide], 0.3);
    b.constant("fc.bias", &[CLASSES], 0.1);
    let linear = b.node("Gemm", &["flat", "fc.weight", "fc.bias"], "logits");
    linear.attribute = vec![AttributeProto::int("transB", 1)];
    let mut top = NodeProto {
        name: "first".into(),
        op_type: "ArgMax".into(),
        input: vec!["logits".into()],
        output: vec!["first".into()],
        ..Default::default()
    };
    top.attribute = vec![AttributeProto::int("axis", 1), AttributeProto::int("keepdims", 0)];
    b.graph.node.push(top);
    let batch = || Dimension::symbolic("N");
    let side = || Dimension::fixed(SIDE as i64);
    b.graph.name = "residual".into();
    b.graph.input = vec![ValueInfoProto::tensor(
        "image",
        ElementType::F32,
        vec![batch(), Dimension::fixed(3), side(), side()],
    )];
    b.graph.output = vec![
        ValueInfoProto::tensor(
            "logits",
            ElementType::F32,
            vec![batch(), Dimension::fixed(CLASSES as i64)],
        ),
        ValueInfoProto::tensor("first", ElementType::I64, vec![batch()]),
    ];
    b.graph
}

/// A file of `graph` with this version of the operator set.
pub fn model(graph: GraphProto, opset: i64) -> Vec<u8> {
    ModelProto {
        ir_version: IR_VERSION,
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: opset,
        }],
        ..Default::default()
    }
    .to_bytes()
}

/// [`residual_graph`] as a file.
pub fn residual_model(seed: u64) -> Vec<u8> {
    model(residual_graph(seed), OPSET_VERSION)
}

/// `count` images: noise over a ramp, in batches of up to three.
pub fn images(count: usize, seed: u64) -> Vec<Result<Array4<f32>, ImageError>> {
    let mut noise = Noise::new(seed);
    let mut batches = Vec::new();
    let mut left = count;
    while left > 0 {
        let size = left.min(3);
        batches.push(Ok(Array4::from_shape_fn((size, 3, SIDE, SIDE), |(_, c, y, x)| {
            noise.normal() * 0.5 + (x + y * c) as f32 / SIDE as f32 - 0.5
        })));
        left -= size;
    }
    batches
}
