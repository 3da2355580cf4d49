//! The main thread: keeps the display true, whatever the others are at, and says when to end.

use std::sync::Arc;
use std::time::Duration;

use super::display::Viewer;
use super::liveness::Liveness;
use super::shared::Shared;
use super::{DaemonError, Ended};

/// How often the display is looked after when nothing happens: often enough for its moving mark.
const REST: Duration = Duration::from_millis(150);

/// Serves display, buttons, lights and watchdog until `stop`, a restart that was asked for over the line, or the loss of
/// a thread that the appliance cannot do without, which `check` finds. The watchdog hears that the service lives only
/// from here.
///
/// # Errors
/// What `check` says.
pub fn run(
    shared: &Arc<Shared>,
    viewer: &mut Viewer<'_>,
    liveness: &mut Liveness,
    stop: &dyn Fn() -> bool,
    check: &mut dyn FnMut() -> Result<(), DaemonError>,
) -> Result<Ended, DaemonError> {
    loop {
        if stop() {
            return Ok(Ended::Stopped);
        }
        // Looked at first: with a restart, threads end behind it.
        let checked = check();
        if shared.is_restarting() {
            return Ok(Ended::Restart);
        }
        checked?;
        liveness.alive(&viewer.status());
        let input = shared.wait_for_input(REST);
        let has_news = input.news.is_some();
        viewer.turn(input);
        if has_news {
            shared.drawn();
        }
    }
}
