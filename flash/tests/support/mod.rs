//! What the tests and the bench share: a bundle, a simulated device, the built program, and a line between them.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod pump;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use bundle::{container, example, sign};
use hardware::smp::{Parameters, Simulated, SimulatedLine};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tempfile::TempDir;

/// A bundle, its public key, and its bytes.
pub struct Bundle {
    pub folder: TempDir,
    pub path: PathBuf,
    pub key: PathBuf,
    pub bytes: Vec<u8>,
    /// The digest that names it.
    pub hash: String,
}

impl Bundle {
    /// A signed bundle of a little more than `payload` bytes that cannot be compressed.
    pub fn new(payload: usize, seed: u64) -> Self {
        let mut noise = vec![0; payload];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut noise);
        let mut files = example::files();
        files[0].bytes.extend(noise);
        let keys = sign::generate(None).unwrap();
        let secret = sign::parse_secret(&keys.secret_file).unwrap();
        let mut bytes = Vec::new();
        container::write(&example::manifest(), &files, &secret, &mut bytes).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (path, key) = (folder.path().join("model.scanside"), folder.path().join("trusted.pub"));
        std::fs::write(&path, &bytes).unwrap();
        std::fs::write(&key, keys.public_file).unwrap();
        let hash = container::hexadecimal(&bytes[bytes.len() - 32..]);
        Self {
            folder,
            path,
            key,
            bytes,
            hash,
        }
    }

    pub fn file(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// A device at the end of a pseudo-terminal.
pub fn device(change: impl FnOnce(&mut Simulated)) -> SimulatedLine {
    let mut device = Simulated::new();
    change(&mut device);
    SimulatedLine::start(device, Parameters::default()).unwrap()
}

/// What a run of the program left.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub errors: String,
}

impl Run {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            errors: text(&output.stderr),
        }
    }

    /// The events of a run with --json.
    pub fn events(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// The last event of a name.
    pub fn event(&self, name: &str) -> Value {
        let found = self.events().into_iter().rev().find(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("no event {name}: {}{}", self.out, self.errors))
    }

    /// The stages in their order.
    pub fn stages(&self) -> Vec<String> {
        let events = self.events().into_iter().filter(|event| event["event"] == "stage");
        events
            .map(|event| event["stage"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.errors);
        self
    }
}

/// The program, on a port.
pub fn command(port: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scanside-flash"));
    command.arg("--port").arg(port).args(arguments);
    command
}

/// Runs the program.
pub fn flash(port: &Path, arguments: &[&str]) -> Run {
    Run::of(&command(port, arguments).output().unwrap())
}

/// Starts the program and lets it run.
pub fn start(port: &Path, arguments: &[&str]) -> Child {
    let mut command = command(port, arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a started program left.
pub fn end(child: Child) -> Run {
    Run::of(&child.wait_with_output().unwrap())
}
