//! Tensors in and out of [`TensorProto`].

use ndarray::{ArrayD, IxDyn};

use super::TensorProto;

/// Element types of ONNX tensors that this crate handles (`TensorProto.DataType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum ElementType {
    /// 32-bit float.
    F32 = 1,
    /// Unsigned byte.
    U8 = 2,
    /// Signed byte.
    I8 = 3,
    /// 32-bit integer.
    I32 = 6,
    /// 64-bit integer.
    I64 = 7,
}

impl ElementType {
    /// The type of this number in `TensorProto.DataType`.
    pub fn from_code(code: i32) -> Option<Self> {
        [Self::F32, Self::U8, Self::I8, Self::I32, Self::I64]
            .into_iter()
            .find(|element| *element as i32 == code)
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

/// Why the elements of a tensor could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The tensor holds another type than was asked for.
    #[error("tensor `{name}` has element type {found}, wanted {wanted:?}")]
    ElementType {
        /// Name of the tensor.
        name: String,
        /// The number of its type in `TensorProto.DataType`.
        found: i32,
        /// The type asked for.
        wanted: ElementType,
    },
    /// The elements lie in another file.
    #[error("tensor `{name}` keeps its data in an external file; save the model as one file")]
    External {
        /// Name of the tensor.
        name: String,
    },
    /// The number of elements is not the product of the extents.
    #[error("tensor `{name}` of shape {dims:?} holds {found} elements")]
    Length {
        /// Name of the tensor.
        name: String,
        /// Its extents.
        dims: Vec<i64>,
        /// Elements found; a raw buffer that ends inside an element counts it.
        found: usize,
    },
}

/// Writes a constructor from, and a reader into, a slice of one element type.
macro_rules! element_access {
    ($element:ident, $ty:ty, $from:ident, $to:ident, $typed:ident, $what:literal) => {
        #[doc = concat!("A tensor of ", $what, " elements in row-major order, as raw data.")]
        ///
        /// # Panics
        /// If the number of elements is not the product of the extents.
        pub fn $from(name: &str, dims: &[usize], elements: &[$ty]) -> Self {
            let raw_data = elements.iter().flat_map(|value| value.to_le_bytes()).collect();
            Self::from_raw(name, dims, ElementType::$element, elements.len(), raw_data)
        }

        #[doc = concat!("The ", $what, " elements in row-major order.")]
        ///
        /// # Errors
        /// [`TensorError`] for another element type, external data, or a wrong length.
        pub fn $to(&self) -> Result<Vec<$ty>, TensorError> {
            self.check_element(ElementType::$element)?;
            let elements: Vec<$ty> = if self.raw_data.is_empty() {
                self.$typed.iter().map(|value| *value as $ty).collect()
            } else {
                let (chunks, rest) = self.raw_data.as_chunks::<{ size_of::<$ty>() }>();
                if !rest.is_empty() {
                    return Err(self.length_error(chunks.len() + 1));
                }
                chunks.iter().map(|bytes| <$ty>::from_le_bytes(*bytes)).collect()
            };
            if Some(elements.len()) != self.element_count() {
                return Err(self.length_error(elements.len()));
            }
            Ok(elements)
        }
    };
}

impl TensorProto {
    element_access!(F32, f32, from_f32, to_f32, float_data, "f32");
    element_access!(U8, u8, from_u8, to_u8, int32_data, "u8");
    element_access!(I8, i8, from_i8, to_i8, int32_data, "i8");
    element_access!(I32, i32, from_i32, to_i32, int32_data, "i32");
    element_access!(I64, i64, from_i64, to_i64, int64_data, "i64");

    fn from_raw(name: &str, dims: &[usize], element: ElementType, count: usize, raw_data: Vec<u8>) -> Self {
        assert_eq!(count, dims.iter().product::<usize>(), "elements of tensor `{name}`");
        Self {
            name: name.to_owned(),
            dims: dims.iter().map(|extent| *extent as i64).collect(),
            data_type: element as i32,
            raw_data,
            ..Self::default()
        }
    }

    /// The tensor as a float array of its shape.
    ///
    /// # Errors
    /// As [`TensorProto::to_f32`].
    pub fn to_array_f32(&self) -> Result<ArrayD<f32>, TensorError> {
        let elements = self.to_f32()?;
        let found = elements.len();
        ArrayD::from_shape_vec(IxDyn(&self.extents()), elements).map_err(|_| self.length_error(found))
    }

    /// Extents as unsigned numbers; a negative one, which no valid file has, reads as 0.
    pub fn extents(&self) -> Vec<usize> {
        self.dims
            .iter()
            .map(|extent| usize::try_from(*extent).unwrap_or(0))
            .collect()
    }

    /// Number of elements that the extents ask for, unless it overflows.
    pub fn element_count(&self) -> Option<usize> {
        self.extents()
            .iter()
            .try_fold(1_usize, |product, extent| product.checked_mul(*extent))
    }

    /// The element type, if it is one that this crate handles.
    pub fn element_type(&self) -> Option<ElementType> {
        ElementType::from_code(self.data_type)
    }

    fn check_element(&self, wanted: ElementType) -> Result<(), TensorError> {
        let name = self.name.clone();
        if self.data_location != 0 {
            return Err(TensorError::External { name });
        }
        if self.data_type != wanted as i32 {
            return Err(TensorError::ElementType {
                name,
                found: self.data_type,
                wanted,
            });
        }
        Ok(())
    }

    fn length_error(&self, found: usize) -> TensorError {
        TensorError::Length {
            name: self.name.clone(),
            dims: self.dims.clone(),
            found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_and_typed_elements_read_the_same() {
        let raw = TensorProto::from_i8("q", &[2, 2], &[-128, -1, 0, 127]);
        let typed = TensorProto {
            raw_data: Vec::new(),
            int32_data: vec![-128, -1, 0, 127],
            ..raw.clone()
        };
        assert_eq!(raw.to_i8().unwrap(), typed.to_i8().unwrap());
        let array = TensorProto::from_f32("w", &[1, 3], &[0.5, f32::MIN, f32::MAX]);
        assert_eq!(array.to_array_f32().unwrap().shape(), &[1, 3]);
        assert_eq!(array.to_f32().unwrap(), [0.5, f32::MIN, f32::MAX]);
        assert_eq!(TensorProto::from_i64("s", &[], &[7]).to_i64().unwrap(), [7]);
    }

    #[test]
    fn wrong_tensors_are_refused_with_their_name() {
        let tensor = TensorProto::from_f32("w", &[2], &[1.0, 2.0]);
        assert!(matches!(
            tensor.to_i64(),
            Err(TensorError::ElementType { found: 1, .. })
        ));
        let mut short = tensor.clone();
        short.raw_data.pop();
        assert!(matches!(short.to_f32(), Err(TensorError::Length { found: 2, .. })));
        let mut long = tensor.clone();
        long.dims = vec![i64::MAX, 4];
        assert!(matches!(long.to_f32(), Err(TensorError::Length { .. })));
        let external = TensorProto {
            data_location: 1,
            ..tensor
        };
        assert!(external.to_f32().unwrap_err().to_string().contains("`w`"));
    }
}
