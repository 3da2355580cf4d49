//! C-ECHO and C-STORE as a service class user (PS3.4 Annexes A and B, PS3.7 9.1): one association for a batch.

mod implicit;
mod message;
mod status;

use std::borrow::Cow;
use std::fmt;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bundle::cli::said_once;
use dicom_dictionary_std::uids;
use dicom_ul::association::Error;
use dicom_ul::association::client::{ClientAssociation, ClientAssociationOptions};
use dicom_ul::pdu::{PDV_HEADER_SIZE, PDataValue, PDataValueType, Pdu, PresentationContextNegotiated};

use super::Kind;
use super::queue::{QueueError, Waiting};
use message::Answer;

/// How long to wait for the answer to a release: everything was answered by then.
const RELEASE: Duration = Duration::from_secs(5);

/// Where DICOM objects go, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Host and port.
    pub address: String,
    /// Its AE title.
    pub called_ae: String,
    /// Ours.
    pub calling_ae: String,
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for bytes, and for bytes to be taken.
    pub answer: Duration,
    /// Largest PDU in both directions.
    pub max_pdu_bytes: u32,
}

impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "archive {} at {}", self.called_ae, self.address)
    }
}

/// Why there is no association any more. Nothing is lost: what was not answered is sent again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection.
    #[error("{archive} cannot be reached: {reason}; check its address and port, the network, and that it runs")]
    Unreachable {
        /// The archive.
        archive: String,
        /// What the system said.
        reason: String,
    },
    /// It does not want this appliance.
    #[error("{archive} refused the association: {reason}; check both AE titles, and that it knows {calling_ae}")]
    Rejected {
        /// The archive.
        archive: String,
        /// What it said.
        reason: String,
        /// Our AE title.
        calling_ae: String,
    },
    /// It takes nothing of what was offered.
    #[error("{archive} accepts none of the storage classes that are sent; enable them there")]
    NothingAccepted {
        /// The archive.
        archive: String,
    },
    /// It went away, or says what no archive says.
    #[error("{archive} ended the association: {reason}")]
    Ended {
        /// The archive.
        archive: String,
        /// What happened.
        reason: String,
    },
    /// It does not answer.
    #[error("{archive} did not answer within {} s", answer.as_secs_f32())]
    Silent {
        /// The archive.
        archive: String,
        /// How long it had.
        answer: Duration,
    },
    /// The appliance stops.
    #[error("the appliance stops")]
    Stopped,
}

/// What became of an object that an archive was asked to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It has it.
    Sent {
        /// What it remarked nevertheless: a warning status.
        remark: Option<String>,
    },
    /// It does not take it, and would not another time.
    Refused {
        /// Status.
        reason: String,
    },
    /// It cannot take it now, and so hardly any other.
    Later {
        /// Status.
        reason: String,
    },
    /// The object cannot be read here; the archive never heard of it.
    Unread {
        /// What the queue said.
        reason: String,
    },
}

/// A batch that did not come to its end.
#[derive(Debug)]
pub struct Interrupted {
    /// The object that was on its way.
    pub in_flight: Option<usize>,
    /// Why.
    pub error: SendError,
}

/// What a batch is sent with.
pub struct Batch<'a> {
    /// The objects; none is JSON.
    pub objects: &'a [Waiting],
    /// Gives the bytes of one.
    pub load: &'a dyn Fn(&str) -> Result<Vec<u8>, QueueError>,
    /// Hears what became of one, and whether to go on with the next.
    pub done: &'a mut dyn FnMut(&Waiting, Delivery) -> bool,
    /// Whether to end at once.
    pub stop: &'a AtomicBool,
}

/// Asks whether an archive is there and knows this appliance (C-ECHO).
///
/// # Errors
/// [`SendError`].
pub fn echo(archive: &Archive) -> Result<(), SendError> {
    let never = AtomicBool::new(false);
    let unverified = || {
        ended(
            archive,
            "it does not accept verification (C-ECHO, 1.2.840.10008.1.1); enable it there",
        )
    };
    let session = Session::open(archive, &[uids::VERIFICATION], &never);
    let mut session = session.map_err(|error| match error {
        SendError::NothingAccepted { .. } => unverified(),
        error => error,
    })?;
    let context = session.context(uids::VERIFICATION).map(|context| context.id);
    let context = context.ok_or_else(unverified)?;
    session.command(context, message::echo_request(1))?;
    let answer = session.answer(1)?;
    session.release();
    match answer.status {
        0 => Ok(()),
        other => Err(ended(archive, &format!("C-ECHO gave {}", status::words(other)))),
    }
}

/// Sends a batch over one association.
///
/// # Errors
/// [`Interrupted`]; what was told to be done is done.
pub fn send(archive: &Archive, batch: Batch<'_>) -> Result<(), Interrupted> {
    let mut classes: Vec<_> = batch
        .objects
        .iter()
        .filter_map(|object| object.kind.sop_class())
        .collect();
    classes.sort_unstable();
    classes.dedup();
    let mut session = match Session::open(archive, &classes, batch.stop) {
        Ok(session) => Some(session),
        // Every object hears of it on its own.
        Err(SendError::NothingAccepted { .. }) => None,
        Err(error) => return Err(Interrupted { in_flight: None, error }),
    };
    for (index, object) in batch.objects.iter().enumerate() {
        let delivery = match (&mut session, (batch.load)(&object.id)) {
            (_, Err(error)) => Delivery::Unread {
                reason: format!("it cannot be read: {error}"),
            },
            (None, _) => not_accepted(archive, object.kind),
            (Some(session), Ok(file)) => session.store(object, &file).map_err(|error| Interrupted {
                in_flight: Some(index),
                error,
            })?,
        };
        if !(batch.done)(object, delivery) {
            break;
        }
    }
    if let Some(session) = session {
        session.release();
    }
    Ok(())
}

fn not_accepted(archive: &Archive, kind: Kind) -> Delivery {
    Delivery::Refused {
        reason: format!(
            "{archive} does not accept {} ({}); enable it there, or switch it off in the config",
            kind.name(),
            kind.sop_class().unwrap_or_default()
        ),
    }
}

/// An association.
struct Session<'a> {
    archive: &'a Archive,
    association: ClientAssociation<TcpStream>,
    stop: &'a AtomicBool,
    message: u16,
}

impl<'a> Session<'a> {
    fn open(archive: &'a Archive, classes: &[&str], stop: &'a AtomicBool) -> Result<Self, SendError> {
        // Every archive takes implicit VR (PS3.5 10.1); explicit is what the objects are in.
        let syntaxes = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
        let mut options = ClientAssociationOptions::new()
            .calling_ae_title(archive.calling_ae.as_str())
            .called_ae_title(archive.called_ae.as_str())
            .max_pdu_length(archive.max_pdu_bytes)
            .connection_timeout(archive.connect)
            .read_timeout(archive.answer)
            .write_timeout(archive.answer);
        for class in classes {
            options = options.with_presentation_context(*class, syntaxes.to_vec());
        }
        let association = options
            .establish(archive.address.as_str())
            .map_err(|error| not_established(archive, error))?;
        Ok(Self {
            archive,
            association,
            stop,
            message: 0,
        })
    }

    fn context(&self, class: &str) -> Option<&PresentationContextNegotiated> {
        let mut contexts = self.association.presentation_contexts().iter();
        contexts.find(|context| context.abstract_syntax == class)
    }

    /// C-STORE of a DICOM file.
    fn store(&mut self, object: &Waiting, file: &[u8]) -> Result<Delivery, SendError> {
        let class = object.kind.sop_class().unwrap_or_default();
        let Some(context) = self.context(class) else {
            return Ok(not_accepted(self.archive, object.kind));
        };
        let (id, syntax) = (context.id, context.transfer_syntax.clone());
        let syntax = syntax.trim_end_matches('\0');
        let Some(data_set) = data_set(file).and_then(|set| in_syntax(set, syntax)) else {
            let reason = format!(
                "its file is damaged, or {} asks for transfer syntax {syntax}",
                self.archive
            );
            return Ok(Delivery::Refused { reason });
        };
        self.message = self.message.wrapping_add(1);
        self.command(id, message::store_request(self.message, class, &object.id))?;
        self.send(id, PDataValueType::Data, &data_set)?;
        let answer = self.answer(self.message)?;
        Ok(status::judge(&answer))
    }

    fn command(&mut self, context: u8, set: Vec<u8>) -> Result<(), SendError> {
        self.send(context, PDataValueType::Command, &set)
    }

    /// Sends bytes in pieces that both sides take.
    fn send(&mut self, context: u8, value_type: PDataValueType, bytes: &[u8]) -> Result<(), SendError> {
        let most = self
            .association
            .acceptor_max_pdu_length()
            .min(self.archive.max_pdu_bytes);
        let piece = most.saturating_sub(PDV_HEADER_SIZE).max(1) as usize;
        let pieces = bytes.chunks(piece);
        let last = pieces.len().saturating_sub(1);
        for (index, piece) in pieces.enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(SendError::Stopped);
            }
            let value = PDataValue {
                presentation_context_id: context,
                value_type: value_type.clone(),
                is_last: index == last,
                data: piece.to_vec(),
            };
            let pdu = Pdu::PData { data: vec![value] };
            self.association.send(&pdu).map_err(|error| self.broken(error))?;
        }
        Ok(())
    }

    /// The answer to a message.
    fn answer(&mut self, message: u16) -> Result<Answer, SendError> {
        let mut set = Vec::new();
        loop {
            let pdu = self.association.receive().map_err(|error| self.broken(error))?;
            let values = match pdu {
                Pdu::PData { data } => data,
                Pdu::AbortRQ { source } => return Err(self.ended(&format!("it aborted ({source:?})"))),
                other => return Err(self.ended(&format!("unexpected {}", other.short_description()))),
            };
            for value in values {
                set.extend(value.data);
                if !(value.is_last && value.value_type == PDataValueType::Command) {
                    continue;
                }
                let answer = Answer::read(&set).filter(|answer| answer.message == message);
                return answer.ok_or_else(|| self.ended("its answer is not one to the question"));
            }
            if set.len() > self.archive.max_pdu_bytes as usize {
                return Err(self.ended("its answer does not end"));
            }
        }
    }

    fn release(mut self) {
        let patience = RELEASE.min(self.archive.answer);
        let _ = self.association.inner_stream().set_read_timeout(Some(patience));
        // Whatever comes of it: everything was answered.
        let _ = self.association.release();
    }

    fn ended(&self, reason: &str) -> SendError {
        ended(self.archive, reason)
    }

    fn broken(&self, error: Error) -> SendError {
        if timed_out(&error) {
            return SendError::Silent {
                archive: self.archive.to_string(),
                answer: self.archive.answer,
            };
        }
        self.ended(&said_once(&error))
    }
}

fn ended(archive: &Archive, reason: &str) -> SendError {
    SendError::Ended {
        archive: archive.to_string(),
        reason: reason.to_owned(),
    }
}

fn not_established(archive: &Archive, error: Error) -> SendError {
    let (name, reason) = (archive.to_string(), said_once(&error));
    match error {
        Error::NoAcceptedPresentationContexts { .. } => SendError::NothingAccepted { archive: name },
        Error::Rejected { .. } => SendError::Rejected {
            archive: name,
            reason,
            calling_ae: archive.calling_ae.clone(),
        },
        Error::ToAddress { .. } | Error::Connect { .. } => SendError::Unreachable { archive: name, reason },
        error if timed_out(&error) => SendError::Silent {
            archive: name,
            answer: archive.answer,
        },
        _ => SendError::Ended { archive: name, reason },
    }
}

/// Whether the cause is that nothing came, or was taken, in time.
fn timed_out(error: &Error) -> bool {
    use std::io::{self, ErrorKind};

    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The data set behind preamble and file meta information, whose length stands in its first element.
fn data_set(file: &[u8]) -> Option<&[u8]> {
    let meta = file.get(128..)?.strip_prefix(b"DICM\x02\0\0\0UL\x04\0")?;
    let (length, rest) = meta.split_at_checked(4)?;
    let length = u32::from_le_bytes(length.try_into().ok()?);
    rest.get(usize::try_from(length).ok()?..)
}

fn in_syntax<'s>(data_set: &'s [u8], syntax: &str) -> Option<Cow<'s, [u8]>> {
    match syntax {
        uids::EXPLICIT_VR_LITTLE_ENDIAN => Some(Cow::Borrowed(data_set)),
        uids::IMPLICIT_VR_LITTLE_ENDIAN => implicit::from_explicit(data_set).map(Cow::Owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_set_begins_behind_the_meta_information() {
        let mut file = vec![0; 128];
        file.extend(b"DICM\x02\0\0\0UL\x04\0\x02\0\0\0mmdata");
        assert_eq!(data_set(&file), Some(b"data".as_slice()));
        for length in 0..file.len() - 4 {
            assert_eq!(data_set(&file[..length]), None, "{length}");
        }
    }
}
