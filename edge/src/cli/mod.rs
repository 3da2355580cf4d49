//! The command line: one file a verb.

mod audit;
mod calibrate;
mod cases;
mod collisions;
mod config;
mod doctor;
mod logging;
mod outbox;
mod output;
mod result_text;
mod run;
mod triage;

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use bundle::cli::{BundleCommand, KeyCommand, TrustArgs, answer};
use bundle::{Policy, TrustedKeys};
use clap::{Args, Parser, Subcommand};
use onnx::runtime::{self, LibraryError, Provider, Runtime, SessionOptions};

use self::collisions::Named;
use crate::appliance::Appliance;
use crate::config::Config;
use crate::exit::Exit;
use crate::finding::Engine;
use crate::inference::{Model, ModelError, ReadBundle};

/// The appliance: from an image to a finding on a display. A triage aid, never a diagnosis.
#[derive(Debug, Parser)]
#[command(name = "scanside-edge", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Assess images and show the results
    Triage(Box<triage::TriageArgs>),
    /// Serve: images from scanners (DICOM), a watched folder and removable media; results on the display, in the case store
    /// and at the archive; new models over the serial line
    Run(run::RunArgs),
    /// Check this appliance and the models that serve on it, or one bundle's model: golden cases, latency, library
    Doctor(Box<doctor::DoctorArgs>),
    /// Choose operating points for this scanner, from cases whose truth is known
    Calibrate(calibrate::CalibrateArgs),
    /// Look at cases and take them out
    #[command(subcommand)]
    Cases(cases::CasesCommand),
    /// Look at what is to leave the appliance, try it again, give it up, ask the archive
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    /// Check the trail of what happened
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Check a config file
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Look at bundles and check them
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Work with the keys that sign bundles
    #[command(subcommand)]
    Key(KeyCommand),
}

/// Carries the command line out; prints an error once and gives the exit code.
#[must_use]
pub fn run(cli: &Cli) -> Exit {
    let done = match &cli.verb {
        Verb::Triage(args) => triage::run(args),
        Verb::Run(args) => run::run(args),
        Verb::Doctor(args) => doctor::run(args),
        Verb::Calibrate(args) => calibrate::run(args),
        Verb::Cases(command) => cases::run(command),
        Verb::Outbox(command) => outbox::run(command),
        Verb::Audit(command) => audit::run(command),
        Verb::Config(command) => config::run(command),
        Verb::Bundle(command) => command
            .run(None, &mut answer())
            .map_err(Into::into)
            .map(|()| Exit::Done),
        Verb::Key(command) => command.run(&mut answer()).map_err(Into::into).map(|()| Exit::Done),
    };
    done.unwrap_or_else(|error| report(&error))
}

/// Prints an error once and gives its exit code.
fn report(error: &anyhow::Error) -> Exit {
    // Nothing can be told where stderr is closed.
    let _ = writeln!(io::stderr(), "error: {}", bundle::cli::said_once(error.as_ref()));
    Exit::of(error)
}

/// The model and what it runs on.
#[derive(Debug, Args)]
struct ModelArgs {
    /// The model: a signed bundle
    #[arg(long, value_name = "FILE.scanside")]
    bundle: PathBuf,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

/// Whose models are trusted, and what they run on.
#[derive(Debug, Args)]
struct RuntimeArgs {
    #[command(flatten)]
    trust: TrustArgs,
    /// Config file (TOML, see docs/appliance.md) with the folder of trusted keys, the library, threads, providers
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// ONNX Runtime's library or its folder [default: searched for]
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
    /// Threads of one inference; 0 takes one a core [default: 1]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Execution providers in order of preference: cpu, cuda, tensorrt, openvino [default: cpu]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    provider: Vec<Provider>,
}

/// What [`RuntimeArgs`] and the config amount to, for a bundle.
struct Settings {
    bundle: PathBuf,
    keys: TrustedKeys,
    policy: Policy,
    onnxruntime: Option<PathBuf>,
    session: SessionOptions,
}

/// A loaded model with what it runs on.
struct Loaded {
    model: Model,
    golden: std::collections::BTreeMap<String, Vec<u8>>,
    engine: Engine,
    runtime: &'static Runtime,
}

impl ModelArgs {
    /// The files that are read.
    fn files(&self) -> Vec<Named> {
        let mut files = vec![Named::new("bundle", &self.bundle)];
        let RuntimeArgs {
            trust,
            config,
            onnxruntime,
            ..
        } = &self.runtime;
        let folder = trust.keys.iter().filter_map(|folder| fs::read_dir(folder).ok());
        let in_folder = folder.flatten().flatten().map(|entry| entry.path());
        let keys = trust.key.iter().cloned().chain(in_folder);
        files.extend(keys.map(|path| Named::new("public key", path)));
        files.extend(config.iter().map(|path| Named::new("config", path)));
        files.extend(onnxruntime.iter().map(|path| Named::new("library", path)));
        files
    }

    fn settings(&self) -> Result<Settings> {
        self.runtime.settings(&self.bundle)
    }
}

impl RuntimeArgs {
    fn settings(&self, bundle: &Path) -> Result<Settings> {
        let config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        let mut session = SessionOptions::default();
        if let Some(threads) = self.threads.or(config.threads) {
            session.intra_threads = threads;
        }
        let providers = if self.provider.is_empty() {
            config.providers
        } else {
            self.provider.clone()
        };
        if !providers.is_empty() {
            session.providers = providers;
        }
        Ok(Settings {
            bundle: bundle.to_path_buf(),
            keys: self.trust.trusted(config.trusted_keys.as_deref())?,
            policy: Policy {
                lowest_security_counter: config.lowest_security_counter,
                ..Policy::default()
            },
            onnxruntime: self.onnxruntime.clone().or(config.onnxruntime),
            session,
        })
    }
}

impl Settings {
    /// Verifies the bundle while the library loads, then builds the session.
    fn load(&self, golden: bool) -> Result<Loaded> {
        let (bundle, runtime) = thread::scope(|scope| {
            let library = scope.spawn(|| runtime::load(self.onnxruntime.as_deref()));
            (self.read(golden), library.join())
        });
        // A refused bundle is the graver news.
        let bundle = bundle?;
        let runtime = runtime.unwrap_or_else(|_| Err(library_panicked()))?;
        let engine = Engine::new(runtime, &self.session, bundle.manifest());
        let name = || format!("bundle {}", self.bundle.display());
        let (model, golden) = bundle.load(runtime, &self.session).with_context(name)?;
        Ok(Loaded {
            model,
            golden,
            engine,
            runtime,
        })
    }

    fn appliance(&self) -> Appliance {
        Appliance::here(&self.session.providers)
    }

    fn read(&self, golden: bool) -> Result<ReadBundle> {
        let name = || format!("bundle {}", self.bundle.display());
        let file = File::open(&self.bundle).with_context(name)?;
        let read = ReadBundle::read(
            BufReader::new(file),
            &self.keys,
            &self.policy,
            &self.appliance(),
            golden,
        );
        read.with_context(name)
    }
}

/// The binding panics on faults that [`runtime::load`] does not foresee.
fn library_panicked() -> LibraryError {
    LibraryError::NotFound { searched: Vec::new() }
}

/// An error of a model is the bundle's or the appliance's, not an image's.
fn model_failed(error: ModelError) -> anyhow::Error {
    anyhow::Error::new(error).context("the model cannot assess images")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_help_names_what_the_service_serves() {
        Cli::command().debug_assert();
        let command = Cli::command();
        let about = |verb: &str| {
            let verb = command.find_subcommand(verb).expect("a verb");
            verb.get_about().expect("its help").to_string()
        };
        for intake in ["DICOM", "folder", "media"] {
            assert!(about("run").contains(intake), "{intake}");
        }
        for verb in ["try it again", "give it up", "ask the archive"] {
            assert!(about("outbox").contains(verb), "{verb}");
        }
    }
}
