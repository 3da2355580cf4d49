//! `cargo xtask peers`: golden values recorded anew by the independent programs that they come from.
//!
//! The tests replay these values; this verb is for the day when a peer or a network changes.

mod gan;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{heading, root, run as run_command};

/// A script that records golden values, and the pinned packages it needs.
struct Peer {
    name: &'static str,
    script: &'static str,
    requirements: &'static str,
}

const PEERS: &[Peer] = &[
    Peer {
        name: "dicom",
        script: "imaging/goldens/record.py",
        requirements: "imaging/goldens/requirements.txt",
    },
    Peer {
        name: "preprocess",
        script: "imaging/goldens/preprocess/record.py",
        requirements: "imaging/goldens/preprocess/requirements.txt",
    },
    Peer {
        name: "metrics",
        script: "trainer/goldens/record.py",
        requirements: "trainer/goldens/requirements.txt",
    },
    Peer {
        name: "expansion",
        script: "trainer/goldens/expansion/record.py",
        requirements: "trainer/goldens/expansion/requirements.txt",
    },
    Peer {
        name: "generative",
        script: "trainer/goldens/generative/record.py",
        requirements: "trainer/goldens/generative/requirements.txt",
    },
    Peer {
        name: "adversarial",
        script: "trainer/goldens/adversarial/record.py",
        requirements: "trainer/goldens/adversarial/requirements.txt",
    },
    Peer {
        name: "weights",
        script: "trainer/goldens/weights/record.py",
        requirements: "trainer/goldens/weights/requirements.txt",
    },
    Peer {
        name: "projection",
        script: "trainer/goldens/projection/record.py",
        requirements: "trainer/goldens/projection/requirements.txt",
    },
    Peer {
        name: "torchvision",
        script: "onnx/peers/torchvision_names.py",
        requirements: "onnx/peers/requirements-torchvision.txt",
    },
];

/// Arguments of `peers`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this one; `gan` trains and times GANs beside PyTorch, and is run only when it is named
    name: Option<String>,
    #[command(flatten)]
    gan: gan::Args,
}

/// Runs each peer's script in an environment of its own.
///
/// # Errors
/// An unknown name, packages that cannot be installed, or a script that fails.
pub fn run(args: &Args) -> Result<()> {
    if args.name.as_deref() == Some(gan::NAME) {
        return gan::run(&args.gan);
    }
    let wanted: Vec<&Peer> = PEERS
        .iter()
        .filter(|peer| args.name.as_deref().is_none_or(|name| name == peer.name))
        .collect();
    if wanted.is_empty() {
        let names: Vec<&str> = PEERS.iter().map(|peer| peer.name).chain([gan::NAME]).collect();
        bail!("no such peer; there are: {}", names.join(", "));
    }
    for peer in wanted {
        heading(peer.name);
        let python = environment(peer.name, peer.requirements)?;
        run_command(Command::new(python).arg(root().join(peer.script)).current_dir(root()))?;
    }
    Ok(())
}

/// The Python of the virtual environment of this name with these packages.
fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    let folder = root().join(".venv").join(name);
    let python = folder.join("bin/python");
    if !python.exists() {
        run_command(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    run_command(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(root().join(requirements)),
    )?;
    Ok(python)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The Python scripts below `folder` that record.
    fn recorders(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                recorders(&path, found);
            } else if name.starts_with("record") && name.ends_with(".py") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_recorder_is_a_peer() {
        let mut found = Vec::new();
        recorders(&root(), &mut found);
        assert!(!found.is_empty());
        for script in found {
            assert!(
                PEERS.iter().any(|peer| Path::new(peer.script) == script),
                "{} is not among the peers",
                script.display()
            );
        }
    }

    #[test]
    fn every_peer_is_pinned() {
        let of_gan = ["train.py", "step_time.py", "figures.py"].map(|script| format!("{}/{script}", gan::FOLDER));
        for script in &of_gan {
            assert!(root().join(script).is_file(), "{script}");
        }
        for peer in PEERS {
            let script = fs::read_to_string(root().join(peer.script)).unwrap();
            assert!(!script.contains("pip install"), "{} names packages itself", peer.script);
            let requirements = fs::read_to_string(root().join(peer.requirements)).unwrap();
            for line in requirements.lines().filter(|line| !line.starts_with('#')) {
                assert!(line.contains("=="), "{}: {line}", peer.requirements);
            }
        }
    }
}
