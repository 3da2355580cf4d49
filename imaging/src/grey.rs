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

use ndarray::{Array2, ArrayView2, Zip};
use serde::{Deserialize, Serialize};

/// Stored values, [H, W], row-major.
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
    fn range(&self, stored: (i32, i32)) -> (f64, f64) {
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

/// One grey image, [H, W], with everything that is needed to show it or to measure in it.
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

    /// A 16-bit image from display values, [H, W] in 0..=1; values outside (and NaN) are clipped.
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

    /// What a viewer shows, [H, W] in 0..=1. Four bytes a pixel: for large images take `display_table` row by row.
    pub fn display(&self) -> Array2<f32> {
        self.display_table().map(&self.pixels)
    }

    /// What a viewer shows, [H, W] in 0..=255.
    pub fn display_u8(&self) -> Array2<u8> {
        self.display_table().to_u8().map(&self.pixels)
    }

    /// As `display`, with a LINEAR window in modality values (HU for CT) in place of the file's own.
    pub fn windowed(&self, center: f32, width: f32) -> Array2<f32> {
        self.window_table(center, width).map(&self.pixels)
    }

    /// Modality values, [H, W]: HU for CT, else what the modality's rescale gives.
    pub fn modality_values(&self) -> Array2<f32> {
        GreyTable::build(self.stored_range(), |stored| self.modality_lut.value(stored) as f32).map(&self.pixels)
    }
}

/// One value for every stored value of an image; what is outside its range takes the value at the nearer end.
#[derive(Clone, Debug, PartialEq)]
pub struct GreyTable<T> {
    first: i32,
    values: Vec<T>,
}

impl<T: Copy + Default> GreyTable<T> {
    /// A table over an inclusive range of stored values.
    pub fn build(range: (i32, i32), mut value: impl FnMut(i32) -> T) -> Self {
        let values = (range.0..=range.1.max(range.0)).map(&mut value).collect();
        GreyTable { first: range.0, values }
    }

    /// The value for a stored value.
    #[inline]
    pub fn get(&self, stored: i32) -> T {
        let offset = stored.saturating_sub(self.first).max(0) as usize;
        self.values[offset.min(self.values.len() - 1)]
    }

    /// The same table with every value converted.
    pub fn map_values<U: Copy + Default>(&self, convert: impl FnMut(T) -> U) -> GreyTable<U> {
        GreyTable {
            first: self.first,
            values: self.values.iter().copied().map(convert).collect(),
        }
    }

    /// All pixels through the table, [H, W].
    pub fn map(&self, pixels: &Pixels) -> Array2<T> {
        match pixels {
            Pixels::U8(pixels) => pixels.map(|&stored| self.get(i32::from(stored))),
            Pixels::U16(pixels) => pixels.map(|&stored| self.get(i32::from(stored))),
            Pixels::I16(pixels) => pixels.map(|&stored| self.get(i32::from(stored))),
        }
    }

    /// Row `y` through the table into `out`; stops at the shorter of both. Panics if there is no such row.
    pub fn map_row(&self, pixels: &Pixels, y: usize, out: &mut [T]) {
        match pixels {
            Pixels::U8(pixels) => self.fill(pixels.row(y).iter().map(|&stored| i32::from(stored)), out),
            Pixels::U16(pixels) => self.fill(pixels.row(y).iter().map(|&stored| i32::from(stored)), out),
            Pixels::I16(pixels) => self.fill(pixels.row(y).iter().map(|&stored| i32::from(stored)), out),
        }
    }

    fn fill(&self, row: impl Iterator<Item = i32>, out: &mut [T]) {
        for (target, stored) in out.iter_mut().zip(row) {
            *target = self.get(stored);
        }
    }
}

impl GreyTable<f32> {
    /// The table for 8-bit display values, 0..=255.
    pub fn to_u8(&self) -> GreyTable<u8> {
        self.map_values(|unit| (unit * 255.0).round() as u8)
    }
}

/// `bits` ones, for 1 to 16 bits.
pub(crate) fn bit_mask(bits: u16) -> u16 {
    u16::MAX >> (16 - bits.clamp(1, 16))
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
