//! Writes the stored values of all frames of a file to standard output: little-endian i32, row by row.
//!
//! `cargo run --package scanside-imaging --example stored_values -- FILE > values.i32`

use std::error::Error;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use scanside_imaging::decode::{Limits, decode_path};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("usage: stored_values FILE")?;
    let source = decode_path(&path, &Limits::default())?;
    for warning in &source.meta().warnings {
        eprintln!("{}: {warning}", path.display());
    }
    let mut output = BufWriter::new(std::io::stdout().lock());
    for frame in 0..source.frame_count() {
        let image = source.frame(frame)?;
        for y in 0..image.height() {
            for x in 0..image.width() {
                output.write_all(&image.pixels.value(y, x).to_le_bytes())?;
            }
        }
    }
    Ok(output.flush()?)
}
