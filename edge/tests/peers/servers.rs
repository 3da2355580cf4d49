//! Servers of others on ports of this machine.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support;

/// Nothing takes that long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running program with a port; it ends with this value.
pub struct Server {
    child: Child,
    pub port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts a program whose output goes to a file, and waits until something listens.
    pub fn start(command: Command, port: u16, log: &Path) -> Self {
        let output = fs::File::create(log).unwrap();
        let child = support::tied(command)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            port,
            log: log.to_owned(),
        };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "{}", server.log());
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// dcmtk's storescp, which stores into a folder.
pub fn storescp(port: u16, folder: &Path, options: &[&str]) -> Server {
    fs::create_dir_all(folder).unwrap();
    let mut command = Command::new(super::dcmtk("storescp").expect("asked for before"));
    command.args(["-v", "-aet", "ARCHIVE", "+B", "-od"]).arg(folder);
    command.args(options).arg(port.to_string());
    Server::start(command, port, &folder.with_extension("log"))
}

/// Orthanc, with an HTTP server to look into it.
pub struct Orthanc {
    pub server: Server,
    http: u16,
}

impl Orthanc {
    /// Starts it with its storage in a folder, as a node with this AE title; `more` replaces settings.
    pub fn start(port: u16, folder: &Path, title: &str, more: Value) -> Self {
        fs::create_dir_all(folder).unwrap();
        let http = free_port();
        let mut config = json!({
            "Name": "scanside-test",
            "StorageDirectory": folder.join("storage"),
            "IndexDirectory": folder.join("index"),
            "Plugins": [],
            "HttpPort": http,
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            "DicomAet": title,
            "DicomCheckCalledAet": true,
            "DicomPort": port,
            "DicomAlwaysAllowStore": true,
            "ConcurrentJobs": 1,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let file = folder.join("orthanc.json");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new("Orthanc");
        command.arg(&file).current_dir(folder);
        let server = Server::start(command, port, &folder.join("orthanc.log"));
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", http)).is_err() {
            assert!(begin.elapsed() < PATIENCE, "{}", server.log());
            thread::sleep(Duration::from_millis(20));
        }
        Self { server, http }
    }

    /// The answer of its HTTP server as JSON.
    pub fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path)).unwrap()
    }

    /// The answer of its HTTP server.
    pub fn get(&self, path: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]);
        assert!(head.contains(" 200 OK"), "{path}: {head}");
        answer.split_off(end + 4)
    }
}
