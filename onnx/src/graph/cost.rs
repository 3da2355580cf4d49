//! What a network costs: parameters, and multiply-accumulate operations for one image.

use super::{Graph, Operator, ParameterKind, ValueId};

/// Size and work of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Elements of the trainable parameters.
    pub parameters: u64,
    /// Multiply-accumulate operations of convolutions, linear layers and matrix products for one
    /// image; other operators are not counted, as is the custom of the field.
    pub macs: u64,
}

impl Graph {
    /// Size and work of the network at its input size.
    pub fn cost(&self) -> Cost {
        let trainable = self.parameters().iter().filter(|p| p.kind == ParameterKind::Trainable);
        let parameters = trainable.map(|p| p.shape.iter().product::<usize>() as u64).sum();
        let macs = self.nodes().iter().map(|node| {
            let elements = |id: ValueId| self.value(id).shape.elements_per_image() as u64;
            let extent = |id: ValueId, axis: usize| {
                self.value(id).shape.get(axis).and_then(|dim| dim.fixed()).unwrap_or(1) as u64
            };
            match node.operator {
                // Each output reads one filter, each input of a transposed convolution feeds one.
                Operator::Conv { .. } => {
                    elements(node.outputs[0]) * elements(node.inputs[1]) / extent(node.inputs[1], 0)
                }
                Operator::ConvTranspose { .. } => {
                    elements(node.inputs[0]) * elements(node.inputs[1]) / extent(node.inputs[1], 0)
                }
                Operator::Gemm => elements(node.inputs[1]),
                Operator::MatMul => {
                    let rank = self.value(node.inputs[0]).shape.len();
                    elements(node.outputs[0]) * extent(node.inputs[0], rank - 1)
                }
                _ => 0,
            }
        });
        Cost {
            parameters,
            macs: macs.sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::layers::Conv2d;
    use crate::graph::{ElementType, GraphBuilder, Shape};

    /// Both convolutions connect the same 8 x 8 and 4 x 4 images, pixel pair by pixel pair.
    #[test]
    fn a_transposed_convolution_costs_what_its_mirror_costs() {
        let layer = |channels| Conv2d::new(channels, 4).stride(2).padding(1);
        let mut b = GraphBuilder::new("mirror");
        let x = b.input("x", ElementType::F32, Shape::batch(&[3, 8, 8])).unwrap();
        let down = b.conv2d("down", x, layer(6)).unwrap();
        b.output("y", down).unwrap();
        assert_eq!(
            b.graph().cost(),
            Cost {
                parameters: 288,
                macs: 288 * 16
            }
        );
        let up = b.conv_transpose2d("up", down, layer(3)).unwrap();
        assert_eq!(b.shape(up).to_string(), "[N, 3, 8, 8]");
        assert_eq!(
            b.graph().cost(),
            Cost {
                parameters: 576,
                macs: 2 * 288 * 16
            }
        );
    }
}
