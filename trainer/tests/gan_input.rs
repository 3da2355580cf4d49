//! What `gan train` and `gan sample` say to data and weights that cannot be used, and that they leave nothing behind.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const LABELS: [&str; 2] = ["dark", "light"];

/// A scratch folder with class folders below `data` and a recipe.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let this = Self { folder };
        this.recipe("dcgan", "", "");
        this
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// `more` is added to [discriminator], `end` at the end.
    fn recipe(&self, model: &str, more: &str, end: &str) {
        let text = format!(
            "model = \"{model}\"\n\
             [data]\nlabels = [\"dark\", \"light\"]\n\
             [data.split]\nfractions = {{ train = 1.0, validation = 0.0, test = 0.0 }}\n\
             [preprocess]\nsize = [64, 64]\nchannels = 1\nmean = [0.5]\nstd = [0.5]\n\
             [generator]\nconditional = {}\nlatent = 8\nwidth = 4\naverage = 0.0\n\
             [discriminator]\nwidth = 4\n{more}\n\
             [train]\nsteps = 2\nbatch = 4\nprecision = \"f32\"\nchannels_last = false\n{end}\n",
            model == "dcgan"
        );
        fs::write(self.at("recipe.toml"), text).unwrap();
    }

    /// So many images of each label; `grey` of image, column and row.
    fn images(&self, counts: [u32; 2], side: impl Fn(u32) -> u32, grey: impl Fn(u32, u32, u32) -> u8) {
        for (class, (label, count)) in LABELS.into_iter().zip(counts).enumerate() {
            fs::create_dir_all(self.at("data").join(label)).unwrap();
            for number in 0..count {
                let (width, height) = (side(number), 64 + 3 * number);
                let pixel = |x: u32, y: u32| image::Luma([grey(number * 2 + class as u32, x, y)]);
                let file = self.at("data").join(label).join(format!("{number}.png"));
                image::GrayImage::from_fn(width, height, pixel).save(file).unwrap();
            }
        }
    }

    fn run(&self, arguments: &str) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_scanside-trainer"))
            .current_dir(self.folder.path())
            .args(arguments.split_whitespace())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// What a `gan train` says that must succeed.
    fn trains(&self, out: &str) -> String {
        let (code, text) = self.run(&format!("gan train recipe.toml --data data --device cpu --out {out}"));
        assert_eq!(code, Some(0), "{text}");
        text
    }

    /// What a `gan train` says that must be refused.
    fn refused(&self, code: i32) -> String {
        let (found, text) = self.run("gan train recipe.toml --data data --device cpu --out run");
        assert_eq!(found, Some(code), "{text}");
        assert!(!self.at("run").exists(), "a run folder was left: {text}");
        text
    }
}

fn stripes(number: u32, x: u32, y: u32) -> u8 {
    ((x * (3 + number % 5) + y * (number % 7) + 40 * (number % 2)) % 256) as u8
}

#[test]
fn a_label_with_one_image_or_none_is_named() {
    let scratch = Scratch::new();
    scratch.images([10, 1], |_| 64, stripes);
    let text = scratch.refused(3);
    assert!(
        text.contains("`light` has 1 training image") && text.contains("8 or more"),
        "{text}"
    );
    fs::remove_file(scratch.at("data/light/0.png")).unwrap();
    let text = scratch.refused(3);
    assert!(text.contains("the label `light` has no row"), "{text}");
}

#[test]
fn black_images_are_refused() {
    let scratch = Scratch::new();
    scratch.images([10, 10], |_| 64, |_, _, _| 0);
    let text = scratch.refused(3);
    assert!(text.contains("one grey value"), "{text}");
    let translate = "[translate]\nfrom = \"dark\"\nto = \"light\"";
    for model in ["pix2pix", "cyclegan"] {
        scratch.recipe(model, "", translate);
        // The images of only one of the two are black.
        scratch.images(
            [10, 10],
            |_| 64,
            |number, x, y| if number % 2 == 0 { 0 } else { stripes(number, x, y) },
        );
        let text = scratch.refused(3);
        assert!(text.contains("one grey value"), "{model}: {text}");
    }
}

#[test]
fn images_of_mixed_sizes_are_one_data_set_and_a_torn_one_is_named() {
    let scratch = Scratch::new();
    scratch.images([10, 10], |number| 40 + 17 * number, stripes);
    scratch.trains("mixed");
    let torn = fs::read(scratch.at("data/dark/3.png")).unwrap();
    fs::write(scratch.at("data/dark/3.png"), &torn[..torn.len() / 2]).unwrap();
    let text = scratch.trains("torn");
    assert!(text.contains("not used: data/dark/3.png: truncated"), "{text}");
}

#[test]
fn weights_of_another_architecture_are_refused() {
    let scratch = Scratch::new();
    scratch.images([10, 10], |_| 64, stripes);
    scratch.trains("dcgan");
    let generator = scratch.at("dcgan/checkpoints/generator.safetensors");
    // First weights of a ResNet-18.
    scratch.recipe(
        "dcgan",
        "network = \"resnet18\"\nweights = \"dcgan/checkpoints/generator.safetensors\"",
        "",
    );
    let text = scratch.refused(2);
    assert!(
        text.contains("generator.safetensors") && text.contains("main.0.weight"),
        "{text}"
    );
    // The generator of another run, under this run's name.
    scratch.recipe("pix2pix", "", "[translate]\nfrom = \"dark\"\nto = \"light\"");
    scratch.trains("pix2pix");
    fs::copy(&generator, scratch.at("pix2pix/checkpoints/generator.safetensors")).unwrap();
    let (code, text) = scratch.run("gan translate pix2pix data/dark/0.png --device cpu --out made");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("does not fit the recipe") && text.contains("model.model"),
        "{text}"
    );
    // The checkpoint of another run.
    let [other, own] = ["dcgan", "pix2pix"].map(|run| scratch.at(run).join("checkpoints/last.safetensors"));
    fs::copy(other, own).unwrap();
    let (code, text) = scratch.run("gan train --resume --steps 4 --device cpu --out pix2pix");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("does not fit the recipe"), "{text}");
}
