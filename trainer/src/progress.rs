//! How long work tells where it is; who prints it, and how, is the command line's business.

use serde_json::Value;

/// Receives the progress of long work. Every method has an empty body, so a caller implements what it shows.
pub trait Progress: Send + Sync {
    /// A stage of `total` steps begins; it ends the stage before it. `unit` names one step ("image", "batch").
    fn begin(&self, stage: &str, total: u64, unit: &str) {
        let _ = (stage, total, unit);
    }

    /// `steps` of the stage were done before it began, as where a run goes on; to be said before any other is done.
    fn skip(&self, steps: u64) {
        let _ = steps;
    }

    /// `steps` more steps of the stage are done. `detail` is short and changes with every call ("loss 0.412").
    fn advance(&self, steps: u64, detail: &str) {
        let _ = (steps, detail);
    }

    /// The stage is done.
    fn end(&self) {}

    /// One line for people.
    fn line(&self, text: &str) {
        let _ = text;
    }

    /// One record for scripts: `kind` says what it is ("epoch", "gate", "bundle"), `value` is an object.
    fn record(&self, kind: &str, value: &Value) {
        let _ = (kind, value);
    }
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
