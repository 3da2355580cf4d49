//! One small graph for every operator and every way to use it.

use std::collections::BTreeMap;

use scanside_onnx::graph::operator::{PadMode, Reduction, ResizeMode, Window};
use scanside_onnx::graph::{ElementType, Graph, GraphBuilder, Initializer, Operator, ParameterKind, Shape, ValueId};

/// The ONNX names of all operators; a new one needs a case below.
pub const ALL: [&str; 37] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Div",
    "Dropout",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "Identity",
    "InstanceNormalization",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "TopK",
    "Transpose",
    "Unsqueeze",
];

/// Extents of a parameter that a case's node reads after its inputs.
type Weights<'a> = &'a [&'a [usize]];

struct Cases(BTreeMap<String, Graph>);

impl Cases {
    /// A node on one image input and parameters of these extents.
    fn image(&mut self, name: &str, extents: &[usize], operator: Operator, weights: Weights) {
        self.inputs(name, &[Shape::batch(extents)], operator, weights);
    }

    fn inputs(&mut self, name: &str, shapes: &[Shape], operator: Operator, weights: Weights) {
        let mut b = GraphBuilder::new(name);
        let mut inputs = Vec::new();
        for (number, shape) in shapes.iter().enumerate() {
            inputs.push(b.input(&format!("x{number}"), ElementType::F32, shape.clone()).unwrap());
        }
        for (number, extents) in weights.iter().enumerate() {
            // Ones keep variances above 0.
            let name = format!("w{number}");
            let id = b
                .parameter(&name, extents, ParameterKind::Trainable, Initializer::Ones)
                .unwrap();
            inputs.push(id);
        }
        self.finish(b, operator, &inputs);
    }

    fn finish(&mut self, mut b: GraphBuilder, operator: Operator, inputs: &[ValueId]) {
        for output in b.node_with_outputs("node", operator, inputs).unwrap() {
            let name = b.graph().value(output).name.clone();
            b.output(&name, output).unwrap();
        }
        let graph = b.finish().unwrap();
        let name = graph.name().to_owned();
        assert!(self.0.insert(name.clone(), graph).is_none(), "two cases named {name}");
    }
}

/// All cases by name.
pub fn cases() -> BTreeMap<String, Graph> {
    let mut cases = Cases(BTreeMap::new());
    convolutions(&mut cases);
    normalizations(&mut cases);
    elementwise(&mut cases);
    spatial(&mut cases);
    matrices(&mut cases);
    layout(&mut cases);
    selections(&mut cases);
    cases.0
}

fn convolutions(cases: &mut Cases) {
    let stem = Window::square(7).stride(2).padding(3);
    cases.image(
        "conv",
        &[3, 20, 23],
        Operator::Conv {
            window: stem,
            groups: 1,
        },
        &[&[8, 3, 7, 7], &[8]],
    );
    let dilated = Window {
        kernel: [3, 5],
        stride: [1, 2],
        padding: [2, 0],
        dilation: [2, 1],
    };
    cases.image(
        "conv_grouped",
        &[4, 11, 9],
        Operator::Conv {
            window: dilated,
            groups: 2,
        },
        &[&[6, 2, 3, 5]],
    );
    let up = Window::square(4).stride(2).padding(1);
    let transpose = |window, output_padding, groups| Operator::ConvTranspose {
        window,
        output_padding,
        groups,
    };
    cases.image(
        "conv_transpose",
        &[6, 4, 5],
        transpose(up, [0, 0], 1),
        &[&[6, 3, 4, 4], &[3]],
    );
    let odd = Window {
        kernel: [3, 2],
        stride: [2, 3],
        padding: [1, 0],
        dilation: [2, 1],
    };
    cases.image(
        "conv_transpose_grouped",
        &[6, 4, 5],
        transpose(odd, [1, 2], 2),
        &[&[6, 2, 3, 2]],
    );
}

fn normalizations(cases: &mut Cases) {
    let channels: &[usize] = &[5];
    let batch = Operator::BatchNormalization {
        epsilon: 1e-5,
        momentum: 0.1,
    };
    cases.image("batch_norm", &[5, 4, 3], batch, &[channels; 4]);
    cases.image(
        "instance_norm",
        &[5, 4, 3],
        Operator::InstanceNormalization { epsilon: 1e-5 },
        &[channels; 2],
    );
}

fn elementwise(cases: &mut Cases) {
    for (name, operator) in [
        ("relu", Operator::Relu),
        ("leaky_relu", Operator::LeakyRelu { slope: 0.2 }),
        ("sigmoid", Operator::Sigmoid),
        ("tanh", Operator::Tanh),
        ("sqrt", Operator::Sqrt),
        ("clip", Operator::Clip { min: 0.0, max: 6.0 }),
        ("dropout", Operator::Dropout { p: 0.5 }),
        ("softmax", Operator::Softmax { axis: 1 }),
        ("identity", Operator::Identity),
    ] {
        cases.image(name, &[4, 3, 2], operator, &[]);
    }
    let image = Shape::batch(&[4, 3, 2]);
    let row = Shape::batch(&[1, 1, 2]);
    cases.inputs("add", &[image.clone(), image.clone()], Operator::Add, &[]);
    cases.inputs("sub", &[row, image.clone()], Operator::Sub, &[]);
    cases.inputs("mul", std::slice::from_ref(&image), Operator::Mul, &[&[4, 1, 1]]);
    cases.inputs("div", &[image], Operator::Div, &[&[]]);
}

fn spatial(cases: &mut Cases) {
    let stem = Window::square(3).stride(2).padding(1);
    cases.image("max_pool", &[2, 12, 13], Operator::MaxPool { window: stem }, &[]);
    let dilated = Window {
        kernel: [2, 3],
        stride: [1, 2],
        padding: [0, 1],
        dilation: [3, 2],
    };
    cases.image(
        "max_pool_dilated",
        &[2, 12, 13],
        Operator::MaxPool { window: dilated },
        &[],
    );
    for count_include_pad in [false, true] {
        let operator = Operator::AveragePool {
            window: stem,
            count_include_pad,
        };
        cases.image(
            &format!("average_pool_{count_include_pad}"),
            &[2, 12, 13],
            operator,
            &[],
        );
    }
    cases.image("global_average_pool", &[2, 12, 13], Operator::GlobalAveragePool, &[]);
    for (name, mode) in [
        ("pad_constant", PadMode::Constant(0.5)),
        ("pad_reflect", PadMode::Reflect),
        ("pad_edge", PadMode::Edge),
    ] {
        cases.image(
            name,
            &[2, 5, 6],
            Operator::Pad {
                mode,
                padding: [1, 2, 3, 4],
            },
            &[],
        );
    }
    for (name, mode) in [
        ("resize_nearest", ResizeMode::Nearest),
        ("resize_bilinear", ResizeMode::Bilinear),
    ] {
        cases.image(name, &[2, 5, 6], Operator::Resize { mode, scale: [2, 3] }, &[]);
    }
}

fn matrices(cases: &mut Cases) {
    cases.image("gemm", &[6], Operator::Gemm, &[&[4, 6], &[4]]);
    cases.image("gemm_without_bias", &[6], Operator::Gemm, &[&[4, 6]]);
    let (left, right) = (Shape::batch(&[2, 6]), Shape::batch(&[6, 7]));
    cases.inputs("matmul", &[left.clone(), right], Operator::MatMul, &[]);
    cases.inputs("matmul_shared", &[left], Operator::MatMul, &[&[6, 3]]);
}

fn layout(cases: &mut Cases) {
    let (five, two) = (Shape::batch(&[5, 4, 3]), Shape::batch(&[2, 4, 3]));
    cases.inputs("concat", &[five.clone(), two, five], Operator::Concat { axis: 1 }, &[]);
    let image = [4, 3, 2];
    cases.image(
        "reshape",
        &image,
        Operator::Reshape {
            shape: Shape::batch(&[4, 6]),
        },
        &[],
    );
    cases.image("flatten", &image, Operator::Flatten { axis: 1 }, &[]);
    cases.image(
        "transpose",
        &image,
        Operator::Transpose {
            order: vec![0, 2, 3, 1],
        },
        &[],
    );
    cases.image("transpose_batch", &[24], Operator::Transpose { order: vec![1, 0] }, &[]);
    cases.image("squeeze", &[1, 3, 1], Operator::Squeeze { axes: vec![1, 3] }, &[]);
    cases.image("unsqueeze", &[3], Operator::Unsqueeze { axes: vec![1, 3] }, &[]);
    cases.image(
        "slice",
        &image,
        Operator::Slice {
            axis: 2,
            start: 1,
            end: 3,
        },
        &[],
    );
}

fn selections(cases: &mut Cases) {
    for (name, reduction) in [
        ("sum", Reduction::Sum),
        ("mean", Reduction::Mean),
        ("max", Reduction::Max),
        ("min", Reduction::Min),
    ] {
        for keep_dims in [false, true] {
            let operator = Operator::Reduce {
                reduction,
                axes: vec![1, 3],
                keep_dims,
            };
            cases.image(&format!("reduce_{name}_{keep_dims}"), &[4, 3, 2], operator, &[]);
        }
    }
    cases.image("top_k", &[5], Operator::TopK { k: 3, axis: 1 }, &[]);
    let mut b = GraphBuilder::new("gather");
    let classes = b.input("classes", ElementType::I64, Shape::batch(&[2])).unwrap();
    let table = b
        .parameter("table", &[3, 4], ParameterKind::Trainable, Initializer::Ones)
        .unwrap();
    cases.finish(b, Operator::Gather { axis: 0 }, &[table, classes]);
    let mut b = GraphBuilder::new("gather_inner");
    let image = b.input("x", ElementType::F32, Shape::batch(&[3, 4])).unwrap();
    let order = b.index_constant("order", ndarray::array![2_i64, 0].into_dyn()).unwrap();
    cases.finish(b, Operator::Gather { axis: 1 }, &[image, order]);
}
