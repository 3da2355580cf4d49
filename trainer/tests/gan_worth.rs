//! What is asked of a generator that is done: where discriminators look, and whether its images make a classifier better.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod gan_data;

use std::collections::BTreeSet;
use std::fs;

use gan_data::{Scratch, recipe, said};
use serde_json::Value;

const CLASSIFIER: &str = r#"
[data.split]
fractions = { train = 0.6, validation = 0.2, test = 0.2 }
[preprocess]
size = [64, 64]
channels = 1
mean = [0.5]
std = [0.5]
[augment]
flip = 0.5
[network]
architecture = "small_cnn"
[train]
epochs = 2
batch = 8
[bundle]
name = "tiny"
"#;

/// Two conditional generators, `plain` and `bounded`, and the classifier's recipe.
fn two_runs() -> Scratch {
    let scratch = Scratch::new(20);
    for (name, discriminator) in [("plain", ""), ("bounded", "spectral_norm = true")] {
        fs::write(scratch.at("dcgan.toml"), recipe(true, discriminator, "steps = 2")).unwrap();
        scratch.succeeds(&format!("gan train dcgan.toml --data data --device cpu --out {name}"));
    }
    fs::write(scratch.at("classifier.toml"), CLASSIFIER).unwrap();
    scratch
}

fn json(scratch: &Scratch, path: &str) -> Value {
    serde_json::from_slice(&fs::read(scratch.at(path)).unwrap()).unwrap()
}

#[test]
fn discriminators_are_explained_on_the_same_images() {
    let scratch = two_runs();
    let explain = "gan explain plain bounded --device cpu --images 3";
    scratch.succeeds(&format!("{explain} --layer level2 --layer level3 --out sheet.png"));
    let sheet = image::open(scratch.at("sheet.png")).unwrap().to_rgb8();
    // Three real images, and three by each generator, over three rows.
    assert!(
        sheet.width() > 9 * 144 && sheet.height() > 3 * 144,
        "{:?}",
        sheet.dimensions()
    );
    assert!(
        sheet.pixels().any(|pixel| pixel.0[1] > pixel.0[0].saturating_add(30)),
        "no heat on the sheet"
    );
    let told = json(&scratch, "sheet.json");
    let made_by: Vec<&Value> = told["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| &image["made_by"])
        .collect();
    assert_eq!(made_by.len(), 9);
    assert!(made_by[..3].iter().all(|by| by.is_null()) && made_by[8] == "bounded");
    let labels: BTreeSet<String> = told["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["label"].to_string())
        .collect();
    assert_eq!(labels.len(), 2);
    let scores = |run: usize| told["discriminators"][run]["scores"].as_array().unwrap().clone();
    assert_eq!((scores(0).len(), scores(1).len()), (9, 9));
    assert_ne!(scores(0), scores(1), "each has its own opinion");
    // Images from elsewhere, and a score that does not change with what stands beside it.
    scratch.succeeds("gan explain plain --device cpu --images 2 --real data --out alone.png");
    assert_eq!(json(&scratch, "alone.json")["images"].as_array().unwrap().len(), 4);
    if let Some(keep) = std::env::var_os("KEEP_PLOTS") {
        fs::copy(
            scratch.at("sheet.png"),
            std::path::Path::new(&keep).join("explained.png"),
        )
        .unwrap();
    }
    let (code, text) = scratch.run(&format!("{explain} --layer level9"));
    assert!(
        code == Some(2) && text.contains("level9") && text.contains("level2"),
        "{code:?} {text}"
    );
    let (code, text) = scratch.run("gan explain plain plain bounded --layer level1 --layer level2 --device cpu");
    assert!(code == Some(2) && text.contains("once a run"), "{code:?} {text}");
}

const UTILITY: &str = "gan utility classifier.toml --data data --device cpu --per-class 5 --seeds 2 \
                       --generator plain=plain --generator bounded=bounded --out worth";

#[test]
fn arms_are_compared_on_real_images_that_nobody_learnt_from() {
    let scratch = two_runs();
    let text = scratch.succeeds(UTILITY);
    assert!(
        text.contains("plain against real") && text.contains("bounded against plain"),
        "{text}"
    );
    let told = json(&scratch, "worth/utility.json");
    let arms = told["utility"]["arms"].as_array().unwrap();
    let of = |key: &str| -> Vec<&Value> { arms.iter().map(|arm| &arm[key]).collect() };
    assert_eq!(of("name"), ["real", "augmented", "plain", "bounded"]);
    assert_eq!(of("generated_images"), [0, 0, 10, 10]);
    assert!(of("real_images").windows(2).all(|pair| pair[0] == pair[1]));
    assert!(of("seeds").iter().all(|seeds| seeds.as_array().unwrap().len() == 2));
    // Six pairs of four arms, each with its interval.
    let comparisons = told["utility"]["comparisons"].as_array().unwrap();
    assert_eq!(comparisons.len(), 6);
    for found in comparisons {
        let figure = |key: &str| found["gain"][key].as_f64().unwrap();
        assert!(
            figure("low") <= figure("value") && figure("value") <= figure("high"),
            "{found}"
        );
        assert!(
            found["p_holm"].as_f64().unwrap() >= found["p"].as_f64().unwrap(),
            "{found}"
        );
    }
    // Every arm is judged by the same images, none of them generated, and each seed has generated images of its own.
    let side = |path: &str, side: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(scratch.at(path)).unwrap();
        let lines = text.lines().filter(|line| line.ends_with(&format!(",{side}")));
        lines.map(|line| line.split(',').next().unwrap().to_owned()).collect()
    };
    let test = side("worth/runs/real/seed-1/split.csv", "test");
    assert!(!test.is_empty() && test.iter().all(|path| path.contains("/data/")));
    for run in ["augmented/seed-2", "plain/seed-1", "bounded/seed-2"] {
        assert_eq!(side(&format!("worth/runs/{run}/split.csv"), "test"), test, "{run}");
    }
    let generated =
        |seed: u64| fs::read(scratch.at(&format!("worth/generated/plain/seed-{seed}/sharp/000000.png"))).unwrap();
    assert_ne!(generated(1), generated(2));

    // Put into test by hand, a generated image stops whatever reads the split.
    let path = scratch.at("worth/runs/plain/seed-1/split.csv");
    let text = fs::read_to_string(&path).unwrap();
    let moved: Vec<String> = text
        .lines()
        .map(|line| match line.contains("/generated/") {
            true => line.replace(",train", ",test"),
            false => line.to_owned(),
        })
        .collect();
    fs::write(&path, moved.join("\n")).unwrap();
    let (code, text) = scratch.run("train --resume --out worth/runs/plain/seed-1 --no-bundle --device cpu");
    assert!(
        code == Some(3) && text.contains("a synthetic image must not stand in test"),
        "{code:?} {text}"
    );

    // The same command trains nothing again; another one wants another folder.
    let again = scratch.succeeds(UTILITY);
    assert!(!again.contains("epoch 1"), "{again}");
    assert_eq!(json(&scratch, "worth/utility.json")["utility"], told["utility"]);
    let (code, text) = scratch.run(&UTILITY.replace("--per-class 5", "--per-class 6"));
    assert!(code == Some(2) && text.contains("another --out"), "{code:?} {text}");
}

#[test]
fn a_generator_that_saw_test_images_is_refused() {
    let scratch = two_runs();
    // Another split than that of `plain`: some of what it learnt from stands in test.
    let text = recipe(true, "", "steps = 2").replace("[data.split]\n", "[data.split]\nseed = 9\n");
    fs::write(scratch.at("other.toml"), text).unwrap();
    scratch.succeeds("gan train other.toml --data data --device cpu --out other");
    let refused = |arguments: &str| {
        let arguments = format!("gan utility classifier.toml --device cpu --out worth {arguments}");
        let answer = said(scratch.trainer().args(arguments.split_whitespace()).output().unwrap());
        assert!(!scratch.at("worth").exists(), "{}", answer.1);
        answer
    };
    let (code, text) = refused("--data data --generator plain=plain --generator other=other");
    assert!(
        code == Some(4) && text.contains("stand in validation or test"),
        "{code:?} {text}"
    );
    // Data that it did not learn from tells nothing of what it saw.
    fs::create_dir_all(scratch.at("less/sharp")).unwrap();
    fs::create_dir_all(scratch.at("less/wide")).unwrap();
    for (label, number) in ["sharp", "wide"]
        .into_iter()
        .flat_map(|label| (0..15).map(move |number| (label, number)))
    {
        let name = format!("{label}/{number:03}.png");
        fs::copy(scratch.at("data").join(&name), scratch.at("less").join(&name)).unwrap();
    }
    let (code, text) = refused("--data less --generator plain=plain");
    assert!(code == Some(4) && text.contains("other data"), "{code:?} {text}");
    let (code, text) = refused("--data data --generator real=plain");
    assert!(code == Some(2) && text.contains("another arm"), "{code:?} {text}");
    fs::write(
        scratch.at("classifier.toml"),
        CLASSIFIER.replace("flip = 0.5", "flip = 0.0"),
    )
    .unwrap();
    let (code, text) = refused("--data data --generator plain=plain");
    assert!(code == Some(2) && text.contains("[augment]"), "{code:?} {text}");
}
