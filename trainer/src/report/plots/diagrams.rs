//! ROC curves and the reliability diagram: both compare with a diagonal.

use std::path::Path;

use plotters::prelude::*;

use crate::metrics::calibration::ReliabilityBin;

use super::{INK, LinearChart, PlotError, SQUARE, chart, colour, font, legend, mesh, open};

/// Draws one ROC curve per entry (name, points of false and true positive rate) into `path`.
///
/// # Errors
/// The file cannot be written.
pub fn roc(path: &Path, title: &str, curves: &[(String, Vec<(f64, f64)>)]) -> Result<(), PlotError> {
    let area = open(path, SQUARE)?;
    draw_roc(&area, title, curves).map_err(|error| PlotError::new(path, error))?;
    area.present().map_err(|error| PlotError::new(path, error))
}

/// Draws share right over confidence into `path`, one bar a bin, the bin's share of images as its strength.
///
/// # Errors
/// The file cannot be written.
pub fn reliability(path: &Path, title: &str, bins: &[ReliabilityBin]) -> Result<(), PlotError> {
    let area = open(path, SQUARE)?;
    draw_reliability(&area, title, bins).map_err(|error| PlotError::new(path, error))?;
    area.present().map_err(|error| PlotError::new(path, error))
}

fn unit_chart<'a, DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    title: &str,
    x_label: &str,
    y_label: &str,
) -> Result<LinearChart<'a, DB>, DrawingAreaErrorKind<DB::ErrorType>> {
    let mut chart = chart(area, title, 0.0..1.0, 0.0..1.0)?;
    mesh(&mut chart, x_label, y_label).x_labels(6).y_labels(6).draw()?;
    chart.draw_series(DashedLineSeries::new(
        [(0.0, 0.0), (1.0, 1.0)],
        6,
        6,
        INK.mix(0.5).stroke_width(2),
    ))?;
    Ok(chart)
}

fn draw_roc<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    title: &str,
    curves: &[(String, Vec<(f64, f64)>)],
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let mut chart = unit_chart(area, title, "1 - specificity", "sensitivity")?;
    for (index, (name, points)) in curves.iter().enumerate() {
        let style = colour(index).stroke_width(3);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
    }
    if !curves.is_empty() {
        legend(&mut chart, SeriesLabelPosition::LowerRight)?;
    }
    Ok(())
}

fn draw_reliability<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    title: &str,
    bins: &[ReliabilityBin],
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let mut chart = unit_chart(area, title, "confidence", "share right")?;
    let largest = bins.iter().map(|bin| bin.n).max().unwrap_or(0).max(1) as f64;
    for bin in bins.iter().filter(|bin| bin.n > 0) {
        let strength = 0.25 + 0.65 * bin.n as f64 / largest;
        let corners = [(bin.low, 0.0), (bin.high, bin.accuracy)];
        chart.draw_series([
            Rectangle::new(corners, colour(0).mix(strength).filled()),
            Rectangle::new(corners, colour(0).stroke_width(1)),
        ])?;
        let text = EmptyElement::at(((bin.low + bin.high) / 2.0, bin.accuracy.max(0.04)))
            + Text::new(
                bin.n.to_string(),
                (-8, if bin.accuracy > 0.93 { 6 } else { -20 }),
                font(16),
            );
        chart.draw_series([text])?;
        chart.draw_series([Circle::new((bin.confidence, bin.accuracy), 5, colour(1).filled())])?;
    }
    Ok(())
}
