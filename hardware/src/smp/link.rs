//! Both framings on one port, told apart byte by byte.
//!
//! The receiver looks at one place in what has arrived. A delimiter begins a console line, a plausible header a raw
//! message; anything else is text that somebody else wrote, and is skipped. What turns out not to be a message costs
//! its first byte only: the search goes on behind it, so a garbage line costs at most that line, and a message that
//! was swallowed by a wrong length is found again.
//!
//! The line feed that ends a console line stays: it may as well be the first byte of a raw write, and the byte behind
//! it tells.

use std::time::Duration;

use super::console::{self, Assembly, Line};
use super::message::HEADER_BYTES;
use super::raw::{self, Candidate, Sender};
use super::statistics::LinkStatistics;
use super::{cbor, message};

/// How a message stood on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Lines of base64 with a checksum: what a UART usually carries.
    Console,
    /// As it is: what a USB gadget usually carries.
    Raw,
}

/// A message and the framing that it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The framing; the answer goes out in the same.
    pub framing: Framing,
    /// Header and body. A console message may be any bytes; a raw one has a plausible header of the right length.
    pub message: Vec<u8>,
}

/// Writes a message in a framing.
pub fn encode(framing: Framing, message: &[u8], out: &mut Vec<u8>) {
    match framing {
        Framing::Console => console::encode(message, out),
        Framing::Raw => out.extend(message),
    }
}

/// Finds the messages in what arrives.
#[derive(Debug)]
pub struct Receiver {
    sender: Sender,
    max_message: usize,
    byte_timeout: Duration,
    buffer: Vec<u8>,
    /// Where the search stands in `buffer`.
    at: usize,
    /// How much of the console line at `at` is known to be well formed.
    scanned: usize,
    assembly: Assembly,
    last_byte: Duration,
    /// What is incomplete will not be completed any more.
    expired: bool,
    /// Counters of the link.
    pub statistics: LinkStatistics,
}

/// What the search does next.
enum Step {
    /// Wait for more bytes.
    Wait,
    /// Go on behind so many bytes.
    Skip(usize),
    /// A message that is this long on the line.
    Found(usize, Frame),
}

impl Receiver {
    /// A device's receiver: of requests of at most `max_message` bytes, which gives an incomplete one up after a silence of
    /// `byte_timeout`.
    #[must_use]
    pub fn new(max_message: usize, byte_timeout: Duration) -> Self {
        Self {
            sender: Sender::Client,
            max_message,
            byte_timeout,
            buffer: Vec::new(),
            at: 0,
            scanned: 0,
            assembly: Assembly::default(),
            last_byte: Duration::ZERO,
            expired: false,
            statistics: LinkStatistics::default(),
        }
    }

    /// A client's receiver, which looks for answers.
    #[must_use]
    pub fn of_answers(max_message: usize, byte_timeout: Duration) -> Self {
        Self {
            sender: Sender::Device,
            ..Self::new(max_message, byte_timeout)
        }
    }

    /// Takes what has arrived. Call [`Receiver::tick`] before and [`Receiver::next`] after it until that returns
    /// `None`: then the memory is bounded by the longest line and the largest piece.
    pub fn push(&mut self, bytes: &[u8], now: Duration) {
        self.statistics.bytes_received += bytes.len() as u64;
        self.last_byte = now;
        self.expired = false;
        self.buffer.extend(bytes);
    }

    /// Tells the time, on any clock that does not go back. After a long enough silence, what is incomplete is given up.
    pub fn tick(&mut self, now: Duration) {
        let waiting = self.at < self.buffer.len() || self.assembly.active();
        if waiting && now.saturating_sub(self.last_byte) >= self.byte_timeout {
            self.expired = true;
            let newline = self.buffer.get(self.at..) == Some(b"\n") && !self.assembly.active();
            if !newline {
                self.statistics.byte_timeouts += 1;
            }
            self.assembly.reset();
        }
    }

    /// The next message, if one is complete.
    #[allow(clippy::should_implement_trait, reason = "more may follow after a None")]
    pub fn next(&mut self) -> Option<Frame> {
        while self.at < self.buffer.len() {
            match self.look() {
                Step::Wait if self.expired => self.skip(1),
                Step::Wait => return None,
                Step::Skip(bytes) => self.skip(bytes),
                Step::Found(bytes, frame) => {
                    self.advance(bytes);
                    return Some(frame);
                }
            }
        }
        self.buffer.clear();
        self.at = 0;
        None
    }

    /// Bytes that are held and not yet understood.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len() - self.at
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        self.scanned = 0;
        // Moving the rest down now and then costs less than one pass over what arrives.
        if self.at > self.max_message {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
    }

    fn skip(&mut self, bytes: usize) {
        let skipped = &self.buffer[self.at..self.at + bytes];
        let text = skipped.iter().filter(|byte| !matches!(byte, b'\n' | b'\r'));
        self.statistics.bytes_skipped += text.count() as u64;
        self.advance(bytes);
    }

    fn look(&mut self) -> Step {
        let bytes = &self.buffer[self.at..];
        match bytes {
            [a, b, ..] if [*a, *b] == console::FIRST || [*a, *b] == console::NEXT => self.look_at_line(),
            [a] if *a == console::FIRST[0] || *a == console::NEXT[0] => Step::Wait,
            _ => match raw::judge(bytes, self.sender, self.max_message) {
                Candidate::No => Step::Skip(1),
                Candidate::Perhaps => Step::Wait,
                Candidate::Message(length) => self.look_at_message(length),
            },
        }
    }

    fn look_at_message(&mut self, length: usize) -> Step {
        let Some(message) = self.buffer.get(self.at..self.at + length) else {
            return Step::Wait;
        };
        // Without a checksum, a body that is no CBOR is the only sign of damage. Nobody is told: the client asks again.
        if cbor::check(&message[HEADER_BYTES..]) == Err(cbor::BodyError::Damaged) {
            self.statistics.raw_damaged += 1;
            return Step::Skip(1);
        }
        self.statistics.raw_frames += 1;
        let frame = Frame {
            framing: Framing::Raw,
            message: message.to_vec(),
        };
        Step::Found(length, frame)
    }

    fn look_at_line(&mut self) -> Step {
        let line = &self.buffer[self.at..];
        let from = 2 + self.scanned;
        let end = line[from..].iter().position(|byte| !console::in_line(*byte));
        let length = end.map_or(line.len(), |end| from + end);
        if length > console::longest_line(self.max_message) {
            self.assembly.reset();
            self.statistics.too_long += 1;
            return Step::Skip(length);
        }
        let Some(stop) = line.get(length) else {
            self.scanned = length - 2;
            return Step::Wait;
        };
        if *stop != b'\n' {
            self.assembly.reset();
            self.statistics.bad_lines += 1;
            return Step::Skip(length);
        }
        let first = line[..2] == console::FIRST;
        let outcome = self.assembly.line(first, &line[2..length], self.max_message);
        self.take_line(outcome, length)
    }

    fn take_line(&mut self, outcome: Line, length: usize) -> Step {
        match outcome {
            Line::Message(message) => {
                self.statistics.console_frames += 1;
                let framing = Framing::Console;
                return Step::Found(length, Frame { framing, message });
            }
            Line::More => {
                self.advance(length);
                return Step::Skip(0);
            }
            Line::Bad => self.statistics.bad_lines += 1,
            Line::TooLong => self.statistics.too_long += 1,
            Line::Crc => self.statistics.crc_errors += 1,
        }
        Step::Skip(length)
    }
}

/// The header of a frame, if its message is long enough.
#[must_use]
pub fn header(frame: &Frame) -> Option<message::Header> {
    message::split(&frame.message).map(|(header, _)| header)
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
