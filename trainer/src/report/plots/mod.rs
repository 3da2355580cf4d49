//! Plots as PNG files, 960 x 600 or 720 x 720 pixels (a grid of pictures as large as they need), in one look: light ground, few lines, a palette that the
//! colour-blind can tell apart (Okabe and Ito 2008).

mod contact;
mod curves;
mod diagrams;
mod matrix;
mod tiles;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Once;

use plotters::chart::MeshStyle;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::register_font;

pub use contact::contact;
pub use curves::{Series, curves};
pub use diagrams::{reliability, roc};
pub use matrix::confusion;
pub use tiles::{Row, Tile, tiles};

const FONT: &str = "noto";
const WIDE: (u32, u32) = (960, 600);
const SQUARE: (u32, u32) = (720, 720);
const INK: RGBColor = RGBColor(38, 50, 56);
const FAINT: RGBColor = RGBColor(222, 226, 230);
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
];

/// A plot that was not drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("cannot draw {path}: {reason}; check that the folder exists and can be written")]
pub struct PlotError {
    /// The file.
    pub path: PathBuf,
    /// What the drawing library says.
    pub reason: String,
}

impl PlotError {
    fn new(path: &Path, reason: impl ToString) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

fn colour(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

fn font(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// Registers the font once and opens a white picture.
fn open(path: &Path, size: (u32, u32)) -> Result<DrawingArea<BitMapBackend<'_>, plotters::coord::Shift>, PlotError> {
    static FONTS: Once = Once::new();
    FONTS.call_once(|| {
        // The bytes are compiled in; were they no font, the first text below would say so.
        let _ = register_font(FONT, FontStyle::Normal, notosans::REGULAR_TTF);
        let _ = register_font(FONT, FontStyle::Bold, notosans::BOLD_TTF);
    });
    let area = BitMapBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE).map_err(|error| PlotError::new(path, error))?;
    Ok(area)
}

/// A chart with two linear axes.
type LinearChart<'a, DB> = ChartContext<'a, DB, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// An empty chart under its title, with room for the labels of both axes.
fn chart<'a, DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    title: &str,
    x: Range<f64>,
    y: Range<f64>,
) -> Result<LinearChart<'a, DB>, DrawingAreaErrorKind<DB::ErrorType>> {
    ChartBuilder::on(area)
        .caption(title, font(28))
        .margin(24)
        // The last number of the x axis reaches beyond it.
        .margin_right(36)
        .x_label_area_size(56)
        .y_label_area_size(76)
        .build_cartesian_2d(x, y)
}

/// The grid and the axes of every chart, to be drawn when the numbers on them are chosen.
fn mesh<'a, 'b, DB: DrawingBackend>(
    chart: &'b mut LinearChart<'a, DB>,
    x_label: &str,
    y_label: &str,
) -> MeshStyle<'a, 'b, RangedCoordf64, RangedCoordf64, DB> {
    let mut mesh = chart.configure_mesh();
    mesh.bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(font(18))
        .axis_desc_style(font(20))
        .x_desc(x_label)
        .y_desc(y_label);
    mesh
}

/// Draws the names of the series.
fn legend<'a, DB: DrawingBackend + 'a>(
    chart: &mut LinearChart<'a, DB>,
    position: SeriesLabelPosition,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    chart
        .configure_series_labels()
        .border_style(FAINT)
        .background_style(WHITE.mix(0.9))
        .label_font(font(18))
        .legend_area_size(32)
        .margin(10)
        .position(position)
        .draw()
}

#[cfg(test)]
mod tests {
    use crate::metrics::calibration;
    use crate::metrics::confusion::ConfusionMatrix;

    use super::*;

    /// Share of pixels that are not white.
    fn ink(path: &Path) -> f64 {
        let picture = image::open(path).unwrap().to_rgb8();
        let drawn = picture.pixels().filter(|pixel| pixel.0 != [255, 255, 255]).count();
        drawn as f64 / f64::from(picture.width() * picture.height())
    }

    #[test]
    fn every_plot_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let series = [
            Series {
                name: "training".into(),
                points: vec![(1.0, 0.9), (2.0, 0.5), (3.0, 0.4)],
            },
            Series {
                name: "validation".into(),
                points: vec![(1.0, 1.0), (2.0, f64::NAN), (3.0, 0.6)],
            },
        ];
        curves(&at("curves.png"), "Loss", "epoch", "loss", &series).unwrap();
        let labels = ["normal".to_owned(), "pneumonia".to_owned()];
        let matrix = ConfusionMatrix::from_pairs(2, [(0, 0), (0, 0), (1, 1), (1, 0)]);
        confusion(&at("confusion.png"), "Validation", &labels, &matrix).unwrap();
        let curve = vec![(0.0, 0.0), (0.0, 0.6), (0.5, 0.9), (1.0, 1.0)];
        roc(&at("roc.png"), "ROC", &[("pneumonia (0.85)".into(), curve)]).unwrap();
        let bins = calibration::reliability(&[0.55, 0.7, 0.9, 0.95], &[false, true, true, true], 10);
        reliability(&at("reliability.png"), "Calibration", &bins).unwrap();
        for name in ["curves.png", "confusion.png", "roc.png", "reliability.png"] {
            assert!(ink(&at(name)) > 0.01, "{name} is empty");
        }
        if let Some(keep) = std::env::var_os("KEEP_PLOTS") {
            for entry in std::fs::read_dir(folder.path()).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), Path::new(&keep).join(entry.file_name())).unwrap();
            }
        }
    }

    #[test]
    fn a_run_of_one_epoch_and_an_empty_series_can_be_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.png");
        let one = [Series {
            name: "loss".into(),
            points: vec![(1.0, 0.5)],
        }];
        curves(&path, "Loss", "epoch", "loss", &one).unwrap();
        curves(&path, "Loss", "epoch", "loss", &[]).unwrap();
    }

    #[test]
    fn a_folder_that_is_absent_is_named() {
        let error = curves(Path::new("/nonexistent/a.png"), "", "", "", &[]).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/a.png"), "{error}");
    }
}
