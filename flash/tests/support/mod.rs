//! What the tests and the bench share: a bundle, a simulated device, the built program, and a line between them.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod pump;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use bundle::{container, example, sign};
use hardware::smp::{Parameters, Rebuild, Simulated, SimulatedLine, Slot};
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
        Self::holding(&noise(payload, seed))
    }

    /// A signed bundle whose network ends with these bytes.
    pub fn holding(payload: &[u8]) -> Self {
        let mut files = example::files();
        files[0].bytes.extend(payload);
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

/// Bytes that cannot be compressed.
pub fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut noise = vec![0; count];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut noise);
    noise
}

/// A device at the end of a pseudo-terminal.
pub fn device(change: impl FnOnce(&mut Simulated)) -> SimulatedLine {
    let mut device = Simulated::new();
    change(&mut device);
    SimulatedLine::start(device, Parameters::default()).unwrap()
}

/// Bytes of a network of [`relatives`].
pub const NETWORK: usize = 400_000;

/// A bundle and another one whose network differs from it in every n-th byte.
pub fn relatives(every: usize, seed: u64) -> (Bundle, Bundle) {
    let old = noise(NETWORK, seed);
    let mut new = old.clone();
    let changes = noise(NETWORK, seed + 1000);
    let changed = new.iter_mut().zip(&changes).step_by(every);
    changed.for_each(|(byte, change)| *byte = byte.wrapping_add(*change));
    (Bundle::holding(&old), Bundle::holding(&new))
}

/// Follows differences as an appliance does.
fn follow(base: &[u8], difference: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let base = std::io::Cursor::new(base);
    bundle::delta::rebuild(difference, base, &mut out).ok().map(|_| out)
}

/// A device on which a bundle serves.
pub fn serving(bundle: &Bundle, change: impl FnOnce(&mut Simulated)) -> SimulatedLine {
    device(|device| {
        let slot = Slot::new(bundle.bytes.clone());
        device.pairs[0][0] = Some(Slot {
            confirmed: true,
            ..slot
        });
        device.rebuild = Rebuild(follow);
        change(device);
    })
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
    // Copies of what the tests send are none of the user's.
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
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
