//! From stored to modality values, and from those to display values (PS3.3 C.11.1, C.11.2).

use serde::{Deserialize, Serialize};

/// A table of a Modality or VOI LUT Sequence (PS3.3 C.11.1, C.11.2).
#[derive(Clone, Debug, PartialEq)]
pub struct LookupTable {
    /// The input value that the first entry stands for; smaller inputs map to it too.
    pub first: i32,
    /// Bits of an entry, 1 to 16.
    pub bits: u16,
    /// At least one entry; inputs beyond the last one map to the last.
    pub entries: Vec<u16>,
}

impl LookupTable {
    /// The entry for an input value; 0 for an empty table.
    pub fn entry(&self, input: f64) -> u16 {
        let last = self.entries.len().saturating_sub(1);
        let offset = (input.round() - f64::from(self.first)).clamp(0.0, last as f64);
        self.entries.get(offset as usize).copied().unwrap_or(0)
    }

    /// The greatest value that an entry of `bits` can have.
    pub fn maximum(&self) -> f64 {
        f64::from(bit_mask(self.bits))
    }
}

/// From stored values to modality values (HU for CT).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ModalityLut {
    /// Modality values are the stored ones.
    #[default]
    Identity,
    /// `slope * stored + intercept`
    Rescale {
        /// Rescale Slope (0028,1053)
        slope: f64,
        /// Rescale Intercept (0028,1052)
        intercept: f64,
    },
    /// Modality LUT Sequence (0028,3000)
    Table(LookupTable),
}

impl ModalityLut {
    /// The modality value of a stored value.
    pub fn value(&self, stored: i32) -> f64 {
        match self {
            ModalityLut::Identity => f64::from(stored),
            ModalityLut::Rescale { slope, intercept } => slope * f64::from(stored) + intercept,
            ModalityLut::Table(table) => f64::from(table.entry(f64::from(stored))),
        }
    }

    /// Lowest and highest modality value over an inclusive range of stored values.
    pub(super) fn range(&self, stored: (i32, i32)) -> (f64, f64) {
        match self {
            ModalityLut::Table(table) => (0.0, table.maximum()),
            _ => {
                let (a, b) = (self.value(stored.0), self.value(stored.1));
                (a.min(b), a.max(b))
            }
        }
    }
}

/// VOI LUT Function (0028,1056), PS3.3 C.11.2.1.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowFunction {
    /// From `center - 0.5 - (width - 1) / 2` to `center - 0.5 + (width - 1) / 2`.
    #[default]
    Linear,
    /// From `center - width / 2` to `center + width / 2`.
    LinearExact,
    /// `1 / (1 + exp(-4 (x - center) / width))`
    Sigmoid,
}

/// Which modality values are of interest, and how they become display values.
#[derive(Clone, Debug, PartialEq)]
pub enum Voi {
    /// Window Center and Width, in modality values.
    Window {
        /// Window Center (0028,1050)
        center: f64,
        /// Window Width (0028,1051): at least 1 for LINEAR, above 0 for the others.
        width: f64,
        /// VOI LUT Function (0028,1056)
        function: WindowFunction,
    },
    /// VOI LUT Sequence (0028,3010); the input is a modality value.
    Table(LookupTable),
}

impl Voi {
    /// The display value in 0..=1, before any inversion, of a modality value. Zero width is a threshold.
    pub fn unit(&self, modality: f64) -> f64 {
        let (center, width, function) = match self {
            Voi::Table(table) => return (f64::from(table.entry(modality)) / table.maximum()).min(1.0),
            Voi::Window {
                center,
                width,
                function,
            } => (*center, *width, *function),
        };
        match function {
            WindowFunction::Linear => ramp(modality, center - 0.5, width - 1.0),
            WindowFunction::LinearExact => ramp(modality, center, width),
            WindowFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (modality - center) / width.max(f64::MIN_POSITIVE)).exp()),
        }
    }
}

/// 0 up to `center - width / 2`, 1 above `center + width / 2`, a straight line between.
fn ramp(value: f64, center: f64, width: f64) -> f64 {
    let half = width.max(0.0) / 2.0;
    if value <= center - half {
        0.0
    } else if value > center + half {
        1.0
    } else {
        (value - center) / width + 0.5
    }
}

/// `bits` ones, for 1 to 16 bits.
pub(crate) fn bit_mask(bits: u16) -> u16 {
    u16::MAX >> (16 - bits.clamp(1, 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(center: f64, width: f64, function: WindowFunction) -> Voi {
        Voi::Window {
            center,
            width,
            function,
        }
    }

    /// The examples of PS3.3 C.11.2.1.2.1: c=2048, w=4096 and c=2048, w=1 and c=0, w=100.
    #[test]
    fn linear_windows_follow_the_standard() {
        let wide = window(2048.0, 4096.0, WindowFunction::Linear);
        assert_eq!(wide.unit(0.0), 0.0);
        assert_eq!(wide.unit(4095.0), 1.0);
        assert!((wide.unit(2047.5) - 0.5).abs() < 1e-12);
        let threshold = window(2048.0, 1.0, WindowFunction::Linear);
        assert_eq!((threshold.unit(2047.0), threshold.unit(2048.0)), (0.0, 1.0));
        let centred = window(0.0, 100.0, WindowFunction::Linear);
        assert_eq!((centred.unit(-50.0), centred.unit(49.0)), (0.0, 1.0));
        assert!(centred.unit(48.0) < 1.0);
        let exact = window(0.0, 100.0, WindowFunction::LinearExact);
        assert_eq!((exact.unit(-50.0), exact.unit(50.0), exact.unit(0.0)), (0.0, 1.0, 0.5));
    }

    #[test]
    fn sigmoid_is_symmetric_about_its_center() {
        let sigmoid = window(30.0, 8.0, WindowFunction::Sigmoid);
        assert!((sigmoid.unit(30.0) - 0.5).abs() < 1e-12);
        assert!((sigmoid.unit(34.0) + sigmoid.unit(26.0) - 1.0).abs() < 1e-12);
        assert!((sigmoid.unit(34.0) - 1.0 / (1.0 + (-2.0f64).exp())).abs() < 1e-12);
    }

    #[test]
    fn a_degenerate_window_is_a_threshold_not_a_panic() {
        for function in [
            WindowFunction::Linear,
            WindowFunction::LinearExact,
            WindowFunction::Sigmoid,
        ] {
            for width in [0.0, -5.0, 1e-300] {
                let units = [-1.0, 10.0, 11.0].map(|value| window(10.0, width, function).unit(value));
                assert!(
                    units.iter().all(|unit| (0.0..=1.0).contains(unit)),
                    "{function:?} {width} {units:?}"
                );
                assert_eq!((units[0], units[2]), (0.0, 1.0));
            }
        }
    }

    #[test]
    fn tables_hold_their_ends() {
        let table = LookupTable {
            first: 10,
            bits: 8,
            entries: vec![5, 100, 255],
        };
        assert_eq!(
            [0.0, 10.0, 11.0, 12.0, 900.0].map(|input| table.entry(input)),
            [5, 5, 100, 255, 255]
        );
        assert_eq!(
            LookupTable {
                first: 0,
                bits: 16,
                entries: vec![]
            }
            .entry(3.0),
            0
        );
    }
}
