//! Drawn images to learn from, and the program as a person starts it in a folder of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use image::GrayImage;

/// Side of the images.
pub const SIDE: usize = 64;
/// Numbers that decide an image: the places of a bright and of a dark spot.
pub const PLACES: usize = 4;

/// An image `[SIDE * SIDE]` in [-1, 1] for places in 0..1.
pub fn picture(places: [f32; PLACES], sharp: bool) -> Vec<f32> {
    let at = |place: f32| 12.0 + 40.0 * place;
    let reach = if sharp { 4.5_f32 } else { 6.5 };
    let spot = |x: usize, y: usize, [left, top]: [f32; 2]| {
        let distance = (x as f32 - at(left)).powi(2) + (y as f32 - at(top)).powi(2);
        (-distance / (2.0 * reach * reach)).exp()
    };
    let value = |n: usize| {
        let (x, y) = (n % SIDE, n / SIDE);
        0.85 * (spot(x, y, [places[0], places[1]]) - spot(x, y, [places[2], places[3]]))
    };
    (0..SIDE * SIDE).map(value).collect()
}

/// Places of image `number`, as if drawn (SplitMix64 of the number).
pub fn places(number: usize) -> [f32; PLACES] {
    std::array::from_fn(|n| {
        let mut word = ((number * PLACES + n) as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 40) as f32 / (1 << 24) as f32
    })
}

/// A scratch folder with the images `data/wide` and `data/sharp`, a folder a label.
pub struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    pub fn new(per_label: usize) -> Self {
        let this = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for (class, label) in ["sharp", "wide"].into_iter().enumerate() {
            fs::create_dir_all(this.at("data").join(label)).unwrap();
            for number in 0..per_label {
                let values = picture(places(number * 2 + class), label == "sharp");
                this.write(&format!("data/{label}/{number:03}.png"), &values);
            }
        }
        this
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn write(&self, path: &str, values: &[f32]) {
        let byte = |x: u32, y: u32| ((values[y as usize * SIDE + x as usize] + 1.0) * 127.5).round() as u8;
        let image = GrayImage::from_fn(SIDE as u32, SIDE as u32, |x, y| image::Luma([byte(x, y)]));
        image.save(self.at(path)).unwrap();
    }

    pub fn trainer(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scanside-trainer"));
        command
            .current_dir(self.folder.path())
            // Networks as small as these gain nothing from a second thread.
            .env("OMP_NUM_THREADS", "1")
            .stdin(Stdio::null());
        command
    }

    /// Exit code and words of the program.
    pub fn run(&self, arguments: &str) -> (Option<i32>, String) {
        said(self.trainer().args(arguments.split_whitespace()).output().unwrap())
    }

    pub fn succeeds(&self, arguments: &str) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments}: {text}");
        text
    }
}

pub fn said(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// A small DCGAN's recipe; `more` is added to its last section, [train].
pub fn recipe(conditional: bool, discriminator: &str, more: &str) -> String {
    format!(
        "model = \"dcgan\"\n\
         [data.split]\nfractions = {{ train = 0.6, validation = 0.2, test = 0.2 }}\n\
         [preprocess]\nsize = [64, 64]\nchannels = 1\nmean = [0.5]\nstd = [0.5]\n\
         [generator]\nconditional = {conditional}\nlatent = 4\nwidth = 8\naverage = 0.0\n\
         [discriminator]\nwidth = 8\n{discriminator}\n\
         [train]\nbatch = 8\nprecision = \"f32\"\nchannels_last = false\nsample_every = 100\ncheckpoint_every = 100\nseed = 3\n{more}\n"
    )
}
