//! The thread of the buttons: a press is timed when it is read, so nothing else runs here.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::shared::Shared;
use super::tasks;
use crate::controls::Panel;

/// What the thread is called.
const NAME: &str = "buttons";
/// How often to look whether the service ends.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long to leave buttons alone that failed.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(1);

/// Passes on what is pressed until the service ends.
///
/// # Errors
/// If no thread can be started.
pub fn spawn(shared: Arc<Shared>, mut panel: Panel) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(NAME.to_owned()).spawn(move || {
        let mut told = String::new();
        // Buttons that are away are no fault: nobody loses a result by it.
        let lost = |_| thread::sleep(PAUSE_AFTER_FAULT);
        let mut watch = || pass_on(&shared, &mut panel, &mut told);
        tasks::persist(NAME, &|| shared.is_ending(), &mut watch, &lost);
    })
}

fn pass_on(shared: &Shared, panel: &mut Panel, told: &mut String) {
    while !shared.is_ending() {
        let problem = match panel.poll(PATIENCE) {
            Ok(actions) if actions.is_empty() => continue,
            Ok(actions) => {
                shared.press(actions);
                continue;
            }
            Err(error) => error.to_string(),
        };
        // Buttons that stay away are told once.
        if problem != *told {
            tracing::warn!("{problem}");
            *told = problem;
        }
        thread::sleep(PAUSE_AFTER_FAULT);
    }
}
