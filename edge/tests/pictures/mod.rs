//! Drawn screens against recorded pictures, at the sizes that screens are drawn for.

use std::path::{Path, PathBuf};

use embedded_graphics::geometry::Size;
use hardware::display::{Canvas, PngDisplay, present};

/// Width and height of the screens, in pixels.
pub const SIZES: [(u32, u32); 4] = [(320, 240), (480, 320), (800, 480), (1280, 800)];
/// Differences of a channel that rounding may make between machines, in grey steps.
const CHANNEL_TOLERANCE: u8 = 2;
/// Share of the bytes that may differ by more (edges of letters, where a position rounds the other way).
const DIFFERING_SHARE: f64 = 0.0005;

/// Where the picture of a name is recorded.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(name)
}

fn write(canvas: &mut Canvas, path: &Path, size: Size) {
    present(canvas, &mut PngDisplay::new(path, size)).expect("a written picture");
}

/// Compares a canvas with the recorded picture of that name, or records it.
pub fn compare(canvas: &mut Canvas, name: &str, size: Size) -> Result<(), String> {
    let path = path(name);
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
