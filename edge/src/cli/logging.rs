//! Where the service's log goes: a file a day in the state folder, and standard error.
//!
//! Logs hold no patient data: no file names of images, no texts from inside them.

use std::path::Path;

use anyhow::{Context, Result};
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Days that are kept.
const DAYS: usize = 14;

/// Begins the log; files are written until the returned guard goes. Where the folder cannot be written there is none, and
/// standard error has everything: a service that cannot write must be able to say so.
#[must_use]
pub fn begin(folder: &Path) -> Option<WorkerGuard> {
    let (file, guard, problem) = match file(folder) {
        Ok((file, guard)) => (Some(file), Some(guard), None),
        Err(error) => (None, None, Some(error)),
    };
    tracing_subscriber::registry()
        .with(file.map(|file| layer().with_ansi(false).with_target(false).with_writer(file)))
        .with(layer().with_ansi(false).with_target(false).with_writer(std::io::stderr))
        .with(LevelFilter::INFO)
        .init();
    if let Some(problem) = problem {
        tracing::error!("there is no log in files: {problem:#}");
    }
    guard
}

fn file(folder: &Path) -> Result<(NonBlocking, WorkerGuard)> {
    std::fs::create_dir_all(folder).with_context(|| format!("logs {}: cannot make the folder", folder.display()))?;
    let file = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("edge")
        .filename_suffix("log")
        .max_log_files(DAYS)
        .build(folder)
        .with_context(|| format!("logs {}: the folder cannot be written", folder.display()))?;
    Ok(tracing_appender::non_blocking(file))
}
