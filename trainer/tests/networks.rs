//! Whole networks: the interpreter against tch's own ResNets, exported files against the interpreter, and the Grad-CAM
//! head against autograd.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::{ArrayD, IxDyn};
use onnx::graph::Graph;
use onnx::heads::{self, Heads};
use onnx::networks::small_cnn::DEFAULT_WIDTH;
use onnx::networks::{ImageClassifier, SmallCnnConfig, covid_net, resnet, small_cnn};
use onnx::runtime::{self, Runtime, Session, SessionOptions};
use tch::nn::ModuleT;
use tch::vision::resnet as peer;
use tch::{Device, IndexOp, Kind, Tensor, nn};
use trainer::autograd::parameters::array_of;
use trainer::autograd::{Interpreter, MemoryOrder, Mode, Modes, Parameters};
use trainer::explain::explain;
use trainer::training::step::Network;

/// Relative L2 error that float32 may cost between two libraries.
const PARITY: f64 = 1e-5;
const SIZE: usize = 64;
const CLASSES: usize = 5;

fn classifier(channels: usize) -> ImageClassifier {
    ImageClassifier {
        classes: CLASSES,
        channels,
        size: [SIZE; 2],
    }
}

/// libtorch's random numbers come from one generator of the process, and tests run beside each other.
fn seeded(seed: i64) -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    guard
}

fn images(channels: usize) -> Tensor {
    let _generator = seeded(11);
    let size = SIZE as i64;
    Tensor::randn([3, channels as i64, size, size], (Kind::Float, Device::Cpu))
}

/// A network as after some training: its running statistics are those of data, its normalisation is not trivial.
fn network(graph: Graph, channels: usize) -> Network {
    let mut parameters = Parameters::initialise(&graph, 3, Device::Cpu, MemoryOrder::ChannelsFirst).unwrap();
    let generator = seeded(12);
    let names: Vec<String> = parameters.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let tensor = parameters.get(&name).unwrap();
        if tensor.dim() == 1 && tensor.requires_grad() {
            let moved = tch::no_grad(|| tensor + tensor.empty_like().uniform_(-0.3, 0.3));
            parameters.set(&name, &moved).unwrap();
        }
    }
    drop(generator);
    let interpreter = Interpreter::new(graph, Device::Cpu).unwrap();
    tch::no_grad(|| {
        for _ in 0..8 {
            interpreter
                .run(&[images(channels)], &parameters, &Modes::all(Mode::Train), &[])
                .unwrap();
        }
    });
    Network {
        interpreter,
        parameters,
        device: Device::Cpu,
    }
}

fn relative(ours: &ArrayD<f32>, theirs: &ArrayD<f32>) -> f64 {
    assert_eq!(ours.shape(), theirs.shape());
    let norm = |array: &ArrayD<f32>| array.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    norm(&(ours - theirs)) / norm(theirs).max(1e-30)
}

fn assert_close(what: &str, ours: &Tensor, theirs: &Tensor, limit: f64) {
    let error = relative(&array_of(ours).unwrap(), &array_of(theirs).unwrap());
    assert!(error < limit, "{what}: relative error {error:.2e}");
}

fn onnx_runtime() -> Option<&'static Runtime> {
    match runtime::load(None) {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{error}");
            eprintln!("skipped: {error}; run `cargo xtask setup`");
            None
        }
    }
}

type Peer = fn(&nn::Path, i64) -> Box<dyn ModuleT>;

/// Output in eval and train mode, running statistics, and the gradient of every parameter.
#[test]
fn resnets_are_those_of_tch() {
    let peers: [(u32, Peer); 5] = [
        (18, |path, classes| Box::new(peer::resnet18(path, classes))),
        (34, |path, classes| Box::new(peer::resnet34(path, classes))),
        (50, |path, classes| Box::new(peer::resnet50(path, classes))),
        (101, |path, classes| Box::new(peer::resnet101(path, classes))),
        (152, |path, classes| Box::new(peer::resnet152(path, classes))),
    ];
    for (depth, peer) in peers {
        let ours = network(resnet(depth, &classifier(3)).unwrap(), 3);
        let mut store = nn::VarStore::new(Device::Cpu);
        let theirs = peer(&store.root(), CLASSES as i64);
        let mut variables: HashMap<String, Tensor> = store.variables();
        assert_eq!(
            variables.len(),
            ours.parameters.iter().count(),
            "resnet{depth} has the peer's parameters"
        );
        tch::no_grad(|| {
            for (name, entry) in ours.parameters.iter() {
                variables
                    .get_mut(name)
                    .unwrap_or_else(|| panic!("the peer has {name}"))
                    .copy_(&entry.tensor);
            }
        });
        let run = |mode| {
            let values = ours
                .interpreter
                .run(&[images(3)], &ours.parameters, &Modes::all(mode), &[])
                .unwrap();
            values.first().shallow_clone()
        };
        store.freeze();
        assert_close("eval", &run(Mode::Eval), &theirs.forward_t(&images(3), false), PARITY);
        store.unfreeze();
        let (output, expected) = (run(Mode::Train), theirs.forward_t(&images(3), true));
        assert_close("train", &output, &expected, PARITY);
        (&output * &output).sum(Kind::Float).backward();
        (&expected * &expected).sum(Kind::Float).backward();
        for (name, entry) in ours.parameters.iter() {
            match entry.tensor.requires_grad() {
                true => assert_close(name, &entry.tensor.grad(), &variables[name].grad(), 1e-4),
                false => assert_close(name, &entry.tensor, &variables[name], PARITY),
            }
        }
    }
}

#[test]
fn exported_files_compute_what_libtorch_computes() {
    let Some(runtime) = onnx_runtime() else { return };
    let mut networks: Vec<(String, Graph, usize)> = [18, 34, 50, 101, 152]
        .map(|depth| (format!("resnet{depth}"), resnet(depth, &classifier(3)).unwrap(), 3))
        .into();
    let small = SmallCnnConfig {
        image: classifier(1),
        width: DEFAULT_WIDTH,
    };
    networks.push(("small_cnn".into(), small_cnn(&small).unwrap(), 1));
    networks.push(("covid_net".into(), covid_net(&classifier(1)).unwrap(), 1));
    for (name, graph, channels) in networks {
        let network = network(graph.clone(), channels);
        let parameters = network.parameters.to_arrays().unwrap();
        let heads = Heads {
            temperature: 1.0,
            top_k: 2,
            novelty: None,
        };
        let file = onnx::export::export(&heads::classifier(graph, &heads).unwrap(), &parameters).unwrap();
        let mut session = Session::from_bytes(runtime, &file, &SessionOptions::default()).unwrap();
        let input = array_of(&images(channels)).unwrap();
        let outputs = session.run(&[("image", input.view())]).unwrap();
        let logits = outputs.array::<f32>("logits").unwrap().to_owned();
        let expected = network.logits(&images(channels)).unwrap().into_dyn();
        let error = relative(&logits, &expected);
        println!("{name}: logits {error:.1e}");
        assert!(error < PARITY, "{name}: relative L2 of the logits is {error:.2e}");
        let cam = outputs.array::<f32>("cam").unwrap().to_owned();
        let classes = outputs.array::<i64>("cam_class").unwrap().to_owned();
        compare_maps(&name, &network, &images(channels), &cam, &classes);
    }
}

/// The head's maps against ReLU of autograd's: inside libtorch each map by the norm of the map before ReLU; those of
/// the exported file, whose features are rounded otherwise, all together.
fn compare_maps(name: &str, network: &Network, images: &Tensor, file: &ArrayD<f32>, classes: &ArrayD<i64>) {
    // A map for every class: two classes that are nearly equally probable may change places here and in the file.
    let heads = Heads {
        temperature: 1.0,
        top_k: CLASSES,
        novelty: None,
    };
    let graph = heads::classifier(network.interpreter.graph().clone(), &heads).unwrap();
    let with_heads = Interpreter::new(graph, Device::Cpu).unwrap();
    // One image at a time on both sides: libtorch rounds the features of a batch otherwise.
    let head = |image: &Tensor| {
        tch::no_grad(|| {
            let modes = Modes::all(Mode::Eval);
            let values = with_heads
                .run(&[image.shallow_clone()], &network.parameters, &modes, &[])
                .unwrap();
            let [cam, classes] =
                [heads::CAM, heads::CAM_CLASS].map(|name| array_of(values.get(name).unwrap()).unwrap());
            (cam, classes)
        })
    };
    let (mut file_error, mut all_norm) = (0.0, 0.0);
    for (image, rank) in (0..3).flat_map(|image| [(image, 0), (image, 1)]) {
        let class = classes[[image, rank]] as usize;
        let one = images.i(image as i64..image as i64 + 1);
        let explained = explain(network, &one, None, Some(class)).unwrap();
        let heat = explained.heat();
        let norm: f64 = explained.map.iter().map(|x| f64::from(*x).powi(2)).sum();
        let off = |maps: &ArrayD<f32>, image: usize, rank: usize| -> f64 {
            let cell =
                |(y, x): (usize, usize), value: &f32| f64::from(maps[IxDyn(&[image, rank, y, x])] - value).powi(2);
            heat.indexed_iter().map(|(place, value)| cell(place, value)).sum()
        };
        let (maps, ranks) = head(&one);
        let place = (0..CLASSES).find(|rank| ranks[[0, *rank]] as usize == class).unwrap();
        let error = (off(&maps, 0, place) / norm).sqrt();
        assert!(
            error < PARITY,
            "{name}: the head's Grad-CAM of class {class} is off by {error:.2e}"
        );
        file_error += off(file, image, rank);
        all_norm += norm;
    }
    let error = (file_error / all_norm).sqrt();
    println!("{name}: Grad-CAM of the exported file {error:.1e}");
    assert!(
        error < PARITY,
        "{name}: the exported file's Grad-CAM is off by {error:.2e}"
    );
}

#[test]
fn grad_cam_at_other_layers_and_for_unknown_ones() {
    let network = network(resnet(18, &classifier(3)).unwrap(), 3);
    let one = images(3).i(0..1);
    let best = explain(&network, &one, Some("layer4"), None).unwrap();
    let most = best.probabilities.iter().copied().fold(0.0, f32::max);
    assert_eq!(best.probabilities[best.class], most);
    assert_eq!(explain(&network, &one, None, Some(best.class)).unwrap().map, best.map);
    let early = explain(&network, &one, Some("layer2"), Some(1)).unwrap();
    assert_eq!(early.map.shape(), [SIZE / 8, SIZE / 8]);
    let message = explain(&network, &one, Some("layer9"), None).unwrap_err().to_string();
    assert!(message.contains("layer9") && message.contains("layer3"), "{message}");
    let message = explain(&network, &one, None, Some(9)).unwrap_err().to_string();
    assert!(
        message.contains('9') && message.contains(&CLASSES.to_string()),
        "{message}"
    );
}

#[test]
fn named_intermediates_are_those_of_the_peer() {
    let ours = network(resnet(18, &classifier(3)).unwrap(), 3);
    let store = nn::VarStore::new(Device::Cpu);
    let body = peer::resnet18_no_final_layer(&store.root());
    let graph = ours.interpreter.graph();
    let pooled_name = graph.value(graph.classifier().unwrap().pooled).name.clone();
    let mut variables = store.variables();
    tch::no_grad(|| {
        for (name, entry) in ours.parameters.iter() {
            if let Some(variable) = variables.get_mut(name) {
                variable.copy_(&entry.tensor);
            }
        }
    });
    let values = ours
        .interpreter
        .run(
            &[images(3)],
            &ours.parameters,
            &Modes::all(Mode::Eval),
            &["layer4", &pooled_name],
        )
        .unwrap();
    let pooled = values.get(&pooled_name).unwrap();
    assert_close("pooled features", pooled, &body.forward_t(&images(3), false), PARITY);
    let mean = values
        .get("layer4")
        .unwrap()
        .mean_dim([2_i64, 3].as_slice(), false, Kind::Float);
    assert_close("layer4", &mean, pooled, PARITY);
}
