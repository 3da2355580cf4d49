//! Values over epochs.

use std::path::Path;

use plotters::prelude::*;

use super::{PlotError, WIDE, chart, colour, legend, mesh, open};

/// One line of a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// (x, y), ascending in x. Points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    fn finite(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.points
            .iter()
            .copied()
            .filter(|(x, y)| x.is_finite() && y.is_finite())
    }
}

/// Draws `series` as lines into `path`. Values that all lie in 0 to 1 and reach above 0.5 get that range, so that
/// shares of two runs can be compared by eye.
///
/// # Errors
/// The file cannot be written.
pub fn curves(path: &Path, title: &str, x_label: &str, y_label: &str, series: &[Series]) -> Result<(), PlotError> {
    let area = open(path, WIDE)?;
    draw(&area, title, x_label, y_label, series).map_err(|error| PlotError::new(path, error))?;
    area.present().map_err(|error| PlotError::new(path, error))
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    match (low.is_finite(), high > low) {
        (false, _) => (0.0, 1.0),
        (true, false) => (low - 0.5, high + 0.5),
        (true, true) => (low, high),
    }
}

fn y_range(series: &[Series]) -> (f64, f64) {
    let (low, high) = range(series.iter().flat_map(Series::finite).map(|(_, y)| y));
    if low >= 0.0 && high <= 1.0 && high > 0.5 {
        return (0.0, 1.02);
    }
    let margin = (high - low) * 0.06;
    (if low >= 0.0 { 0.0 } else { low - margin }, high + margin)
}

fn draw<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    title: &str,
    x_label: &str,
    y_label: &str,
    series: &[Series],
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let (x_low, x_high) = range(series.iter().flat_map(Series::finite).map(|(x, _)| x));
    let (y_low, y_high) = y_range(series);
    let whole_steps = (x_high - x_low) < 12.0;
    // The legend stands where the lines do not end.
    let ends: Vec<f64> = series
        .iter()
        .filter_map(|one| one.finite().last())
        .map(|(_, y)| y)
        .collect();
    let ends_high = ends.iter().sum::<f64>() / ends.len().max(1) as f64 > (y_low + y_high) / 2.0;
    let mut chart = chart(area, title, x_low..x_high, y_low..y_high)?;
    mesh(&mut chart, x_label, y_label)
        .x_labels(if whole_steps { (x_high - x_low) as usize + 1 } else { 10 })
        .x_label_formatter(&|x| {
            if x.fract().abs() < 1e-9 {
                format!("{x:.0}")
            } else {
                String::new()
            }
        })
        .y_label_formatter(&|y| {
            if y_high - y_low > 20.0 {
                format!("{y:.0}")
            } else {
                format!("{y:.2}")
            }
        })
        .draw()?;
    for (index, one) in series.iter().enumerate() {
        let style = colour(index).stroke_width(3);
        chart
            .draw_series(LineSeries::new(one.finite(), style))?
            .label(one.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
        chart.draw_series(one.finite().map(|point| Circle::new(point, 4, colour(index).filled())))?;
    }
    if !series.is_empty() {
        let position = if ends_high {
            SeriesLabelPosition::LowerRight
        } else {
            SeriesLabelPosition::UpperRight
        };
        legend(&mut chart, position)?;
    }
    Ok(())
}
