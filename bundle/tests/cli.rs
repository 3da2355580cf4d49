//! The shared verbs, and the tools of others that read what we write: Debian's minisign and PyPI's imgtool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use scanside_bundle::cli::{BundleCommand, CliError, KeyCommand};
use scanside_bundle::sign::{self, SignError};
use scanside_bundle::{SecretKey, container, example};

#[derive(Parser)]
enum Program {
    #[command(subcommand)]
    Bundle(BundleCommand),
    #[command(subcommand)]
    Key(KeyCommand),
}

fn run(arguments: &[&str]) -> Result<String, CliError> {
    let mut out = Vec::new();
    match Program::try_parse_from(std::iter::once(&"program").chain(arguments)).unwrap() {
        Program::Bundle(command) => command.run(None, &mut out)?,
        Program::Key(command) => command.run(&mut out)?,
    }
    Ok(String::from_utf8(out).unwrap())
}

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    /// A folder with the key pair `site` and the bundle `example.scanside` that it signed.
    fn new() -> Self {
        let this = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        run(&["key", "new", "--out", &this.path("site"), "--no-password"]).unwrap();
        let secret = this.secret("site", "").unwrap();
        let file = fs::File::create(this.path("example.scanside")).unwrap();
        container::write(&example::manifest(), &example::files(), &secret, file).unwrap();
        this
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// The secret key `name`, opened with a password if it has one.
    fn secret(&self, name: &str, password: &str) -> Result<SecretKey, SignError> {
        let path = self.path(&format!("{name}.key"));
        sign::load_secret(Path::new(&path), || Ok(password.to_owned()))
    }
}

#[test]
fn what_an_update_takes_is_told_of_two_good_bundles() {
    let folder = Folder::new();
    let (base, key) = (folder.path("example.scanside"), folder.path("site.pub"));
    let mut manifest = example::manifest();
    manifest.version = "1.3.0".parse().unwrap();
    let new = folder.path("new.scanside");
    let secret = folder.secret("site", "").unwrap();
    container::write(&manifest, &example::files(), &secret, fs::File::create(&new).unwrap()).unwrap();
    let arguments = ["bundle", "delta", &base, &new, "--key", &key];
    let text = run(&arguments).unwrap();
    assert!(
        text.contains("as a difference to") && text.contains("minutes"),
        "{text}"
    );
    let json = run(&[&arguments[..], &["--json"]].concat()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["bundle_bytes"], fs::metadata(&new).unwrap().len());
    // Only the manifest differs.
    assert!(value["share"].as_f64().unwrap() < 0.5, "{value}");
    fs::write(&base, b"no bundle").unwrap();
    assert_eq!(run(&arguments).unwrap_err().exit_code(), 4);
}

#[test]
fn a_good_bundle_is_verified_and_described() {
    let folder = Folder::new();
    let (bundle, key) = (folder.path("example.scanside"), folder.path("site.pub"));
    let text = run(&["bundle", "verify", &bundle, "--key", &key]).unwrap();
    assert!(text.contains("good") && text.contains("example-triage 1.2.3"), "{text}");
    let keys = folder.path("");
    let text = run(&["bundle", "inspect", &bundle, "--keys", &keys]).unwrap();
    for wanted in [
        "No finding",
        "flagged from 0.400",
        "auroc",
        "200",
        "Not for diagnosis",
        "model.int8.onnx",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in:\n{text}");
    }
    let json = run(&["bundle", "inspect", &bundle, "--key", &key, "--json"]).unwrap();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["manifest"]["labels"][0]["id"], "normal");
}

#[test]
fn refusals_have_the_exit_codes_of_the_programs() {
    let folder = Folder::new();
    let (bundle, key) = (folder.path("example.scanside"), folder.path("site.pub"));
    let code = |arguments: &[&str]| run(arguments).unwrap_err().exit_code();
    assert_eq!(code(&["bundle", "verify", &bundle]), 2, "no key");
    assert_eq!(code(&["bundle", "verify", &bundle, "--key", &bundle]), 2, "not a key");
    assert_eq!(
        code(&["bundle", "verify", &folder.path("none"), "--key", &key]),
        1,
        "no such file"
    );
    assert_eq!(code(&["bundle", "verify", &key, "--key", &key]), 4, "not a bundle");
    let counter = [
        "bundle",
        "verify",
        &bundle,
        "--key",
        &key,
        "--lowest-security-counter",
        "8",
    ];
    assert_eq!(code(&counter), 4);
    let error = run(&counter).unwrap_err().to_string();
    assert!(
        error.contains("example.scanside: the security counter 7 is lower than 8"),
        "{error}"
    );
    run(&["key", "new", "--out", &folder.path("other"), "--no-password"]).unwrap();
    assert_eq!(
        code(&["bundle", "verify", &bundle, "--key", &folder.path("other.pub")]),
        4,
        "another key"
    );
}

#[test]
fn keys_are_never_overwritten_and_secrets_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let before = fs::read(folder.path("site.key")).unwrap();
    let error = run(&["key", "new", "--out", &folder.path("site"), "--no-password"]).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert_eq!(fs::read(folder.path("site.key")).unwrap(), before);
    let mode = fs::metadata(folder.path("site.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_public_key_that_exists_leaves_no_half_pair() {
    let folder = Folder::new();
    fs::remove_file(folder.path("site.key")).unwrap();
    let error = run(&["key", "new", "--out", &folder.path("site"), "--no-password"]).unwrap_err();
    assert!(
        error.exit_code() == 1 && error.to_string().contains("site.pub"),
        "{error}"
    );
    assert!(!fs::exists(folder.path("site.key")).unwrap());
}

#[test]
fn a_password_comes_from_a_file() {
    let folder = Folder::new();
    fs::write(folder.path("password"), "open sesame\n").unwrap();
    fs::write(folder.path("empty"), "\n").unwrap();
    run(&[
        "key",
        "new",
        "--out",
        &folder.path("p"),
        "--password-file",
        &folder.path("password"),
    ])
    .unwrap();
    assert!(folder.secret("p", "open sesame").is_ok());
    assert!(matches!(
        folder.secret("p", "open barley"),
        Err(SignError::WrongPassword { .. })
    ));
    let error = run(&[
        "key",
        "new",
        "--out",
        &folder.path("q"),
        "--password-file",
        &folder.path("empty"),
    ])
    .unwrap_err();
    assert!(error.to_string().contains("empty"), "{error}");
}

#[test]
fn debians_minisign_verifies_the_header() {
    let folder = Folder::new();
    let (bundle, header) = (folder.path("example.scanside"), folder.path("header.bin"));
    run(&["bundle", "header", &bundle, "--out", &header]).unwrap();
    let Some(minisign) = peer("minisign", "apt-get install minisign") else {
        return;
    };
    let verify = || {
        let arguments = ["-V", "-p", &folder.path("site.pub"), "-m", &header];
        Command::new(&minisign).args(arguments).output().unwrap()
    };
    let output = verify();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("example-triage 1.2.3 security counter 7"), "{text}");
    let mut bytes = fs::read(&header).unwrap();
    bytes[100] ^= 1;
    fs::write(&header, bytes).unwrap();
    assert!(!verify().status.success());
}

#[test]
fn imgtool_reads_the_mcuboot_face() {
    let folder = Folder::new();
    let Some(imgtool) = peer("imgtool", "pip install imgtool") else {
        return;
    };
    let bundle = folder.path("example.scanside");
    let imgtool = |verb: &str, path: &str| {
        let output = Command::new(&imgtool).args([verb, path]).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (good, text) = imgtool("verify", &bundle);
    assert!(good && text.contains("Image version: 1.2.3+0"), "{text}");
    let checked = run(&["bundle", "verify", &bundle, "--key", &folder.path("site.pub"), "--json"]).unwrap();
    let checked: serde_json::Value = serde_json::from_str(&checked).unwrap();
    assert!(
        text.contains(checked["image_digest"].as_str().unwrap()),
        "{text}\n{checked}"
    );
    let (good, text) = imgtool("dumpinfo", &bundle);
    assert!(good && text.contains("SEC_CNT") && text.contains("SHA256"), "{text}");
    let mut bytes = fs::read(&bundle).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = folder.path("damaged.scanside");
    fs::write(&damaged, bytes).unwrap();
    assert!(!imgtool("verify", &damaged).0);
}

/// The program on the PATH; absent, the test is skipped, but in CI it fails.
fn peer(name: &str, install: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| Path::is_file(path));
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none_or(|v| v != "true"),
            "{name} is absent; {install}"
        );
        eprintln!("skipped: {name} is absent; {install}");
    }
    found
}
