//! Pictures in a grid: rows with a name at the left, columns in groups with a name above.

use std::path::Path;

use image::RgbImage;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{FAINT, INK, PlotError, font, open};

/// One picture; all of a grid have one size.
#[derive(Clone, Debug)]
pub struct Tile {
    /// The picture.
    pub picture: RgbImage,
    /// A few letters below it.
    pub caption: String,
}

/// One row of pictures.
#[derive(Clone, Debug)]
pub struct Row {
    /// Lines at its left.
    pub name: Vec<String>,
    /// As many as the groups have columns.
    pub tiles: Vec<Tile>,
}

/// Room for the names of the rows.
const LEFT: i32 = 170;
/// Room for the title and the names of the groups.
const TOP: i32 = 112;
const MARGIN: i32 = 28;
/// Between two pictures.
const GAP: i32 = 6;
/// Between two groups.
const GROUP_GAP: i32 = 26;
/// Below a picture.
const CAPTION: i32 = 24;
/// Between two rows.
const ROW_GAP: i32 = 8;

/// Draws the grid into `path`. `groups` are names with their numbers of columns, from left to right.
///
/// # Errors
/// The file cannot be written.
pub fn tiles(path: &Path, title: &str, groups: &[(String, usize)], rows: &[Row]) -> Result<(), PlotError> {
    let first = rows.iter().flat_map(|row| &row.tiles).next();
    let (width, height) = first.map_or((1, 1), |tile| tile.picture.dimensions());
    let place = Placement {
        columns: lefts(groups, width as i32),
        width: width as i32,
        height: height as i32,
    };
    let right = place.columns.last().map_or(LEFT, |left| left + place.width);
    let below = TOP + rows.len() as i32 * place.row_step();
    let area = open(path, ((right + MARGIN) as u32, (below + MARGIN) as u32))?;
    draw(&area, title, groups, rows, &place).map_err(|error| PlotError::new(path, error))?;
    area.present().map_err(|error| PlotError::new(path, error))
}

struct Placement {
    columns: Vec<i32>,
    width: i32,
    height: i32,
}

impl Placement {
    fn row_step(&self) -> i32 {
        self.height + CAPTION + ROW_GAP
    }
}

/// Where each column begins.
fn lefts(groups: &[(String, usize)], width: i32) -> Vec<i32> {
    let mut lefts = Vec::new();
    let mut left = LEFT;
    for (_, count) in groups {
        for _ in 0..*count {
            lefts.push(left);
            left += width + GAP;
        }
        left += GROUP_GAP - GAP;
    }
    lefts
}

fn draw<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    title: &str,
    groups: &[(String, usize)],
    rows: &[Row],
    place: &Placement,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let centred = Pos::new(HPos::Center, VPos::Center);
    area.draw(&Text::new(title.to_owned(), (MARGIN, 26), font(26)))?;
    let mut first = 0;
    for (name, count) in groups.iter().filter(|(_, count)| *count > 0) {
        let (Some(from), Some(last)) = (place.columns.get(first), place.columns.get(first + count - 1)) else {
            break;
        };
        let to = last + place.width;
        area.draw(&Text::new(
            name.clone(),
            ((from + to) / 2, TOP - 26),
            font(19).pos(centred),
        ))?;
        area.draw(&PathElement::new(
            [(*from, TOP - 8), (to, TOP - 8)],
            FAINT.stroke_width(2),
        ))?;
        first += count;
    }
    for (number, row) in rows.iter().enumerate() {
        let top = TOP + number as i32 * place.row_step();
        let height = 24 * row.name.len() as i32;
        for (line, text) in row.name.iter().enumerate() {
            let y = top + (place.height - height) / 2 + 24 * line as i32 + 12;
            let left = Pos::new(HPos::Left, VPos::Center);
            area.draw(&Text::new(text.clone(), (MARGIN, y), font(18).pos(left)))?;
        }
        for (tile, left) in row.tiles.iter().zip(&place.columns) {
            draw_tile(area, tile, (*left, top))?;
        }
    }
    Ok(())
}

fn draw_tile<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    tile: &Tile,
    (left, top): (i32, i32),
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let (width, height) = tile.picture.dimensions();
    let buffer = tile.picture.as_raw().clone();
    if let Some(picture) = BitMapElement::with_owned_buffer((left, top), (width, height), buffer) {
        area.draw(&picture)?;
    }
    let below = (left + width as i32 / 2, top + height as i32 + CAPTION / 2);
    let centred = font(15).pos(Pos::new(HPos::Center, VPos::Center)).color(&INK);
    area.draw(&Text::new(tile.caption.clone(), below, centred))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_under_the_name_of_their_group() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.png");
        let tile = |colour: [u8; 3]| Tile {
            picture: RgbImage::from_pixel(32, 32, image::Rgb(colour)),
            caption: "+1.0".into(),
        };
        let rows = [
            Row {
                name: vec!["image".into()],
                tiles: vec![tile([255, 0, 0]), tile([0, 255, 0])],
            },
            Row {
                name: vec!["plain".into(), "level4".into()],
                tiles: vec![tile([0, 0, 255]), tile([0, 0, 0])],
            },
        ];
        tiles(&path, "Title", &[("real".into(), 1), ("made".into(), 1)], &rows).unwrap();
        let picture = image::open(&path).unwrap().to_rgb8();
        let step = 32 + CAPTION + ROW_GAP;
        let second = LEFT + 32 + GROUP_GAP;
        let seen = |x: i32, y: i32| picture.get_pixel((x + 16) as u32, (TOP + y + 16) as u32).0;
        assert_eq!(seen(LEFT, 0), [255, 0, 0]);
        assert_eq!(seen(second, 0), [0, 255, 0]);
        assert_eq!(seen(LEFT, step), [0, 0, 255]);
        assert_eq!(seen(second, step), [0, 0, 0]);
        assert!(tiles(Path::new("/nonexistent/a.png"), "", &[], &[]).is_err());
    }
}
