//! The DICOM port: a provider of Verification and Storage (PS3.4 Annexes A and B) to the scanners on the list.
//!
//! ```text
//! listener      connections, each with its thread; those without association are few and short
//!   association   A-ASSOCIATE, messages, A-RELEASE, A-ABORT
//!     wire          PDUs, whole and in time; dicom-ul reads and writes what is in them
//!     negotiation   who may, what, and in which transfer syntax
//!     message       fragments into command sets and data sets
//!     commands      command sets; status: what is answered
//!     store         room, reception, acceptance
//!       receive       a file in the spool, safe before success is answered
//! ```
//! dicom-ul's own associations are not used: docs/decisions/0014-dicom-port.md.
//!
//! Logs and statistics hold AE titles, addresses and status codes; of UIDs a short digest; of data sets nothing.

mod ae_title;
mod association;
mod commands;
pub mod config;
mod journal;
mod listener;
mod message;
mod negotiation;
mod receive;
pub mod sop_classes;
pub mod statistics;
mod status;
mod store;
mod uid;
mod wire;

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use chrono::{DateTime, Utc};

use crate::intake::arrival::Acceptor;
use config::{DicomConfig, Limits};
use statistics::Statistics;

/// What all associations have in common.
pub struct Scp {
    config: DicomConfig,
    limits: Limits,
    acceptor: Arc<dyn Acceptor>,
    clock: Box<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    statistics: Statistics,
}

/// Who is at the other end.
struct Sender {
    calling: String,
    peer: String,
}

impl Scp {
    /// Of a config that was checked; objects go to `acceptor`, and `clock` is the appliance's.
    pub fn new(
        config: DicomConfig,
        acceptor: Arc<dyn Acceptor>,
        clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static,
    ) -> Self {
        Self {
            limits: config.limits(),
            config,
            acceptor,
            clock: Box::new(clock),
            statistics: Statistics::default(),
        }
    }

    /// What the port has seen.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Serves one connection from `peer` to its end or until `stop` says so. Reads of `stream` must end after a while
    /// with [`WouldBlock`](io::ErrorKind::WouldBlock), so that clock and stop signal are looked at.
    pub fn serve(&self, stream: impl Read + Write, peer: &str, stop: &dyn Fn() -> bool) {
        association::serve(self, stream, peer, stop, || ());
    }

    fn problem(&self, what: String) {
        self.statistics.problem((self.clock)(), what);
    }
}

/// Serves a listener until `stop` says so. The thread ends when all its connections have: those that are open are aborted,
/// and of an object that is not whole nothing stays.
///
/// # Errors
/// If no thread can be started.
pub fn spawn(
    listener: TcpListener,
    scp: Arc<Scp>,
    stop: impl Fn() -> bool + Send + Sync + 'static,
) -> io::Result<JoinHandle<()>> {
    listener::spawn(listener, scp, Arc::new(stop))
}
