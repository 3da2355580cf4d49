//! The device's side of the Simple Management Protocol (SMP) over a serial line.
//!
//! Engineers flash models with the tools of mcumgr and MCUboot, or with `scanside-flash`. Both framings, console and
//! raw, are understood on one port and may be mixed. `docs/serial-protocol.md` describes what goes over the line.
//!
//! A [`Server`] reads from any `Read + Write` and lets a [`Device`] answer: one trait for each group. The appliance
//! implements them; [`Simulated`] is its twin in memory.
//!
//! ```
//! use std::collections::VecDeque;
//! use scanside_hardware::smp::{Parameters, Server, ServeError, Simulated};
//!
//! /// A client that asks for an echo, and hangs up.
//! struct Line(VecDeque<u8>, Vec<u8>);
//! impl std::io::Read for Line {
//!     fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> { self.0.read(into) }
//! }
//! impl std::io::Write for Line {
//!     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.1.write(bytes) }
//!     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! }
//!
//! let request = b"\x0a\0\0\x06\0\0\x01\0\xa1\x61d\x62hi";
//! let mut server = Server::new(Line(request.iter().copied().collect(), Vec::new()), Parameters::default());
//! let end = server.serve(&mut Simulated::new(), &mut || false);
//! assert!(matches!(end, Err(ServeError::Closed)));
//! assert_eq!(server.port().1, b"\x0b\0\0\x06\0\0\x01\0\xa1\x61r\x62hi");
//! ```

pub mod cbor;
pub mod console;
pub mod files;
pub mod image;
pub mod link;
pub mod message;
pub mod os;
pub mod port;
pub mod ports;

mod raw;
pub mod refusal;
pub mod scanside;
mod server;
mod shared;
mod simulated;
pub mod statistics;
pub mod time;

pub use files::{FileEntry, FileGroup};
pub use image::{ImageGroup, ImageSlots, ImageState, UploadChunk, UploadReply};
pub use link::{Frame, Framing, Receiver};
pub use message::{Header, Operation};
pub use os::{Information, OsGroup, Restart};
pub use refusal::{Code, Refusal};
pub use scanside::{
    Activity, DeltaBegin, DeltaChunk, Identity, KnownBundle, Outcome, OutcomeKind, Preflight, PreflightChunk, Problem,
    ScansideGroup, Status,
};
pub use server::{BUFFER_RANGE, Device, Parameters, Request, ServeError, Server};
pub use simulated::{Rebuild, Simulated, SimulatedLine, Slot};
pub use statistics::{LinkStatistics, StatisticsGroup};
