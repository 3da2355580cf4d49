//! Reads TensorBoard's event files by their published form: TFRecord framing around `tensorflow.Event` messages.

use std::path::Path;

/// One point of a curve.
#[derive(Debug, PartialEq)]
pub struct Scalar {
    pub tag: String,
    pub step: i64,
    pub value: f32,
}

/// The scalars of all event files in a folder, in the order of the records.
pub fn scalars(folder: &Path) -> Vec<Scalar> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().contains("tfevents");
    let mut files: Vec<_> = entries.filter(named).collect();
    files.sort();
    assert!(!files.is_empty(), "no event file in {}", folder.display());
    let mut found = Vec::new();
    for file in files {
        records(&std::fs::read(file).unwrap()).for_each(|event| found.extend(event_scalars(event)));
    }
    found
}

/// Length (u64), its checksum, content, its checksum.
fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (check, rest) = rest.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_le_bytes(*check), masked_checksum(length));
        let (content, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let (check, rest) = rest.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_le_bytes(*check), masked_checksum(content));
        bytes = rest;
        Some(content)
    })
}

/// CRC-32C, turned and moved as TFRecord wants it.
fn masked_checksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 }
        })
    };
    let crc = !bytes.iter().fold(!0, step);
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// A field of a protocol buffers message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Float(f32),
    Double,
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        let key = varint(&mut bytes)?;
        let mut take = |count: usize| {
            let (head, rest) = bytes.split_at(count);
            bytes = rest;
            head
        };
        let field = match key & 7 {
            1 => {
                take(8);
                Field::Double
            }
            5 => Field::Float(f32::from_le_bytes(take(4).try_into().unwrap())),
            0 => Field::Number(varint(&mut bytes).unwrap()),
            2 => {
                let length = varint(&mut bytes).unwrap() as usize;
                let (head, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(head)
            }
            other => panic!("wire type {other}"),
        };
        Some((key >> 3, field))
    })
}

/// `Event { step = 2, summary = 5 }`, `Summary { value = 1 }`, `Value { tag = 1, simple_value = 2 }`.
fn event_scalars(event: &[u8]) -> Vec<Scalar> {
    let (mut step, mut values) = (0, Vec::new());
    for (number, field) in fields(event) {
        match (number, field) {
            (2, Field::Number(value)) => step = value as i64,
            (5, Field::Bytes(summary)) => values.extend(fields(summary)),
            _ => {}
        }
    }
    let scalar = |(number, field): (u64, Field<'_>)| {
        let Field::Bytes(value) = field else { return None };
        let (mut tag, mut number_of) = (None, None);
        for (number, field) in fields(value) {
            match (number, field) {
                (1, Field::Bytes(text)) => tag = Some(String::from_utf8(text.to_vec()).unwrap()),
                (2, Field::Float(value)) => number_of = Some(value),
                _ => {}
            }
        }
        (number == 1).then_some(())?;
        Some(Scalar {
            tag: tag?,
            step,
            value: number_of?,
        })
    };
    values.into_iter().filter_map(scalar).collect()
}
