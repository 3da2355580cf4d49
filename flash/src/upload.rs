//! Sends a bundle or a difference: several pieces on their way at once, whatever happens to them, until the device has it all.
//!
//! mcumgr-toolkit sends one piece and waits for its answer, which leaves the line idle meanwhile. Requests, answers
//! and their sizes are the crate's; what is on its way is [`Window`]'s.

use std::time::{Duration, Instant};

use hardware::smp::Framing;
use hardware::smp::message::{self, Header, Operation};
use mcumgr_toolkit::commands::ErrResponse;
use mcumgr_toolkit::commands::image::ImageUploadResponse;
use mcumgr_toolkit::smp_errors::DeviceError;

use crate::exit::{Exit, Failure};
use crate::parcel::Parcel;
use crate::refusal;
use crate::session::{BELIEVED_REFUSALS, Session, line_failure};
use crate::window::{Answered, Piece, Window};

/// Without a checksum, a header of 64 KiB of which one bit flips is a signature that does not fit. What the device accepted
/// before is refused by noise, or because something changed there: that is believed when it comes this often.
const REFUSALS_OF_ACCEPTED: u32 = 20;
/// SMP's "another command is at work".
const BUSY: i32 = 10;
/// Zephyr counts length and checksum of a console frame into its buffer.
const CONSOLE_OVERHEAD: usize = 4;
/// A piece takes at most a second on the line, so that progress shows and the device's patience lasts.
const SMALLEST_LARGEST: u64 = 512;
/// How often the whole is sent again when the digest at the end differs.
const ATTEMPTS: u32 = 3;
/// How many times the patience may pass without one byte more.
const PATIENCES_WITHOUT_PROGRESS: u32 = 4;

/// What an upload took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sent {
    /// The device had everything up to here already.
    pub resumed_at: u64,
    /// Bytes that went over the line, framing and repetitions included.
    pub line_bytes: u64,
    /// Messages that were lost or damaged.
    pub faults: u32,
    /// How long it took.
    pub time: Duration,
    /// The framing at the end.
    pub framing: Framing,
}

/// Why something did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSent {
    /// The device does not take it, or what arrived is not what was sent: another parcel may fare better.
    NotTaken(Failure),
    /// The line or this computer fails.
    Failed(Failure),
}

impl From<Failure> for NotSent {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<NotSent> for Failure {
    fn from(not_sent: NotSent) -> Self {
        match not_sent {
            NotSent::NotTaken(failure) | NotSent::Failed(failure) => failure,
        }
    }
}

/// Sends a parcel for an image's inactive slot. Where the device has a part of it, that part is not sent again. Whether the
/// device has `accepted` its beginning already decides how soon a refusal is believed.
///
/// # Errors
/// What the device refuses, a line that fails, a digest that does not fit at the end.
pub fn upload(session: &Session, parcel: Parcel<'_>, image: u32, accepted: bool) -> Result<Sent, NotSent> {
    let mut upload = Upload::new(session, parcel, image)?;
    if accepted {
        upload.believed = REFUSALS_OF_ACCEPTED;
    }
    upload.run()
}

/// What an answer says.
enum Said {
    Wants { offset: u64, matches: Option<bool> },
    Refuses(DeviceError),
}

struct Upload<'a> {
    session: &'a Session,
    parcel: Parcel<'a>,
    image: u32,
    window: Window,
    begun: Instant,
    heard: Instant,
    /// When the device had more than ever before, and how much.
    best: (Instant, u64),
    resumed_at: Option<u64>,
    faults: u32,
    refusals: u32,
    /// So many in a row are not noise.
    believed: u32,
    attempts: u32,
    line_bytes_before: u64,
}

impl<'a> Upload<'a> {
    fn new(session: &'a Session, parcel: Parcel<'a>, image: u32) -> Result<Self, Failure> {
        let frame = session.buffer_bytes - CONSOLE_OVERHEAD;
        let room = |first| {
            parcel.room(frame, first).ok_or_else(|| {
                let message = format!("the device's buffer of {} bytes is too small", session.buffer_bytes);
                Failure::device(message, "update the device's software")
            })
        };
        let bytes_a_second = u64::from(session.reach.port.baud / 10).max(1);
        let largest = room(false)?.min(bytes_a_second.max(SMALLEST_LARGEST));
        let window = Window::new(parcel.bytes(), room(true)?, largest, session.buffers, bytes_a_second);
        let now = Instant::now();
        Ok(Self {
            session,
            parcel,
            image,
            window,
            begun: now,
            heard: now,
            best: (now, 0),
            resumed_at: None,
            faults: 0,
            refusals: 0,
            believed: BELIEVED_REFUSALS,
            attempts: 0,
            line_bytes_before: session.line.lock().sent_bytes(),
        })
    }

    fn run(mut self) -> Result<Sent, NotSent> {
        self.session.reporter.stage("sending", &self.parcel.title());
        let address = self.parcel.address();
        loop {
            self.send_ahead()?;
            let oldest = self.window.waiting_since().unwrap_or_else(Instant::now);
            let until = oldest.max(self.heard) + self.window.patience();
            let message = self.session.line.lock().receive(until);
            if let Some((sequence, said)) = message.as_deref().and_then(|message| understand(message, address)) {
                if self.take(sequence, said)? {
                    return Ok(self.sent());
                }
            } else if Instant::now() >= until {
                // What else came was something else, or a damaged answer.
                self.silence()?;
            }
            self.check_progress()?;
        }
    }

    fn sent(&self) -> Sent {
        let line = self.session.line.lock();
        Sent {
            resumed_at: self.resumed_at.unwrap_or(0),
            line_bytes: line.sent_bytes() - self.line_bytes_before,
            faults: self.faults,
            time: self.begun.elapsed(),
            framing: line.framing(),
        }
    }

    fn send_ahead(&mut self) -> Result<(), Failure> {
        while let Some(piece) = self.window.next_piece() {
            let message = self.request(&piece)?;
            let begun = Instant::now();
            let sent = self.session.line.lock().send(&message);
            sent.map_err(|error| line_failure(&error))?;
            // While the port was away, or full, nobody was silent.
            self.heard += begun.elapsed();
            self.best.0 += begun.elapsed();
            self.window.sent(piece, Instant::now());
        }
        Ok(())
    }

    fn request(&mut self, piece: &Piece) -> Result<Vec<u8>, Failure> {
        let body = self.parcel.request(self.image, piece.range.clone())?;
        let length = u16::try_from(body.len());
        let length = length.map_err(|error| Failure::device(format!("cannot encode a request: {error}"), ""))?;
        let (group, command) = self.parcel.address();
        let header = Header {
            operation: Operation::Write,
            version: 1,
            flags: 0,
            length,
            group,
            sequence: piece.sequence,
            command,
        };
        Ok(message::message(header, &body))
    }

    /// Takes an answer; true if the device has it all, and it is what was sent.
    fn take(&mut self, sequence: u8, said: Said) -> Result<bool, NotSent> {
        self.heard = Instant::now();
        self.session.line.lock().heard();
        match said {
            Said::Refuses(refusal) if self.window.refused(sequence) => self.refused(&refusal).map(|()| false),
            Said::Refuses(_) => Ok(false),
            Said::Wants { offset, matches } => self.wanted(sequence, offset, matches),
        }
    }

    fn wanted(&mut self, sequence: u8, offset: u64, matches: Option<bool>) -> Result<bool, NotSent> {
        let have = match self.window.answered(sequence, offset, self.heard) {
            Answered::Nothing => return Ok(false),
            Answered::Advanced(have) => {
                self.refusals = 0;
                have
            }
            Answered::Moved { to, lost, .. } => {
                if lost {
                    self.fault();
                }
                to
            }
        };
        self.resumed_at
            .get_or_insert(if have <= SMALLEST_LARGEST { 0 } else { have });
        self.session.reporter.progress(have, self.parcel.bytes());
        if have < self.parcel.bytes() {
            return Ok(false);
        }
        self.arrived(matches)
    }

    /// The device has all bytes. Without its word that they are the right ones, it is asked again, from the beginning:
    /// it answers at once if they are, and wants them again if not.
    fn arrived(&mut self, matches: Option<bool>) -> Result<bool, NotSent> {
        if matches == Some(true) {
            return Ok(true);
        }
        self.attempts += 1;
        if self.attempts < ATTEMPTS {
            self.window.restart();
            return Ok(false);
        }
        if matches.is_none() {
            self.session
                .reporter
                .remark("the device does not tell whether the digest of what arrived is right");
            return Ok(true);
        }
        Err(NotSent::NotTaken(Failure::new(
            Exit::Unverified,
            "what arrived on the device is not this file: its digest differs",
            "run the same command again with --framing console, which has checksums; do not change the file meanwhile",
        )))
    }

    fn refused(&mut self, refusal: &DeviceError) -> Result<(), NotSent> {
        let busy = matches!(refusal, DeviceError::V1 { rc: BUSY, .. });
        let waiting = busy && self.best.0.elapsed() < self.session.reach.patience;
        self.refusals += 1;
        let checked = self.session.line.lock().framing() == Framing::Console;
        if !waiting && (checked || self.refusals >= self.believed) {
            let failure = refusal::refused(refusal).while_doing("cannot send the bundle");
            return Err(NotSent::NotTaken(failure));
        }
        if busy {
            std::thread::sleep(Duration::from_millis(300));
        } else {
            self.fault();
        }
        self.window.restart();
        Ok(())
    }

    fn fault(&mut self) {
        self.faults += 1;
        if self.session.line.lock().fault() {
            self.window.forget_answer_times();
        }
    }

    fn silence(&mut self) -> Result<(), Failure> {
        // Without a port it was not the device that was silent; the next piece waits for the port.
        let present = self.session.line.lock().is_present();
        if present && self.heard.elapsed() >= self.session.reach.patience {
            let (have, total) = (self.window.have(), self.parcel.bytes());
            return Err(refusal::unanswered().while_doing(&format!("{have} of {total} bytes are on the device")));
        }
        self.faults += 1;
        self.window.fell_silent();
        if self.session.line.lock().silence() {
            self.window.forget_answer_times();
        }
        Ok(())
    }

    fn check_progress(&mut self) -> Result<(), Failure> {
        if self.window.have() > self.best.1 {
            self.best = (Instant::now(), self.window.have());
        }
        let limit = self.session.reach.patience * PATIENCES_WITHOUT_PROGRESS;
        if self.best.0.elapsed() < limit {
            return Ok(());
        }
        let (have, seconds) = (self.best.1, limit.as_secs());
        Err(Failure::device(
            format!("nothing behind byte {have} has arrived whole for {seconds} s: the line is too noisy"),
            "use a shorter or better cable, a lower --baud on both sides, or --framing console",
        ))
    }
}

/// The sequence and the meaning of a message, if it is an undamaged answer to a piece that went to this address.
fn understand(message: &[u8], (group, command): (u16, u8)) -> Option<(u8, Said)> {
    let (header, body) = message::split(message)?;
    let ours = (Operation::WriteAnswer, group, command);
    if (header.operation, header.group, header.command) != ours || usize::from(header.length) != body.len() {
        return None;
    }
    let error: ErrResponse = ciborium::from_reader(body).ok()?;
    let said = match (error.err, error.rc.filter(|rc| *rc != 0)) {
        (Some(err), _) => Said::Refuses(DeviceError::V2 {
            group: err.group,
            rc: err.rc,
        }),
        (None, Some(rc)) => Said::Refuses(DeviceError::V1 { rc, rsn: error.rsn }),
        (None, None) => {
            let answer: ImageUploadResponse = ciborium::from_reader(body).ok()?;
            let (offset, matches) = (answer.off, answer.r#match);
            Said::Wants { offset, matches }
        }
    };
    Some((header.sequence, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPLOAD: (u16, u8) = (1, 1);

    #[test]
    fn answers_are_told_from_refusals_and_noise() {
        let wants = b"\x0b\0\0\x0f\0\x01\x07\x01\xa2\x63off\x19\x01\x00\x65match\xf5";
        let Some((7, Said::Wants { offset, matches })) = understand(wants, UPLOAD) else {
            panic!("not understood");
        };
        assert_eq!((offset, matches), (256, Some(true)));
        let refuses = b"\x0b\0\0\x06\0\x01\x07\x01\xa1\x62rc\x18\x0b";
        assert!(matches!(
            understand(refuses, UPLOAD),
            Some((7, Said::Refuses(DeviceError::V1 { rc: 11, .. })))
        ));
        let group = b"\x0b\0\0\x12\0\x01\x07\x01\xa1\x63err\xa2\x65group\x01\x62rc\x18\x1e";
        let said = understand(group, UPLOAD).map(|(_, said)| said);
        assert!(matches!(
            said,
            Some(Said::Refuses(DeviceError::V2 { group: 1, rc: 30 }))
        ));
        // Another command, a request, a wrong length, no CBOR, an answer without an offset.
        for noise in [
            &b"\x0b\0\0\x01\0\x01\x07\x00\xa0"[..],
            b"\x0a\0\0\x01\0\x01\x07\x01\xa0",
            b"\x0b\0\0\x02\0\x01\x07\x01\xa0",
            b"\x0b\0\0\x01\0\x01\x07\x01\xff",
            b"\x0b\0\0\x01\0\x01\x07\x01\xa0",
            b"\x0b",
        ] {
            assert!(understand(noise, UPLOAD).is_none(), "{noise:02x?}");
        }
    }
}
