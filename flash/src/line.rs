//! The line to the device: messages out and in, in either framing, over a port that may vanish and come back.
//!
//! Framing and the search for messages in what arrives are [`hardware::smp::link`]'s, the same that the device uses.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hardware::smp::link::{self, Framing, Receiver};
use hardware::smp::port::{Port, PortError, PortOptions};

/// The longest answer, in bytes: devices announce at most twice as much for requests.
const LONGEST_ANSWER: usize = 32 << 10;
/// A silence within an answer that ends it. Less than the patience of those who wait for an answer.
const BYTE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a port may take no bytes at all before it counts as broken.
const STUCK: Duration = Duration::from_secs(10);
/// With this many damaged or lost messages ...
const FAULTS: usize = 6;
/// ... within so many bytes, a line is too noisy for a framing without a checksum: one error in 33,000 bytes. Below
/// that, raw is still faster than console at its best.
const FAULTY_BYTES: u64 = 200_000;
/// So many silences in a row also are.
const SILENCES: u32 = 3;

/// What engineers are told about the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineEvent {
    /// The port vanished.
    Lost,
    /// It is back.
    Back,
    /// Too much noise for the raw framing.
    ToConsole,
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The port cannot be opened.
    #[error(transparent)]
    Open(#[from] PortError),
    /// The port vanished and did not come back.
    #[error("the port vanished and did not come back within {} s", waited.as_secs())]
    Gone {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The port takes no bytes.
    #[error("the port has taken no bytes for {} s", STUCK.as_secs())]
    Stuck,
}

/// How messages are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramingChoice {
    /// The framing to begin with.
    pub first: Framing,
    /// Whether the other may be taken where this one does not work.
    pub may_change: bool,
}

/// The line. Shared by the client for single requests and the upload: see [`Shared`].
pub struct Line {
    port: Port,
    /// The port was there when it was last used.
    present: bool,
    choice: FramingChoice,
    framing: Framing,
    /// Only what has a checksum may go out.
    checked: bool,
    receiver: Receiver,
    begun: Instant,
    patience: Duration,
    tell: Box<dyn FnMut(LineEvent) + Send>,
    out: Vec<u8>,
    sent_bytes: u64,
    faults: VecDeque<u64>,
    silences: u32,
}

impl Line {
    /// Opens the port. `patience` is how long to wait for it once it has vanished.
    ///
    /// # Errors
    /// [`LineError::Open`].
    pub fn open(
        options: PortOptions,
        choice: FramingChoice,
        patience: Duration,
        tell: Box<dyn FnMut(LineEvent) + Send>,
    ) -> Result<Self, LineError> {
        let mut port = Port::new(options);
        port.open()?;
        Ok(Self {
            port,
            present: true,
            choice,
            framing: choice.first,
            checked: false,
            receiver: Receiver::of_answers(LONGEST_ANSWER, BYTE_TIMEOUT),
            begun: Instant::now(),
            patience,
            tell,
            out: Vec::new(),
            sent_bytes: 0,
            faults: VecDeque::new(),
            silences: 0,
        })
    }

    /// The framing in use: console for what needs a checksum, unless raw was asked for.
    #[must_use]
    pub fn framing(&self) -> Framing {
        if self.checked && self.choice.may_change {
            Framing::Console
        } else {
            self.framing
        }
    }

    /// Uses another framing from now on.
    pub fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
        self.faults.clear();
        self.silences = 0;
    }

    /// Whether the engineer left the framing open.
    #[must_use]
    pub fn may_change_framing(&self) -> bool {
        self.choice.may_change
    }

    /// Whether the port was there when it was last used.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// Bytes that went out, framing included.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// What the receiver counted: damaged lines, bytes that belonged to nothing.
    #[must_use]
    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// Sends a message. A port that vanished is waited for first; one that vanishes now loses the message, and whoever
    /// waits for the answer asks again.
    ///
    /// # Errors
    /// [`LineError`].
    pub fn send(&mut self, message: &[u8]) -> Result<(), LineError> {
        self.wait_for_port()?;
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        link::encode(self.framing(), message, &mut out);
        let written = self.write(&out);
        self.sent_bytes += out.len() as u64;
        self.out = out;
        written
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), LineError> {
        let mut last = Instant::now();
        while self.look() && !bytes.is_empty() {
            match self.port.write(bytes) {
                Ok(written) if written > 0 => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    last = Instant::now();
                }
                _ if last.elapsed() > STUCK => return Err(LineError::Stuck),
                _ => {}
            }
        }
        Ok(())
    }

    /// The next message, or `None` if none came until then.
    pub fn receive(&mut self, until: Instant) -> Option<Vec<u8>> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(frame) = self.receiver.next() {
                return Some(frame.message);
            }
            // Whatever the reason, a failed read is a silence: the port comes back by itself.
            let read = self.port.read(&mut chunk).unwrap_or(0);
            self.look();
            let now = self.begun.elapsed();
            self.receiver.tick(now);
            if read > 0 {
                self.receiver.push(chunk.get(..read).unwrap_or_default(), now);
            }
            if Instant::now() >= until {
                return self.receiver.next().map(|frame| frame.message);
            }
        }
    }

    /// An answer came: the line is alive.
    pub fn heard(&mut self) {
        self.silences = 0;
    }

    /// A message was lost or damaged. Gives true if that was one too many for this framing, and another is used now.
    pub fn fault(&mut self) -> bool {
        self.faults.push_back(self.sent_bytes);
        if self.faults.len() > FAULTS {
            self.faults.pop_front();
        }
        let first = self.faults.front().copied().unwrap_or_default();
        self.faults.len() == FAULTS && self.sent_bytes - first <= FAULTY_BYTES && self.use_console()
    }

    /// No answer came in time. Gives true as [`Line::fault`] does.
    pub fn silence(&mut self) -> bool {
        self.silences += 1;
        let changed = self.fault();
        changed || self.silences >= SILENCES && self.use_console()
    }

    fn use_console(&mut self) -> bool {
        if !self.choice.may_change || self.framing == Framing::Console {
            return false;
        }
        self.set_framing(Framing::Console);
        (self.tell)(LineEvent::ToConsole);
        true
    }

    /// Whether the port is there; tells when that changes.
    fn look(&mut self) -> bool {
        let present = self.port.path().is_some();
        if present != self.present {
            self.present = present;
            if present {
                self.receiver = Receiver::of_answers(LONGEST_ANSWER, BYTE_TIMEOUT);
            }
            (self.tell)(if present { LineEvent::Back } else { LineEvent::Lost });
        }
        present
    }

    fn wait_for_port(&mut self) -> Result<(), LineError> {
        let begun = Instant::now();
        while !self.look() {
            if begun.elapsed() >= self.patience {
                return Err(LineError::Gone { waited: self.patience });
            }
            // Reading looks for the port, and takes a while if there is none.
            let _ = self.port.read(&mut [0; 64]);
        }
        Ok(())
    }
}

/// A line that two users share in turn.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Line>>);

impl Shared {
    /// Shares a line.
    #[must_use]
    pub fn new(line: Line) -> Self {
        Self(Arc::new(Mutex::new(line)))
    }

    /// The line, for oneself.
    pub fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the guard is dropped, messages go out in console framing, which has a checksum, unless the engineer asked
    /// for raw. The device answers each message in its framing.
    #[must_use]
    pub fn checked(&self) -> Checked<'_> {
        self.lock().checked = true;
        Checked(self)
    }
}

/// See [`Shared::checked`].
pub struct Checked<'a>(&'a Shared);

impl Drop for Checked<'_> {
    fn drop(&mut self) {
        self.0.lock().checked = false;
    }
}
