//! The payload as a buffered reader: one block at a time, each checked before it is handed on.

use std::io::{self, BufRead, Read};

use super::BundleError;
use super::source::Source;
use crate::blocks::BlockTable;

pub(super) struct Payload<R> {
    source: Source<R>,
    blocks: BlockTable,
    /// File offset of the payload, for messages.
    offset: u64,
    next_block: usize,
    block: Vec<u8>,
    /// How much of `block` was consumed.
    consumed: usize,
    /// Stored bytes of the current file that were not consumed yet.
    left: u64,
    /// Why the last read failed: zstd passes on an `io::Error` only.
    failure: Option<BundleError>,
}

impl<R: Read> Payload<R> {
    pub(super) fn new(source: Source<R>, blocks: BlockTable) -> Self {
        Self {
            offset: source.offset(),
            source,
            blocks,
            next_block: 0,
            block: Vec::new(),
            consumed: 0,
            left: 0,
            failure: None,
        }
    }

    /// Lets the next `stored` bytes be read, then reports the end.
    pub(super) fn begin_file(&mut self, stored: u64) {
        self.left = stored;
    }

    /// Bytes of the current file that were not consumed.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Why a read failed, if it did.
    pub(super) fn take_failure(&mut self) -> Option<BundleError> {
        self.failure.take()
    }

    /// Consumes what is left of the current file.
    pub(super) fn skip(&mut self) -> Result<(), BundleError> {
        while self.left > 0 {
            let n = self.available()?.len();
            self.consume(n);
        }
        Ok(())
    }

    pub(super) fn into_source(self) -> Source<R> {
        self.source
    }

    /// Bytes that can be consumed now; empty only at the end of the current file.
    fn available(&mut self) -> Result<&[u8], BundleError> {
        if self.left > 0 && self.consumed == self.block.len() {
            self.load_block()?;
        }
        let here = &self.block[self.consumed..];
        let n = here.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        Ok(&here[..n])
    }

    fn load_block(&mut self) -> Result<(), BundleError> {
        self.block.resize(self.blocks.length_of(self.next_block), 0);
        self.consumed = 0;
        self.source.fill(&mut self.block, "the payload")?;
        self.blocks.verify(self.next_block, &self.block, self.offset)?;
        self.next_block += 1;
        Ok(())
    }
}

impl<R: Read> BufRead for Payload<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // Checked first because a returned borrow would outlive the match on it.
        if let Err(failure) = self.available() {
            self.failure = Some(failure);
            self.block.clear();
            self.consumed = 0;
            return Err(io::Error::other("the payload cannot be read"));
        }
        self.available().map_err(io::Error::other)
    }

    fn consume(&mut self, n: usize) {
        self.consumed += n;
        self.left -= n as u64;
    }
}

impl<R: Read> Read for Payload<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = {
            let available = self.fill_buf()?;
            let n = available.len().min(buffer.len());
            buffer[..n].copy_from_slice(&available[..n]);
            n
        };
        self.consume(n);
        Ok(n)
    }
}
