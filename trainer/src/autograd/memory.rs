//! The order of a tensor's axes in memory.

use tch::{TchError, Tensor};

/// How the axes of an `[N,C,H,W]` tensor lie in memory; its shape is the same either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MemoryOrder {
    /// `[N,C,H,W]`, libtorch's default.
    #[default]
    ChannelsFirst,
    /// `[N,H,W,C]`, which convolutions in bfloat16 and tensor cores prefer.
    ChannelsLast,
}

impl MemoryOrder {
    /// The tensor in this order; tensors of other than four axes stay as they are.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn apply(self, tensor: &Tensor) -> Result<Tensor, TchError> {
        if self == Self::ChannelsFirst || tensor.dim() != 4 {
            return tensor.f_contiguous();
        }
        // tch has no memory_format; a contiguous copy of the permuted tensor is the same thing.
        tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn channels_last_keeps_shape_and_content() {
        let tensor = Tensor::arange(2 * 3 * 4 * 5, (Kind::Float, Device::Cpu)).view([2, 3, 4, 5]);
        let last = MemoryOrder::ChannelsLast.apply(&tensor).unwrap();
        assert_eq!(last.size(), tensor.size());
        assert_eq!(last.stride(), [60, 1, 15, 3]);
        assert!(last.equal(&tensor));
        let first = MemoryOrder::ChannelsFirst.apply(&last).unwrap();
        assert_eq!(first.stride(), tensor.stride());
    }
}
