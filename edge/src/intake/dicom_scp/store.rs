//! C-STORE (PS3.4 Annex B): from the command to an object that is safe, or to the reason why it is not.

use std::thread;
use std::time::{Duration, Instant};

use super::commands::Request;
use super::negotiation::Context;
use super::receive::{Announced, Reception, StoreError, discard};
use super::sop_classes;
use super::wire::WireError;
use super::{Scp, Sender};
use crate::intake::arrival::{Accepted, Arrival, Known, Origin, Received, Room};

/// How often a full queue is asked whether there is room now.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Judges the command and waits for room. While it waits, the data set stays with its sender: nothing reads it.
///
/// # Errors
/// [`WireError`] if `check` ends the association meanwhile.
pub(super) fn begin(
    scp: &Scp,
    sender: &Sender,
    context: &Context,
    request: &Request,
    check: &dyn Fn() -> Result<(), WireError>,
) -> Result<Result<Reception, StoreError>, WireError> {
    let announced = match announced(sender, context, request) {
        Ok(announced) => announced,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = wait_for_room(scp, check)? {
        return Ok(Err(error));
    }
    let spool = scp.acceptor.spool();
    Ok(Ok(Reception::begin(spool, announced, scp.limits.object_bytes)))
}

fn announced(sender: &Sender, context: &Context, request: &Request) -> Result<Announced, StoreError> {
    let class = request.sop_class_uid.as_deref();
    if !sop_classes::STORAGE.contains(&context.abstract_syntax.as_str()) || class != Some(&context.abstract_syntax) {
        return Err(StoreError::ClassOfContext);
    }
    let instance = request.sop_instance_uid.clone().ok_or(StoreError::NoInstance)?;
    if !request.has_data_set {
        return Err(StoreError::Missing("the data set"));
    }
    Ok(Announced {
        sop_class_uid: context.abstract_syntax.clone(),
        sop_instance_uid: instance,
        transfer_syntax: context.transfer_syntax,
        calling: sender.calling.clone(),
    })
}

fn wait_for_room(scp: &Scp, check: &dyn Fn() -> Result<(), WireError>) -> Result<Result<(), StoreError>, WireError> {
    let begin = Instant::now();
    loop {
        match scp.acceptor.room() {
            Room::Free => return Ok(Ok(())),
            Room::DiskFull => return Ok(Err(StoreError::DiskFull)),
            Room::QueueFull if begin.elapsed() >= scp.limits.busy => return Ok(Err(StoreError::Busy)),
            Room::QueueFull => thread::sleep(ASK_AGAIN),
        }
        check()?;
    }
}

/// What became of an object of so many bytes.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) accepted: Accepted,
    pub(super) dataset_bytes: u64,
}

/// Hands the object on, which makes it durable.
///
/// # Errors
/// [`StoreError`]; nothing of the object is left.
pub(super) fn finish(scp: &Scp, sender: &Sender, reception: Reception) -> Result<Stored, StoreError> {
    let received = Received {
        at: Instant::now(),
        time: (scp.clock)(),
    };
    let announced = reception.announced().clone();
    let whole = reception.finish()?;
    let arrival = Arrival {
        path: whole.path.clone(),
        received,
        origin: Origin::Dicom {
            calling_ae: announced.calling,
            peer: sender.peer.clone(),
        },
        known: Known {
            sop_instance_uid: Some(announced.sop_instance_uid),
            sop_class_uid: Some(announced.sop_class_uid),
            transfer_syntax_uid: Some(announced.transfer_syntax.to_owned()),
            bytes: Some(whole.bytes),
            dataset_digest: Some(whole.dataset_digest),
        },
    };
    match scp.acceptor.accept(arrival) {
        Ok(accepted) => Ok(Stored {
            accepted,
            dataset_bytes: whole.dataset_bytes,
        }),
        Err(error) => {
            discard(&whole.path);
            Err(error.into())
        }
    }
}
