//! What exported files compute, by ONNX Runtime: folding changes nothing, and the heads give what
//! their formulas say, worked out here in double precision.

mod common;

use ndarray::{Array2, ArrayD, Ix2, Ix4, array};
use scanside_onnx::export::{fold_batch_norm, patch, to_model};
use scanside_onnx::graph::layers::Conv2d;
use scanside_onnx::graph::{ElementType, Graph, GraphBuilder, Operator, Shape};
use scanside_onnx::heads::{self, Heads, Novelty, classifier, gradcam};
use scanside_onnx::networks::{ImageClassifier, SmallCnnConfig, resnet, small_cnn};
use scanside_onnx::proto::ModelProto;
use scanside_onnx::runtime::{Runtime, Session, SessionOptions};

/// Agreement of two float computations of the same sums in another order.
const SAME_SUMS: f64 = 2e-6;

fn run(runtime: &Runtime, model: &ModelProto, image: &ArrayD<f32>, outputs: &[&str]) -> Vec<ArrayD<f32>> {
    let mut session = Session::from_bytes(runtime, &model.to_bytes(), &SessionOptions::default()).unwrap();
    let input = session.inputs()[0].name.clone();
    let results = session.run(&[(&input, image.view())]).unwrap();
    outputs
        .iter()
        .map(|name| results.array::<f32>(name).unwrap().to_owned())
        .collect()
}

fn three_classes(channels: usize) -> ImageClassifier {
    ImageClassifier {
        classes: 3,
        channels,
        size: [64, 64],
    }
}

fn small() -> Graph {
    small_cnn(&SmallCnnConfig {
        image: three_classes(1),
        width: 8,
    })
    .unwrap()
}

/// A generator's layer: BatchNorm after a transposed convolution in groups, with a bias.
fn transposed() -> Graph {
    let mut b = GraphBuilder::new("transposed");
    let x = b.input("image", ElementType::F32, Shape::batch(&[4, 5, 5])).unwrap();
    let mut layer = Conv2d::new(6, 4).stride(2).padding(1).with_bias();
    layer.groups = 2;
    let x = b.conv_transpose2d("up", x, layer).unwrap();
    let x = b.batch_norm("norm", x).unwrap();
    let x = b.node("tanh", Operator::Tanh, &[x]).unwrap();
    b.output("logits", x).unwrap();
    b.finish().unwrap()
}

#[test]
fn folding_batch_norm_changes_no_output() {
    let Some(runtime) = common::runtime() else { return };
    let networks = [
        resnet(18, &three_classes(3)).unwrap(),
        resnet(50, &three_classes(1)).unwrap(),
        small(),
        transposed(),
    ];
    for graph in networks {
        let parameters = common::parameters(&graph);
        let (folded, folded_parameters) = fold_batch_norm(&graph, &parameters).unwrap();
        assert!(
            folded
                .nodes()
                .iter()
                .all(|node| node.operator.name() != "BatchNormalization"),
            "{}",
            graph.name()
        );
        let shape = graph.value(graph.inputs()[0]).shape.with_batch(2);
        let image = common::Noise::new(3).array(&shape);
        let plain = run(runtime, &to_model(&graph, &parameters).unwrap(), &image, &["logits"]);
        let short = run(
            runtime,
            &to_model(&folded, &folded_parameters).unwrap(),
            &image,
            &["logits"],
        );
        let error = common::relative_error(&short[0], &plain[0]);
        assert!(error < SAME_SUMS, "{}: {error:e}", graph.name());
    }
}

#[test]
fn a_batch_norm_that_others_pass_by_is_kept() {
    let mut b = GraphBuilder::new("forked");
    let x = b.input("image", ElementType::F32, Shape::batch(&[2, 8, 8])).unwrap();
    let conv = b.conv2d("conv", x, Conv2d::new(4, 3)).unwrap();
    let norm = b.batch_norm("norm", conv).unwrap();
    let sum = b.node("sum", Operator::Add, &[conv, norm]).unwrap();
    b.output("sum", sum).unwrap();
    let graph = b.finish().unwrap();
    let (folded, _) = fold_batch_norm(&graph, &common::parameters(&graph)).unwrap();
    assert_eq!(folded.nodes(), graph.nodes());
}

#[test]
fn folded_biases_carry_the_convolutions_name() {
    let graph = resnet(18, &three_classes(3)).unwrap();
    let (folded, parameters) = fold_batch_norm(&graph, &common::parameters(&graph)).unwrap();
    assert_eq!(parameters["layer2.0.downsample.0.bias"].shape(), &[128]);
    assert!(!parameters.contains_key("bn1.weight"));
    // 20 convolutions and the linear layer, a weight and a bias each.
    assert_eq!(folded.parameters().len(), 42);
    assert!(folded.parameters().iter().map(|p| &p.name).eq(parameters.keys()));
    assert_eq!(folded.find("layer4").unwrap(), folded.classifier().unwrap().features);
}

#[test]
fn equal_networks_give_equal_bytes() {
    let bytes = || scanside_onnx::export::export(&small(), &common::parameters(&small())).unwrap();
    assert!(bytes() == bytes());
}

/// Softmax of logits / temperature, by row.
fn softmax(logits: &Array2<f32>, temperature: f64) -> Array2<f32> {
    let mut scaled = logits.mapv(|logit| (f64::from(logit) / temperature).exp());
    for mut row in scaled.rows_mut() {
        let sum = row.sum();
        row /= sum;
    }
    scaled.mapv(|p| p as f32)
}

#[test]
fn probabilities_and_maps_follow_their_formulas() {
    let Some(runtime) = common::runtime() else { return };
    let graph = classifier(
        small(),
        &Heads {
            temperature: 2.5,
            top_k: 2,
            novelty: None,
        },
    )
    .unwrap();
    let parameters = common::parameters(&graph);
    let features = graph.value(graph.classifier().unwrap().features).name.clone();
    let signed = graph.value(graph.find(gradcam::SIGNED).unwrap()).name.clone();
    let (folded, folded_parameters) = fold_batch_norm(&graph, &parameters).unwrap();
    let mut model = to_model(&folded, &folded_parameters).unwrap();
    patch::add_output(&mut model, &features).unwrap();
    patch::add_output(&mut model, &signed).unwrap();
    let mut session = Session::from_bytes(runtime, &model.to_bytes(), &SessionOptions::default()).unwrap();
    let image = common::Noise::new(5).array(&[3, 1, 64, 64]);
    let results = session.run(&[("image", image.view())]).unwrap();
    let output = |name: &str| results.array::<f32>(name).unwrap().to_owned();

    let logits = output("logits").into_dimensionality::<Ix2>().unwrap();
    let probabilities = softmax(&logits, 2.5).into_dyn();
    assert!(common::relative_error(&output("probabilities"), &probabilities) < SAME_SUMS);

    let classes = results
        .array::<i64>("cam_class")
        .unwrap()
        .to_owned()
        .into_dimensionality::<Ix2>()
        .unwrap();
    let maps = output(&features).into_dimensionality::<Ix4>().unwrap();
    let weight = &parameters["fc.weight"];
    let (height, width) = (maps.shape()[2], maps.shape()[3]);
    let mut wanted = ArrayD::zeros(output(&signed).raw_dim());
    for image in 0..3 {
        let mut order: Vec<usize> = (0..3).collect();
        order.sort_by(|a, b| logits[[image, *b]].total_cmp(&logits[[image, *a]]));
        for rank in 0..2 {
            assert_eq!(classes[[image, rank]], order[rank] as i64);
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let sum: f64 = (0..maps.shape()[1])
                    .map(|k| f64::from(weight[[order[rank], k]]) * f64::from(maps[[image, k, y, x]]))
                    .sum();
                wanted[[image, rank, y, x]] = (sum / (height * width) as f64) as f32;
            }
        }
    }
    assert!(common::relative_error(&output(&signed), &wanted) < SAME_SUMS);
    let positive = wanted.mapv(|value: f32| value.max(0.0));
    assert!(wanted != positive, "the maps must have negative parts for ReLU to show");
    assert!(common::relative_error(&output("cam"), &positive) < SAME_SUMS);
}

#[test]
fn novelty_set_after_export_is_the_distance_to_the_nearest_class() {
    let Some(runtime) = common::runtime() else { return };
    let features = 48;
    let heads = Heads {
        temperature: 1.0,
        top_k: 1,
        novelty: Some(Novelty::placeholder(features, 4, 2)),
    };
    let graph = classifier(small(), &heads).unwrap();
    let bytes = scanside_onnx::export::export(&graph, &common::parameters(&graph)).unwrap();
    let mut model = ModelProto::from_bytes(&bytes).unwrap();
    let mut noise = common::Noise::new(9);
    let mut matrix = |rows, columns| noise.array(&[rows, columns]).into_dimensionality::<Ix2>().unwrap();
    let statistics = Novelty {
        mean: matrix(1, features).row(0).to_owned(),
        projection: matrix(features, 4),
        centers: matrix(2, 4),
    };
    for (name, value) in statistics.initializers() {
        patch::set_initializer(&mut model, name, &value).unwrap();
    }
    let pooled = heads::novelty::features_value(&model).unwrap().to_owned();
    patch::add_output(&mut model, &pooled).unwrap();
    let image = common::Noise::new(11).array(&[3, 1, 64, 64]);
    let results = run(runtime, &model, &image, &["novelty", &pooled]);
    let pooled = results[1].clone().into_dimensionality::<Ix2>().unwrap();
    let double = |array: &Array2<f32>| array.mapv(f64::from);
    let centered = double(&pooled) - statistics.mean.mapv(f64::from);
    let reduced = centered.dot(&double(&statistics.projection));
    let wanted: Vec<f32> = reduced
        .rows()
        .into_iter()
        .map(|row| {
            let square = |center| (&row - &center).mapv(|offset: f64| offset * offset).sum();
            let centers = double(&statistics.centers);
            centers
                .rows()
                .into_iter()
                .map(|center| square(center.to_owned()))
                .fold(f64::INFINITY, f64::min)
                .sqrt() as f32
        })
        .collect();
    assert!(common::relative_error(&results[0], &ndarray::Array1::from(wanted).into_dyn()) < SAME_SUMS);
}

#[test]
fn a_patch_that_does_not_fit_is_refused() {
    let graph = classifier(
        small(),
        &Heads {
            temperature: 1.0,
            top_k: 1,
            novelty: None,
        },
    )
    .unwrap();
    let bytes = scanside_onnx::export::export(&graph, &common::parameters(&graph)).unwrap();
    let mut model = ModelProto::from_bytes(&bytes).unwrap();
    let scalar = ndarray::arr0(1.7_f32).into_dyn();
    patch::set_initializer(&mut model, heads::TEMPERATURE, &scalar).unwrap();
    let written = model
        .graph
        .as_ref()
        .unwrap()
        .initializer_named(heads::TEMPERATURE)
        .unwrap();
    assert_eq!(written.to_f32().unwrap(), [1.7]);
    let vector = patch::set_initializer(&mut model, heads::TEMPERATURE, &array![1.0_f32, 2.0].into_dyn());
    assert!(matches!(vector, Err(patch::PatchError::Shape { .. })));
    let absent = patch::set_initializer(&mut model, heads::novelty::MEAN, &scalar).unwrap_err();
    assert!(absent.to_string().contains("`novelty.mean`"));
    assert!(patch::add_output(&mut model, "no such value").is_err());
    let before = model.clone();
    patch::add_output(&mut model, "pooled").unwrap();
    assert_ne!(model, before);
    patch::remove_output(&mut model, "pooled").unwrap();
    assert!(patch::remove_output(&mut model, "pooled").is_err());
}
