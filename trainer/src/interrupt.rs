//! A request to stop, raised by Ctrl-C, looked at between two steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that whoever works long looks at between steps. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// A flag that nothing raises but [`Interrupt::raise`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag that Ctrl-C and SIGTERM raise. A second signal ends the process at once with the shell's code for it
    /// (130), for when saving itself hangs.
    ///
    /// # Errors
    /// When the process already has a handler.
    pub fn on_ctrl_c() -> Result<Self, ctrlc::Error> {
        let flag = Self::new();
        let raised = flag.clone();
        ctrlc::set_handler(move || {
            if raised.is_raised() {
                std::process::exit(130);
            }
            raised.raise();
        })?;
        Ok(flag)
    }

    /// Asks to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked to stop.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_flag() {
        let flag = Interrupt::new();
        let other = flag.clone();
        assert!(!other.is_raised());
        flag.raise();
        assert!(other.is_raised());
    }
}
