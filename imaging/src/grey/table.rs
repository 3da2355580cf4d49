//! One value for every stored value: the whole way to the display in one look-up a pixel.

use ndarray::Array2;

use super::Pixels;

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

    /// All pixels through the table, `[H, W]`.
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
        self.map_values(|unit| (unit * 255.0 + 0.5) as u8)
    }
}
