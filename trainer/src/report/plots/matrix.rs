//! The confusion matrix as a table of shaded cells.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::metrics::confusion::ConfusionMatrix;

use super::{INK, PlotError, SQUARE, colour, font, open};

/// Draws `matrix` into `path`: rows are the truth, columns the prediction; shade and percentage are shares of the row,
/// so that a rare class is as readable as a common one.
///
/// # Errors
/// The file cannot be written.
pub fn confusion(path: &Path, title: &str, labels: &[String], matrix: &ConfusionMatrix) -> Result<(), PlotError> {
    let area = open(path, SQUARE)?;
    draw(&area, title, labels, matrix).map_err(|error| PlotError::new(path, error))?;
    area.present().map_err(|error| PlotError::new(path, error))
}

const LEFT: i32 = 190;
const TOP: i32 = 100;
const RIGHT: i32 = 30;
const BOTTOM: i32 = 100;

fn draw<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    title: &str,
    labels: &[String],
    matrix: &ConfusionMatrix,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let (width, height) = area.dim_in_pixel();
    let classes = matrix.classes().max(1) as i32;
    let side = ((width as i32 - LEFT - RIGHT) / classes).min((height as i32 - TOP - BOTTOM) / classes);
    let centred = font(20).pos(Pos::new(HPos::Center, VPos::Center));
    let (field, middle) = (side * classes, LEFT + side * classes / 2);
    area.draw(&Text::new(
        title.to_owned(),
        (middle, 40),
        font(28).pos(Pos::new(HPos::Center, VPos::Center)),
    ))?;
    area.draw(&Text::new("predicted", (middle, TOP + field + 70), centred.clone()))?;
    let turned = font(20)
        .pos(Pos::new(HPos::Center, VPos::Center))
        .transform(FontTransform::Rotate270);
    area.draw(&Text::new("truth", (28, TOP + field / 2), turned))?;
    for (truth, row) in matrix.counts().iter().enumerate() {
        let total: u64 = row.iter().sum();
        let y = TOP + truth as i32 * side;
        let name = labels.get(truth).map_or("", String::as_str);
        let right = font(18).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(shortened(name, 16), (LEFT - 14, y + side / 2), right))?;
        let under = (LEFT + truth as i32 * side + side / 2, TOP + field + 24);
        area.draw(&Text::new(
            shortened(name, 16),
            under,
            font(18).pos(Pos::new(HPos::Center, VPos::Center)),
        ))?;
        for (predicted, &count) in row.iter().enumerate() {
            let x = LEFT + predicted as i32 * side;
            let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
            draw_cell(area, (x, y), side, count, share)?;
        }
    }
    Ok(())
}

fn draw_cell<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    (x, y): (i32, i32),
    side: i32,
    count: u64,
    share: f64,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let corners = [(x, y), (x + side - 3, y + side - 3)];
    area.draw(&Rectangle::new(corners, colour(0).mix(0.06 + 0.9 * share).filled()))?;
    let ink = if share > 0.5 { WHITE } else { INK };
    let centre = Pos::new(HPos::Center, VPos::Center);
    let large = font((side as u32 / 6).clamp(14, 40)).color(&ink).pos(centre);
    let small = font((side as u32 / 10).clamp(12, 22)).color(&ink).pos(centre);
    area.draw(&Text::new(
        count.to_string(),
        (x + side / 2, y + side / 2 - side / 12),
        large,
    ))?;
    area.draw(&Text::new(
        format!("{:.1} %", share * 100.0),
        (x + side / 2, y + side / 2 + side / 8),
        small,
    ))
}

/// A long name cut to `most` letters, an ellipsis at its end.
fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most - 1).chain(['…']).collect()
}
