//! What the service does on the network: the DICOM port, and what results owe the archive.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use imaging::decode::Limits;

use super::Outgoing;
use super::board::Part;
use super::tasks::{MadeObject, MadeObjects, ObjectMaker, Owing, Surroundings, Task};
use crate::intake::dicom_scp::config::DicomConfig;
use crate::intake::dicom_scp::{self, Scp};
use crate::outbox::config::OutboxConfig;
use crate::outbox::queue::{Destination, Failure, QueueError, Waiting};
use crate::outbox::schedule::Backoff;
use crate::outbox::{self, Case, CaseImage, Device, Kind, Outbox, Routes, Wanted};
use crate::store::Store;

/// How long to leave an address alone that cannot be bound.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(5);
/// How often a task that waits looks at the service.
const REST: Duration = Duration::from_millis(200);
/// What a stop waits for an archive that is about to answer; what was not recorded as sent is sent again.
const FAREWELL: Duration = Duration::from_secs(2);

/// The DICOM port.
pub struct DicomPort {
    config: DicomConfig,
}

impl DicomPort {
    /// Of a config that was checked.
    #[must_use]
    pub fn new(config: DicomConfig) -> Self {
        Self { config }
    }

    /// The address, as soon as it can be had: a network may come up after the service.
    fn bind(&self, surroundings: &Surroundings) -> Option<TcpListener> {
        while !surroundings.is_ending() {
            match TcpListener::bind(self.config.address) {
                Ok(listener) => {
                    surroundings.clear_fault(Part::Dicom);
                    return Some(listener);
                }
                Err(error) => {
                    let problem = format!("the DICOM port {} cannot be opened: {error}", self.config.address);
                    tracing::error!("{problem}");
                    surroundings.set_fault(Part::Dicom, problem);
                    surroundings.rest(PAUSE_AFTER_FAULT);
                }
            }
        }
        None
    }
}

impl Task for DicomPort {
    fn name(&self) -> &'static str {
        "dicom"
    }

    fn part(&self) -> Part {
        Part::Dicom
    }

    fn run(&mut self, surroundings: &Surroundings) {
        let Some(listener) = self.bind(surroundings) else {
            return;
        };
        let (clock, ending) = (surroundings.clone(), surroundings.clone());
        let scp = Scp::new(self.config.clone(), surroundings.acceptor(), move || clock.now());
        let served = dicom_scp::spawn(listener, Arc::new(scp), move || ending.is_ending());
        match served.map(JoinHandle::join) {
            // It ended with the service, or its thread is lost, which whoever runs this sees.
            Ok(_) => {}
            Err(error) => tracing::error!("the DICOM port cannot be served: {error}"),
        }
    }
}

/// What results owe by the config, and who makes it.
#[must_use]
pub fn outgoing(config: &OutboxConfig) -> Outgoing {
    Outgoing {
        kinds: config.wanted().kinds(),
        maker: Box::new(Maker {
            device: config.device(),
            limits: Limits::default(),
        }),
    }
}

/// Makes the objects of results.
struct Maker {
    device: Device,
    limits: Limits,
}

impl ObjectMaker for Maker {
    fn make(&mut self, owing: &Owing<'_>) -> Result<MadeObjects, QueueError> {
        let images: Vec<CaseImage<'_>> = owing.images.iter().map(case_image).collect();
        let case = Case {
            images: &images,
            manifest: owing.manifest,
        };
        let built = outbox::build(&case, Wanted::only(owing.kinds), &self.device, &self.limits)?;
        let made = |object: outbox::OutgoingObject| MadeObject {
            kind: object.kind,
            object: object.id,
            bytes: object.bytes,
        };
        Ok(MadeObjects {
            objects: built.objects.into_iter().map(made).collect(),
            left_out: built.left_out,
        })
    }
}

fn case_image(owed: &super::tasks::OwedImage) -> CaseImage<'_> {
    CaseImage {
        examination: &owed.examination,
        path: &owed.path,
        member: owed.member,
    }
}

/// Sends what waits.
pub struct Sender {
    routes: Routes,
    backoff: Backoff,
}

impl Sender {
    /// Of a config that was checked.
    #[must_use]
    pub fn new(config: &OutboxConfig) -> Self {
        Self {
            routes: Routes {
                archive: config.archive(),
                folder: config.json.clone(),
            },
            backoff: config.backoff(),
        }
    }
}

impl Task for Sender {
    fn name(&self) -> &'static str {
        "outbox"
    }

    fn part(&self) -> Part {
        Part::Outbox
    }

    fn run(&mut self, surroundings: &Surroundings) {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, around) = (stop.clone(), surroundings.clone());
        let (routes, backoff) = (self.routes.clone(), self.backoff);
        let queue = StoredOutbox(surroundings.store.clone());
        let send = move || outbox::run(&queue, &routes, backoff, &|| around.time(), &around, &stopped);
        let Ok(sender) = thread::Builder::new().name("outbox".to_owned()).spawn(send) else {
            return;
        };
        while !surroundings.is_ending() && !sender.is_finished() {
            thread::sleep(REST);
        }
        stop.store(true, Ordering::SeqCst);
        sender.thread().unpark();
        let begin = Instant::now();
        while !sender.is_finished() && begin.elapsed() < FAREWELL {
            thread::sleep(REST);
        }
    }
}

impl outbox::Health for Surroundings {
    fn tell(&self, problem: Option<&QueueError>) {
        match problem {
            Some(problem) => {
                self.set_fault(Part::Outbox, format!("the outbox cannot be read or written: {problem}"));
            }
            None => self.clear_fault(Part::Outbox),
        }
    }
}

/// The store as the sender sees it.
struct StoredOutbox(Arc<Store>);

impl Outbox for StoredOutbox {
    fn next_due(&self, destination: Destination, now: Duration, most: usize) -> Result<Vec<Waiting>, QueueError> {
        let kinds: Vec<Kind> = Kind::ALL
            .into_iter()
            .filter(|kind| kind.destination() == destination)
            .collect();
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let due = self.0.due_objects(&kinds, moment(now), most)?;
        let waiting = |entry: crate::store::outbox::Entry| {
            Some(Waiting {
                id: entry.object?,
                kind: entry.kind,
                attempts: entry.attempts,
            })
        };
        Ok(due.into_iter().filter_map(waiting).collect())
    }

    fn retries(&self) -> Result<u64, QueueError> {
        Ok(self.0.retries()?)
    }

    fn bytes(&self, id: &str) -> Result<Vec<u8>, QueueError> {
        Ok(self.0.object_bytes(id)?)
    }

    fn sent(&self, id: &str, at: Duration, remark: Option<&str>) -> Result<(), QueueError> {
        Ok(self.0.object_sent(id, moment(at), remark)?)
    }

    fn failed(&self, id: &str, failure: Failure<'_>) -> Result<(), QueueError> {
        Ok(self.0.object_failed(id, moment(failure.due), failure.reason)?)
    }

    fn parked(&self, id: &str, at: Duration, reason: &str) -> Result<(), QueueError> {
        Ok(self.0.object_parked(id, moment(at), reason)?)
    }
}

/// A time of the appliance's clock.
fn moment(since_1970: Duration) -> DateTime<Utc> {
    let millis = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
