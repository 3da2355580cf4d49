//! A client of a few lines: sends requests to a server in memory and reads what it answers.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use minicbor::Decoder;
use minicbor::data::Type;
use scanside_hardware::smp::cbor::MapWriter;
use scanside_hardware::smp::message::{message, split};
use scanside_hardware::smp::{
    Device, Framing, Header, LinkStatistics, Operation, Parameters, ServeError, Server, link,
};
use serde_json::{Value, json};

/// The two ends of a line that ends when everything was read.
pub struct Line {
    pub sent: VecDeque<u8>,
    pub answers: Vec<u8>,
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.sent.read(into)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.answers.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A request of SMP version 2.
pub fn request(operation: Operation, group: u16, command: u8, body: &[u8]) -> Vec<u8> {
    let header = Header {
        operation,
        version: 1,
        flags: 0,
        length: body.len() as u16,
        group,
        sequence: 9,
        command,
    };
    message(header, body)
}

/// Lets a device answer what stands on a line.
pub fn serve(device: &mut dyn Device, sent: &[u8]) -> (Vec<u8>, LinkStatistics) {
    let line = Line {
        sent: sent.iter().copied().collect(),
        answers: Vec::new(),
    };
    let mut server = Server::new(line, Parameters::default());
    let end = server.serve(device, &mut || false);
    assert!(matches!(end, Err(ServeError::Closed)), "{end:?}");
    (std::mem::take(&mut server.port().answers), server.statistics())
}

/// The answer to one request, in a framing, as JSON; bytes are arrays.
pub fn ask_in(
    framing: Framing,
    device: &mut dyn Device,
    operation: Operation,
    to: (u16, u8),
    body: MapWriter,
) -> Value {
    let mut sent = Vec::new();
    link::encode(framing, &request(operation, to.0, to.1, &body.finish()), &mut sent);
    let (answers, _) = serve(device, &sent);
    let message = match framing {
        Framing::Raw => answers,
        Framing::Console => {
            let mut receiver = link::Receiver::new(20_000, std::time::Duration::MAX);
            receiver.push(&answers, std::time::Duration::ZERO);
            receiver.next().expect("an answer").message
        }
    };
    let (header, body) = split(&message).expect("an answer");
    assert_eq!((header.group, header.command, header.sequence), (to.0, to.1, 9));
    assert_eq!(usize::from(header.length), body.len());
    value(&mut Decoder::new(body))
}

/// The answer to one raw request.
pub fn ask(device: &mut dyn Device, operation: Operation, to: (u16, u8), body: MapWriter) -> Value {
    ask_in(Framing::Raw, device, operation, to, body)
}

fn value(decoder: &mut Decoder<'_>) -> Value {
    match decoder.datatype().unwrap() {
        Type::Bool => json!(decoder.bool().unwrap()),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => json!(decoder.u64().unwrap()),
        Type::String => json!(decoder.str().unwrap()),
        Type::Bytes => json!(decoder.bytes().unwrap()),
        Type::Array => {
            let length = decoder.array().unwrap().unwrap();
            (0..length).map(|_| value(decoder)).collect()
        }
        Type::Map => {
            let length = decoder.map().unwrap().unwrap();
            let entry = |_| (decoder.str().unwrap().to_owned(), value(decoder));
            Value::Object((0..length).map(entry).collect())
        }
        other => panic!("{other}"),
    }
}
