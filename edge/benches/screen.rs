//! What a result costs besides decoding and the network: `cargo bench -p scanside-edge --bench screen`.
//!
//! One thread, an 8-bit image of 1000 x 1000 and one of 2560 x 2048 with 12 bits, a tensor of 3 x 224 x 224, a screen of
//! 800 x 480; the best of many rounds, because the machine's other work only ever adds. What it is of a session, `triage` measures in one run with it.

#[path = "../tests/scenes/mod.rs"]
mod scenes;

use std::hint::black_box;
use std::time::{Duration, Instant};

use embedded_graphics::geometry::Size;
use hardware::display::Canvas;
use imaging::GreyImage;
use imaging::grey::Pixels;
use imaging::preprocess::PreprocessSpec;
use ndarray::Array2;
use scanside_edge::screens::ResultScreen;

const ROUNDS: usize = 200;

fn best(name: &str, mut work: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed());
    }
    println!("{name:<42} {:8.3} ms", best.as_secs_f64() * 1e3);
}

fn main() {
    let spec = PreprocessSpec::imagenet(224);
    let mut tensor = vec![0.0; spec.tensor_len()];
    let detector = Array2::from_shape_fn((2560, 2048), |(y, x)| ((y * 7 + x * 3 + y * x / 512) % 4096) as u16);
    let images = [
        ("1000 x 1000", scenes::phantom()),
        ("2560 x 2048", GreyImage::new(Pixels::U16(detector), 12)),
    ];
    for (size, image) in &images {
        best(&format!("{size}, PreprocessSpec::apply_into"), || {
            spec.apply_into(black_box(image), &mut tensor).expect("a tensor");
        });
        best(&format!("{size}, quality::assess"), || {
            black_box(imaging::quality::assess(black_box(image)));
        });
        best(&format!("{size}, display_picture"), || {
            black_box(imaging::display_picture(black_box(image), [296, 237]));
        });
    }
    let screen = ResultScreen::new();
    let mut canvas = Canvas::new(Size::new(800, 480));
    for scene in scenes::all() {
        let view = scene.view();
        best(&format!("screen, {}", scene.name), || {
            screen.draw(black_box(&view), &mut canvas).expect("infallible");
        });
    }
}
