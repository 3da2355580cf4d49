//! PDUs on a connection (PS3.8 section 9.3): each whole, bounded in length before memory is taken, and in time.
//!
//! dicom-ul knows what stands in a PDU; its associations know neither when a PDU must be whole nor when to stop, so the
//! reading itself is done here.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use dicom_ul::Pdu;
use dicom_ul::pdu::{AbortRQServiceProviderReason, MAXIMUM_PDU_SIZE, read_pdu, write_pdu};

/// Type, a reserved byte, length.
const HEADER_BYTES: usize = 6;
const ASSOCIATE_RQ: u8 = 0x01;
const P_DATA_TF: u8 = 0x04;
const A_ABORT: u8 = 0x07;
/// An A-ASSOCIATE-RQ may propose 128 presentation contexts with dozens of transfer syntaxes each.
const ASSOCIATE_BYTES: u32 = 256 << 10;
/// Release and abort have 4.
const SHORT_BYTES: u32 = 64;

/// Why no PDU came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
    /// The service stops.
    #[error("the service stops")]
    Stopped,
    /// A whole PDU did not come in time.
    #[error("no whole PDU came within {} s", .within.as_secs())]
    Idle {
        /// The limit.
        within: Duration,
    },
    /// The association lasts too long.
    #[error("the association lasted longer than its limit")]
    TooLong,
    /// Longer than agreed.
    #[error("a PDU of type {pdu_type:02X}H with {length} bytes came, the limit is {limit}")]
    TooLarge {
        /// The type.
        pdu_type: u8,
        /// Bytes that it claims.
        length: u32,
        /// Bytes that are allowed.
        limit: u32,
    },
    /// A type that the standard does not know.
    #[error("a PDU of the unknown type {pdu_type:02X}H came")]
    Unknown {
        /// The type.
        pdu_type: u8,
    },
    /// The bytes are no PDU.
    #[error("a PDU of type {pdu_type:02X}H cannot be read: {reason}")]
    Malformed {
        /// The type.
        pdu_type: u8,
        /// What dicom-ul says.
        reason: String,
    },
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

impl WireError {
    /// What an A-ABORT tells the peer; `None` if there is nobody to tell.
    pub(super) fn abort_reason(&self) -> Option<AbortRQServiceProviderReason> {
        match self {
            Self::Closed | Self::Io(_) => None,
            Self::Stopped | Self::Idle { .. } | Self::TooLong => Some(AbortRQServiceProviderReason::ReasonNotSpecified),
            Self::Unknown { .. } => Some(AbortRQServiceProviderReason::UnrecognizedPdu),
            Self::TooLarge { .. } | Self::Malformed { .. } => Some(AbortRQServiceProviderReason::InvalidPduParameter),
        }
    }
}

/// One end of a connection. Reads of the stream must end after a while with [`ErrorKind::WouldBlock`] or
/// [`ErrorKind::TimedOut`], so that clock and stop signal are looked at.
pub(super) struct Wire<'a, S> {
    stream: S,
    pdu: Vec<u8>,
    ends: Instant,
    stop: &'a dyn Fn() -> bool,
}

impl<'a, S: Read + Write> Wire<'a, S> {
    /// Nothing is read after `ends` or once `stop` says so.
    pub(super) fn new(stream: S, ends: Instant, stop: &'a dyn Fn() -> bool) -> Self {
        Self {
            stream,
            pdu: Vec::new(),
            ends,
            stop,
        }
    }

    /// Whether the service or the association's time ends.
    pub(super) fn check(&self) -> Result<(), WireError> {
        match (self.stop)() {
            true => Err(WireError::Stopped),
            false if Instant::now() >= self.ends => Err(WireError::TooLong),
            false => Ok(()),
        }
    }

    /// The next PDU, which must be whole `within` a time; a P-DATA-TF of at most `data_bytes`.
    pub(super) fn read(&mut self, within: Duration, data_bytes: u32) -> Result<Pdu, WireError> {
        let deadline = Deadline {
            at: Instant::now() + within,
            within,
        };
        self.pdu.clear();
        self.fill(HEADER_BYTES, &deadline)?;
        let pdu_type = self.pdu[0];
        let length = self.pdu[2..HEADER_BYTES]
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u32::from(byte));
        let limit = match pdu_type {
            ASSOCIATE_RQ => ASSOCIATE_BYTES,
            P_DATA_TF => data_bytes,
            0x02..=A_ABORT => SHORT_BYTES,
            _ => return Err(WireError::Unknown { pdu_type }),
        };
        if length > limit {
            return Err(WireError::TooLarge {
                pdu_type,
                length,
                limit,
            });
        }
        self.fill(HEADER_BYTES + length as usize, &deadline)?;
        let malformed = |reason: String| WireError::Malformed { pdu_type, reason };
        match read_pdu(self.pdu.as_slice(), MAXIMUM_PDU_SIZE, true) {
            Ok(Some(pdu)) => Ok(pdu),
            Ok(None) => Err(malformed("an item reaches beyond the end".to_owned())),
            Err(error) => Err(malformed(error.to_string())),
        }
    }

    /// Reads until `pdu` holds `wanted` bytes.
    fn fill(&mut self, wanted: usize, deadline: &Deadline) -> Result<(), WireError> {
        let mut filled = self.pdu.len();
        self.pdu.resize(wanted, 0);
        while filled < wanted {
            self.check()?;
            deadline.check()?;
            match self.stream.read(&mut self.pdu[filled..]) {
                Ok(0) => return Err(WireError::Closed),
                Ok(bytes) => filled += bytes,
                Err(error) if is_pause(&error) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(WireError::Closed),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends a PDU.
    pub(super) fn write(&mut self, pdu: &Pdu) -> Result<(), WireError> {
        let mut bytes = Vec::new();
        // Only texts that are too long for their field fail, and ours come from the peer's own fields.
        write_pdu(&mut bytes, pdu).map_err(|error| WireError::Io(io::Error::other(error.to_string())))?;
        self.stream.write_all(&bytes)?;
        Ok(self.stream.flush()?)
    }
}

struct Deadline {
    at: Instant,
    within: Duration,
}

impl Deadline {
    fn check(&self) -> Result<(), WireError> {
        if Instant::now() < self.at {
            return Ok(());
        }
        Err(WireError::Idle { within: self.within })
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const IDLE: Duration = Duration::from_millis(300);
    const RELEASE: [u8; 10] = [5, 0, 0, 0, 0, 4, 0, 0, 0, 0];

    /// Gives one chunk a read, then pauses for ever; takes everything.
    struct Script(VecDeque<Vec<u8>>);

    impl Read for Script {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some(mut chunk) = self.0.pop_front() else {
                std::thread::sleep(Duration::from_millis(10));
                return Err(ErrorKind::WouldBlock.into());
            };
            let bytes = chunk.len().min(out.len());
            let rest = chunk.split_off(bytes);
            out[..bytes].copy_from_slice(&chunk);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
            Ok(bytes)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn read(chunks: Vec<Vec<u8>>, stop: bool) -> Result<Pdu, WireError> {
        let ends = Instant::now() + Duration::from_secs(60);
        Wire::new(Script(chunks.into()), ends, &|| stop).read(IDLE, 4096)
    }

    #[test]
    fn a_pdu_may_come_in_pieces() {
        let pieces = RELEASE.iter().map(|&byte| vec![byte]).collect();
        assert_eq!(read(pieces, false).unwrap(), Pdu::ReleaseRQ);
    }

    #[test]
    fn a_length_is_judged_before_memory_is_taken() {
        for (pdu_type, limit) in [(1, ASSOCIATE_BYTES), (4, 4096), (5, SHORT_BYTES)] {
            let header = |length: u32| [&[pdu_type, 0][..], &length.to_be_bytes()].concat();
            let error = read(vec![header(limit + 1)], false).unwrap_err();
            assert!(matches!(error, WireError::TooLarge { .. }), "{error}");
            let error = read(vec![header(limit)], false).unwrap_err();
            assert!(matches!(error, WireError::Idle { .. }), "{error}");
        }
        let error = read(vec![vec![9, 0, 0xFF, 0xFF, 0xFF, 0xFF]], false).unwrap_err();
        assert!(matches!(error, WireError::Unknown { pdu_type: 9 }), "{error}");
    }

    #[test]
    fn silence_stop_and_the_end_of_time_are_told_apart() {
        let error = read(vec![RELEASE[..9].to_vec()], false).unwrap_err();
        assert!(matches!(error, WireError::Idle { within: IDLE }), "{error}");
        assert!(matches!(read(vec![RELEASE.to_vec()], true), Err(WireError::Stopped)));
        let mut wire = Wire::new(Script(vec![RELEASE.to_vec()].into()), Instant::now(), &|| false);
        assert!(matches!(wire.read(IDLE, 4096), Err(WireError::TooLong)));
        assert!(matches!(read(vec![vec![]], false), Err(WireError::Closed)));
    }

    #[test]
    fn what_is_no_pdu_is_told() {
        let error = read(vec![vec![4, 0, 0, 0, 0, 3, 1, 2, 3]], false).unwrap_err();
        assert!(matches!(error, WireError::Malformed { pdu_type: 4, .. }), "{error}");
        assert_eq!(
            error.abort_reason(),
            Some(AbortRQServiceProviderReason::InvalidPduParameter)
        );
    }
}
