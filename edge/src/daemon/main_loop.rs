//! The main thread: keeps the display true, whatever the others are at, and says when to end.

use std::sync::Arc;
use std::time::Duration;

use super::screen::Screen;
use super::shared::{News, Shared};
use super::{DaemonError, Ended};
use crate::store::Store;

/// How often the display is looked after when there is no result.
const REST: Duration = Duration::from_millis(100);

/// Serves the display until `stop`, a restart that was asked for over the line, or the loss of a thread that the
/// appliance cannot do without, of which `is_alive` knows.
///
/// # Errors
/// [`DaemonError::Lost`].
pub fn run(
    shared: &Arc<Shared>,
    store: &Store,
    screen: &mut Screen,
    stop: &dyn Fn() -> bool,
    is_alive: &dyn Fn() -> bool,
) -> Result<Ended, DaemonError> {
    loop {
        if stop() {
            return Ok(Ended::Stopped);
        }
        if shared.is_restarting() {
            return Ok(Ended::Restart);
        }
        if !is_alive() {
            return Err(DaemonError::Lost);
        }
        if let Some(news) = shared.wait_for_news(REST) {
            show(store, screen, &news);
        }
        screen.refresh(shared, shared.now());
    }
}

fn show(store: &Store, screen: &mut Screen, news: &News) {
    screen.show(news);
    let News::Result { image, arrived, .. } = news else {
        return;
    };
    let Some(arrived) = arrived else { return };
    // Measured here, because here somebody can see it.
    let milliseconds = arrived.elapsed().as_secs_f64() * 1000.0;
    if let Err(error) = store.set_latency(*image, milliseconds) {
        tracing::error!("{error}");
    }
}
