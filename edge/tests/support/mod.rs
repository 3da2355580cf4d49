//! What the tests of the program share: a signed bundle of a tiny network, drawn images, and the program itself.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod dice;
mod objects;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use bundle::container::{self, PayloadFile};
use bundle::manifest::{FileKind, GoldenCase, GoldenOutputs, GoldenTolerance, Manifest, Outputs};
use bundle::{example, sign};
use imaging::PreprocessSpec;
use ndarray::{Array2, Array4, ArrayD, IxDyn};
use onnx::graph::{Distribution, Graph};
use onnx::heads::{Heads, Novelty, classifier};
use onnx::networks::{ImageClassifier, SmallCnnConfig, small_cnn};
use onnx::parameters::Parameters;
use onnx::runtime::{self, Session, SessionOptions};

#[allow(unused_imports, reason = "each test file uses its part")]
pub use objects::{CHEST, EXPLICIT, Element, Said, chest_dicom, dicom};

/// Side of a network's input in pixels, and channels of its stem.
#[derive(Clone, Copy)]
pub struct Work {
    side: u32,
    width: usize,
}

/// Milliseconds.
pub const TINY: Work = Work { side: 64, width: 4 };
/// Another network than the tiny one, hardly slower.
pub const WIDER: Work = Work { side: 64, width: 24 };
/// Long enough to be seen at work.
pub const HEAVY: Work = Work { side: 1024, width: 32 };
const MODEL: &str = "model.onnx";

/// A folder with keys, bundles and images, made once for all tests of a file.
pub struct Place {
    folder: tempfile::TempDir,
}

/// What a bundle of the tests should say of every image: the label's index, by the bias of the last layer.
#[derive(Clone, Copy)]
pub enum Says {
    NoFinding,
    Finding,
}

static PLACE: LazyLock<Place> = LazyLock::new(Place::make);

/// The folder, or None (with a line that says so) where ONNX Runtime is not installed. In CI it must be there.
pub fn place() -> Option<&'static Place> {
    match runtime::load(None) {
        Ok(_) => Some(&PLACE),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{error}");
            eprintln!("skipped: {error}; run `cargo xtask setup`");
            None
        }
    }
}

impl Place {
    fn make() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let keys = sign::generate(None).unwrap();
        fs::write(place.path("site.pub"), &keys.public_file).unwrap();
        let secret = sign::parse_secret(&keys.secret_file).unwrap();
        for (name, says) in [("finding", Says::Finding), ("none", Says::NoFinding)] {
            let (manifest, files) = tiny(says);
            let file = fs::File::create(place.path(&format!("{name}.scanside"))).unwrap();
            container::write(&manifest, &files, &secret, file).unwrap();
        }
        chest(300, 260).save(place.path("chest.png")).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder, at once: tests that write the same one never see it half written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        let mut file = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        file.write_all(bytes).unwrap();
        file.persist(&path).unwrap();
        path
    }

    /// A folder of its own for one test's outputs.
    pub fn out(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// `triage` of `files` with the bundle that flags a finding, and more arguments.
    pub fn triage(&self, files: &[PathBuf], arguments: &[&str]) -> Output {
        let mut command = program();
        command.arg("triage").args(files);
        command.arg("--bundle").arg(self.path("finding.scanside"));
        command.arg("--key").arg(self.path("site.pub"));
        command.args(arguments).output().unwrap()
    }
}

/// The built program.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_scanside-edge"))
}

/// How the clients in Python come here.
pub const FROM_PYPI: &str = "pip install -r .ci/requirements.txt";

/// Whether a peer can be started; absent, the test is skipped with what to install, but in CI it fails.
pub fn peer(name: &str, arguments: &[&str], install: &str) -> bool {
    let found = Command::new(name).args(arguments).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        let absent = format!("{name} {arguments:?} fails; {install}");
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{absent}");
        eprintln!("skipped: {absent}");
    }
    found
}

/// Lets a program end with the thread that starts it, also when that is killed: what stays behind would answer on the
/// ports and lines of later tests.
pub fn tied(mut command: Command) -> Command {
    use std::os::unix::process::CommandExt;
    // SAFETY: prctl is async-signal-safe and touches nothing of ours.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

/// The lines of JSON that the program printed.
pub fn findings(output: &Output) -> Vec<serde_json::Value> {
    let text = stdout(output);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A bundle's manifest and payload: a small network with fixed random weights.
pub fn tiny(says: Says) -> (Manifest, Vec<PayloadFile>) {
    of_work(says, TINY)
}

/// As [`tiny`], with more work.
pub fn of_work(says: Says, work: Work) -> (Manifest, Vec<PayloadFile>) {
    let model = network(says, work);
    let mut manifest = Manifest {
        preprocess: PreprocessSpec::grey(work.side),
        temperature: 1.0,
        conformal: None,
        quantization: None,
        ..example::manifest()
    };
    manifest.model.file = MODEL.to_owned();
    manifest.model.precision = "float32".to_owned();
    manifest.model.outputs = Outputs {
        novelty: Some("novelty".to_owned()),
        ..Outputs::default()
    };
    if let Some(novelty) = &mut manifest.novelty {
        novelty.threshold = 1e6;
    }
    let mut files = vec![PayloadFile::new(MODEL, FileKind::Model, model.clone())];
    let (case, golden) = golden(&model, &manifest, work.side as usize);
    manifest.golden = vec![case];
    files.extend(golden);
    (manifest, files)
}

/// What the network makes of one input, as the packer records it.
fn golden(model: &[u8], manifest: &Manifest, side: usize) -> (GoldenCase, [PayloadFile; 2]) {
    let runtime = runtime::load(None).unwrap();
    let mut session = Session::from_bytes(runtime, model, &SessionOptions::default()).unwrap();
    let input = Array4::from_shape_fn((1, 1, side, side), |(_, _, y, x)| (y * x % 17) as f32 / 17.0 - 0.5);
    let outputs = session
        .run(&[(manifest.model.input.as_str(), input.view().into_dyn())])
        .unwrap();
    let cam = outputs.array::<f32>("cam").unwrap();
    let expected = GoldenOutputs {
        probabilities: outputs.array::<f32>("probabilities").unwrap().iter().copied().collect(),
        cam_class: outputs.array::<i64>("cam_class").unwrap().iter().copied().collect(),
        cam_shape: [cam.shape()[1], cam.shape()[2], cam.shape()[3]],
        cam: cam.iter().copied().collect(),
        novelty: outputs.array::<f32>("novelty").unwrap().iter().next().copied(),
    };
    let bytes: Vec<u8> = input.iter().flat_map(|v| v.to_le_bytes()).collect();
    let files = [
        PayloadFile::new("golden/a.f32", FileKind::GoldenInput, bytes),
        PayloadFile::new(
            "golden/a.json",
            FileKind::GoldenOutput,
            serde_json::to_vec(&expected).unwrap(),
        ),
    ];
    let case = GoldenCase {
        name: "a drawn input".to_owned(),
        input: files[0].path.clone(),
        expected: files[1].path.clone(),
        tolerance: GoldenTolerance::default(),
    };
    (case, files)
}

fn network(says: Says, work: Work) -> Vec<u8> {
    let config = SmallCnnConfig {
        image: ImageClassifier {
            classes: 3,
            channels: 1,
            size: [work.side as usize; 2],
        },
        width: work.width,
    };
    let plain = small_cnn(&config).unwrap();
    let features = plain.parameter("fc.weight").unwrap().shape[1];
    let heads = Heads {
        temperature: 1.0,
        top_k: 2,
        novelty: Some(Novelty::placeholder(features, 2, 3)),
    };
    let graph = classifier(plain, &heads).unwrap();
    let mut parameters = parameters(&graph);
    // The last layer reads hardly anything of the image, so that its bias decides.
    parameters["fc.weight"].mapv_inplace(|v| v * 1e-3);
    let bias = match says {
        Says::NoFinding => [4.0, 0.0, 0.0],
        Says::Finding => [0.0, 4.0, 0.0],
    };
    parameters["fc.bias"]
        .iter_mut()
        .zip(bias)
        .for_each(|(b, value)| *b = value);
    onnx::export::export(&graph, &parameters).unwrap()
}

pub fn parameters(graph: &Graph) -> Parameters {
    let mut state = 7_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    let filled = graph.parameters().iter().map(|parameter| {
        let (middle, spread) = match parameter.initializer.distribution(&parameter.shape) {
            Distribution::Normal { mean, std } => (mean, std),
            Distribution::Uniform { bound } => (0.0, bound),
            Distribution::Constant(value) => (value, 0.1),
        };
        let values = ArrayD::from_shape_simple_fn(IxDyn(&parameter.shape), || middle + spread * noise());
        (parameter.name.clone(), values)
    });
    filled.collect()
}

/// Two dark lungs in a bright body with ribs: what the quality gate takes for a chest.
pub fn chest_values(height: usize, width: usize) -> Array2<f32> {
    Array2::from_shape_fn((height, width), |(y, x)| {
        let (v, u) = (y as f32 / height as f32, x as f32 / width as f32);
        let lung = |centre: f32| ((u - centre) / 0.15).powi(2) + ((v - 0.5) / 0.3).powi(2) < 1.0;
        let body = if lung(0.3) || lung(0.7) { 0.25 } else { 0.65 };
        let ribs = 0.06 * (v * 60.0 + (u - 0.5).abs() * 20.0).sin();
        let grain = ((x * 7919 + y * 104_729) % 101) as f32 / 101.0 - 0.5;
        body + ribs + 0.04 * grain
    })
}

pub fn chest(height: u32, width: u32) -> image::GrayImage {
    let values = chest_values(height as usize, width as usize);
    image::GrayImage::from_fn(width, height, |x, y| {
        image::Luma([(values[[y as usize, x as usize]] * 255.0) as u8])
    })
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
