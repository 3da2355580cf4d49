//! First weights: files of other programs, whole and in part.

use std::path::PathBuf;

use indexmap::IndexMap;
use onnx::networks::{ImageClassifier, resnet};
use tch::{Device, Kind, Tensor};
use trainer::autograd::{MemoryOrder, Parameters};
use trainer::training::weights::{self, read, take};

/// The shared development data; its weights are not part of the repository.
fn shared(name: &str) -> Option<PathBuf> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("SCANSIDE_DATA").map_or(default, PathBuf::from);
    let path = folder.join("weights").join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!(
        "skipped: {} is absent; set SCANSIDE_DATA to the development data",
        path.display()
    );
    None
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("goldens/weights")
        .join(name)
}

fn resnet18(classes: usize) -> Parameters {
    let graph = resnet(
        18,
        &ImageClassifier {
            classes,
            channels: 3,
            size: [64; 2],
        },
    )
    .unwrap();
    Parameters::initialise(&graph, 1, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap()
}

#[test]
fn a_partial_imagenet_file_says_what_it_gave() {
    let Some(path) = shared("resnet18_imagenet_partial_torchvision_names.safetensors") else {
        return;
    };
    let file = read(&path).unwrap();
    assert_eq!(file.len(), 82);
    let mut parameters = resnet18(3);
    let fresh = parameters.to_arrays().unwrap();
    let report = take(&mut parameters, &file, &[]).unwrap();
    assert_eq!(report.taken.len(), 80);
    let other: Vec<&str> = report.other_shape.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(other, ["fc.weight", "fc.bias"], "the last layer has other classes");
    // What the file lacks is layer4's 3 x 3 convolutions and their normalisation.
    assert_eq!(report.missing.len(), 4 * 5);
    assert!(
        report
            .missing
            .iter()
            .all(|name| name.starts_with("layer4.") && !name.contains("downsample"))
    );
    assert!(report.unexpected.is_empty());
    assert_eq!(report.lines().len(), 4);
    let after = parameters.to_arrays().unwrap();
    for name in &report.missing {
        assert_eq!(after[name], fresh[name], "{name} is as it was drawn");
    }
    let taken = parameters.get("layer3.1.conv2.weight").unwrap();
    assert!(taken.equal(&file["layer3.1.conv2.weight"]));
    let mut some = resnet18(3);
    let report = take(&mut some, &file, &["conv1".into(), "bn1".into()]).unwrap();
    assert_eq!(
        report.taken,
        [
            "conv1.weight",
            "bn1.weight",
            "bn1.bias",
            "bn1.running_mean",
            "bn1.running_var"
        ]
    );
    assert_eq!(report.unexpected.len(), 77);
}

#[test]
fn files_of_torch_before_its_zip_format() {
    for (name, tensors, elements) in [
        ("cifar_resnet20-12fca82f.th", 0.27e6, 16),
        ("cifar_resnet56-4bfd9763.th", 0.85e6, 16),
    ] {
        let Some(path) = shared(name) else { return };
        let file = read(&path).unwrap();
        let weights = file
            .iter()
            .filter(|(name, _)| !name.contains("running") && !name.contains("num_batches"));
        let count: usize = weights.map(|(_, tensor)| tensor.numel()).sum();
        // The published sizes are 0.27 M and 0.85 M parameters.
        assert!((count as f64 - tensors).abs() < 0.01e6, "{name}: {count}");
        let first = &file["module.conv1.weight"];
        assert_eq!(first.size(), [elements, 3, 3, 3]);
        assert!(
            file.values()
                .all(|tensor| tensor.isfinite().all().int64_value(&[]) == 1)
        );
        let variances = file.iter().filter(|(name, _)| name.ends_with("running_var"));
        assert!(
            variances
                .into_iter()
                .all(|(_, tensor)| tensor.min().double_value(&[]) > 0.0)
        );
    }
}

/// The same tensors, saved by Python's torch in both of its formats and by safetensors: shared storage, a transposed
/// view, a parameter, half precision, a nested state_dict.
#[test]
fn python_torch_and_safetensors_give_the_same_tensors() {
    let expected = read(&golden("tensors.safetensors")).unwrap();
    assert_eq!(expected.len(), 6);
    for name in ["tensors_zip.pth", "tensors_legacy.pth", "tensors_nested.pth"] {
        let file = read(&golden(name)).unwrap();
        assert_eq!(file.len(), expected.len(), "{name}");
        for (key, tensor) in &expected {
            let found = &file[key];
            assert_eq!(
                (found.size(), found.kind()),
                (tensor.size(), tensor.kind()),
                "{name} {key}"
            );
            assert!(found.equal(tensor), "{name} {key}");
        }
    }
}

#[test]
fn every_truncation_is_refused_and_no_flipped_bit_panics() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tensors.safetensors", "tensors_zip.pth", "tensors_legacy.pth"] {
        let whole = std::fs::read(golden(name)).unwrap();
        let path = folder.path().join(name);
        for length in (0..whole.len() - 1).step_by(37) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = read(&path).expect_err(&format!("{name} cut to {length} bytes"));
            assert!(error.to_string().contains(name), "{error}");
        }
        for position in (0..whole.len()).step_by(5) {
            let mut damaged = whole.clone();
            damaged[position] ^= 1 << (position % 8);
            std::fs::write(&path, &damaged).unwrap();
            // It may still be readable; it must not panic.
            let _ = read(&path);
        }
    }
}

#[test]
fn names_of_data_parallel_and_other_precisions_are_taken() {
    let mut parameters = resnet18(3);
    let weight = Tensor::randn([3, 512], (Kind::Double, Device::Cpu));
    let file: IndexMap<String, Tensor> = IndexMap::from([
        ("module.fc.weight".to_owned(), weight.shallow_clone()),
        ("bn1.num_batches_tracked".to_owned(), Tensor::from(7_i64)),
        ("head.weight".to_owned(), Tensor::zeros([2], (Kind::Float, Device::Cpu))),
    ]);
    let report: weights::Taken = take(&mut parameters, &file, &[]).unwrap();
    assert_eq!(report.taken, ["fc.weight"]);
    assert_eq!(report.unexpected, ["head.weight"]);
    let taken = parameters.get("fc.weight").unwrap();
    assert_eq!(taken.kind(), Kind::Float);
    assert!(taken.allclose(&weight.to_kind(Kind::Float), 1e-6, 1e-6, false));
}
