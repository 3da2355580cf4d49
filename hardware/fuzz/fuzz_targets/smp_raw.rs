//! Any bytes on the port of a server: it must come to their end.

#![no_main]

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use scanside_hardware::smp::{Parameters, ServeError, Server, Simulated};

struct Line<'a>(&'a [u8]);

impl Read for Line<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut server = Server::new(Line(bytes), Parameters::default());
    let end = server.serve(&mut Simulated::new(), &mut || false);
    assert!(matches!(end, Err(ServeError::Closed)));
});
