//! Who may know whom: the arrows between our crates, and which crate may link which outside package.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Our crates and the ones of ours that each may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("imaging", &[]),
    ("onnx", &[]),
    ("hardware", &[]),
    ("bundle", &["imaging"]),
    ("trainer", &["imaging", "onnx", "bundle"]),
    ("edge", &["imaging", "onnx", "bundle", "hardware"]),
    ("flash", &["bundle", "hardware"]),
    ("tests", &[]),
];

/// Packages that live in one room only.
const ROOMS: &[(&str, &[&str])] = &[
    ("tch", &["trainer"]),
    ("torch-sys", &["trainer"]),
    ("ort", &["onnx"]),
    ("embedded-graphics", &["hardware", "edge"]),
    ("serialport", &["hardware"]),
    ("mcumgr-toolkit", &["flash"]),
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(scanside_tests::root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs")
}

/// The plain and build dependencies of each of our crates, without the prefix of the house.
fn dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let short = |name: &str| name.trim_start_matches("scanside-").to_owned();
    let linked = |kind: DependencyKind| kind != DependencyKind::Development;
    let of = |package: &cargo_metadata::Package| {
        package
            .dependencies
            .iter()
            .filter(|dep| linked(dep.kind))
            .map(|dep| short(&dep.name))
            .collect()
    };
    metadata
        .packages
        .iter()
        .map(|package| (short(&package.name), of(package)))
        .collect()
}

#[test]
fn arrows_run_only_the_drawn_way() {
    let known = dependencies(&metadata());
    let ours: BTreeSet<&str> = known.keys().map(String::as_str).collect();
    for (name, uses) in &known {
        if name == "xtask" {
            continue;
        }
        let (_, allowed) = ARROWS
            .iter()
            .find(|(crate_name, _)| crate_name == name)
            .unwrap_or_else(|| panic!("{name} has no place in the house"));
        for used in uses.iter().filter(|used| ours.contains(used.as_str())) {
            assert!(allowed.contains(&used.as_str()), "{name} must not use {used}");
        }
    }
}

#[test]
fn heavy_packages_stay_in_their_room() {
    for (name, uses) in dependencies(&metadata()) {
        for (package, rooms) in ROOMS {
            assert!(
                !uses.contains(*package) || rooms.contains(&name.as_str()),
                "{name} must not link {package}"
            );
        }
    }
}

/// `bundle` needs the types of the preprocessing; decoders in it would end up in every program that checks a bundle.
#[test]
fn the_bundle_takes_imaging_without_its_decoders() {
    let metadata = metadata();
    let bundle = metadata
        .packages
        .iter()
        .find(|package| package.name == "scanside-bundle");
    let dependencies = &bundle.expect("the bundle").dependencies;
    let imaging: Vec<_> = dependencies
        .iter()
        .filter(|dep| dep.name == "scanside-imaging")
        .collect();
    assert!(!imaging.is_empty(), "the bundle knows imaging");
    for dependency in imaging {
        assert!(!dependency.uses_default_features, "default features bring the decoders");
        assert!(dependency.features.is_empty(), "{:?}", dependency.features);
    }
}

/// What the field engineer's tool must do without: it is one small program.
const TOO_HEAVY_FOR_FLASH: &[&str] = &[
    "scanside-onnx",
    "scanside-edge",
    "scanside-trainer",
    "tch",
    "torch-sys",
    "ort",
    "ort-sys",
    "image",
    "jpeg-decoder",
    "jpeg2k",
    "openjpeg-sys",
    "dicom-core",
    "dicom-object",
    "embedded-graphics",
];

/// Names of the packages that `cargo tree` finds.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let mut tree = std::process::Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--prefix", "none"]).args(arguments);
    let output = tree
        .current_dir(scanside_tests::root())
        .output()
        .expect("cargo tree runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn the_engineers_tool_stays_small() {
    let packages = tree(&["--package", "scanside-flash", "--edges", "normal,build"]);
    assert!(packages.contains("scanside-hardware"));
    for package in TOO_HEAVY_FOR_FLASH {
        assert!(!packages.contains(*package), "scanside-flash must not link {package}");
    }
}

#[test]
fn the_trainer_alone_needs_libtorch() {
    let metadata = metadata();
    let defaults: Vec<&str> = metadata
        .workspace_default_packages()
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert!(
        !defaults.contains(&"scanside-trainer"),
        "a plain `cargo build` must not need libtorch"
    );
    assert!(defaults.contains(&"scanside-edge"));
    // What a plain `cargo build` and `cargo test` take, in all depths.
    let packages = tree(&["--edges", "normal,build,dev"]);
    assert!(packages.contains("scanside-edge") && packages.contains("ort"));
    for package in ["tch", "torch-sys", "scanside-trainer"] {
        assert!(
            !packages.contains(package),
            "a plain `cargo build` must not need {package}"
        );
    }
}
