//! Where the programs write their answers.

use std::io::{self, ErrorKind, Write};

/// A writer for answers that may lose its reader: what is written after the reader closed the pipe, as `| head` does,
/// goes nowhere and is no failure. The reader has what it wanted, and whatever else the program does it still does.
#[derive(Debug)]
pub struct Answer<W> {
    inner: W,
    closed: bool,
}

/// Standard output as an [`Answer`]; the programs print to it and to nothing else.
#[must_use]
pub fn answer() -> Answer<io::StdoutLock<'static>> {
    Answer::new(io::stdout().lock())
}

impl<W> Answer<W> {
    /// Answers that go to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, closed: false }
    }

    /// The result of a write, or `otherwise` from the moment on at which the reader is gone.
    fn forgive<T>(&mut self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Answer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Ok(bytes.len());
        }
        let written = self.inner.write(bytes);
        self.forgive(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let flushed = self.inner.flush();
        self.forgive(flushed, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes, then fails in one way.
    struct Pipe {
        room: usize,
        then: ErrorKind,
        taken: Vec<u8>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room - self.taken.len());
            if taken == 0 {
                return Err(self.then.into());
            }
            self.taken.extend(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe(then: ErrorKind) -> Answer<Pipe> {
        let (room, taken) = (7, Vec::new());
        Answer::new(Pipe { room, then, taken })
    }

    #[test]
    fn what_nobody_reads_is_no_failure() {
        let mut answer = pipe(ErrorKind::BrokenPipe);
        for _ in 0..3 {
            writeln!(answer, "a line").and_then(|()| answer.flush()).unwrap();
        }
        assert_eq!(answer.inner.taken, b"a line\n");
    }

    #[test]
    fn a_full_disk_stays_a_failure() {
        let error = pipe(ErrorKind::StorageFull).write_all(b"two lines").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}
