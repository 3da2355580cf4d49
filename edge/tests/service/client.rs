//! The client on the service's line: raw frames of its own making.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ciborium::Value;
use sha2::{Digest, Sha256};

use super::{PATIENCE, Site};

/// Bytes of a bundle in one request.
const PIECE: usize = 4096;
/// In place of an `rc`: there is no answer, because the service was killed meanwhile.
pub const KILLED: u64 = u64::MAX;

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
    /// The role that uploads are for.
    image: u32,
    /// The longest that an answer took.
    pub slowest: Duration,
    /// What the answer to the last piece of the last upload took.
    pub last_piece: Duration,
    killed: Arc<AtomicBool>,
}

pub(super) type Map = Vec<(Value, Value)>;

impl<'a> Service<'a> {
    pub(super) fn new(site: &'a Site, child: Child) -> Self {
        Self {
            site,
            child,
            sequence: 0,
            image: 0,
            slowest: Duration::ZERO,
            last_piece: Duration::ZERO,
            killed: Arc::default(),
        }
    }
}

impl Service<'_> {
    /// One request and its answer; requests are repeated, as clients do, if no answer comes.
    pub(super) fn ask(&mut self, write: bool, group: u16, command: u8, body: Map) -> Map {
        let answer = self.request(write, group, command, body);
        let log = || fs::read_to_string(self.site.path("stderr")).unwrap_or_default();
        answer.unwrap_or_else(|| panic!("no answer to group {group}, command {command}:\n{}", log()))
    }

    /// As [`ask`](Self::ask); `None` if the service was killed meanwhile.
    pub(super) fn request(&mut self, write: bool, group: u16, command: u8, body: Map) -> Option<Map> {
        for _ in 0..30 {
            if self.was_killed() {
                return None;
            }
            self.sequence = self.sequence.wrapping_add(1);
            let mut cbor = Vec::new();
            ciborium::into_writer(&Value::Map(body.clone()), &mut cbor).unwrap();
            let mut frame = vec![if write { 2 } else { 0 }, 0];
            frame.extend((cbor.len() as u16).to_be_bytes());
            frame.extend(group.to_be_bytes());
            frame.extend([self.sequence, command]);
            frame.extend(cbor);
            let asked = Instant::now();
            self.site.pty.borrow_mut().write_all(&frame).unwrap();
            if let Some(answer) = self.answer() {
                self.slowest = self.slowest.max(asked.elapsed());
                return Some(answer);
            }
        }
        None
    }

    fn was_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
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
                if self.was_killed() {
                    return None;
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
        None
    }

    pub fn wait_until_it_answers(&mut self) {
        self.ask(true, 0, 0, vec![text("d", "hello")]);
    }

    pub fn states(&mut self) -> Vec<State> {
        self.try_states().expect("the states")
    }

    /// As [`states`](Self::states); `None` if the service was killed meanwhile.
    pub fn try_states(&mut self) -> Option<Vec<State>> {
        let answer = self.request(false, 1, 0, Vec::new())?;
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
        Some(images.into_iter().map(state).collect())
    }

    /// Brings a role's first model to where it is confirmed.
    pub fn serve(&mut self, image: u32, bundle: &[u8]) {
        self.image = image;
        self.upload(bundle);
        let hash = self.wait_for_bootable();
        self.test(&hash);
        self.restart();
        self.wait_for_outcome("passed");
        self.confirm(&hash);
    }

    /// Uploads a bundle for a role.
    pub fn upload_to(&mut self, image: u32, bundle: &[u8]) {
        self.image = image;
        self.upload(bundle);
    }

    pub fn upload(&mut self, bundle: &[u8]) {
        if let Err(rc) = self.try_upload(bundle) {
            let log = fs::read_to_string(self.site.path("stderr")).unwrap_or_default();
            panic!("the bundle is refused with rc {rc}:\n{log}");
        }
    }

    /// Uploads a whole bundle; gives the `rc` if it is refused.
    pub fn try_upload(&mut self, bundle: &[u8]) -> Result<(), u64> {
        self.send(bundle, bundle.len() as u64).map(|_| ())
    }

    /// As [`try_upload`](Self::try_upload), of a bundle that is announced with another length.
    pub fn try_upload_as(&mut self, bundle: &[u8], length: u64) -> Result<(), u64> {
        let mut offset = self.announce(bundle, length)?;
        while offset < bundle.len() as u64 {
            let next = self.piece(bundle, offset)?;
            assert!(next > offset, "the upload stands at {offset}");
            offset = next;
        }
        Ok(())
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
        let (mut offset, mut pieces) = (0, 0);
        while offset < until {
            offset = self.piece(bundle, offset)?;
            pieces += 1;
            assert!(pieces <= 100 + bundle.len() / PIECE, "the upload stands at {offset}");
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
            body.push((Value::from("image"), Value::from(self.image)));
        }
        let asked = Instant::now();
        let answered = self.offset(1, 1, body).map(|(offset, _)| offset);
        self.last_piece = asked.elapsed();
        answered
    }

    /// The `off` and the `match` of the answer to a piece, or its `rc`.
    fn offset(&mut self, group: u16, command: u8, body: Map) -> Result<(u64, Option<bool>), u64> {
        let Some(answer) = self.request(true, group, command, body) else {
            assert!(self.was_killed(), "no answer to a piece");
            return Err(KILLED);
        };
        let matches = get(&answer, "match").and_then(Value::as_bool);
        let offset = get(&answer, "off").map(number);
        offset
            .map(|offset| (offset, matches))
            .ok_or_else(|| number(get(&answer, "rc").expect("rc")))
    }

    /// Announces an upload of any length with the first piece of a bundle; gives the `rc` if it is refused.
    pub fn announce(&mut self, bundle: &[u8], length: u64) -> Result<u64, u64> {
        let piece = &bundle[..PIECE.min(bundle.len())];
        let body = vec![
            (Value::from("off"), Value::from(0)),
            bytes("data", piece),
            (Value::from("len"), Value::from(length)),
        ];
        self.offset(1, 1, body).map(|(offset, _)| offset)
    }

    /// Puts any bytes on the line, and reads away what is answered meanwhile.
    pub fn put_on_line(&mut self, bytes: &[u8]) {
        let mut pty = self.site.pty.borrow_mut();
        let mut answer = [0; 4096];
        for piece in bytes.chunks(answer.len()) {
            pty.write_all(piece).unwrap();
            let _ = pty.read(&mut answer);
        }
    }

    /// Sends a delta; gives the `rc` if it is refused.
    pub fn delta(&mut self, delta: &[u8], base: [u8; 32], target: &[u8]) -> Result<(), u64> {
        self.delta_until(delta, base, target, delta.len() as u64 + 1)
    }

    /// Sends a delta until that many bytes are there, or all of it.
    pub fn delta_until(&mut self, delta: &[u8], base: [u8; 32], target: &[u8], until: u64) -> Result<(), u64> {
        let mut offset = 0;
        while offset < until {
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
            let (next, matches) = self.offset(64, 5, body)?;
            offset = next;
            if let Some(matches) = matches {
                assert!(matches, "a delta arrives as it was sent");
                break;
            }
        }
        Ok(())
    }

    /// Sets the clock, to `2026-01-31T23:59:59`; gives the reason if it is refused.
    pub fn set_time(&mut self, time: &str) -> Result<(), String> {
        let answer = self.ask(true, 0, 4, vec![text("datetime", time)]);
        if answer.is_empty() {
            return Ok(());
        }
        Err(format!("{answer:?}"))
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

    /// Asks for a restart, again while a self-test is in the way, and waits until it is over.
    pub fn restart(&mut self) {
        let start = Instant::now();
        while self.try_restart(false).is_err() {
            assert!(start.elapsed() < PATIENCE, "it never restarts");
            thread::sleep(Duration::from_millis(50));
        }
        self.wait_until_it_answers();
    }

    /// Sends a request, whatever comes of it; also the service may be killed meanwhile.
    pub fn send_test(&mut self, hash: &[u8]) {
        self.request(
            true,
            1,
            0,
            vec![bytes("hash", hash), (Value::from("confirm"), Value::from(false))],
        );
    }

    pub fn send_confirm(&mut self, hash: &[u8]) {
        self.request(
            true,
            1,
            0,
            vec![bytes("hash", hash), (Value::from("confirm"), Value::from(true))],
        );
    }

    pub fn send_restart(&mut self) {
        self.request(true, 0, 5, Vec::new());
    }

    pub fn send_revert(&mut self) {
        self.request(true, 64, 7, Vec::new());
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
            thread::sleep(Duration::from_millis(50));
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
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The problems that it tells of.
    pub fn problems(&mut self) -> Vec<String> {
        let answer = self.ask(false, 64, 1, Vec::new());
        let problems = get(&answer, "problems").and_then(Value::as_array).cloned();
        let text = |problem: Value| {
            let map = problem.into_map().unwrap();
            get(&map, "problem").and_then(Value::as_text).unwrap().to_owned()
        };
        problems.unwrap_or_default().into_iter().map(text).collect()
    }

    /// A number of its memory as the kernel counts it, in bytes: `VmRSS` now, `VmHWM` at most.
    pub fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes * 1024
    }

    /// Lets `VmHWM` count from now on (proc(5), `clear_refs`).
    pub fn forget_peak_memory(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// How many files and connections it has open.
    pub fn open_files(&self) -> usize {
        self.entries("fd")
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.entries("task")
    }

    fn entries(&self, of: &str) -> usize {
        fs::read_dir(format!("/proc/{}/{of}", self.child.id())).unwrap().count()
    }

    /// A path as the service sees it, also on a disk of its own.
    pub fn inside(&self, name: &str) -> PathBuf {
        let path = self.site.path(name);
        PathBuf::from(format!("/proc/{}/root{}", self.child.id(), path.display()))
    }

    /// Kills the service.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Kills the service after a time, whatever it is at then, while `meanwhile` goes on until it notices.
    pub fn kill_after(mut self, time: Duration, meanwhile: impl FnOnce(&mut Self)) {
        let (pid, killed) = (self.child.id() as libc::pid_t, self.killed.clone());
        let killer = thread::spawn(move || {
            thread::sleep(time);
            // SAFETY: a signal to a child of ours that nobody has waited for yet.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            killed.store(true, Ordering::SeqCst);
        });
        meanwhile(&mut self);
        killer.join().unwrap();
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

pub(super) fn text(key: &str, value: &str) -> (Value, Value) {
    (Value::from(key), Value::from(value))
}

pub(super) fn bytes(key: &str, value: &[u8]) -> (Value, Value) {
    (Value::from(key), Value::Bytes(value.to_vec()))
}

pub(super) fn get<'m>(map: &'m Map, key: &str) -> Option<&'m Value> {
    map.iter()
        .find(|(name, _)| name.as_text() == Some(key))
        .map(|(_, value)| value)
}

pub(super) fn number(value: &Value) -> u64 {
    u64::try_from(value.as_integer().unwrap()).unwrap()
}
