//! A sender whose every byte is the test's own.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use dicom_ul::Pdu;
use dicom_ul::pdu::{
    AssociationRQ, PDataValue, PDataValueType, PresentationContextProposed, UserVariableItem, read_pdu, write_pdu,
};

use super::PATIENCE;

pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub const CR: &str = "1.2.840.10008.5.1.4.1.1.1";
pub const DX: &str = "1.2.840.10008.5.1.4.1.1.1.1";
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
/// Presentation contexts of [`request`].
pub const IN_CT: u8 = 1;
pub const IN_ECHO: u8 = 3;

/// One end of a connection.
pub struct Peer {
    pub stream: TcpStream,
    received: Vec<u8>,
}

impl Peer {
    /// Connected, and no more.
    pub fn connect(port: impl Into<SocketAddr>) -> Self {
        let stream = TcpStream::connect(port.into()).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_millis(100)))
            .unwrap();
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// With an association.
    pub fn associate(port: impl Into<SocketAddr>) -> Self {
        let mut peer = Self::connect(port);
        peer.send(&request());
        let answer = peer.receive();
        assert!(matches!(answer, Some(Pdu::AssociationAC(_))), "{answer:?}");
        peer
    }

    pub fn send(&mut self, pdu: &Pdu) {
        self.send_bytes(&encoded(pdu));
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next PDU; `None` if the connection was closed.
    pub fn receive(&mut self) -> Option<Pdu> {
        let begin = Instant::now();
        loop {
            let mut rest = self.received.as_slice();
            if let Some(pdu) = read_pdu(&mut rest, 1 << 20, true).unwrap() {
                self.received = rest.to_vec();
                return Some(pdu);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(more) => self.received.extend(&bytes[..more]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
            assert!(begin.elapsed() < PATIENCE, "no answer");
        }
    }

    /// Whether something has come, or the end; waits a moment for it.
    pub fn hears(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(more) => {
                self.received.extend(&bytes[..more]);
                true
            }
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// The status of the next answer.
    pub fn status(&mut self) -> u16 {
        number(&self.response(), 0x0900).expect("a status")
    }

    /// The command set of the next answer.
    pub fn response(&mut self) -> Vec<u8> {
        match self.receive() {
            Some(Pdu::PData { mut data }) => data.remove(0).data,
            other => panic!("{other:?}"),
        }
    }

    /// Source and reason of the A-ABORT that comes next.
    pub fn abort(&mut self) -> [u8; 2] {
        let pdu = self.receive().expect("an abort");
        let bytes = encoded(&pdu);
        assert_eq!(bytes[0], 7, "{pdu:?}");
        [bytes[8], bytes[9]]
    }

    /// Stores an object in one go, and gives the status.
    pub fn store(&mut self, command: &[u8], data: &[u8]) -> u16 {
        self.send(&command_pdu(IN_CT, command));
        self.send_data(data);
        self.status()
    }

    /// As [`store`](Self::store); `None` if the association ended meanwhile.
    pub fn try_store(&mut self, command: &[u8], data: &[u8]) -> Option<u16> {
        let fragments = data.chunks(16 << 10);
        let last = fragments.len();
        let fragments = fragments.zip(1..).map(|(part, n)| data_pdu(IN_CT, part, n == last));
        for pdu in std::iter::once(command_pdu(IN_CT, command)).chain(fragments) {
            self.stream.write_all(&encoded(&pdu)).ok()?;
        }
        match self.receive()? {
            Pdu::PData { data } => number(&data.first()?.data, 0x0900),
            _ => None,
        }
    }

    /// A data set in fragments of 16 KiB.
    pub fn send_data(&mut self, data: &[u8]) {
        let mut rest = data;
        loop {
            let (fragment, next) = rest.split_at(rest.len().min(16 << 10));
            self.send(&data_pdu(IN_CT, fragment, next.is_empty()));
            rest = next;
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Whether this association still serves.
    pub fn echoes(&mut self) -> bool {
        self.send(&command_pdu(IN_ECHO, &command(0x0030, VERIFICATION, None, false)));
        self.status() == 0
    }
}

/// Stores the data set of a DX image over an association of its own; gives the status, if it came to one.
pub fn store_once(port: impl Into<SocketAddr>, instance: &str, data: &[u8]) -> Option<u16> {
    let mut peer = Peer::connect(port);
    peer.stream
        .write_all(&encoded(&request_of(&[(IN_CT, DX, EXPLICIT)])))
        .ok()?;
    let is_associated = matches!(peer.receive(), Some(Pdu::AssociationAC(_)));
    let command = command(0x0001, DX, Some(instance), true);
    is_associated.then(|| peer.try_store(&command, data))?
}

pub fn encoded(pdu: &Pdu) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, pdu).unwrap();
    bytes
}

/// A request of TEST_SCU for CT in explicit little endian, and for Verification.
pub fn request() -> Pdu {
    request_of(&[(IN_CT, CT, EXPLICIT), (IN_ECHO, VERIFICATION, IMPLICIT)])
}

/// A request of TEST_SCU for presentation contexts: id, class, transfer syntax.
pub fn request_of(contexts: &[(u8, &str, &str)]) -> Pdu {
    let context = |(id, class, syntax): &(u8, &str, &str)| PresentationContextProposed {
        id: *id,
        abstract_syntax: (*class).to_owned(),
        transfer_syntaxes: vec![(*syntax).to_owned()],
    };
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "TEST_SCU".to_owned(),
        called_ae_title: "SCANSIDE".to_owned(),
        application_context_name: "1.2.840.10008.3.1.1.1".to_owned(),
        presentation_contexts: contexts.iter().map(context).collect(),
        user_variables: vec![UserVariableItem::MaxLength(16384)],
    }
    .into()
}

pub fn command_pdu(context: u8, command: &[u8]) -> Pdu {
    pdu(context, PDataValueType::Command, command, true)
}

pub fn data_pdu(context: u8, fragment: &[u8], last: bool) -> Pdu {
    pdu(context, PDataValueType::Data, fragment, last)
}

fn pdu(context: u8, value_type: PDataValueType, data: &[u8], is_last: bool) -> Pdu {
    let value = PDataValue {
        presentation_context_id: context,
        value_type,
        is_last,
        data: data.to_vec(),
    };
    Pdu::PData { data: vec![value] }
}

/// A command set in implicit VR little endian, message id 7.
pub fn command(field: u16, class: &str, instance: Option<&str>, has_data_set: bool) -> Vec<u8> {
    let data_set: u16 = if has_data_set { 1 } else { 0x0101 };
    let mut bytes = implicit(0x0002, &padded(class));
    bytes.extend(implicit(0x0100, &field.to_le_bytes()));
    bytes.extend(implicit(0x0110, &7_u16.to_le_bytes()));
    bytes.extend(implicit(0x0700, &0_u16.to_le_bytes()));
    bytes.extend(implicit(0x0800, &data_set.to_le_bytes()));
    bytes.extend(instance.map(|uid| implicit(0x1000, &padded(uid))).unwrap_or_default());
    [implicit(0, &(bytes.len() as u32).to_le_bytes()), bytes].concat()
}

/// C-STORE of a CT image.
pub fn store_command(instance: &str) -> Vec<u8> {
    command(0x0001, CT, Some(instance), true)
}

/// A data set in explicit VR little endian: class, instance, and bytes that stand for pixels.
pub fn data_set(class: &str, instance: &str, pixels: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (element, uid) in [(0x16, padded(class)), (0x18, padded(instance))] {
        bytes.extend([8, 0, element, 0, b'U', b'I', uid.len() as u8, 0]);
        bytes.extend(uid);
    }
    bytes.extend(b"\xe0\x7f\x10\0OW\0\0");
    bytes.extend((pixels as u32).to_le_bytes());
    bytes.extend((0..pixels).map(|at| (at * 31 % 251) as u8));
    bytes
}

fn implicit(element: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(element.to_le_bytes());
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend(value);
    bytes
}

fn padded(uid: &str) -> Vec<u8> {
    let mut bytes = uid.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

/// The first two bytes of an element of a command set.
pub fn number(command: &[u8], wanted: u16) -> Option<u16> {
    let mut rest = command;
    while let [_, _, e0, e1, l0, l1, l2, l3, after @ ..] = rest {
        let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
        if u16::from_le_bytes([*e0, *e1]) == wanted {
            return Some(u16::from_le_bytes([after[0], after[1]]));
        }
        rest = &after[length..];
    }
    None
}
