//! One grey image with the meaning of its values.
//!
//! Pixels stay as they were stored (8 or 16 bit); the way from a stored value to what a viewer shows is kept beside
//! them and applied through one lookup table. The order is that of DICOM PS3.4 N.2: modality LUT (rescale; HU for CT),
//! then VOI LUT or window, then the inversion of MONOCHROME1.
//!
//! ```
//! use ndarray::array;
//! use scanside_imaging::grey::{GreyImage, ModalityLut, Pixels, Voi, WindowFunction};
//!
//! let mut image = GreyImage::new(Pixels::I16(array![[0, 1024], [1064, 3000]]), 12);
//! image.modality_lut = ModalityLut::Rescale { slope: 1.0, intercept: -1024.0 };
//! image.voi = Some(Voi::Window { center: 40.0, width: 400.0, function: WindowFunction::Linear });
//! let shown = image.display();
//! assert_eq!(shown[[0, 0]], 0.0); // air, -1024 HU
//! assert!((shown[[1, 0]] - 0.5).abs() < 0.01); // 40 HU
//! ```

mod table;
mod transform;

use ndarray::{Array2, ArrayView2, Zip};
use serde::{Deserialize, Serialize};

pub use table::GreyTable;
#[cfg(feature = "decoders")]
pub(crate) use transform::bit_mask;
pub use transform::{LookupTable, ModalityLut, Voi, WindowFunction};

/// Stored values, `[H, W]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// Up to 8 bits, unsigned.
    U8(Array2<u8>),
    /// 9 to 16 bits, unsigned.
    U16(Array2<u16>),
    /// Signed values of any depth up to 16 bits.
    I16(Array2<i16>),
}

impl Pixels {
    /// `[height, width]`
    pub fn shape(&self) -> [usize; 2] {
        let (height, width) = match self {
            Pixels::U8(pixels) => pixels.dim(),
            Pixels::U16(pixels) => pixels.dim(),
            Pixels::I16(pixels) => pixels.dim(),
        };
        [height, width]
    }

    /// The stored value at row `y`, column `x`; panics outside the image, as indexing an array does.
    pub fn value(&self, y: usize, x: usize) -> i32 {
        match self {
            Pixels::U8(pixels) => i32::from(pixels[[y, x]]),
            Pixels::U16(pixels) => i32::from(pixels[[y, x]]),
            Pixels::I16(pixels) => i32::from(pixels[[y, x]]),
        }
    }

    /// Bits that the sample type holds: 8 or 16.
    pub fn bits_allocated(&self) -> u16 {
        match self {
            Pixels::U8(_) => 8,
            Pixels::U16(_) | Pixels::I16(_) => 16,
        }
    }
}

/// How stored values run from dark to bright (PS3.3 C.7.6.3.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Photometric {
    /// The lowest value is shown white.
    Monochrome1,
    /// The lowest value is shown black.
    #[default]
    Monochrome2,
}
/// What the file says about the image. No name and no identifier of the patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageMeta {
    /// Modality (0008,0060), such as `CR`, `DX`, `CT`.
    pub modality: Option<String>,
    /// Body Part Examined (0018,0015), upper case, such as `CHEST`.
    pub body_part: Option<String>,
    /// View Position (0018,5101), such as `PA`, `AP`, `LL`.
    pub view: Option<String>,
    /// Image Laterality (0020,0062) or Laterality (0020,0060).
    pub laterality: Option<String>,
    /// Patient's Age (0010,1010), or from the dates of birth and study.
    pub age_years: Option<f32>,
    /// Patient's Sex (0010,0040): `F`, `M`, `O`.
    pub sex: Option<String>,
    /// Distance of rows and of columns in mm: Pixel Spacing (0028,0030), else Imager Pixel Spacing (0018,1164).
    pub pixel_spacing_mm: Option<[f32; 2]>,
    /// Slice Thickness (0018,0050) in mm.
    pub slice_thickness_mm: Option<f32>,
    /// Manufacturer (0008,0070)
    pub manufacturer: Option<String>,
    /// Manufacturer's Model Name (0008,1090)
    pub manufacturer_model: Option<String>,
    /// Station Name (0008,1010)
    pub station_name: Option<String>,
    /// SOP Class UID (0008,0016)
    pub sop_class_uid: Option<String>,
    /// SOP Instance UID (0008,0018)
    pub sop_instance_uid: Option<String>,
    /// Study Instance UID (0020,000D)
    pub study_uid: Option<String>,
    /// Series Instance UID (0020,000E)
    pub series_uid: Option<String>,
    /// Study Date (0008,0020), `YYYYMMDD`.
    pub study_date: Option<String>,
    /// Transfer Syntax UID (0002,0010); for rasters `PNG`, `JPEG` or `TIFF`.
    pub encoding: Option<String>,
    /// What was odd about the file and how it was read nevertheless; for people.
    pub warnings: Vec<String>,
}

/// One grey image, `[H, W]`, with everything that is needed to show it or to measure in it.
#[derive(Clone, Debug, PartialEq)]
pub struct GreyImage {
    /// Stored values.
    pub pixels: Pixels,
    /// From stored to modality values.
    pub modality_lut: ModalityLut,
    /// The window or table of the file; `None` shows the full range of `bits_stored`.
    pub voi: Option<Voi>,
    /// Whether low values are bright.
    pub photometric: Photometric,
    /// Bits that a stored value uses, 1 to 16.
    pub bits_stored: u16,
    /// What the file says about the image.
    pub meta: ImageMeta,
}

impl GreyImage {
    /// A MONOCHROME2 image without modality or VOI transform; `bits_stored` is held to what the pixels can have.
    pub fn new(pixels: Pixels, bits_stored: u16) -> Self {
        let bits_stored = bits_stored.clamp(1, pixels.bits_allocated());
        GreyImage {
            pixels,
            modality_lut: ModalityLut::Identity,
            voi: None,
            photometric: Photometric::Monochrome2,
            bits_stored,
            meta: ImageMeta::default(),
        }
    }

    /// A 16-bit image from display values, `[H, W]` in 0..=1; values outside (and NaN) are clipped.
    pub fn from_unit(display: ArrayView2<f32>) -> Self {
        let stored = display.mapv(|unit| (unit.clamp(0.0, 1.0) * f32::from(u16::MAX)).round() as u16);
        GreyImage::new(Pixels::U16(stored), 16)
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.pixels.shape()[0]
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.pixels.shape()[1]
    }

    /// Lowest and highest value that `bits_stored` allows, both inclusive.
    pub fn stored_range(&self) -> (i32, i32) {
        let bits = self.bits_stored.clamp(1, self.pixels.bits_allocated());
        match self.pixels {
            Pixels::I16(_) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            _ => (0, (1 << bits) - 1),
        }
    }

    /// Display values in 0..=1 for every stored value: modality LUT, then `voi` or the full range, inversion last.
    pub fn display_table(&self) -> GreyTable<f32> {
        match &self.voi {
            Some(voi) => self.table_through(voi),
            None => {
                let (low, high) = self.modality_lut.range(self.stored_range());
                self.table_through(&Voi::Window {
                    center: (low + high) / 2.0,
                    width: high - low,
                    function: WindowFunction::LinearExact,
                })
            }
        }
    }

    /// As `display_table`, with a LINEAR window in modality values (HU for CT) in place of the file's own.
    pub fn window_table(&self, center: f32, width: f32) -> GreyTable<f32> {
        let (center, width) = (f64::from(center), f64::from(width));
        self.table_through(&Voi::Window {
            center,
            width,
            function: WindowFunction::Linear,
        })
    }

    fn table_through(&self, voi: &Voi) -> GreyTable<f32> {
        GreyTable::build(self.stored_range(), |stored| {
            let unit = voi.unit(self.modality_lut.value(stored)) as f32;
            match self.photometric {
                Photometric::Monochrome1 => 1.0 - unit,
                Photometric::Monochrome2 => unit,
            }
        })
    }

    /// What a viewer shows, `[H, W]` in 0..=1. Four bytes a pixel: for large images take `display_table` row by row.
    pub fn display(&self) -> Array2<f32> {
        self.display_table().map(&self.pixels)
    }

    /// What a viewer shows, `[H, W]` in 0..=255.
    pub fn display_u8(&self) -> Array2<u8> {
        self.display_table().to_u8().map(&self.pixels)
    }

    /// As `display`, with a LINEAR window in modality values (HU for CT) in place of the file's own.
    pub fn windowed(&self, center: f32, width: f32) -> Array2<f32> {
        self.window_table(center, width).map(&self.pixels)
    }

    /// Modality values, `[H, W]`: HU for CT, else what the modality's rescale gives.
    pub fn modality_values(&self) -> Array2<f32> {
        GreyTable::build(self.stored_range(), |stored| self.modality_lut.value(stored) as f32).map(&self.pixels)
    }
}

/// Greatest absolute difference of two equally sized images of display values; infinite if they differ in size.
pub fn greatest_difference(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    if a.dim() != b.dim() {
        return f32::INFINITY;
    }
    Zip::from(a)
        .and(b)
        .fold(0.0, |greatest: f32, a, b| greatest.max((a - b).abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn window(center: f64, width: f64, function: WindowFunction) -> Voi {
        Voi::Window {
            center,
            width,
            function,
        }
    }

    #[test]
    fn inversion_comes_last() {
        let mut image = GreyImage::new(Pixels::U8(array![[0, 100, 200, 255]]), 8);
        image.voi = Some(window(100.0, 201.0, WindowFunction::Linear));
        let plain = image.display();
        image.photometric = Photometric::Monochrome1;
        let inverted = image.display();
        assert_eq!(plain[[0, 0]] + inverted[[0, 0]], 1.0);
        assert_eq!((plain[[0, 3]], inverted[[0, 3]]), (1.0, 0.0));
        assert!((plain[[0, 1]] - 0.5025).abs() < 1e-4 && (inverted[[0, 1]] - 0.4975).abs() < 1e-4);
    }

    #[test]
    fn without_voi_the_full_stored_range_is_shown() {
        let image = GreyImage::new(Pixels::U16(array![[0, 4095]]), 12);
        assert_eq!(image.display(), array![[0.0, 1.0]]);
        let mut signed = GreyImage::new(Pixels::I16(array![[-2048, 2047]]), 12);
        signed.modality_lut = ModalityLut::Rescale {
            slope: -2.0,
            intercept: 7.0,
        };
        assert_eq!(signed.display(), array![[1.0, 0.0]]);
    }

    #[test]
    fn tables_take_both_places() {
        let table = LookupTable {
            first: 10,
            bits: 8,
            entries: vec![5, 100, 255],
        };
        let mut image = GreyImage::new(Pixels::U16(array![[0, 11, 12, 60000]]), 16);
        image.modality_lut = ModalityLut::Table(table.clone());
        assert_eq!(image.modality_values(), array![[5.0, 100.0, 255.0, 255.0]]);
        image.modality_lut = ModalityLut::Identity;
        image.voi = Some(Voi::Table(table));
        assert!(greatest_difference(&image.display(), &array![[5.0 / 255.0, 100.0 / 255.0, 1.0, 1.0]]) < 1e-6);
    }

    #[test]
    fn hounsfield_window_equals_the_files_own() {
        let mut image = GreyImage::new(Pixels::I16(array![[0, 1024], [1064, 2000]]), 12);
        image.modality_lut = ModalityLut::Rescale {
            slope: 1.0,
            intercept: -1024.0,
        };
        let windowed = image.windowed(40.0, 400.0);
        image.voi = Some(window(40.0, 400.0, WindowFunction::Linear));
        assert_eq!(image.display(), windowed);
    }

    #[test]
    fn unit_values_survive_the_round_trip() {
        let unit = array![[0.0, 0.25], [0.5, 1.0]];
        let image = GreyImage::from_unit(unit.view());
        assert!(greatest_difference(&image.display(), &unit) < 1e-5);
        assert_eq!(image.display_u8(), array![[0, 64], [128, 255]]);
        assert_eq!(
            GreyImage::from_unit(array![[f32::NAN, 7.0]].view()).display(),
            array![[0.0, 1.0]]
        );
    }

    #[test]
    fn values_outside_bits_stored_take_the_nearest_end() {
        let image = GreyImage::new(Pixels::U16(array![[0, 255, 65535]]), 8);
        assert_eq!(image.display(), array![[0.0, 1.0, 1.0]]);
        let mut row = [9.0; 2];
        image.display_table().map_row(&image.pixels, 0, &mut row);
        assert_eq!(row, [0.0, 1.0]);
    }
}
