//! Where the service's log goes: a file a day in the state folder, and standard error.
//!
//! Logs hold no patient data: no file names of images, no texts from inside them.

use std::path::Path;

use anyhow::{Context, Result};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Days that are kept.
const DAYS: usize = 14;

/// Begins the log; it is written until the returned guard goes.
///
/// # Errors
/// If the folder cannot be written.
pub fn begin(folder: &Path) -> Result<impl Drop + use<>> {
    std::fs::create_dir_all(folder).with_context(|| format!("logs {}: cannot make the folder", folder.display()))?;
    let file = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("edge")
        .filename_suffix("log")
        .max_log_files(DAYS)
        .build(folder)
        .with_context(|| format!("logs {}: the folder cannot be written", folder.display()))?;
    let (file, guard) = tracing_appender::non_blocking(file);
    tracing_subscriber::registry()
        .with(layer().with_ansi(false).with_target(false).with_writer(file))
        .with(layer().with_ansi(false).with_target(false).with_writer(std::io::stderr))
        .with(LevelFilter::INFO)
        .init();
    Ok(guard)
}
