//! The serial port: by name or pattern, opened again whenever it comes back.
//!
//! A UART (`/dev/ttyTHS1`) has the speed that both sides set; a USB gadget (`/dev/ttyGS0`, the appliance as a USB
//! device) ignores it. Either may be a link below `/dev/serial/by-id`.

mod pattern;

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serialport::{SerialPort as _, TTYPort};

use super::Framing;
pub use pattern::matches;

/// How long a read waits for bytes.
const READ_PATIENCE: Duration = Duration::from_millis(100);
/// How often a write waits that long again before it gives up: clients do not wait longer for the answer.
const WRITE_WAITS: u32 = 20;
/// How long to leave a port alone that could not be opened.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// How the line says that it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlowControl {
    /// It does not.
    #[default]
    None,
    /// RTS and CTS.
    Hardware,
    /// XON and XOFF. Not with raw framing: its bytes may be these.
    Software,
}

/// Which port, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortOptions {
    /// A path, whose last part may hold `*` and `?`: then the first match in alphabetical order that can be opened.
    pub path: String,
    /// Bits per second, 8N1.
    pub baud: u32,
    /// Flow control.
    pub flow_control: FlowControl,
    /// Nobody else may open the port meanwhile.
    pub exclusive: bool,
}

impl PortOptions {
    /// 115,200 baud, no flow control, exclusive.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            baud: 115_200,
            flow_control: FlowControl::None,
            exclusive: true,
        }
    }
}

/// Why a port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// Nothing matches the pattern.
    #[error("no serial port {pattern}; check the cable and the name")]
    Absent {
        /// Path or pattern.
        pattern: String,
    },
    /// It is there, but does not open.
    #[error("serial port {}: {source}; check that it may be opened and that no other program has it", path.display())]
    Open {
        /// The port.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A serial port that survives unplugging: while it is away, reads time out as if the line were silent.
#[derive(Debug)]
pub struct Port {
    options: PortOptions,
    line: Option<Line>,
    tried: Option<Instant>,
}

impl Port {
    /// A port that is opened by the first read, or by [`Port::open`].
    #[must_use]
    pub fn new(options: PortOptions) -> Self {
        Self {
            options,
            line: None,
            tried: None,
        }
    }

    /// Opens the port unless it is open, and tells its path.
    ///
    /// # Errors
    /// [`PortError`]; of several matches the last one's.
    pub fn open(&mut self) -> Result<&Path, PortError> {
        self.tried = Some(Instant::now());
        if self.line.is_none() {
            self.line = Some(open_first(&self.options)?);
        }
        match &self.line {
            Some(line) => Ok(&line.path),
            None => Err(absent(&self.options)),
        }
    }

    /// The path of the open port.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.line.as_ref().map(|line| line.path.as_path())
    }

    /// Does something with the line; without one, or if it fails, the port counts as unplugged.
    fn with_line<T>(&mut self, work: impl FnOnce(&mut Line) -> io::Result<T>) -> io::Result<T> {
        let due = self.tried.is_none_or(|tried| tried.elapsed() >= REOPEN_AFTER);
        if self.line.is_none() && !(due && self.open().is_ok()) {
            std::thread::sleep(READ_PATIENCE);
        }
        let line = self.line.as_mut().ok_or(ErrorKind::TimedOut)?;
        work(line).map_err(|error| {
            if !matches!(
                error.kind(),
                ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted
            ) {
                self.line = None;
            }
            ErrorKind::TimedOut.into()
        })
    }
}

impl Read for Port {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.with_line(|line| match line.read(into)? {
            0 => Err(ErrorKind::BrokenPipe.into()),
            bytes => Ok(bytes),
        })
    }
}

impl Write for Port {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with_line(|line| line.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An open terminal that never waits longer than its patience.
#[derive(Debug)]
struct Line {
    port: TTYPort,
    path: PathBuf,
}

impl Line {
    fn new(mut port: TTYPort, path: PathBuf) -> io::Result<Self> {
        port.set_timeout(READ_PATIENCE)?;
        // Otherwise a write of more than fits waits until all of it fitted, perhaps for ever.
        // SAFETY: fcntl on a descriptor that `port` keeps open, with integers only.
        let done = unsafe {
            let flags = libc::fcntl(port.as_raw_fd(), libc::F_GETFL);
            libc::fcntl(port.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK)
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        keep(&port)?;
        Ok(Self { port, path })
    }
}

/// A program that is started from here must not hold the port open.
fn keep(port: &TTYPort) -> io::Result<()> {
    // SAFETY: fcntl on a descriptor that `port` keeps open, with integers only.
    let done = unsafe { libc::fcntl(port.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.port.read(into)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for _ in 1..WRITE_WAITS {
            match self.port.write(bytes) {
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {}
                done => return done,
            }
        }
        self.port.write(bytes)
    }

    /// What is written lies in the operating system. Waiting until it has left could take for ever.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open_first(options: &PortOptions) -> Result<Line, PortError> {
    let flow_control = match options.flow_control {
        FlowControl::None => serialport::FlowControl::None,
        FlowControl::Hardware => serialport::FlowControl::Hardware,
        FlowControl::Software => serialport::FlowControl::Software,
    };
    let mut last = absent(options);
    for path in matches(&options.path) {
        let builder = serialport::new(path.to_string_lossy(), options.baud)
            .flow_control(flow_control)
            .exclusive(options.exclusive)
            .timeout(READ_PATIENCE);
        let opened = TTYPort::open(&builder).map_err(io::Error::from);
        match opened.and_then(|port| Line::new(port, path.clone())) {
            Ok(line) => return Ok(line),
            Err(source) => last = PortError::Open { path, source },
        }
    }
    Err(last)
}

fn absent(options: &PortOptions) -> PortError {
    PortError::Absent {
        pattern: options.path.clone(),
    }
}

/// The framing that a port of this kind usually carries: raw on USB, which has checksums of its own, console on a
/// UART. The server understands both on either.
#[must_use]
pub fn usual_framing(path: &Path) -> Framing {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with("ttyGS") || name.starts_with("ttyACM") {
        Framing::Raw
    } else {
        Framing::Console
    }
}

/// A pair of pseudo-terminals, for tests and simulations: this end reads and writes, the other is opened by its path.
#[derive(Debug)]
pub struct Pty {
    line: Line,
    /// Keeps the other end alive while nobody has it open.
    _other: TTYPort,
}

impl Pty {
    /// A new pair.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open() -> io::Result<Self> {
        let (controller, other) = TTYPort::pair().map_err(io::Error::from)?;
        keep(&other)?;
        let path = other.name().ok_or(ErrorKind::NotFound)?;
        Ok(Self {
            line: Line::new(controller, path.into())?,
            _other: other,
        })
    }

    /// The path of the other end.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.line.path
    }
}

impl Read for Pty {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.line.read(into)
    }
}

impl Write for Pty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads until something is there.
    fn read(from: &mut impl Read) -> Vec<u8> {
        let mut buffer = [0; 100];
        loop {
            match from.read(&mut buffer) {
                Ok(bytes) => return buffer[..bytes].to_vec(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
            }
        }
    }

    #[test]
    fn a_port_comes_back_after_unplugging() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("tty-b");
        let mut port = Port::new(PortOptions::new(folder.path().join("tty-*").to_string_lossy()));
        assert!(matches!(port.open(), Err(PortError::Absent { .. })));
        let mut buffer = [0; 10];
        assert_eq!(port.read(&mut buffer).unwrap_err().kind(), ErrorKind::TimedOut);

        // Something that matches but is no port.
        fs::write(folder.path().join("tty-a"), b"").unwrap();
        assert!(matches!(port.open(), Err(PortError::Open { .. })));
        for _ in 0..2 {
            let mut cable = Pty::open().unwrap();
            std::os::unix::fs::symlink(cable.path(), &link).unwrap();
            while port.path().is_none() {
                let _ = port.read(&mut buffer);
            }
            assert_eq!(port.path(), Some(link.as_path()));
            cable.write_all(b"ping\x0a\x0d\x11").unwrap();
            assert_eq!(read(&mut port), b"ping\x0a\x0d\x11");
            port.write_all(b"pong\x0a").unwrap();
            assert_eq!(read(&mut cable), b"pong\x0a");
            drop(cable);
            fs::remove_file(&link).unwrap();
            while port.path().is_some() {
                assert_eq!(port.read(&mut buffer).unwrap_err().kind(), ErrorKind::TimedOut);
            }
            assert_eq!(port.write(b"x").unwrap_err().kind(), ErrorKind::TimedOut);
        }
    }

    #[test]
    fn a_port_is_open_once() {
        let cable = Pty::open().unwrap();
        let options = PortOptions::new(cable.path().to_string_lossy());
        let mut first = Port::new(options.clone());
        first.open().unwrap();
        assert!(matches!(Port::new(options.clone()).open(), Err(PortError::Open { .. })));
        drop(first);
        Port::new(options).open().unwrap();
    }

    #[test]
    fn a_write_that_nobody_reads_ends() {
        let mut cable = Pty::open().unwrap();
        let error = cable.write_all(&[b'x'; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn usb_is_raw_and_a_uart_is_console() {
        assert_eq!(usual_framing(Path::new("/dev/ttyGS0")), Framing::Raw);
        assert_eq!(usual_framing(Path::new("/dev/ttyACM3")), Framing::Raw);
        assert_eq!(usual_framing(Path::new("/dev/ttyTHS1")), Framing::Console);
        assert_eq!(usual_framing(Path::new("/dev/ttyUSB0")), Framing::Console);
    }
}
