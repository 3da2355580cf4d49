use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::*;
use crate::smp::Simulated;

/// A port that was given its bytes beforehand, each piece with the silence before it.
struct Script {
    pieces: VecDeque<(Duration, Vec<u8>)>,
    now: Arc<Mutex<Duration>>,
    sent: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some((silence, bytes)) = self.pieces.front_mut() else {
            return Ok(0);
        };
        if *silence > Duration::ZERO {
            *self.now.lock().unwrap() += std::mem::take(silence);
            return Err(ErrorKind::TimedOut.into());
        }
        let read = bytes.len().min(into.len());
        into[..read].copy_from_slice(&bytes[..read]);
        bytes.drain(..read);
        if bytes.is_empty() {
            self.pieces.pop_front();
        }
        Ok(read)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serves what a client sends, and gives back what it hears.
fn serve(device: &mut dyn Device, pieces: &[(u64, &[u8])]) -> (Vec<u8>, LinkStatistics) {
    let now = Arc::new(Mutex::new(Duration::ZERO));
    let pieces = pieces
        .iter()
        .map(|(millis, bytes)| (Duration::from_millis(*millis), bytes.to_vec()));
    let port = Script {
        pieces: pieces.collect(),
        now: now.clone(),
        sent: Vec::new(),
    };
    let clock = Box::new(move || *now.lock().unwrap());
    let mut server = Server::with_clock(port, Parameters::default(), clock);
    let end = server.serve(device, &mut || false);
    assert!(matches!(end, Err(ServeError::Closed)));
    (std::mem::take(&mut server.port().sent), server.statistics())
}

/// A raw request: version 2, sequence 5.
fn raw(write: bool, group: u16, command: u8, body: &[u8]) -> Vec<u8> {
    let first = if write { 0x0a } else { 0x08 };
    let [g1, g0] = group.to_be_bytes();
    let [l1, l0] = (body.len() as u16).to_be_bytes();
    let header = Header::parse([first, 0, l1, l0, g1, g0, 5, command]);
    message(header, body)
}

/// The body of the answer to one raw request.
fn ask(device: &mut dyn Device, write: bool, group: u16, command: u8, body: &[u8]) -> Vec<u8> {
    let (sent, _) = serve(device, &[(0, &raw(write, group, command, body))]);
    let (header, body) = split(&sent).expect("an answer");
    assert_eq!(usize::from(header.length), body.len());
    assert_eq!((header.group, header.command, header.sequence), (group, command, 5));
    body.to_vec()
}

const EMPTY: &[u8] = b"\xa0";

#[test]
fn an_answer_goes_out_in_the_framing_of_its_request() {
    let echo = raw(true, group::OS, 0, b"\xa1\x61d\x62hi");
    let mut console = Vec::new();
    link::encode(Framing::Console, &echo, &mut console);
    let mut mixed = console.clone();
    mixed.extend(&echo);
    mixed.extend(&console);
    let (sent, statistics) = serve(&mut Simulated::new(), &[(0, &mixed)]);
    let answer = b"\x0b\0\0\x06\0\0\x05\0\xa1\x61r\x62hi";
    let mut line = Vec::new();
    link::encode(Framing::Console, answer, &mut line);
    assert_eq!(sent, [line.as_slice(), answer, &line].concat());
    assert_eq!((statistics.console_frames, statistics.raw_frames), (2, 1));
    assert_eq!((statistics.frames_sent, statistics.retries), (3, 2));
}

#[test]
fn answers_are_not_answered() {
    let mut answer = raw(true, group::OS, 0, b"\xa1\x61r\x62hi");
    answer[0] = 0x0b;
    let mut line = Vec::new();
    link::encode(Framing::Console, &answer, &mut line);
    // Our own answer, as a line that echoes gives it back.
    let (sent, statistics) = serve(&mut Simulated::new(), &[(0, &line), (0, &answer)]);
    assert_eq!(sent, b"");
    assert_eq!(statistics.console_frames, 1);
}

#[test]
fn unknown_things_are_not_supported() {
    let mut device = Simulated::new();
    for (write, number, command) in [
        (true, 9, 0),
        (false, 3, 0),
        (false, 63, 0),
        (true, group::OS, 9),
        (true, group::OS, 6),
        (true, group::IMAGE, 2),
        (false, group::IMAGE, 1),
        (true, group::STATISTICS, 0),
        (false, group::FILES, 9),
        (false, group::SCANSIDE, 2),
        (true, group::SCANSIDE, 99),
    ] {
        let body = ask(&mut device, write, number, command, EMPTY);
        assert_eq!(body[..5], *b"\xa2\x62rc\x08", "group {number} command {command}");
    }
    // Without a checksum, a group that SMP does not know is no header.
    assert_eq!(serve(&mut device, &[(0, &raw(true, 20, 0, EMPTY))]).0, b"");
}

#[test]
fn a_request_of_a_later_version_is_told_so() {
    let mut request = raw(true, group::OS, 0, EMPTY);
    request[0] = 0x12;
    let mut line = Vec::new();
    link::encode(Framing::Console, &request, &mut line);
    let (sent, _) = serve(&mut Simulated::new(), &[(0, &line)]);
    let mut receiver = link::Receiver::new(8192, Duration::MAX);
    receiver.push(&sent, Duration::ZERO);
    // The receiver takes any message in console framing, also an answer.
    let answer = receiver.next().unwrap().message;
    assert_eq!(answer[0], 0x0b);
    assert_eq!(answer[8..13], *b"\xa2\x62rc\x0d");
}

#[test]
fn attacks_with_cbor_are_refused() {
    let mut device = Simulated::new();
    let mut deep = b"\xa1\x61d".to_vec();
    deep.extend([0x81; 4000]);
    deep.push(0);
    let mut many = b"\xb9\x0f\xa0".to_vec();
    many.extend([0; 8000]);
    let attacks: [&[u8]; 5] = [
        &deep,
        &many,
        b"\xa2\x61d\x60\x61d\x60",
        b"\xa1\x61d\x7f\x61a\xff",
        b"\xa1\x61d\x01",
    ];
    for body in attacks {
        let answer = ask(&mut device, true, group::OS, 0, body);
        assert_eq!(answer[..5], *b"\xa2\x62rc\x03", "{:02x?}", &body[..10.min(body.len())]);
    }
    // With a checksum, damage is the client's fault; without, it is noise, and the client asks again.
    let damaged = raw(true, group::OS, 0, b"\xa1\x61d\x5b\xff\xff\xff\xff\xff\xff\xff\xff");
    let (sent, statistics) = serve(&mut device, &[(0, &damaged)]);
    assert_eq!((sent.as_slice(), statistics.raw_damaged), (b"".as_slice(), 1));
    let mut line = Vec::new();
    link::encode(Framing::Console, &damaged, &mut line);
    let (sent, statistics) = serve(&mut device, &[(0, &line)]);
    assert!(!sent.is_empty());
    assert_eq!(statistics.refused, 1);
}

#[test]
fn a_header_that_lies_about_its_length_is_refused() {
    let mut request = raw(true, group::OS, 0, b"\xa1\x61d\x62hi");
    request[3] += 1;
    let mut line = Vec::new();
    link::encode(Framing::Console, &request, &mut line);
    assert_eq!(serve(&mut Simulated::new(), &[(0, &line)]).1.refused, 1);
    // Shorter than a header: nobody to answer.
    line.clear();
    link::encode(Framing::Console, &request[..7], &mut line);
    assert_eq!(serve(&mut Simulated::new(), &[(0, &line)]).0, b"");
}

#[test]
fn a_message_that_stops_half_way_is_forgotten() {
    let echo = raw(true, group::OS, 0, b"\xa1\x61d\x62hi");
    let (head, tail) = echo.split_at(10);
    let (sent, statistics) = serve(&mut Simulated::new(), &[(0, head), (999, tail)]);
    assert!(!sent.is_empty());
    assert_eq!(statistics.byte_timeouts, 0);
    let (sent, statistics) = serve(&mut Simulated::new(), &[(0, head), (1000, tail), (1000, &echo)]);
    assert_eq!(sent.len(), 14);
    assert_eq!(statistics.byte_timeouts, 1);
}

#[test]
fn the_restart_is_answered_before_it_begins() {
    let mut device = Simulated::new();
    let mut line = raw(true, group::OS, 5, EMPTY);
    line.extend(raw(true, group::OS, 0, b"\xa1\x61d\x65later"));
    let port = Script {
        pieces: [(Duration::ZERO, line)].into(),
        now: Arc::default(),
        sent: Vec::new(),
    };
    let mut server = Server::new(port, Parameters::default());
    // The device says when to stop, as the appliance does.
    let mut answers = 0;
    let end = server.serve(&mut device, &mut || {
        answers += 1;
        answers > 1
    });
    assert!(end.is_ok());
    assert!(device.restart.is_some());
    assert_eq!(server.port().sent, b"\x0b\0\0\x01\0\0\x05\x05\xa0");
}

#[test]
fn the_parameters_are_within_their_range() {
    for (wanted, told) in [(0, 8192_u16), (8192, 8192), (12_000, 12_000), (1 << 20, 16_384)] {
        let parameters = Parameters {
            buffer_bytes: wanted,
            ..Parameters::default()
        };
        assert_eq!(parameters.buffer_bytes(), usize::from(told));
    }
    let body = ask(&mut Simulated::new(), false, group::OS, 6, EMPTY);
    assert_eq!(body, b"\xa2\x68buf_size\x19\x20\x00\x69buf_count\x04");
}

#[test]
fn requests_as_long_as_the_buffer_are_taken_and_no_longer_ones() {
    let echo = |length: usize| {
        let mut body = b"\xa1\x61d\x79".to_vec();
        body.extend((length as u16).to_be_bytes());
        body.extend(vec![b'x'; length]);
        raw(true, group::OS, 0, &body)
    };
    let overhead = echo(0).len();
    for framing in [Framing::Console, Framing::Raw] {
        let mut line = Vec::new();
        link::encode(framing, &echo(8192 - overhead), &mut line);
        let (sent, _) = serve(&mut Simulated::new(), &[(0, &line)]);
        assert!(sent.len() >= 8192, "{framing:?} {}", sent.len());
        let mut line = Vec::new();
        link::encode(framing, &echo(8193 - overhead), &mut line);
        assert_eq!(serve(&mut Simulated::new(), &[(0, &line)]).0, b"", "{framing:?}");
    }
}

/// A port that takes nothing, or fails.
struct Stuck(ErrorKind, Vec<u8>);

impl Read for Stuck {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.1.len().min(into.len());
        into[..read].copy_from_slice(&self.1[..read]);
        self.1.drain(..read);
        Ok(read)
    }
}

impl Write for Stuck {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_client_that_does_not_read_loses_its_answer_only() {
    let echo = raw(true, group::OS, 0, b"\xa1\x61d\x62hi");
    let mut server = Server::new(Stuck(ErrorKind::TimedOut, echo.repeat(3)), Parameters::default());
    assert!(matches!(
        server.serve(&mut Simulated::new(), &mut || false),
        Err(ServeError::Closed)
    ));
    assert_eq!(server.statistics().write_errors, 3);
    let mut server = Server::new(Stuck(ErrorKind::BrokenPipe, echo), Parameters::default());
    assert!(matches!(
        server.serve(&mut Simulated::new(), &mut || false),
        Err(ServeError::Port(_))
    ));
}
