//! What a fresh parameter holds: torch's and torchvision's rules, as hints for the trainer, which
//! owns the random numbers.

/// An initialisation rule; fans are those of the parameter's own shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initializer {
    /// Normal with variance 2 / fan_out: torchvision's rule for convolutions before ReLU
    /// (He et al. 2015, arXiv 1502.01852).
    KaimingNormalFanOut,
    /// Uniform in ±1 / sqrt(fan): torch's default for linear and convolutional layers and their
    /// biases. The fan is the layer's, for a bias not readable from its own shape.
    UniformFanIn {
        /// Inputs that one output of the layer reads.
        fan_in: usize,
    },
    /// Normal.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        std: f32,
    },
    /// All ones.
    Ones,
    /// All zeros.
    Zeros,
}

/// A rule with its numbers worked out for one shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Normal.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        std: f32,
    },
    /// Uniform in [-bound, bound).
    Uniform {
        /// The bound.
        bound: f32,
    },
    /// Every element the same.
    Constant(f32),
}

impl Initializer {
    /// The distribution for a parameter of this shape (`[O, I/groups, kh, kw]` or `[O, I]` for
    /// weights).
    pub fn distribution(&self, shape: &[usize]) -> Distribution {
        match *self {
            Self::KaimingNormalFanOut => {
                let receptive: usize = shape.iter().skip(2).product();
                let fan_out = shape.first().copied().unwrap_or(1) * receptive;
                Distribution::Normal {
                    mean: 0.0,
                    std: (2.0 / fan_out.max(1) as f32).sqrt(),
                }
            }
            Self::UniformFanIn { fan_in } => Distribution::Uniform {
                bound: 1.0 / (fan_in.max(1) as f32).sqrt(),
            },
            Self::Normal { mean, std } => Distribution::Normal { mean, std },
            Self::Ones => Distribution::Constant(1.0),
            Self::Zeros => Distribution::Constant(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_torchs() {
        // torch.nn.init.kaiming_normal_(mode="fan_out") on resnet18.conv1: sqrt(2 / (64 * 49)).
        let conv = Initializer::KaimingNormalFanOut.distribution(&[64, 3, 7, 7]);
        assert_eq!(
            conv,
            Distribution::Normal {
                mean: 0.0,
                std: (2.0_f32 / 3136.0).sqrt()
            }
        );
        let linear = Initializer::UniformFanIn { fan_in: 512 }.distribution(&[1000, 512]);
        assert_eq!(
            linear,
            Distribution::Uniform {
                bound: 1.0 / 512_f32.sqrt()
            }
        );
        assert_eq!(Initializer::Ones.distribution(&[3]), Distribution::Constant(1.0));
    }
}
