//! One node of the file: attributes, and the attributes that operator set 17 holds as inputs.

use crate::graph::operator::{PadMode, Reduction, ResizeMode, Window};
use crate::graph::{Graph, Node, Operator, Shape, ValueId};
use crate::proto::{AttributeProto, NodeProto, TensorProto};

/// A node with the initializers that belong to it alone, named `<node>.<input>`.
pub(super) struct Encoded {
    pub(super) node: NodeProto,
    pub(super) initializers: Vec<TensorProto>,
}

/// Encodes a node of the graph.
pub(super) fn encode(graph: &Graph, node: &Node) -> Encoded {
    let names = |ids: &[ValueId]| ids.iter().map(|id| graph.value(*id).name.clone()).collect();
    let mut encoded = Encoded {
        node: NodeProto {
            input: names(&node.inputs),
            output: names(&node.outputs),
            name: node.name.clone(),
            op_type: node.operator.name().to_owned(),
            ..Default::default()
        },
        initializers: Vec::new(),
    };
    encoded.attributes(&node.operator);
    encoded.shape_attributes(&node.operator);
    encoded
}

impl Encoded {
    /// Attributes of operators that compute.
    fn attributes(&mut self, operator: &Operator) {
        match operator {
            Operator::Conv { window, groups } => {
                self.window(window);
                self.int("group", *groups);
            }
            Operator::ConvTranspose {
                window,
                output_padding,
                groups,
            } => {
                self.window(window);
                self.ints("output_padding", output_padding);
                self.int("group", *groups);
            }
            Operator::MaxPool { window } => self.window(window),
            Operator::AveragePool {
                window,
                count_include_pad,
            } => {
                self.window(window);
                self.node.attribute.retain(|attribute| attribute.name != "dilations");
                self.int("count_include_pad", usize::from(*count_include_pad));
            }
            Operator::BatchNormalization { epsilon, momentum } => {
                self.float("epsilon", *epsilon);
                self.float("momentum", 1.0 - *momentum);
            }
            Operator::InstanceNormalization { epsilon } => self.float("epsilon", *epsilon),
            Operator::LeakyRelu { slope } => self.float("alpha", *slope),
            Operator::Clip { min, max } => {
                self.float_input("min", *min);
                self.float_input("max", *max);
            }
            Operator::Dropout { p } => self.float_input("ratio", *p),
            Operator::Softmax { axis } | Operator::Concat { axis } | Operator::Gather { axis } => {
                self.int("axis", *axis);
            }
            // y = x weightᵀ + bias
            Operator::Gemm => self.int("transB", 1),
            _ => {}
        }
    }

    /// Attributes of operators that select or move elements.
    fn shape_attributes(&mut self, operator: &Operator) {
        match operator {
            Operator::Reshape { shape } => self.int_input("shape", &reshape_target(shape)),
            Operator::Flatten { axis } => self.int("axis", *axis),
            Operator::Transpose { order } => self.ints("perm", order),
            Operator::Squeeze { axes } | Operator::Unsqueeze { axes } => self.int_input("axes", &signed(axes)),
            Operator::Slice { axis, start, end } => {
                self.int_input("starts", &signed(&[*start]));
                self.int_input("ends", &signed(&[*end]));
                self.int_input("axes", &signed(&[*axis]));
            }
            Operator::TopK { k, axis } => {
                self.int_input("k", &signed(&[*k]));
                self.int("axis", *axis);
            }
            Operator::Reduce {
                reduction,
                axes,
                keep_dims,
            } => {
                // ReduceSum alone takes its axes as an input in operator set 17.
                if *reduction == Reduction::Sum {
                    self.int_input("axes", &signed(axes));
                } else {
                    self.ints("axes", axes);
                }
                self.int("keepdims", usize::from(*keep_dims));
            }
            Operator::Pad { mode, padding } => self.pad(*mode, *padding),
            Operator::Resize { mode, scale } => self.resize(*mode, *scale),
            _ => {}
        }
    }

    fn window(&mut self, window: &Window) {
        let [vertical, horizontal] = window.padding;
        self.ints("kernel_shape", &window.kernel);
        self.ints("strides", &window.stride);
        self.ints("pads", &[vertical, horizontal, vertical, horizontal]);
        self.ints("dilations", &window.dilation);
    }

    fn pad(&mut self, mode: PadMode, [top, left, bottom, right]: [usize; 4]) {
        self.int_input("pads", &signed(&[0, 0, top, left, 0, 0, bottom, right]));
        let mode = match mode {
            PadMode::Constant(value) => {
                self.float_input("value", value);
                "constant"
            }
            PadMode::Reflect => "reflect",
            PadMode::Edge => "edge",
        };
        self.node.attribute.push(AttributeProto::string("mode", mode));
    }

    fn resize(&mut self, mode: ResizeMode, [vertical, horizontal]: [usize; 2]) {
        // The second input, a region of interest, is left out.
        self.node.input.push(String::new());
        let scales = [1.0, 1.0, vertical as f32, horizontal as f32];
        self.input("scales", |name| TensorProto::from_f32(name, &[4], &scales));
        let (mode, transform) = match mode {
            ResizeMode::Nearest => ("nearest", "asymmetric"),
            ResizeMode::Bilinear => ("linear", "half_pixel"),
        };
        self.node
            .attribute
            .push(AttributeProto::string("coordinate_transformation_mode", transform));
        self.node.attribute.push(AttributeProto::string("mode", mode));
        if mode == "nearest" {
            self.node
                .attribute
                .push(AttributeProto::string("nearest_mode", "floor"));
        }
    }

    fn int(&mut self, name: &str, value: usize) {
        self.node.attribute.push(AttributeProto::int(name, value as i64));
    }

    fn ints(&mut self, name: &str, values: &[usize]) {
        self.node.attribute.push(AttributeProto::ints(name, signed(values)));
    }

    fn float(&mut self, name: &str, value: f32) {
        self.node.attribute.push(AttributeProto::float(name, value));
    }

    fn int_input(&mut self, name: &str, values: &[i64]) {
        self.input(name, |name| TensorProto::from_i64(name, &[values.len()], values));
    }

    fn float_input(&mut self, name: &str, value: f32) {
        self.input(name, |name| TensorProto::from_f32(name, &[], &[value]));
    }

    fn input(&mut self, name: &str, tensor: impl FnOnce(&str) -> TensorProto) {
        let name = format!("{}.{name}", self.node.name);
        self.initializers.push(tensor(&name));
        self.node.input.push(name);
    }
}

/// The shape input of Reshape: 0 copies the extent that the axis has in the input, the batch.
fn reshape_target(shape: &Shape) -> Vec<i64> {
    shape
        .iter()
        .map(|dim| dim.fixed().map_or(0, |extent| extent as i64))
        .collect()
}

fn signed(values: &[usize]) -> Vec<i64> {
    values.iter().map(|value| *value as i64).collect()
}
