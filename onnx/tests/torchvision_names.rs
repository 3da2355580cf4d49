//! Names and shapes of the ResNets' parameters are torchvision's, in its order, as recorded by
//! `peers/torchvision_names.py`.

use scanside_onnx::networks::{ImageClassifier, resnet};

#[test]
fn state_dicts_are_torchvisions() {
    let recorded: Vec<&str> = include_str!("../peers/torchvision_names.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let image = ImageClassifier {
        classes: 1000,
        channels: 3,
        size: [224, 224],
    };
    let mut ours = Vec::new();
    for depth in [18, 34, 50, 101, 152] {
        let graph = resnet(depth, &image).unwrap();
        ours.extend(graph.parameters().iter().map(|parameter| {
            let extents: Vec<String> = parameter.shape.iter().map(ToString::to_string).collect();
            format!("{} {} {}", graph.name(), parameter.name, extents.join(" "))
        }));
    }
    assert_eq!(ours.len(), recorded.len());
    for (ours, recorded) in ours.iter().zip(recorded) {
        assert_eq!(ours, recorded);
    }
}
