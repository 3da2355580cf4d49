//! The engineer's tool and the service, two programs joined by a pair of pseudo-terminals.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::service::Site;
use crate::service::cable::Cable;

/// The built tool beside the built service; absent, the test is skipped with what to do, but in CI it fails.
fn tool() -> Option<PathBuf> {
    let tool = Path::new(env!("CARGO_BIN_EXE_scanside-edge")).with_file_name("scanside-flash");
    if tool.exists() {
        return Some(tool);
    }
    let absent = "scanside-flash is not built; cargo build -p scanside-flash";
    assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{absent}");
    eprintln!("skipped: {absent}");
    None
}

/// The service on one end of a cable, the tool on the other.
pub struct Desk {
    tool: PathBuf,
    pub site: Site,
    /// The tool's end of the cable.
    pub port: PathBuf,
    _cable: Cable,
}

/// What the tool left.
pub struct Run {
    pub code: Option<i32>,
    pub text: String,
    pub events: Vec<Value>,
}

impl Desk {
    pub fn new() -> Option<Self> {
        Self::on(Cable::new().unwrap())
    }

    /// With a cable that lets so many bytes through in a second.
    pub fn paced(bytes_a_second: u32) -> Option<Self> {
        Self::on(Cable::paced(bytes_a_second).unwrap())
    }

    fn on(cable: Cable) -> Option<Self> {
        let (tool, mut site) = (tool()?, Site::new()?);
        site.port = Some(cable.ends[0].clone());
        let port = cable.ends[1].clone();
        Some(Self {
            tool,
            site,
            port,
            _cable: cable,
        })
    }

    /// The tool on another port than its end of the cable.
    pub fn command(&self, port: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.tool);
        // Nothing of this computer's user.
        command.env("HOME", self.site.path("home")).env_remove("XDG_CACHE_HOME");
        command.arg("--json").arg("--port").arg(port).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(&self.port, arguments).spawn().unwrap()
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(&self.port, arguments).output().unwrap())
    }

    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> Run {
        self.run(arguments).well()
    }

    /// What is in the slots now.
    pub fn images(&self) -> Vec<Value> {
        let status = self.done(&["status"]).event("status").clone();
        status["images"].as_array().unwrap().clone()
    }
}

impl Run {
    pub fn of(output: Output) -> Self {
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        Self {
            code: output.status.code(),
            events: out.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            text: out + &String::from_utf8_lossy(&output.stderr),
        }
    }

    /// It must have ended well.
    #[track_caller]
    pub fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self
    }

    /// The last event of a name.
    #[track_caller]
    pub fn event(&self, name: &str) -> &Value {
        let found = self.events.iter().rev().find(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("no event {name}: {}", self.text))
    }

    pub fn stages(&self) -> Vec<&str> {
        let stages = self.events.iter().filter(|event| event["event"] == "stage");
        stages.map(|event| event["stage"].as_str().unwrap()).collect()
    }

    /// Why it was sent as it was, first to last.
    pub fn choices(&self) -> Vec<&str> {
        let choices = self.events.iter().filter(|event| event["event"] == "choice");
        choices.map(|choice| choice["why"].as_str().unwrap()).collect()
    }

    /// Asserts that the stages come in this order; what the device does quickly may not be seen.
    #[track_caller]
    pub fn assert_order(&self, wanted: &[&str]) {
        let stages = self.stages();
        let mut rest = stages.iter();
        for stage in wanted {
            assert!(rest.any(|seen| seen == stage), "no {stage} in its place: {stages:?}");
        }
    }
}
