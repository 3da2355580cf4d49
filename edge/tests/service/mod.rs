//! A place for the service, and a client on its serial line. The client speaks raw frames of its own making; clients
//! that are not ours drive the service in `tests/`.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod cable;
mod client;
mod questions;

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bundle::Manifest;
use bundle::container::{self, PayloadFile};
use bundle::manifest::{FileKind, GoldenCase};
use bundle::sign::{self, NewKeys, SecretKey};
use hardware::smp::port::Pty;
use rusqlite::Connection;

#[allow(unused_imports, reason = "each test file uses its part")]
pub use client::{KILLED, Service, State};

use crate::support::{self, Says, TINY, WIDER, Work, chest, of_work, program};

/// Nothing takes that long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A state folder, keys, an inbox, and bundles that differ from each other.
pub struct Site {
    folder: tempfile::TempDir,
    keys: NewKeys,
    pty: RefCell<Pty>,
    made: AtomicU32,
    drawn: AtomicU32,
    pub trial_inferences: Option<u32>,
    /// Where ONNX Runtime is, if not where it is found by itself. For the next start: [`Site::write_config`].
    pub onnxruntime: RefCell<Option<PathBuf>>,
    /// More sections of the config.
    pub extra: String,
    /// Width and height of the display.
    pub display: (u32, u32),
    /// More of the display's section.
    pub display_lines: &'static str,
    /// How much bundles work on an image.
    pub work: Work,
    /// Roles, if not the one that is there by itself.
    pub roles: Vec<&'static str>,
    /// Modalities that bundles are for, if not those of the example.
    pub modalities: Vec<&'static str>,
    /// Megabytes of a disk of its own that the state folder lies on, which only the service sees.
    pub disk_megabytes: Option<u32>,
    /// More environment of the service.
    pub environment: Vec<(&'static str, PathBuf)>,
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
            drawn: AtomicU32::new(0),
            trial_inferences: None,
            onnxruntime: RefCell::new(None),
            extra: String::new(),
            display: (800, 480),
            display_lines: "",
            work: TINY,
            roles: Vec::new(),
            modalities: Vec::new(),
            disk_megabytes: None,
            environment: Vec::new(),
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

    /// Writes the config that the next start reads.
    pub fn write_config(&self) {
        let port = self
            .port
            .clone()
            .unwrap_or_else(|| self.pty.borrow().path().to_path_buf());
        let trial = self
            .trial_inferences
            .map(|n| format!("[appliance.update]\ntrial_inferences = {n}\n"));
        let roles = Some(&self.roles).filter(|roles| !roles.is_empty());
        let roles = roles.map(|roles| format!("roles = {roles:?}\n")).unwrap_or_default();
        let library = self.onnxruntime.borrow();
        let library = library.as_ref().map(|path| format!("onnxruntime = {path:?}\n"));
        let config = format!(
            "trusted_keys = {keys:?}\n{library}[appliance]\nstate = {state:?}\n{roles}[appliance.serial]\nport = {port:?}\n\
             [appliance.display]\nkind = \"png\"\npath = {screen:?}\nwidth = {width}\nheight = {height}\n\
             {lines}[appliance.intake]\nfolder = {inbox:?}\nquiet_seconds = 0\n{trial}{extra}",
            keys = self.path("keys"),
            state = self.path("state"),
            screen = self.path("screen.png"),
            inbox = self.path("inbox"),
            trial = trial.unwrap_or_default(),
            library = library.unwrap_or_default(),
            width = self.display.0,
            height = self.display.1,
            lines = self.display_lines,
            extra = self.extra,
        );
        fs::write(self.path("edge.toml"), config).unwrap();
    }

    /// Starts the service.
    pub fn spawn(&self) -> Service<'_> {
        self.write_config();
        self.spawn_as_configured()
    }

    /// Starts the service on the config that is there.
    pub fn spawn_as_configured(&self) -> Service<'_> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("stderr"))
            .unwrap();
        let mut command = support::tied(match self.disk_megabytes {
            Some(megabytes) => self.on_a_disk(megabytes),
            None => program(),
        });
        let child = command
            .arg("run")
            .arg("--config")
            .arg(self.path("edge.toml"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Service::new(self, child)
    }

    /// The program in a mount namespace of its own, with a small disk at the state folder.
    fn on_a_disk(&self, megabytes: u32) -> Command {
        let script = "mkdir -p \"$1\" && mount -t tmpfs -o size=\"$2\"m none \"$1\" && shift 2 && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(self.path("state")).arg(megabytes.to_string());
        command.arg(program().get_program());
        command
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

    /// A service whose first model is confirmed.
    pub fn with_confirmed_model(&self) -> Service<'_> {
        let mut service = self.start();
        service.serve(0, &self.bundle(|_| ()));
        service
    }

    /// A service with a model for each of these roles, which the config must name, and the modalities that it is for.
    pub fn with_models(&self, roles: &[(&str, &[&str])]) -> Service<'_> {
        let mut service = self.start();
        for (image, (role, modalities)) in (0..).zip(roles) {
            service.serve(image, &self.model_for(role, modalities));
        }
        service
    }

    /// A bundle for a role and these modalities.
    pub fn model_for(&self, role: &str, modalities: &[&str]) -> Vec<u8> {
        let (mut manifest, files) = of_work(Says::Finding, self.work);
        role.clone_into(&mut manifest.role);
        manifest.intended_use.modalities = modalities.iter().map(|name| (*name).to_owned()).collect();
        self.pack(manifest, &files, &self.secret())
    }

    /// A bundle that is like no other, after a change of its files.
    pub fn bundle(&self, change: impl FnOnce(&mut Vec<PayloadFile>)) -> Vec<u8> {
        let (manifest, mut files) = of_work(Says::Finding, self.work);
        change(&mut files);
        self.pack(manifest, &files, &self.secret())
    }

    /// One that takes the service a while to read back, to load and to test, although it is not long.
    pub fn slow(&self, change: impl FnOnce(&mut Vec<PayloadFile>)) -> Vec<u8> {
        let (mut manifest, mut files) = of_work(Says::Finding, WIDER);
        let case = manifest.golden.remove(0);
        let named = |number: usize| GoldenCase {
            name: format!("a drawn input, {number}"),
            ..case.clone()
        };
        manifest.golden = (1..=200).map(named).collect();
        files.push(PayloadFile::new(
            "report/zeros.bin",
            FileKind::Report,
            vec![0; 400_000_000],
        ));
        change(&mut files);
        self.pack(manifest, &files, &self.secret())
    }

    /// One whose golden cases come out differently.
    pub fn failing(&self) -> Vec<u8> {
        self.bundle(|files| {
            let expected = files.iter_mut().find(|file| file.path.ends_with(".json")).unwrap();
            let mut outputs: serde_json::Value = serde_json::from_slice(&expected.bytes).unwrap();
            outputs["probabilities"] = serde_json::json!([0.9, 0.05, 0.05]);
            expected.bytes = serde_json::to_vec(&outputs).unwrap();
        })
    }

    /// One signed by a stranger.
    pub fn stranger(&self) -> Vec<u8> {
        let (manifest, files) = of_work(Says::Finding, self.work);
        let keys = sign::generate(None).unwrap();
        self.pack(manifest, &files, &sign::parse_secret(&keys.secret_file).unwrap())
    }

    pub fn of_role(&self, role: &str) -> Vec<u8> {
        let (mut manifest, files) = of_work(Says::Finding, self.work);
        role.clone_into(&mut manifest.role);
        self.pack(manifest, &files, &self.secret())
    }

    /// As [`Site::bundle`], with a security counter.
    pub fn bundle_of_counter(&self, counter: u32, change: impl FnOnce(&mut Vec<PayloadFile>)) -> Vec<u8> {
        let (mut manifest, mut files) = of_work(Says::Finding, self.work);
        manifest.security_counter = counter;
        change(&mut files);
        self.pack(manifest, &files, &self.secret())
    }

    /// The front is good, a byte of the payload is not.
    pub fn damaged_payload(&self) -> Vec<u8> {
        let mut bundle = self.bundle(|_| ());
        let middle = bundle.len() * 3 / 4;
        bundle[middle] ^= 1;
        bundle
    }

    /// Whose bundles the service believes.
    pub fn trusted(&self) -> bundle::TrustedKeys {
        bundle::TrustedKeys::new(vec![self.keys.public.clone()])
    }

    /// A bundle of a model that is not the tiny one.
    pub fn bundle_of(&self, manifest: Manifest, files: &[PayloadFile]) -> Vec<u8> {
        self.pack(manifest, files, &self.secret())
    }

    pub fn secret(&self) -> SecretKey {
        sign::parse_secret(&self.keys.secret_file).unwrap()
    }

    fn pack(&self, mut manifest: Manifest, files: &[PayloadFile], secret: &SecretKey) -> Vec<u8> {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        manifest.version = format!("1.{number}.0").parse().unwrap();
        if !self.modalities.is_empty() {
            manifest.intended_use.modalities = self.modalities.iter().map(|name| (*name).to_owned()).collect();
        }
        let mut bundle = Vec::new();
        container::write(&manifest, files, secret, &mut bundle).unwrap();
        bundle
    }

    /// The hash of a bundle, by which the line names it.
    pub fn hash(&self, bundle: &[u8]) -> Vec<u8> {
        let checked = container::verify(bundle, &self.trusted(), &bundle::Policy::default()).unwrap();
        checked.image_digest.to_vec()
    }

    /// Puts an image into the inbox that is like no other: the same one is not done twice.
    pub fn image(&self, name: &str) -> PathBuf {
        let path = self.path("inbox").join(name);
        let mut image = chest(300, 260);
        let number = self.drawn.fetch_add(1, Ordering::SeqCst);
        for (x, byte) in (0..).zip(number.to_le_bytes()) {
            image.put_pixel(x, 0, image::Luma([byte]));
        }
        image.save(self.path(name)).unwrap();
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

    /// The service's database.
    pub fn database(&self) -> Connection {
        Connection::open(self.path("state/store.sqlite")).unwrap()
    }

    /// The number that a query of the database gives.
    pub fn count(&self, sql: &str) -> i64 {
        self.database().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// The texts that a query of the database gives.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let connection = self.database();
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// So many images are in the store, each once and each with one result, and database, trail and files are sound.
    pub fn assert_each_once(&self, images: i64) {
        for what in [
            "SELECT count(*) FROM images",
            "SELECT count(*) FROM images WHERE state = 'done'",
            "SELECT count(*) FROM results",
            "SELECT count(DISTINCT detail ->> 'image') FROM audit WHERE event = 'image-received'",
            "SELECT count(*) FROM audit WHERE event = 'image-received'",
            "SELECT count(DISTINCT detail ->> 'image') FROM audit WHERE event = 'result'",
            "SELECT count(*) FROM audit WHERE event = 'result'",
        ] {
            assert_eq!(self.count(what), images, "{what}");
        }
        assert_eq!(self.texts("PRAGMA integrity_check"), ["ok"]);
        let mut command = program();
        command
            .args(["audit", "verify", "--config"])
            .arg(self.path("edge.toml"));
        let verified = command.output().unwrap();
        assert!(verified.status.success(), "{}", support::stdout(&verified));
        let names = |folder: &str| fs::read_dir(self.path("state").join(folder)).unwrap().count() as i64;
        assert_eq!(names("incoming"), 0);
        let kept = self.count("SELECT count(*) FROM images WHERE file IS NOT NULL");
        assert_eq!(names("images"), kept, "no file without a row");
    }

    /// Looks until as much is done as is wanted; it may take as long as it likes while it gets on.
    pub fn wait_for_all(&self, what: &str, wanted: i64, mut done: impl FnMut() -> i64) {
        let (mut seen, mut since) = (i64::MIN, Instant::now());
        loop {
            let now = done();
            if now >= wanted {
                return;
            }
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
            let log = || fs::read_to_string(self.path("stderr")).unwrap_or_default();
            assert!(
                since.elapsed() < PATIENCE,
                "waited for {what}: {now} of {wanted}\n{}",
                log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
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
