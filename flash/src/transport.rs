//! Lets the client of mcumgr-toolkit talk over our line, which adds what its own transports lack: a raw framing that
//! finds the next message again after noise, both framings on one port, and a port that may vanish.

use std::error::Error;
use std::time::{Duration, Instant};

use mcumgr_toolkit::transport::{ReceiveError, SMP_HEADER_SIZE, SMP_TRANSFER_BUFFER_SIZE, SendError, Transport};

use crate::line::Shared;

/// The transport of single requests.
pub struct LineTransport {
    line: Shared,
    timeout: Duration,
}

impl LineTransport {
    /// A transport over a shared line.
    #[must_use]
    pub fn new(line: Shared, timeout: Duration) -> Self {
        Self { line, timeout }
    }
}

impl Transport for LineTransport {
    fn send_raw_frame(&mut self, header: [u8; SMP_HEADER_SIZE], data: &[u8]) -> Result<(), SendError> {
        let mut message = header.to_vec();
        message.extend_from_slice(data);
        let sent = self.line.lock().send(&message);
        sent.map_err(|error| SendError::TransportError(Box::new(error)))
    }

    fn recv_raw_frame<'a>(&mut self, buffer: &'a mut [u8; SMP_TRANSFER_BUFFER_SIZE]) -> Result<&'a [u8], ReceiveError> {
        let message = self.line.lock().receive(Instant::now() + self.timeout);
        let message = message.ok_or(ReceiveError::Timeout)?;
        let place = buffer.get_mut(..message.len()).ok_or(ReceiveError::FrameTooBig)?;
        place.copy_from_slice(&message);
        Ok(place)
    }

    fn set_timeout(&mut self, timeout: Duration) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.timeout = timeout;
        Ok(())
    }
}
