//! A contact sheet: pictures in a grid, each with its name.

use std::path::Path;

use ndarray::Array2;
use plotters::element::BitMapElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{PlotError, font, open};

const GAP: u32 = 12;
const NAME: u32 = 26;

/// Draws grey pictures (0 to 1, all of one size) with their names into `path`, row by row.
///
/// # Errors
/// The file cannot be written.
pub fn contact(path: &Path, pictures: &[(String, Array2<f32>)], columns: usize) -> Result<(), PlotError> {
    let (height, width) = pictures.first().map_or((1, 1), |(_, picture)| picture.dim());
    let columns = columns.clamp(1, pictures.len().max(1)) as u32;
    let rows = (pictures.len() as u32).div_ceil(columns);
    let [cell_width, cell_height] = [width as u32 + GAP, height as u32 + NAME + GAP];
    let area = open(path, (columns * cell_width + GAP, rows * cell_height + GAP))?;
    for (number, (name, picture)) in pictures.iter().enumerate() {
        let [column, row] = [number as u32 % columns, number as u32 / columns];
        let corner = ((GAP + column * cell_width) as i32, (GAP + row * cell_height) as i32);
        cell(&area, corner, name, picture).map_err(|error| PlotError::new(path, error))?;
    }
    area.present().map_err(|error| PlotError::new(path, error))
}

fn cell(
    area: &DrawingArea<BitMapBackend<'_>, plotters::coord::Shift>,
    (left, top): (i32, i32),
    name: &str,
    picture: &Array2<f32>,
) -> Result<(), DrawingAreaErrorKind<<BitMapBackend<'static> as DrawingBackend>::ErrorType>> {
    let (height, width) = picture.dim();
    let bytes = picture
        .iter()
        .flat_map(|value| [(value.clamp(0.0, 1.0) * 255.0).round() as u8; 3]);
    let size = (width as u32, height as u32);
    if let Some(bitmap) = BitMapElement::with_owned_buffer((left, top), size, bytes.collect()) {
        area.draw(&bitmap)?;
    }
    let centred = font(17).pos(Pos::new(HPos::Center, VPos::Center));
    let under = (left + width as i32 / 2, top + height as i32 + NAME as i32 / 2);
    area.draw(&Text::new(name.to_owned(), under, centred))
}
