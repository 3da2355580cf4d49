//! `PreprocessSpec::apply` against tensors that Pillow and NumPy made (`goldens/preprocess/record.py`).

use imaging::grey::{GreyImage, ModalityLut, Photometric, Pixels};
use imaging::preprocess::PreprocessSpec;
use ndarray::Array2;
use scanside_imaging as imaging;
use serde::Deserialize;

/// 8-bit images are resized to 8 bits on both sides in two passes, rounded after each; Pillow begins with the rows, we
/// with the columns: one grey step.
const EIGHT_BIT_TOLERANCE: f32 = 1.01 / 255.0;
/// Share of 8-bit values that must be equal to a hundredth of a step all the same.
const EIGHT_BIT_EQUAL: f64 = 0.80;
/// Everything else is rounded to 16 bits before, between and after the passes.
const SIXTEEN_BIT_TOLERANCE: f32 = 4.0 / 65535.0;
/// The record holds five decimals.
const RECORD_ROUNDING: f32 = 1e-5;

#[derive(Deserialize)]
struct Record {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    image: [usize; 2],
    kind: String,
    bits_stored: u16,
    monochrome1: bool,
    rescale: Option<[f64; 2]>,
    spec: PreprocessSpec,
    tensor: Vec<Vec<f32>>,
}

impl Case {
    /// The generated image of `record.py`.
    fn image(&self) -> GreyImage {
        let modulus = 1_i64 << self.bits_stored;
        let stored = Array2::from_shape_fn(self.image, |(y, x)| {
            let (y, x) = (y as i64, x as i64);
            (y * y * 3 + x * 11 + (x * y) / 7 + 40 * ((x / 9 + y / 13) % 2)) % modulus
        });
        let pixels = match self.kind.as_str() {
            "u8" => Pixels::U8(stored.mapv(|value| value as u8)),
            "u16" => Pixels::U16(stored.mapv(|value| value as u16)),
            _ => Pixels::I16(stored.mapv(|value| (value - modulus / 2) as i16)),
        };
        let mut image = GreyImage::new(pixels, self.bits_stored);
        if let Some([slope, intercept]) = self.rescale {
            image.modality_lut = ModalityLut::Rescale { slope, intercept };
        }
        if self.monochrome1 {
            image.photometric = Photometric::Monochrome1;
        }
        image
    }
}

#[test]
fn tensors_equal_the_peers() {
    let record: Record = serde_json::from_str(include_str!("../goldens/preprocess/tensors.json")).expect("the record");
    assert_eq!(record.cases.len(), 13);
    for case in &record.cases {
        let tensor = case.spec.apply(&case.image()).expect("a tensor");
        let eight_bit = case.kind == "u8";
        let tolerance = if eight_bit {
            EIGHT_BIT_TOLERANCE
        } else {
            SIXTEEN_BIT_TOLERANCE
        };
        let (mut equal, mut count) = (0, 0);
        for ((plane, expected), std) in tensor.outer_iter().zip(&case.tensor).zip(&case.spec.std) {
            assert_eq!(plane.len(), expected.len(), "{}", case.name);
            for (index, (found, expected)) in plane.iter().zip(expected).enumerate() {
                let error = ((found - expected) * std).abs();
                assert!(
                    error <= tolerance + RECORD_ROUNDING,
                    "{}: value {index} is {found}, the peer's {expected}; {:.2} grey steps apart",
                    case.name,
                    error * 255.0
                );
                equal += usize::from(error < 0.01 / 255.0);
                count += 1;
            }
        }
        let share = f64::from(equal as u32) / f64::from(count as u32);
        assert!(
            !eight_bit || share >= EIGHT_BIT_EQUAL,
            "{}: only {:.1} % equal",
            case.name,
            share * 100.0
        );
    }
}
