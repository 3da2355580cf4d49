//! What a result costs besides decoding and the network: `cargo bench -p scanside-edge --bench screen`.
//!
//! One thread, a 1000 x 1000 8-bit image, a tensor of 3 x 224 x 224, a screen of 800 x 480; the best of many rounds,
//! because the machine's other work only ever adds.

#[path = "../tests/scenes/mod.rs"]
mod scenes;

use std::hint::black_box;
use std::time::{Duration, Instant};

use embedded_graphics::geometry::Size;
use hardware::display::Canvas;
use imaging::preprocess::PreprocessSpec;
use scanside_edge::screens::ResultScreen;

const ROUNDS: usize = 200;
/// INT8 ResNet-18 at 224 px on one thread of the reference machine; preparation, heatmap, overlay and screen together
/// may take 0.35 of it.
const SESSION: Duration = Duration::from_millis(8);

fn best(name: &str, mut work: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed());
    }
    println!("{name:<32} {:8.3} ms", best.as_secs_f64() * 1e3);
    best
}

fn main() {
    let image = scenes::phantom();
    let spec = PreprocessSpec::imagenet(224);
    let mut tensor = vec![0.0; spec.tensor_len()];
    let prepare = best("PreprocessSpec::apply_into", || {
        spec.apply_into(black_box(&image), &mut tensor).expect("a tensor");
    });
    best("quality::assess", || {
        black_box(imaging::quality::assess(black_box(&image)));
    });
    let screen = ResultScreen::new();
    let mut canvas = Canvas::new(Size::new(800, 480));
    let mut drawing = Duration::ZERO;
    for scene in scenes::all() {
        let view = scene.view();
        let took = best(&format!("screen, {}", scene.name), || {
            screen.draw(black_box(&view), &mut canvas).expect("infallible");
        });
        drawing = drawing.max(took);
    }
    let total = prepare + drawing;
    let share = total.as_secs_f64() / SESSION.as_secs_f64();
    println!("preparation, heatmap, overlay and screen: {share:.2} of a session of {SESSION:?} (at most 0.35)");
}
