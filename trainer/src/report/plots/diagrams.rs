//! ROC curves and the reliability diagram: both compare with a diagonal.

use std::path::Path;

use plotters::prelude::*;

use crate::metrics::calibration::ReliabilityBin;

use super::{FAINT, INK, PlotError, SQUARE, colour, font, open};

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

type UnitChart<'a, DB> =
    ChartContext<'a, DB, Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>>;

fn unit_chart<'a, DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    title: &str,
    x_label: &str,
    y_label: &str,
) -> Result<UnitChart<'a, DB>, DrawingAreaErrorKind<DB::ErrorType>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, font(28))
        .margin(24)
        .margin_right(36)
        .x_label_area_size(56)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    chart
        .configure_mesh()
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(font(18))
        .axis_desc_style(font(20))
        .x_desc(x_label)
        .y_desc(y_label)
        .x_labels(6)
        .y_labels(6)
        .draw()?;
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
        chart
            .configure_series_labels()
            .border_style(FAINT)
            .background_style(WHITE.mix(0.9))
            .label_font(font(18))
            .legend_area_size(32)
            .margin(10)
            .position(SeriesLabelPosition::LowerRight)
            .draw()?;
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
