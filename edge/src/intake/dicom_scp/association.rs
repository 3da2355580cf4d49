//! One connection from its first byte to its last (PS3.8 section 9.2, as acceptor).

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use dicom_ul::Pdu;
use dicom_ul::pdu::{AbortRQServiceProviderReason, AbortRQSource, PDataValue, PDataValueType};

use super::commands::{CommandError, Request};
use super::message::{Assembly, Event, MessageError};
use super::negotiation::{Agreement, Answer, Context, Refused, negotiate};
use super::receive::{Reception, StoreError};
use super::statistics::Place;
use super::status::Status;
use super::wire::{Wire, WireError};
use super::{Scp, Sender, sop_classes, store, uid};
use crate::dimse::{C_CANCEL_RQ, C_ECHO_RQ, C_STORE_RQ};
use crate::intake::arrival::Accepted;

/// The ARTIM timer (PS3.8 section 9.1.5): a peer that connects says at once what it wants.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// Why an association ended that was not released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssociationError {
    /// It never began.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No PDU came, or none that can be read.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A PDU that has no place here.
    #[error("a PDU came that has no place here: {0}")]
    Unexpected(&'static str),
    /// Fragments that are no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A message that cannot be answered.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The peer gave up.
    #[error("the sender aborted the association")]
    Aborted,
}

impl AssociationError {
    /// What the peer hears; `None` if there is nobody to hear it.
    fn last_words(&self) -> Option<Pdu> {
        let provider = |reason| Some(abort(AbortRQSource::ServiceProvider(reason)));
        match self {
            Self::Refused(refused) => match refused.answer() {
                Answer::Reject(rejection) => Some(rejection.into()),
                Answer::Abort(reason) => provider(reason),
            },
            Self::Wire(error) => error.abort_reason().and_then(provider),
            Self::Unexpected(_) => provider(AbortRQServiceProviderReason::UnexpectedPdu),
            Self::Message(MessageError::Context(_)) => provider(AbortRQServiceProviderReason::InvalidPduParameter),
            Self::Message(_) | Self::Command(_) => Some(abort(AbortRQSource::ServiceUser)),
            Self::Aborted => None,
        }
    }
}

fn abort(source: AbortRQSource) -> Pdu {
    Pdu::AbortRQ { source }
}

/// Serves one connection to its end. `established` is called when the association begins, if it does.
pub(super) fn serve<S: Read + Write>(
    scp: &Scp,
    stream: S,
    peer: &str,
    stop: &dyn Fn() -> bool,
    established: impl FnOnce(),
) {
    let mut wire = Wire::new(stream, Instant::now() + scp.limits.association, stop);
    // The place is held here: an association that is over has been counted and logged.
    let (mut calling, mut held) = (None, None);
    let ended = establish(scp, &mut wire).and_then(|(agreement, place)| {
        established();
        calling = Some(agreement.calling.clone());
        held = Some(place);
        converse(scp, &mut wire, peer, agreement)
    });
    let Err(error) = ended else { return };
    // Who only looks whether somebody listens is no problem, and neither is our own end.
    let looked = calling.is_none() && matches!(error, AssociationError::Wire(WireError::Closed));
    let is_rejected = calling.is_none() && !looked;
    if !looked && !matches!(error, AssociationError::Wire(WireError::Stopped)) {
        let who = calling.map(|calling| format!("{calling} ")).unwrap_or_default();
        scp.problem(format!("{who}{peer}: {error}"));
    }
    if is_rejected {
        scp.statistics.rejected();
    }
    drop(held);
    // Last: a peer that is told of a problem finds it counted and logged, and its place free.
    if let Some(words) = error.last_words() {
        // A peer that does not listen any more hears nothing.
        let _ = wire.write(&words);
    }
}

fn establish<'a, S: Read + Write>(
    scp: &'a Scp,
    wire: &mut Wire<'_, S>,
) -> Result<(Agreement, Place<'a>), AssociationError> {
    let request = match wire.read(REQUEST_WITHIN.min(scp.limits.idle), scp.limits.pdu_bytes)? {
        Pdu::AssociationRQ(request) => request,
        Pdu::AbortRQ { .. } => return Err(AssociationError::Aborted),
        other => return Err(AssociationError::Unexpected(name(&other))),
    };
    let agreement = negotiate(request, &scp.config)?;
    let limit = scp.limits.associations;
    let place = scp.statistics.open(limit).ok_or(Refused::Full(limit))?;
    wire.write(&agreement.answer.clone().into())?;
    Ok((agreement, place))
}

fn converse<S: Read + Write>(
    scp: &Scp,
    wire: &mut Wire<'_, S>,
    peer: &str,
    agreement: Agreement,
) -> Result<(), AssociationError> {
    let ids = agreement.contexts.iter().map(|context| context.id).collect();
    let sender = Sender {
        calling: agreement.calling,
        peer: peer.to_owned(),
    };
    tracing::debug!(calling = sender.calling, peer, "dicom: an association begins");
    for unread in &agreement.unread {
        scp.problem(format!("{} {peer}: {unread}", sender.calling));
    }
    let mut association = Association {
        scp,
        sender,
        contexts: agreement.contexts,
        assembly: Assembly::new(ids, scp.limits.object_bytes),
        pending: None,
        objects: 0,
    };
    let ended = association.run(wire);
    let objects = association.objects;
    if objects > 0 {
        tracing::info!(
            calling = association.sender.calling,
            peer,
            objects,
            "dicom: objects arrived"
        );
    }
    ended
}

struct Association<'a> {
    scp: &'a Scp,
    sender: Sender,
    contexts: Vec<Context>,
    assembly: Assembly,
    pending: Option<Pending>,
    objects: u64,
}

/// A request whose data set is under way.
struct Pending {
    context: u8,
    request: Request,
    work: Work,
}

/// What is done with a data set.
enum Work {
    Store(Box<Reception>),
    /// Nothing: the answer is known.
    Skip(Status, String),
}

impl Association<'_> {
    fn run<S: Read + Write>(&mut self, wire: &mut Wire<'_, S>) -> Result<(), AssociationError> {
        let limits = self.scp.limits;
        loop {
            match wire.read(limits.idle, limits.pdu_bytes)? {
                Pdu::PData { data } => {
                    for value in data {
                        self.take(wire, value)?;
                    }
                }
                Pdu::ReleaseRQ if self.assembly.is_between() => return Ok(wire.write(&Pdu::ReleaseRP)?),
                Pdu::AbortRQ { .. } => return Err(AssociationError::Aborted),
                other => return Err(AssociationError::Unexpected(name(&other))),
            }
        }
    }

    fn take<S: Read + Write>(&mut self, wire: &mut Wire<'_, S>, value: PDataValue) -> Result<(), AssociationError> {
        match self.assembly.take(value)? {
            None => Ok(()),
            Some(Event::Command { context, bytes }) => {
                let request = Request::read(&bytes)?;
                let work = self.begin(wire, context, &request)?;
                let has_data_set = request.has_data_set;
                let pending = Pending { context, request, work };
                if !has_data_set {
                    return self.end(wire, pending);
                }
                self.assembly.expect_data_set(context);
                self.pending = Some(pending);
                Ok(())
            }
            Some(Event::DataSet { fragment, last }) => {
                if let Some(Work::Store(reception)) = self.pending.as_mut().map(|pending| &mut pending.work) {
                    reception.take(&fragment);
                }
                match self.pending.take_if(|_| last) {
                    Some(pending) => self.end(wire, pending),
                    None => Ok(()),
                }
            }
        }
    }

    fn begin<S: Read + Write>(
        &mut self,
        wire: &Wire<'_, S>,
        context: u8,
        request: &Request,
    ) -> Result<Work, WireError> {
        let context = self.contexts.iter().find(|known| known.id == context);
        let of = |class: &str| context.is_some_and(|context| context.abstract_syntax == class);
        let skip = |status, comment: &str| Work::Skip(status, comment.to_owned());
        Ok(match (request.field, context) {
            (C_ECHO_RQ, _) if of(sop_classes::VERIFICATION) => skip(Status::Success, ""),
            (C_ECHO_RQ, _) => skip(Status::SopClassNotSupported, "C-ECHO outside of Verification"),
            (C_STORE_RQ, Some(context)) => {
                match store::begin(self.scp, &self.sender, context, request, &|| wire.check())? {
                    Ok(reception) => Work::Store(Box::new(reception)),
                    Err(error) => self.failed(request, &error),
                }
            }
            _ => skip(Status::UnrecognizedOperation, "only C-ECHO and C-STORE are served here"),
        })
    }

    fn end<S: Read + Write>(&mut self, wire: &mut Wire<'_, S>, pending: Pending) -> Result<(), AssociationError> {
        let Pending { context, request, work } = pending;
        let work = match work {
            Work::Store(reception) => self.store(&request, *reception),
            skip @ Work::Skip(..) => skip,
        };
        match work {
            // A C-CANCEL has no answer, and nothing here takes long enough to be cancelled.
            Work::Skip(..) if request.field == C_CANCEL_RQ => Ok(()),
            Work::Skip(status, comment) => Ok(wire.write(&answer(context, request.response(status, &comment)))?),
            Work::Store(_) => Ok(()),
        }
    }

    fn store(&mut self, request: &Request, reception: Reception) -> Work {
        match store::finish(self.scp, &self.sender, reception) {
            Ok(stored) => {
                self.objects += 1;
                let repeated = stored.accepted == Accepted::Known;
                self.scp.statistics.stored(stored.dataset_bytes, repeated);
                Work::Skip(Status::Success, String::new())
            }
            Err(error) => self.failed(request, &error),
        }
    }

    fn failed(&self, request: &Request, error: &StoreError) -> Work {
        let Sender { calling, peer } = &self.sender;
        let object = request
            .sop_instance_uid
            .as_deref()
            .map_or_else(|| "?".to_owned(), uid::pseudonym);
        self.scp.statistics.failed();
        let code = error.status().code();
        self.scp.problem(format!(
            "{calling} {peer}: object {object} was refused with {code:04X}: {error}"
        ));
        Work::Skip(error.status(), error.comment())
    }
}

fn answer(context: u8, command: Vec<u8>) -> Pdu {
    let value = PDataValue {
        presentation_context_id: context,
        value_type: PDataValueType::Command,
        is_last: true,
        data: command,
    };
    Pdu::PData { data: vec![value] }
}

fn name(pdu: &Pdu) -> &'static str {
    match pdu {
        Pdu::Unknown { .. } => "of an unknown type",
        Pdu::AssociationRQ(_) => "A-ASSOCIATE-RQ",
        Pdu::AssociationAC(_) => "A-ASSOCIATE-AC",
        Pdu::AssociationRJ(_) => "A-ASSOCIATE-RJ",
        Pdu::PData { .. } => "P-DATA-TF",
        Pdu::ReleaseRQ => "A-RELEASE-RQ",
        Pdu::ReleaseRP => "A-RELEASE-RP",
        Pdu::AbortRQ { .. } => "A-ABORT",
    }
}
