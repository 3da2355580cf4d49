//! Any body behind the header of a command that exists: each is answered, with one well-formed map.

#![no_main]

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use scanside_hardware::smp::message::{message, split};
use scanside_hardware::smp::{Framing, Header, Operation, Parameters, Server, Simulated, cbor, console, link};

/// Reads the request, keeps the answer.
struct Line(Vec<u8>, usize, Vec<u8>);

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = (&self.0[self.1..]).read(into)?;
        self.1 += read;
        Ok(read)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.2.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// The first two bytes choose the command.
fuzz_target!(|bytes: &[u8]| {
    let Some((&[choice, command], body)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    if body.len() > 8000 {
        return;
    }
    let header = Header {
        operation: [Operation::Read, Operation::Write][usize::from(choice & 1)],
        version: choice >> 1 & 1,
        flags: 0,
        length: body.len() as u16,
        group: [0, 1, 2, 8, 64][usize::from(choice >> 2) % 5],
        sequence: 0,
        command: command % 10,
    };
    let mut sent = Vec::new();
    // With a checksum, also what is no CBOR must be answered.
    link::encode(Framing::Console, &message(header, body), &mut sent);
    let mut server = Server::new(Line(sent, 0, Vec::new()), Parameters::default());
    let _ = server.serve(&mut Simulated::new(), &mut || false);
    let lines = &server.port().2;
    let mut receiver = link::Receiver::new(console::longest_line(8192), std::time::Duration::MAX);
    receiver.push(lines, std::time::Duration::ZERO);
    let answer = receiver.next().expect("an answer").message;
    let (_, body) = split(&answer).expect("a header");
    assert_eq!(cbor::check(body), Ok(()));
});
