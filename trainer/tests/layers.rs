//! Every layer of the interpreter against libtorch's own module, forward and gradient.

// The list of all operators names its crate so.
extern crate onnx as scanside_onnx;

#[allow(dead_code, reason = "only the list of names is read here")]
#[path = "../../onnx/tests/operators/mod.rs"]
mod operators;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use onnx::graph::layers::Conv2d;
use onnx::graph::operator::{PadMode, Reduction, ResizeMode, Window};
use onnx::graph::{ElementType, Graph, GraphBuilder, GraphError, Operator, Shape, ValueId};
use tch::nn::{self, Module, ModuleT};
use tch::{Device, Kind, Tensor};
use trainer::autograd::{Interpreter, MemoryOrder, Mode, Modes, Parameters};

/// Float32 rounding of sums that are taken in another order.
const TOLERANCE: f64 = 1e-5;

fn graph(
    channels: usize,
    size: usize,
    layer: impl FnOnce(&mut GraphBuilder, ValueId) -> Result<ValueId, GraphError>,
) -> Graph {
    let mut builder = GraphBuilder::new("one layer");
    let x = builder
        .input("image", ElementType::F32, Shape::batch(&[channels, size, size]))
        .unwrap();
    let y = layer(&mut builder, x).unwrap();
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

/// A seeded image batch that takes part in the gradient.
fn image(channels: i64, size: i64) -> Tensor {
    tch::manual_seed(7);
    Tensor::randn([4, channels, size, size], (Kind::Float, Device::Cpu)).set_requires_grad(true)
}

struct Ours {
    output: Tensor,
    input_gradient: Tensor,
    parameters: Parameters,
}

/// Operators of the graphs that were run.
static COMPARED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

fn remember(graph: &Graph) {
    let mut compared = COMPARED.lock().unwrap_or_else(PoisonError::into_inner);
    compared.extend(graph.nodes().iter().map(|node| node.operator.name()));
}

/// Runs the one-layer graph and sends a fixed gradient back.
fn ours(graph: Graph, store: Option<&nn::VarStore>, x: &Tensor, mode: Mode, order: MemoryOrder) -> Ours {
    remember(&graph);
    let mut parameters = Parameters::initialise(&graph, 1, Device::Cpu, order).unwrap();
    if let Some(store) = store {
        for (name, tensor) in store.variables() {
            parameters.set(&name, &tensor).unwrap();
        }
    }
    let x = x.detach().set_requires_grad(true);
    let interpreter = Interpreter::new(graph, Device::Cpu).unwrap();
    let values = interpreter
        .run(&[x.shallow_clone()], &parameters, &Modes::all(mode), &[])
        .unwrap();
    let output = values.first().shallow_clone();
    (&output * probe(&output)).sum(Kind::Float).backward();
    Ours {
        output,
        input_gradient: x.grad(),
        parameters,
    }
}

/// A gradient that is not the same everywhere.
fn probe(output: &Tensor) -> Tensor {
    let count = output.numel() as i64;
    Tensor::arange(count, (Kind::Float, Device::Cpu))
        .sin()
        .view(&output.size()[..])
}

fn assert_close(what: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.size(), theirs.size(), "{what}");
    let error = f64::try_from((ours - theirs).norm()).unwrap();
    let size = f64::try_from(theirs.norm()).unwrap().max(1e-12);
    assert!(error / size < TOLERANCE, "{what}: relative error {}", error / size);
}

/// Compares output, gradient of the input and of all parameters, and running statistics.
fn compare(
    graph: Graph,
    store: &nn::VarStore,
    channels: i64,
    size: i64,
    mode: Mode,
    theirs: impl Fn(&Tensor) -> Tensor,
) {
    for order in [MemoryOrder::ChannelsFirst, MemoryOrder::ChannelsLast] {
        // The statistics that a step in train mode moves are put back for the second order.
        let before: Vec<(String, Tensor)> = store
            .variables()
            .into_iter()
            .map(|(name, tensor)| (name, tensor.detach().copy()))
            .collect();
        let x = image(channels, size);
        let ours = ours(graph.clone(), Some(store), &x, mode, order);
        let expected = theirs(&x);
        (&expected * probe(&expected)).sum(Kind::Float).backward();
        assert_close("output", &ours.output, &expected);
        assert_close("gradient of the input", &ours.input_gradient, &x.grad());
        for (name, tensor) in store.variables() {
            let mine = ours.parameters.get(&name).unwrap();
            if tensor.requires_grad() {
                assert_close(&format!("gradient of {name}"), &mine.grad(), &tensor.grad());
                let mut tensor = tensor.shallow_clone();
                tensor.zero_grad();
            } else {
                assert_close(&name, mine, &tensor);
            }
        }
        tch::no_grad(|| {
            for (name, value) in &before {
                store.variables().get_mut(name).unwrap().copy_(value);
            }
        });
    }
}

/// Compares an operator without parameters.
fn compare_function(
    channels: i64,
    size: i64,
    layer: impl FnOnce(&mut GraphBuilder, ValueId) -> Result<ValueId, GraphError>,
    theirs: impl Fn(&Tensor) -> Tensor,
) {
    let graph = graph(channels as usize, size as usize, layer);
    compare(
        graph,
        &nn::VarStore::new(Device::Cpu),
        channels,
        size,
        Mode::Eval,
        theirs,
    );
}

fn node(operator: Operator) -> impl FnOnce(&mut GraphBuilder, ValueId) -> Result<ValueId, GraphError> {
    move |builder, x| builder.node("layer", operator, &[x])
}

#[test]
fn convolutions() {
    let cases = [(8, 3, 1, 1, true), (6, 5, 2, 2, false), (4, 1, 2, 0, true)];
    for (out, kernel, stride, padding, bias) in cases {
        let store = nn::VarStore::new(Device::Cpu);
        let config = nn::ConvConfig {
            stride,
            padding,
            bias,
            ..Default::default()
        };
        let theirs = nn::conv2d(store.root() / "layer", 3, out, kernel, config);
        let mut layer = Conv2d::new(out as usize, kernel as usize)
            .stride(stride as usize)
            .padding(padding as usize);
        layer.bias = bias;
        let graph = graph(3, 11, |builder, x| builder.conv2d("layer", x, layer));
        compare(graph, &store, 3, 11, Mode::Train, |x| theirs.forward(x));
    }
}

#[test]
fn grouped_and_dilated_convolution() {
    let store = nn::VarStore::new(Device::Cpu);
    let config = nn::ConvConfig {
        padding: 2,
        dilation: 2,
        groups: 2,
        bias: true,
        ..Default::default()
    };
    let theirs = nn::conv2d(store.root() / "layer", 4, 6, 3, config);
    let mut layer = Conv2d::new(6, 3);
    layer.window = Window::square(3).padding(2).dilation(2);
    (layer.groups, layer.bias) = (2, true);
    let graph = graph(4, 9, |builder, x| builder.conv2d("layer", x, layer));
    compare(graph, &store, 4, 9, Mode::Train, |x| theirs.forward(x));
}

#[test]
fn transposed_convolution() {
    let store = nn::VarStore::new(Device::Cpu);
    let config = nn::ConvTransposeConfig {
        stride: 2,
        padding: 1,
        ..Default::default()
    };
    let theirs = nn::conv_transpose2d(store.root() / "layer", 5, 3, 4, config);
    let mut layer = Conv2d::new(3, 4).stride(2).padding(1);
    layer.bias = true;
    let graph = graph(5, 6, |builder, x| builder.conv_transpose2d("layer", x, layer));
    compare(graph, &store, 5, 6, Mode::Train, |x| theirs.forward(x));
}

#[test]
fn batch_norm_in_train_and_eval_mode() {
    for mode in [Mode::Train, Mode::Eval] {
        let store = nn::VarStore::new(Device::Cpu);
        let theirs = nn::batch_norm2d(store.root() / "layer", 6, Default::default());
        tch::no_grad(|| {
            // Statistics that are not those of the batch, so that the modes differ.
            let _ = store.variables()["layer.running_mean"]
                .shallow_clone()
                .uniform_(-0.5, 0.5);
            let _ = store.variables()["layer.running_var"]
                .shallow_clone()
                .uniform_(0.5, 2.0);
        });
        let graph = graph(6, 5, |builder, x| builder.batch_norm("layer", x));
        compare(graph, &store, 6, 5, mode, |x| theirs.forward_t(x, mode == Mode::Train));
    }
}

#[test]
fn instance_norm() {
    let store = nn::VarStore::new(Device::Cpu);
    let root = store.root() / "layer";
    let weight = root.var("weight", &[6], nn::Init::Uniform { lo: 0.5, up: 1.5 });
    let bias = root.var("bias", &[6], nn::Init::Uniform { lo: -0.5, up: 0.5 });
    let graph = graph(6, 7, |builder, x| builder.instance_norm("layer", x));
    compare(graph, &store, 6, 7, Mode::Train, |x| {
        x.instance_norm(Some(&weight), Some(&bias), None, None, true, 0.1, 1e-5, true)
    });
}

#[test]
fn linear_after_pooling() {
    let store = nn::VarStore::new(Device::Cpu);
    let theirs = nn::linear(store.root() / "fc", 8, 5, Default::default());
    let graph = graph(8, 4, |builder, x| {
        let pooled = builder.global_pool(x)?;
        builder.linear("fc", pooled, 5)
    });
    compare(graph, &store, 8, 4, Mode::Train, |x| {
        theirs.forward(&x.adaptive_avg_pool2d([1, 1]).flat_view())
    });
}

#[test]
fn activations() {
    compare_function(3, 5, node(Operator::Relu), Tensor::relu);
    compare_function(3, 5, node(Operator::Sigmoid), Tensor::sigmoid);
    compare_function(3, 5, node(Operator::Tanh), Tensor::tanh);
    compare_function(3, 5, node(Operator::Clip { min: -0.5, max: 0.8 }), |x| {
        x.clamp(-0.5, 0.8)
    });
    compare_function(3, 5, node(Operator::Softmax { axis: 1 }), |x| {
        x.softmax(1, None::<Kind>)
    });
    // libtorch's leaky_relu in tch has its default slope only.
    compare_function(3, 5, node(Operator::LeakyRelu { slope: 0.01 }), Tensor::leaky_relu);
    // At another slope it is libtorch's PReLU.
    compare_function(3, 5, node(Operator::LeakyRelu { slope: 0.2 }), |x| {
        x.prelu(&Tensor::from_slice(&[0.2_f32]))
    });
    compare_function(3, 5, node(Operator::Identity), |x| x * 1.0);
}

#[test]
fn pooling() {
    let window = Window::square(3).stride(2).padding(1);
    compare_function(3, 9, node(Operator::MaxPool { window }), |x| {
        x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)
    });
    for count_include_pad in [true, false] {
        compare_function(
            3,
            9,
            node(Operator::AveragePool {
                window,
                count_include_pad,
            }),
            |x| x.avg_pool2d([3, 3], [2, 2], [1, 1], false, count_include_pad, None::<i64>),
        );
    }
}

#[test]
fn layout() {
    compare_function(3, 4, node(Operator::Flatten { axis: 1 }), |x| x.flatten(1, 3));
    compare_function(
        3,
        4,
        node(Operator::Transpose {
            order: vec![0, 2, 3, 1],
        }),
        |x| x.permute([0, 2, 3, 1]),
    );
    compare_function(
        3,
        4,
        node(Operator::Slice {
            axis: 2,
            start: 1,
            end: 3,
        }),
        |x| x.narrow(2, 1, 2),
    );
    compare_function(3, 4, node(Operator::Unsqueeze { axes: vec![1, 3] }), |x| {
        x.unsqueeze(1).unsqueeze(3)
    });
    compare_function(1, 4, node(Operator::Squeeze { axes: vec![1] }), |x| x.squeeze_dim(1));
    let shape = Shape::batch(&[48]);
    compare_function(3, 4, node(Operator::Reshape { shape }), |x| x.reshape([-1, 48]));
    compare_function(
        3,
        4,
        |builder, x| builder.node("layer", Operator::Concat { axis: 1 }, &[x, x]),
        |x| Tensor::cat(&[x, x], 1),
    );
    compare_function(
        3,
        4,
        |builder, x| {
            let indices = ndarray::arr1(&[2_i64, 0]).into_dyn();
            let indices = builder.index_constant("indices", indices)?;
            builder.node("layer", Operator::Gather { axis: 1 }, &[x, indices])
        },
        |x| x.index_select(1, &Tensor::from_slice(&[2_i64, 0])),
    );
}

#[test]
fn borders_and_sizes() {
    let padding = [1, 2, 0, 3];
    let pad = |mode| node(Operator::Pad { mode, padding });
    compare_function(3, 5, pad(PadMode::Reflect), |x| x.reflection_pad2d([2, 3, 1, 0]));
    compare_function(3, 5, pad(PadMode::Edge), |x| x.replication_pad2d([2, 3, 1, 0]));
    compare_function(3, 5, pad(PadMode::Constant(0.0)), |x| x.constant_pad_nd([2, 3, 1, 0]));
    let resize = |mode| node(Operator::Resize { mode, scale: [2, 3] });
    compare_function(3, 4, resize(ResizeMode::Nearest), |x| {
        x.upsample_nearest2d([8, 12], None::<f64>, None::<f64>)
    });
    compare_function(3, 4, resize(ResizeMode::Bilinear), |x| {
        x.upsample_bilinear2d([8, 12], false, None::<f64>, None::<f64>)
    });
}

#[test]
fn reductions_and_arithmetic() {
    let reduce = |reduction| {
        node(Operator::Reduce {
            reduction,
            axes: vec![2, 3],
            keep_dims: true,
        })
    };
    compare_function(3, 4, reduce(Reduction::Sum), |x| {
        x.sum_dim_intlist([2_i64, 3].as_slice(), true, Kind::Float)
    });
    compare_function(3, 4, reduce(Reduction::Mean), |x| {
        x.mean_dim([2_i64, 3].as_slice(), true, Kind::Float)
    });
    compare_function(3, 4, reduce(Reduction::Max), |x| {
        x.flatten(2, 3).max_dim(2, true).0.unsqueeze(3)
    });
    compare_function(3, 4, reduce(Reduction::Min), |x| {
        x.flatten(2, 3).min_dim(2, true).0.unsqueeze(3)
    });
    let binary = |operator: Operator| {
        move |builder: &mut GraphBuilder, x: ValueId| {
            let positive = builder.node("exp", Operator::Sigmoid, &[x])?;
            builder.node("layer", operator, &[x, positive])
        }
    };
    compare_function(3, 4, binary(Operator::Add), |x| x + x.sigmoid());
    compare_function(3, 4, binary(Operator::Sub), |x| x - x.sigmoid());
    compare_function(3, 4, binary(Operator::Mul), |x| x * x.sigmoid());
    compare_function(3, 4, binary(Operator::Div), |x| x / x.sigmoid());
    compare_function(3, 4, binary(Operator::MatMul), |x| x.matmul(&x.sigmoid()));
    let root = |builder: &mut GraphBuilder, x: ValueId| {
        let positive = builder.node("positive", Operator::Sigmoid, &[x])?;
        builder.node("layer", Operator::Sqrt, &[positive])
    };
    compare_function(3, 4, root, |x| x.sigmoid().sqrt());
}

#[test]
fn top_k_gives_equal_elements_in_ascending_order() {
    let graph = graph(5, 1, |builder, x| {
        let flat = builder.node("flat", Operator::Flatten { axis: 1 }, &[x])?;
        let outputs = builder.node_with_outputs("top", Operator::TopK { k: 3, axis: 1 }, &[flat])?;
        builder.output("indices", outputs[1])?;
        Ok(outputs[0])
    });
    remember(&graph);
    let parameters = Parameters::initialise(&graph, 1, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
    let interpreter = Interpreter::new(graph, Device::Cpu).unwrap();
    let x = Tensor::from_slice(&[1.0_f32, 3.0, 2.0, 3.0, 2.0]).view([1, 5, 1, 1]);
    let values = interpreter.run(&[x], &parameters, &Modes::default(), &[]).unwrap();
    let indices = Vec::<i64>::try_from(values.get("indices").unwrap().view([-1])).unwrap();
    assert_eq!(indices, [1, 3, 2]);
}

#[test]
fn dropout_drops_in_train_mode_only() {
    let layer = || graph(3, 16, node(Operator::Dropout { p: 0.5 }));
    let x = image(3, 16);
    let run = |mode| ours(layer(), None, &x, mode, MemoryOrder::ChannelsFirst).output;
    assert!(run(Mode::Eval).equal(&x));
    assert!(run(Mode::Frozen).equal(&x));
    let kept = run(Mode::Train);
    let share = kept.not_equal(0.0).sum(Kind::Float).double_value(&[]) / kept.numel() as f64;
    assert!((share - 0.5).abs() < 0.05, "{share} of the elements are kept");
    trainer::seed::seed_step(5, 9);
    let first = run(Mode::Train);
    trainer::seed::seed_step(5, 9);
    assert!(run(Mode::Train).equal(&first), "a step's seed decides what is dropped");
}

#[test]
fn frozen_parameters_get_no_gradient_and_pass_it_through() {
    let layer = graph(3, 5, |builder, x| {
        let x = builder.conv2d("conv", x, Conv2d::new(4, 3))?;
        builder.batch_norm("bn", x)
    });
    let run = ours(layer, None, &image(3, 5), Mode::Frozen, MemoryOrder::ChannelsFirst);
    assert!(run.input_gradient.defined() && f64::try_from(run.input_gradient.norm()).unwrap() > 0.0);
    assert!(run.parameters.trainable().all(|(_, tensor)| !tensor.grad().defined()));
    let mean = run.parameters.get("bn.running_mean").unwrap();
    assert_eq!(f64::try_from(mean.norm()).unwrap(), 0.0, "running statistics stay");
}

/// A new operator needs a comparison above.
#[test]
fn no_operator_is_left_out() {
    convolutions();
    transposed_convolution();
    batch_norm_in_train_and_eval_mode();
    instance_norm();
    linear_after_pooling();
    activations();
    pooling();
    layout();
    borders_and_sizes();
    reductions_and_arithmetic();
    top_k_gives_equal_elements_in_ascending_order();
    let mut compared = COMPARED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // Its numbers are random, so it has a test of its own kind.
    compared.insert("Dropout");
    assert_eq!(compared.into_iter().collect::<Vec<_>>(), operators::ALL);
}
