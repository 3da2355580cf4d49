//! One thing that was looked at.

use serde::Serialize;

use crate::exit::Exit;

/// What was looked at, and what was found.
#[derive(Debug, Serialize)]
pub struct Check {
    what: &'static str,
    ok: bool,
    /// Of a problem also what to do.
    found: String,
    #[serde(skip)]
    exit: Exit,
}

impl Check {
    /// It is as it should be.
    pub fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            what,
            ok: true,
            found: found.into(),
            exit: Exit::Done,
        }
    }

    /// It is not; `found` says what to do, and `exit` is what the program ends with.
    pub fn problem(what: &'static str, exit: Exit, found: impl Into<String>) -> Self {
        Self {
            what,
            ok: false,
            found: found.into(),
            exit,
        }
    }

    /// A device that works, or why it does not.
    pub fn device(what: &'static str, found: Result<String, String>) -> Self {
        match found {
            Ok(found) => Self::ok(what, found),
            Err(found) => Self::problem(what, Exit::Device, found),
        }
    }

    /// What the program ends with by this check.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// For people.
    pub fn line(&self) -> String {
        let word = if self.ok { "ok" } else { "PROBLEM" };
        format!("{:<14}{word}: {}", self.what, self.found)
    }
}
