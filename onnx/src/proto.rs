//! The ONNX file format: protobuf messages for the subset that this project writes and reads.
//!
//! The messages carry the names, field numbers and meanings of the official `onnx.proto` (IR
//! version 8), so they also decode files that other tools wrote. What stands outside the subset
//! (functions, sparse tensors, training information) is skipped on decoding and lost on encoding.
//! Encoding is deterministic: fields in ascending order, lists in the order they are held.

mod messages;
mod tensor;

pub use messages::*;
pub use tensor::{ElementType, TensorError};

use prost::Message;

/// IR version of every file that this crate writes: understood by ONNX Runtime 1.13 and later.
pub const IR_VERSION: i64 = 8;
/// Version of the default operator set of every file that this crate writes.
pub const OPSET_VERSION: i64 = 17;

impl ModelProto {
    /// Decodes an ONNX file.
    ///
    /// # Errors
    /// [`prost::DecodeError`] if the bytes are no protobuf message of this shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        Self::decode(bytes)
    }

    /// Encodes the model; equal models give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Version of the default operator set (domain "" or "ai.onnx"), if the file imports it.
    pub fn opset_version(&self) -> Option<i64> {
        let default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
        self.opset_import
            .iter()
            .find(|entry| default(&entry.domain))
            .map(|entry| entry.version)
    }
}

impl GraphProto {
    /// The initializer of this name.
    pub fn initializer_named(&self, name: &str) -> Option<&TensorProto> {
        self.initializer.iter().find(|tensor| tensor.name == name)
    }

    /// What is declared about a value: a graph input or output, or an entry of `value_info`.
    pub fn value_named(&self, name: &str) -> Option<&ValueInfoProto> {
        let mut all = self.input.iter().chain(&self.output).chain(&self.value_info);
        all.find(|value| value.name == name)
    }
}

impl NodeProto {
    /// The attribute of this name.
    pub fn attribute_named(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }
}

impl AttributeProto {
    fn typed(name: &str, r#type: AttributeType) -> Self {
        Self {
            name: name.to_owned(),
            r#type: r#type as i32,
            ..Self::default()
        }
    }

    /// An integer attribute.
    pub fn int(name: &str, value: i64) -> Self {
        Self {
            i: Some(value),
            ..Self::typed(name, AttributeType::Int)
        }
    }

    /// A list of integers.
    pub fn ints(name: &str, values: impl IntoIterator<Item = i64>) -> Self {
        Self {
            ints: values.into_iter().collect(),
            ..Self::typed(name, AttributeType::Ints)
        }
    }

    /// A floating-point attribute.
    pub fn float(name: &str, value: f32) -> Self {
        Self {
            f: Some(value),
            ..Self::typed(name, AttributeType::Float)
        }
    }

    /// A text attribute.
    pub fn string(name: &str, value: &str) -> Self {
        Self {
            s: Some(value.as_bytes().to_vec()),
            ..Self::typed(name, AttributeType::String)
        }
    }
}

impl ValueInfoProto {
    /// Declares a tensor value with its element type and dimensions.
    pub fn tensor(name: &str, element: ElementType, dims: Vec<Dimension>) -> Self {
        Self::with_shape(name, element, Some(TensorShapeProto { dim: dims }))
    }

    /// Declares a tensor value of unknown rank.
    pub fn unshaped(name: &str, element: ElementType) -> Self {
        Self::with_shape(name, element, None)
    }

    fn with_shape(name: &str, element: ElementType, shape: Option<TensorShapeProto>) -> Self {
        let tensor = TensorTypeProto {
            elem_type: element as i32,
            shape,
        };
        let value = Some(TypeValue::TensorType(tensor));
        let r#type = Some(TypeProto {
            value,
            ..Default::default()
        });
        Self {
            name: name.to_owned(),
            r#type,
            doc_string: String::new(),
        }
    }

    /// The tensor type, unless the value is a sequence, a map or undeclared.
    pub fn tensor_type(&self) -> Option<&TensorTypeProto> {
        match &self.r#type.as_ref()?.value {
            Some(TypeValue::TensorType(tensor)) => Some(tensor),
            None => None,
        }
    }
}

impl Dimension {
    /// A dimension of known extent.
    pub fn fixed(extent: i64) -> Self {
        Self {
            value: Some(DimensionValue::DimValue(extent)),
            denotation: String::new(),
        }
    }

    /// A dimension that is known by name only, such as the batch.
    pub fn symbolic(name: &str) -> Self {
        Self {
            value: Some(DimensionValue::DimParam(name.to_owned())),
            denotation: String::new(),
        }
    }

    /// The extent, if it is known.
    pub fn extent(&self) -> Option<i64> {
        match self.value {
            Some(DimensionValue::DimValue(extent)) => Some(extent),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelProto {
        let node = NodeProto {
            input: vec!["x".into(), String::new(), "w".into()],
            output: vec!["y".into()],
            name: "resize".into(),
            op_type: "Resize".into(),
            attribute: vec![
                AttributeProto::string("mode", "linear"),
                AttributeProto::int("zero", 0),
                AttributeProto::float("alpha", 0.0),
                AttributeProto::ints("pads", [0, -1, 2]),
            ],
            ..Default::default()
        };
        let graph = GraphProto {
            node: vec![node],
            name: "g".into(),
            initializer: vec![TensorProto::from_f32("w", &[2], &[1.0, -2.5])],
            input: vec![ValueInfoProto::tensor(
                "x",
                ElementType::F32,
                vec![Dimension::symbolic("N"), Dimension::fixed(0)],
            )],
            ..Default::default()
        };
        ModelProto {
            ir_version: IR_VERSION,
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: OPSET_VERSION,
            }],
            ..Default::default()
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let bytes = model().to_bytes();
        assert_eq!(ModelProto::from_bytes(&bytes).unwrap(), model());
        assert_eq!(model().opset_version(), Some(17));
    }

    #[test]
    fn zero_valued_attributes_and_dimensions_survive() {
        let decoded = ModelProto::from_bytes(&model().to_bytes()).unwrap();
        let graph = decoded.graph.unwrap();
        assert_eq!(graph.node[0].attribute_named("zero").unwrap().i, Some(0));
        assert_eq!(graph.node[0].attribute_named("alpha").unwrap().f, Some(0.0));
        assert_eq!(graph.node[0].input[1], "");
        let shape = graph
            .value_named("x")
            .unwrap()
            .tensor_type()
            .unwrap()
            .shape
            .clone()
            .unwrap();
        assert_eq!(shape.dim[1].extent(), Some(0));
        assert_eq!(shape.dim[0].extent(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes: Vec<u8>, flipped: proptest::sample::Index) {
            let _ = ModelProto::from_bytes(&bytes);
            let mut damaged = model().to_bytes();
            let place = flipped.index(damaged.len());
            damaged[place] ^= bytes.first().copied().unwrap_or(0xFF);
            if let Ok(model) = ModelProto::from_bytes(&damaged) {
                for tensor in model.graph.iter().flat_map(|graph| &graph.initializer) {
                    let _ = (tensor.to_array_f32(), tensor.to_i64(), tensor.to_i8());
                }
            }
        }
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let mut bytes = model().to_bytes();
        bytes.truncate(bytes.len() - 3);
        assert!(ModelProto::from_bytes(&bytes).is_err());
    }
}
