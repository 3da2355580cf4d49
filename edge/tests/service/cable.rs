//! A cable between two serial ports: what one program writes, another reads.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// Two pseudo-terminals joined by threads, for as long as the process lives.
pub struct Cable {
    /// The ends that programs open.
    pub ends: [PathBuf; 2],
    /// They keep the ends alive while no program has them open.
    _kept: [OwnedFd; 2],
}

impl Cable {
    pub fn new() -> io::Result<Self> {
        Self::paced(u32::MAX)
    }

    /// One that lets so many bytes through in a second.
    pub fn paced(bytes_a_second: u32) -> io::Result<Self> {
        let (left, right) = (Terminal::open()?, Terminal::open()?);
        join(
            left.controller.try_clone()?,
            right.controller.try_clone()?,
            bytes_a_second,
        );
        join(right.controller, left.controller, bytes_a_second);
        Ok(Self {
            ends: [left.path, right.path],
            _kept: [left.end, right.end],
        })
    }
}

fn join(mut from: File, mut to: File, bytes_a_second: u32) {
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
            thread::sleep(Duration::from_secs_f64(read as f64 / f64::from(bytes_a_second)));
        }
    });
}

/// A pseudo-terminal that changes no byte.
pub struct Terminal {
    /// The controlling side.
    pub controller: File,
    /// The other side, held open.
    pub end: OwnedFd,
    /// Where programs open that.
    pub path: PathBuf,
}

impl Terminal {
    pub fn open() -> io::Result<Self> {
        let (mut controller, mut end) = (0, 0);
        let mut name = [0_u8; 128];
        // SAFETY: the descriptors go to fresh variables, the name fits Linux's /dev/pts/N, and no attributes are given;
        // cfmakeraw and tcsetattr work on an initialised copy.
        unsafe {
            let null = std::ptr::null_mut();
            if libc::openpty(
                &raw mut controller,
                &raw mut end,
                name.as_mut_ptr().cast(),
                null,
                null.cast(),
            ) != 0
            {
                return Err(io::Error::last_os_error());
            }
            let mut attributes: libc::termios = std::mem::zeroed();
            libc::tcgetattr(end, &raw mut attributes);
            libc::cfmakeraw(&raw mut attributes);
            libc::tcsetattr(end, libc::TCSANOW, &raw const attributes);
            let path = name.split(|byte| *byte == 0).next().unwrap_or_default();
            Ok(Self {
                controller: File::from_raw_fd(controller),
                end: OwnedFd::from_raw_fd(end),
                path: PathBuf::from(String::from_utf8_lossy(path).into_owned()),
            })
        }
    }
}
