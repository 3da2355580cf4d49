//! A place for the service, and a client on its serial line. The client speaks raw frames of its own making; clients
//! that are not ours drive the service in `tests/`.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod cable;

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bundle::Manifest;
use bundle::container::{self, PayloadFile};
use bundle::sign::{self, NewKeys, SecretKey};
use ciborium::Value;
use hardware::smp::port::Pty;
use sha2::{Digest, Sha256};

use crate::support::{self, Says, chest, program, tiny};

/// Nothing takes that long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a bundle in one request.
const PIECE: usize = 4096;

/// A state folder, keys, an inbox, and bundles that differ from each other.
pub struct Site {
    folder: tempfile::TempDir,
    keys: NewKeys,
    pty: RefCell<Pty>,
    made: AtomicU32,
    pub trial_inferences: Option<u32>,
    /// The service's port, if it is not the pseudo-terminal of [`Service`].
    pub port: Option<PathBuf>,
}

impl Site {
    /// `None` (with a line that says so) without ONNX Runtime.
    pub fn new() -> Option<Self> {
        support::place()?;
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            keys: sign::generate(None).unwrap(),
            pty: RefCell::new(Pty::open().unwrap()),
            made: AtomicU32::new(0),
            trial_inferences: None,
            port: None,
        };
        fs::create_dir(site.path("keys")).unwrap();
        fs::create_dir(site.path("inbox")).unwrap();
        fs::write(site.path("keys/site.pub"), &site.keys.public_file).unwrap();
        Some(site)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the service and waits until it answers.
    pub fn start(&self) -> Service<'_> {
        let mut service = self.spawn();
        service.wait_until_it_answers();
        service
    }

    /// Starts the service.
    pub fn spawn(&self) -> Service<'_> {
        let port = self
            .port
            .clone()
            .unwrap_or_else(|| self.pty.borrow().path().to_path_buf());
        let trial = self
            .trial_inferences
            .map(|n| format!("[appliance.update]\ntrial_inferences = {n}\n"));
        let config = format!(
            "trusted_keys = {keys:?}\n[appliance]\nstate = {state:?}\n[appliance.serial]\nport = {port:?}\n\
             [appliance.display]\nkind = \"png\"\npath = {screen:?}\nwidth = 800\nheight = 480\n\
             [appliance.intake]\nfolder = {inbox:?}\nquiet_seconds = 0\n{trial}",
            keys = self.path("keys"),
            state = self.path("state"),
            screen = self.path("screen.png"),
            inbox = self.path("inbox"),
            trial = trial.unwrap_or_default(),
        );
        fs::write(self.path("edge.toml"), config).unwrap();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("stderr"))
            .unwrap();
        let child = program()
            .arg("run")
            .arg("--config")
            .arg(self.path("edge.toml"))
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Service {
            site: self,
            child,
            sequence: 0,
        }
    }

    /// Writes a bundle that is like no other into a file, and gives its path.
    pub fn file(&self, name: &str) -> String {
        self.file_with(name, |_| ())
    }

    /// As [`Site::file`], after a change of the bundle's files.
    pub fn file_with(&self, name: &str, change: impl FnOnce(&mut Vec<PayloadFile>)) -> String {
        fs::write(self.path(name), self.bundle(change)).unwrap();
        self.path(name).to_string_lossy().into_owned()
    }

    /// A service whose first model is confirmed, with security counter 1.
    pub fn with_confirmed_model(&self) -> Service<'_> {
        let mut service = self.start();
        service.upload(&self.bundle(|_| ()));
        let hash = service.wait_for_bootable();
        service.test(&hash);
        service.restart();
        service.wait_for_outcome("passed");
        service.confirm(&hash);
        service
    }

    /// A bundle that is like no other, after a change of its files.
    pub fn bundle(&self, change: impl FnOnce(&mut Vec<PayloadFile>)) -> Vec<u8> {
        let (manifest, mut files) = tiny(Says::Finding);
        change(&mut files);
        self.pack(manifest, &files, &self.secret())
    }

    /// One signed by a stranger.
    pub fn stranger(&self) -> Vec<u8> {
        let (manifest, files) = tiny(Says::Finding);
        let keys = sign::generate(None).unwrap();
        self.pack(manifest, &files, &sign::parse_secret(&keys.secret_file).unwrap())
    }

    pub fn of_role(&self, role: &str) -> Vec<u8> {
        let (mut manifest, files) = tiny(Says::Finding);
        role.clone_into(&mut manifest.role);
        self.pack(manifest, &files, &self.secret())
    }

    pub fn with_counter(&self, counter: u32) -> Vec<u8> {
        let (mut manifest, files) = tiny(Says::Finding);
        manifest.security_counter = counter;
        self.pack(manifest, &files, &self.secret())
    }

    /// The front is good, a byte of the payload is not.
    pub fn damaged_payload(&self) -> Vec<u8> {
        let mut bundle = self.bundle(|_| ());
        let middle = bundle.len() * 3 / 4;
        bundle[middle] ^= 1;
        bundle
    }

    fn secret(&self) -> SecretKey {
        sign::parse_secret(&self.keys.secret_file).unwrap()
    }

    fn pack(&self, mut manifest: Manifest, files: &[PayloadFile], secret: &SecretKey) -> Vec<u8> {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        manifest.version = format!("1.{number}.0").parse().unwrap();
        let mut bundle = Vec::new();
        container::write(&manifest, files, secret, &mut bundle).unwrap();
        bundle
    }

    /// The hash of a bundle, by which the line names it.
    pub fn hash(&self, bundle: &[u8]) -> Vec<u8> {
        let trusted = bundle::TrustedKeys::new(vec![self.keys.public.clone()]);
        let checked = container::verify(bundle, &trusted, &bundle::Policy::default()).unwrap();
        checked.image_digest.to_vec()
    }

    /// Puts an image into the inbox.
    pub fn image(&self, name: &str) -> PathBuf {
        let path = self.path("inbox").join(name);
        chest(300, 260).save(self.path(name)).unwrap();
        fs::rename(self.path(name), &path).unwrap();
        path
    }

    /// Waits for a result, and takes it away.
    pub fn wait_for_result(&self) -> serde_json::Value {
        let results = self.path("state/results");
        let path = self.wait("a result", || {
            let names = fs::read_dir(&results)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path());
            let mut seen: Vec<_> = names
                .filter(|path| path.extension().is_some_and(|e| e == "json"))
                .collect();
            seen.sort();
            // Results keep their names; the newest one that was not looked at yet.
            seen.into_iter()
                .find(|path| !self.path("seen").join(path.file_name().unwrap()).exists())
        });
        fs::create_dir_all(self.path("seen")).unwrap();
        fs::write(self.path("seen").join(path.file_name().unwrap()), "").unwrap();
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    pub fn wait_for_screen(&self) -> image::RgbImage {
        let screen = self.path("screen.png");
        self.wait("a picture", || image::open(&screen).ok()).to_rgb8()
    }

    /// Looks until there is something to see.
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            let log = || fs::read_to_string(self.path("stderr")).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "waited for {what}:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The state of an image as the line tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub hash: Vec<u8>,
    pub bootable: bool,
    pub pending: bool,
    pub confirmed: bool,
    pub active: bool,
}

/// The running service with a client.
pub struct Service<'a> {
    site: &'a Site,
    child: Child,
    sequence: u8,
}

type Map = Vec<(Value, Value)>;

impl Service<'_> {
    /// One request and its answer; requests are repeated, as clients do, if no answer comes.
    fn ask(&mut self, write: bool, group: u16, command: u8, body: Map) -> Map {
        for _ in 0..30 {
            self.sequence = self.sequence.wrapping_add(1);
            let mut cbor = Vec::new();
            ciborium::into_writer(&Value::Map(body.clone()), &mut cbor).unwrap();
            let mut frame = vec![if write { 2 } else { 0 }, 0];
            frame.extend((cbor.len() as u16).to_be_bytes());
            frame.extend(group.to_be_bytes());
            frame.extend([self.sequence, command]);
            frame.extend(cbor);
            self.site.pty.borrow_mut().write_all(&frame).unwrap();
            if let Some(answer) = self.answer() {
                return answer;
            }
        }
        panic!("no answer to group {group}, command {command}")
    }

    /// The answer with the present sequence number, unless the line stays silent for long.
    fn answer(&mut self) -> Option<Map> {
        let mut seen = Vec::new();
        let start = Instant::now();
        let mut chunk = [0; 4096];
        while start.elapsed() < Duration::from_secs(4) {
            let read = self.site.pty.borrow_mut().read(&mut chunk).unwrap_or(0);
            seen.extend_from_slice(&chunk[..read]);
            while seen.len() >= 8 {
                let length = 8 + usize::from(u16::from_be_bytes([seen[2], seen[3]]));
                if seen.len() < length {
                    break;
                }
                let frame: Vec<u8> = seen.drain(..length).collect();
                if frame[6] == self.sequence {
                    let body: Value = ciborium::from_reader(&frame[8..]).unwrap();
                    return body.into_map().ok();
                }
            }
            if read == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        None
    }

    fn wait_until_it_answers(&mut self) {
        self.ask(true, 0, 0, vec![text("d", "hello")]);
    }

    pub fn states(&mut self) -> Vec<State> {
        let answer = self.ask(false, 1, 0, Vec::new());
        let images = get(&answer, "images")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let state = |image: Value| {
            let map = image.into_map().unwrap();
            let flag = |key: &str| get(&map, key).and_then(Value::as_bool).unwrap_or(false);
            State {
                hash: get(&map, "hash").and_then(Value::as_bytes).unwrap().clone(),
                bootable: flag("bootable"),
                pending: flag("pending"),
                confirmed: flag("confirmed"),
                active: flag("active"),
            }
        };
        images.into_iter().map(state).collect()
    }

    pub fn upload(&mut self, bundle: &[u8]) {
        self.try_upload(bundle).expect("the bundle is taken");
    }

    /// Uploads a whole bundle; gives the `rc` if it is refused.
    pub fn try_upload(&mut self, bundle: &[u8]) -> Result<(), u64> {
        self.send(bundle, bundle.len() as u64).map(|_| ())
    }

    /// Uploads until that many bytes are there, and gives how many are.
    pub fn upload_until(&mut self, bundle: &[u8], bytes: u64) -> u64 {
        self.send(bundle, bytes).unwrap()
    }

    /// Sends the first piece, and gives where the device wants to go on.
    pub fn begin_upload(&mut self, bundle: &[u8]) -> u64 {
        self.piece(bundle, 0).unwrap()
    }

    fn send(&mut self, bundle: &[u8], until: u64) -> Result<u64, u64> {
        let mut offset = 0;
        while offset < until {
            offset = self.piece(bundle, offset)?;
        }
        Ok(offset)
    }

    fn piece(&mut self, bundle: &[u8], offset: u64) -> Result<u64, u64> {
        let start = offset as usize;
        let data = &bundle[start..(start + PIECE).min(bundle.len())];
        let mut body = vec![(Value::from("off"), Value::from(offset)), bytes("data", data)];
        if offset == 0 {
            body.push((Value::from("len"), Value::from(bundle.len() as u64)));
            body.push(bytes("sha", &Sha256::digest(bundle)));
        }
        let answer = self.ask(true, 1, 1, body);
        match get(&answer, "off") {
            Some(offset) => Ok(number(offset)),
            None => Err(number(get(&answer, "rc").expect("rc"))),
        }
    }

    /// Sends a delta; gives the `rc` if it is refused.
    pub fn delta(&mut self, delta: &[u8], base: [u8; 32], target: &[u8]) -> Result<(), u64> {
        let mut offset = 0;
        loop {
            let start = offset as usize;
            let data = &delta[start..(start + PIECE).min(delta.len())];
            let mut body = vec![(Value::from("off"), Value::from(offset)), bytes("data", data)];
            if offset == 0 {
                body.push((Value::from("len"), Value::from(delta.len() as u64)));
                body.push(bytes("sha", &Sha256::digest(delta)));
                body.push(bytes("base", &base));
                body.push(bytes("hash", &self.site.hash(target)));
                body.push((Value::from("total"), Value::from(target.len() as u64)));
            }
            let answer = self.ask(true, 64, 5, body);
            match get(&answer, "off") {
                Some(next) => offset = number(next),
                None => return Err(number(get(&answer, "rc").expect("rc"))),
            }
            if let Some(matches) = get(&answer, "match") {
                assert_eq!(matches.as_bool(), Some(true));
                return Ok(());
            }
        }
    }

    pub fn test(&mut self, hash: &[u8]) {
        let answer = self.ask(
            true,
            1,
            0,
            vec![bytes("hash", hash), (Value::from("confirm"), Value::from(false))],
        );
        assert!(get(&answer, "images").is_some(), "{answer:?}");
    }

    pub fn confirm(&mut self, hash: &[u8]) {
        let answer = self.ask(
            true,
            1,
            0,
            vec![bytes("hash", hash), (Value::from("confirm"), Value::from(true))],
        );
        assert!(get(&answer, "images").is_some(), "{answer:?}");
    }

    /// Asks for a restart, and waits until it is over.
    pub fn restart(&mut self) {
        self.ask(true, 0, 5, Vec::new());
        self.wait_until_it_answers();
    }

    /// Sends a request and does not wait for what it does.
    pub fn send_test(&mut self, hash: &[u8]) {
        self.ask(
            true,
            1,
            0,
            vec![bytes("hash", hash), (Value::from("confirm"), Value::from(false))],
        );
    }

    pub fn send_confirm(&mut self, hash: &[u8]) {
        self.ask(
            true,
            1,
            0,
            vec![bytes("hash", hash), (Value::from("confirm"), Value::from(true))],
        );
    }

    pub fn send_restart(&mut self) {
        self.ask(true, 0, 5, Vec::new());
    }

    /// Uploads until that many bytes are there; gives the `rc` if it is refused.
    pub fn try_upload_until(&mut self, bundle: &[u8], bytes: u64) -> Result<u64, u64> {
        self.send(bundle, bytes)
    }

    /// Ends whatever is under way: confirms a trial, withdraws what is pending.
    pub fn settle(&mut self) {
        let states = self.states();
        if states.iter().any(|state| state.active && !state.confirmed) || states.iter().any(|state| state.pending) {
            self.revert();
        }
        self.wait_for("rest", |states| {
            states.iter().all(|s| !s.pending && s.active == s.confirmed)
        });
    }

    pub fn revert(&mut self) {
        let answer = self.ask(true, 64, 7, Vec::new());
        assert!(get(&answer, "rc").is_none(), "{answer:?}");
    }

    pub fn self_test(&mut self) {
        let answer = self.ask(true, 64, 3, Vec::new());
        assert!(get(&answer, "rc").is_none(), "{answer:?}");
    }

    pub fn files(&mut self) -> Vec<String> {
        let answer = self.ask(false, 64, 6, Vec::new());
        let files = get(&answer, "files")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let name = |file: Value| {
            let map = file.into_map().unwrap();
            get(&map, "name").and_then(Value::as_text).unwrap().to_owned()
        };
        files.into_iter().map(name).collect()
    }

    pub fn download(&mut self, name: &str) -> Result<Vec<u8>, u64> {
        let mut file = Vec::new();
        let mut length = None;
        while length.is_none_or(|length: u64| (file.len() as u64) < length) {
            let offset = file.len() as u64;
            let answer = self.ask(
                false,
                8,
                0,
                vec![text("name", name), (Value::from("off"), Value::from(offset))],
            );
            let Some(data) = get(&answer, "data").and_then(Value::as_bytes) else {
                return Err(number(get(&answer, "rc").expect("rc")));
            };
            file.extend(data);
            length = length.or(get(&answer, "len").map(number));
        }
        Ok(file)
    }

    pub fn wait_for(&mut self, what: &str, is: impl Fn(&[State]) -> bool) {
        let start = Instant::now();
        while !is(&self.states()) {
            let log = fs::read_to_string(self.site.path("stderr")).unwrap_or_default();
            assert!(
                start.elapsed() < PATIENCE,
                "waited for {what}: {:?}\n{log}",
                self.states()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the image that is not active is bootable, and gives its hash.
    pub fn wait_for_bootable(&mut self) -> Vec<u8> {
        self.wait_for("a bootable image", |states| {
            states.iter().any(|s| s.bootable && !s.active)
        });
        self.states().into_iter().find(|s| !s.active).unwrap().hash
    }

    /// Waits for an outcome of a kind, and gives its reason.
    pub fn wait_for_outcome(&mut self, kind: &str) -> String {
        let start = Instant::now();
        loop {
            let answer = self.ask(false, 64, 1, Vec::new());
            let outcomes = get(&answer, "outcomes")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let maps: Vec<Map> = outcomes
                .into_iter()
                .map(|outcome| outcome.into_map().unwrap())
                .collect();
            let word = |map: &Map, key: &str| get(map, key).and_then(Value::as_text).unwrap_or_default().to_owned();
            if let Some(map) = maps.iter().find(|map| word(map, "outcome") == kind) {
                return word(map, "reason");
            }
            let log = fs::read_to_string(self.site.path("stderr")).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "waited for {kind}: {maps:?}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills the service as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it in order, and gives its exit code.
    pub fn stop(mut self) -> i32 {
        // SAFETY: a signal to our own child.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(key: &str, value: &str) -> (Value, Value) {
    (Value::from(key), Value::from(value))
}

fn bytes(key: &str, value: &[u8]) -> (Value, Value) {
    (Value::from(key), Value::Bytes(value.to_vec()))
}

fn get<'m>(map: &'m Map, key: &str) -> Option<&'m Value> {
    map.iter()
        .find(|(name, _)| name.as_text() == Some(key))
        .map(|(_, value)| value)
}

fn number(value: &Value) -> u64 {
    u64::try_from(value.as_integer().unwrap()).unwrap()
}
