//! Stored pixels as they are shown.

use std::ops::Range;

use fast_image_resize::pixels::U16;
use ndarray::{ArrayView2, s};

use super::Part;
use crate::grey::Pixels;

/// Pixels, and what is shown for each bit pattern: such a table needs no range check for each pixel.
pub(super) enum Shown<'a> {
    U8(ArrayView2<'a, u8>, Box<[U16; 0x100]>),
    U16(ArrayView2<'a, u16>, Box<[U16; 0x10000]>),
    I16(ArrayView2<'a, i16>, Box<[U16; 0x10000]>),
}

impl<'a> Shown<'a> {
    /// The pixels with `shown` of their stored values.
    pub fn new(pixels: &'a Pixels, shown: impl Fn(i32) -> U16) -> Self {
        match pixels {
            Pixels::U8(pixels) => Self::U8(pixels.view(), table(|bits| shown(bits as i32))),
            Pixels::U16(pixels) => Self::U16(pixels.view(), table(|bits| shown(bits as i32))),
            Pixels::I16(pixels) => Self::I16(pixels.view(), table(|bits| shown(i32::from(bits as u16 as i16)))),
        }
    }

    /// Adds rows of a part, counted from its top.
    pub fn extend(&self, target: &mut Vec<U16>, part: Part, rows: Range<usize>) {
        match self {
            Self::U8(pixels, table) => extend(target, pixels, part, rows, |stored| table[usize::from(stored)]),
            Self::U16(pixels, table) => extend(target, pixels, part, rows, |stored| table[usize::from(stored)]),
            Self::I16(pixels, table) => extend(target, pixels, part, rows, |stored| table[usize::from(stored as u16)]),
        }
    }
}

fn table<const N: usize>(value: impl Fn(usize) -> U16) -> Box<[U16; N]> {
    let mut table = Box::new([U16::default(); N]);
    for (bits, entry) in table.iter_mut().enumerate() {
        *entry = value(bits);
    }
    table
}

fn extend<T: Copy>(
    target: &mut Vec<U16>,
    pixels: &ArrayView2<'_, T>,
    part: Part,
    rows: Range<usize>,
    shown: impl Fn(T) -> U16,
) {
    let (top, bottom) = (part.top + rows.start, part.top + rows.end);
    for row in pixels.slice(s![top..bottom, part.left..part.left + part.width]).rows() {
        match row.to_slice() {
            Some(row) => target.extend(row.iter().map(|&stored| shown(stored))),
            None => target.extend(row.iter().map(|&stored| shown(stored))),
        }
    }
}
