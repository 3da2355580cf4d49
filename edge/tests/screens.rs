//! Result screens against recorded pictures.
//!
//! `SCANSIDE_RECORD=1 cargo test -p scanside-edge --test screens` records them anew; look at every picture before it is
//! committed. Differing pictures are written to the build's temporary folder, named in the failure.

mod scenes;

use std::path::{Path, PathBuf};

use embedded_graphics::geometry::Size;
use hardware::display::{Canvas, PngDisplay, present};
use scanside_edge::screens::{ResultScreen, ResultView};

const SIZES: [(u32, u32); 4] = [(320, 240), (480, 320), (800, 480), (1280, 800)];
/// Differences of a channel that rounding may make between machines, in grey steps.
const CHANNEL_TOLERANCE: u8 = 2;
/// Share of the bytes that may differ by more (edges of letters, where a position rounds the other way).
const DIFFERING_SHARE: f64 = 0.0005;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(name)
}

fn drawn(view: &ResultView, size: Size) -> Canvas {
    let mut canvas = Canvas::new(size);
    ResultScreen::new().draw(view, &mut canvas).expect("infallible");
    canvas
}

fn write(canvas: &mut Canvas, path: &Path, size: Size) {
    present(canvas, &mut PngDisplay::new(path, size)).expect("a written picture");
}

fn compare(canvas: &mut Canvas, name: &str, size: Size) -> Result<(), String> {
    let path = golden(name);
    if std::env::var_os("SCANSIDE_RECORD").is_some() {
        write(canvas, &path, size);
        return Ok(());
    }
    let expected = image::open(&path)
        .map_err(|error| format!("{}: {error}", path.display()))?
        .into_rgb8();
    let differing = expected
        .as_raw()
        .iter()
        .zip(canvas.rgb())
        .filter(|(a, b)| a.abs_diff(**b) > CHANNEL_TOLERANCE);
    let share = differing.count() as f64 / canvas.rgb().len() as f64;
    if expected.dimensions() == (size.width, size.height) && share <= DIFFERING_SHARE {
        return Ok(());
    }
    let actual = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    write(canvas, &actual, size);
    Err(format!(
        "{name}: {:.2} % of the bytes differ; see {}",
        share * 100.0,
        actual.display()
    ))
}

#[test]
fn screens_look_as_recorded() {
    let image = scenes::phantom();
    let mut failures = Vec::new();
    for (state, view) in scenes::all(&image) {
        for (width, height) in SIZES {
            let size = Size::new(width, height);
            let mut canvas = drawn(&view, size);
            if let Err(failure) = compare(&mut canvas, &format!("{state}-{width}x{height}.png"), size) {
                failures.push(failure);
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_kind_of_result_looks_different() {
    let image = scenes::phantom();
    let drawn: Vec<_> = scenes::all(&image)
        .into_iter()
        .map(|(_, view)| drawn(&view, Size::new(800, 480)))
        .collect();
    for (index, one) in drawn.iter().enumerate() {
        for other in &drawn[index + 1..] {
            let differing = one
                .rgb()
                .iter()
                .zip(other.rgb())
                .filter(|(a, b)| a.abs_diff(**b) > 24)
                .count();
            assert!(differing > one.rgb().len() / 50, "{differing}");
        }
    }
}

#[test]
fn long_words_and_missing_parts_are_survived_at_every_size() {
    let image = scenes::phantom();
    for (width, height) in [(320, 240), (333, 250), (801, 479), (1280, 720), (200, 100), (1, 1)] {
        for (_, mut view) in scenes::all(&image) {
            for text in [
                &mut view.headline,
                &mut view.next_step,
                &mut view.model,
                &mut view.status,
                &mut view.source,
            ] {
                *text = "Pneumonoultramicroscopicsilicovolcanoconiosis with a very long explanation ".repeat(3);
            }
            view.bars = view.bars.iter().cycle().take(12).cloned().collect();
            view.bars.iter_mut().for_each(|bar| bar.probability = f32::NAN);
            drawn(&view, Size::new(width, height));
            (view.image, view.heatmap) = (None, None);
            (view.bars, view.reasons, view.what_to_do) = (vec![], vec![], vec![]);
            drawn(&view, Size::new(width, height));
        }
    }
}
