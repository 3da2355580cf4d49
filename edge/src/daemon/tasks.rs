//! What plugs into the service from outside: intakes such as the DICOM port, the sender of the outbox, the maker of the
//! outbox's objects. Each is an argument ([`super::Parts`]), so that tests bring their own or none.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bundle::Manifest;
use chrono::{DateTime, Utc};

use super::board::Part;
use super::shared::Shared;
use crate::examination::Examination;
use crate::intake::arrival::Acceptor;
use crate::outbox::Kind;
use crate::store::Store;

/// How long to leave a task alone that was lost.
const PAUSE_AFTER_LOSS: Duration = Duration::from_secs(5);

/// Something that runs on a thread of its own for as long as the service.
pub trait Task: Send {
    /// What the thread is called.
    fn name(&self) -> &'static str;

    /// Which part of the appliance is at fault when it is lost. It clears that fault itself once it works.
    fn part(&self) -> Part;

    /// Runs until [`Surroundings::is_ending`] says so; a look at it every few hundred milliseconds is often enough. A task that
    /// returns early, or panics, is run again after a pause.
    fn run(&mut self, surroundings: &Surroundings);
}

/// What a task may use of the service.
#[derive(Clone)]
pub struct Surroundings {
    /// The cases, images and objects.
    pub store: Arc<Store>,
    shared: Arc<Shared>,
}

impl Surroundings {
    /// Of a service.
    #[must_use]
    pub fn new(store: Arc<Store>, shared: Arc<Shared>) -> Self {
        Self { store, shared }
    }

    /// Who takes images in.
    #[must_use]
    pub fn acceptor(&self) -> Arc<dyn Acceptor> {
        self.store.clone()
    }

    /// The appliance's clock.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.shared.now()
    }

    /// The appliance's clock, since 1970-01-01T00:00:00 UTC.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.shared.clock().now()
    }

    /// Whether the service ends.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.shared.is_ending()
    }

    /// Shows a fault of a part until it is cleared.
    pub fn set_fault(&self, part: Part, problem: impl Into<String>) {
        self.shared.board().set_fault(part, problem);
    }

    /// A part is well again.
    pub fn clear_fault(&self, part: Part) {
        self.shared.board().clear_fault(part);
    }

    /// Rests, but not beyond the end of the service.
    pub fn rest(&self, time: Duration) {
        const PIECE: Duration = Duration::from_millis(50);
        let mut left = time;
        while !left.is_zero() && !self.is_ending() {
            let piece = left.min(PIECE);
            thread::sleep(piece);
            left -= piece;
        }
    }
}

/// Begins a task, and begins it again as often as it is lost.
///
/// # Errors
/// If no thread can be started.
pub(super) fn spawn(mut task: Box<dyn Task>, surroundings: Surroundings) -> io::Result<JoinHandle<()>> {
    let (name, part) = (task.name(), task.part());
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let lost = |problem| {
            surroundings.set_fault(part, problem);
            surroundings.rest(PAUSE_AFTER_LOSS);
        };
        persist(
            name,
            &|| surroundings.is_ending(),
            &mut || task.run(&surroundings),
            &lost,
        );
    })
}

/// Runs what is to last as long as the service, again after each loss of it: what brings it down, an object in the outbox
/// say, would do so after a start of the whole service too, and the others have their work.
pub(super) fn persist(name: &str, is_ending: &dyn Fn() -> bool, run: &mut dyn FnMut(), lost: &dyn Fn(String)) {
    while !is_ending() {
        // What it holds is its own, and it looks at the world anew.
        let ended = panic::catch_unwind(AssertUnwindSafe(&mut *run));
        if is_ending() {
            break;
        }
        let how = if ended.is_err() { "panicked" } else { "ended" };
        let problem = format!("the {name} thread {how}; it is started again");
        tracing::error!("{problem}");
        lost(problem);
    }
}

/// Makes the objects that the outbox owes.
pub trait ObjectMaker: Send {
    /// Makes the objects of these kinds. What can never be made is left out with its reason.
    ///
    /// # Errors
    /// If it may succeed at another time, such as with a full disk; it is tried again.
    fn make(&mut self, owing: &Owing<'_>) -> Result<MadeObjects, Box<dyn std::error::Error + Send + Sync>>;
}

/// An image, or a series by its worst slices, whose objects are owed.
pub struct Owing<'a> {
    /// The number of the case: `260314-0007`.
    pub case_number: &'a str,
    /// What is owed.
    pub kinds: &'a [Kind],
    /// The images, the one that matters most first.
    pub images: &'a [OwedImage],
    /// What the model of these findings says about itself.
    pub manifest: &'a Manifest,
}

/// An image whose objects are owed.
#[derive(Debug)]
pub struct OwedImage {
    /// What was found, with the decoded image if it could be decoded.
    pub examination: Examination,
    /// The file as it was received.
    pub path: PathBuf,
    /// Which image of its case it is, from 1.
    pub member: u32,
}

/// Objects that were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MadeObjects {
    /// Those that leave.
    pub objects: Vec<MadeObject>,
    /// Those that were owed and cannot be, with the reason.
    pub left_out: Vec<(Kind, String)>,
}

/// An object that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeObject {
    /// What it is.
    pub kind: Kind,
    /// SOP Instance UID of a DICOM object, name of a JSON file; the same image always gives the same one.
    pub object: String,
    /// The whole file.
    pub bytes: Vec<u8>,
}
