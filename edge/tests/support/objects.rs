//! DICOM files that the tests write: element by element, and radiographs.

use super::chest_values;

/// Explicit VR little endian.
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";

/// A DICOM file, explicit VR little endian: `elements` behind a file meta group with `transfer_syntax`.
pub fn dicom(transfer_syntax: &str, elements: &[Element]) -> Vec<u8> {
    let of = |tag: (u16, u16), otherwise: &str| {
        let found = elements.iter().find(|element| element.tag == tag);
        found.map_or_else(|| otherwise.as_bytes().to_vec(), |element| element.value.clone())
    };
    let mut meta = Vec::new();
    meta.extend(Element::new(2, 1, *b"OB", vec![0, 1]).bytes());
    meta.extend(Element::new(2, 2, *b"UI", of((8, 0x16), "1.2.840.10008.5.1.4.1.1.1.1\0")).bytes());
    meta.extend(Element::new(2, 3, *b"UI", of((8, 0x18), "1.2.3.4\0")).bytes());
    meta.extend(Element::text(2, 0x10, *b"UI", transfer_syntax).bytes());
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    file.extend(Element::new(2, 0, *b"UL", (meta.len() as u32).to_le_bytes().to_vec()).bytes());
    file.extend(meta);
    for element in elements {
        file.extend(element.bytes());
    }
    file
}

/// One data element.
pub struct Element {
    tag: (u16, u16),
    vr: [u8; 2],
    value: Vec<u8>,
    undefined_length: bool,
}

impl Element {
    pub fn new(group: u16, element: u16, vr: [u8; 2], value: Vec<u8>) -> Self {
        Self {
            tag: (group, element),
            vr,
            value,
            undefined_length: false,
        }
    }

    pub fn text(group: u16, element: u16, vr: [u8; 2], text: &str) -> Self {
        let mut value = text.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(if vr == *b"UI" { 0 } else { b' ' });
        }
        Self::new(group, element, vr, value)
    }

    pub fn number(group: u16, element: u16, value: u16) -> Self {
        Self::new(group, element, *b"US", value.to_le_bytes().to_vec())
    }

    /// Encapsulated pixel data of one fragment.
    pub fn fragments(fragment: &[u8]) -> Self {
        let mut value = vec![0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0];
        value.extend([0xfe, 0xff, 0x00, 0xe0]);
        let mut fragment = fragment.to_vec();
        if fragment.len() % 2 == 1 {
            fragment.push(0);
        }
        value.extend((fragment.len() as u32).to_le_bytes());
        value.extend(fragment);
        value.extend([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
        Self {
            undefined_length: true,
            ..Self::new(0x7fe0, 0x10, *b"OB", value)
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.tag.0.to_le_bytes().to_vec();
        bytes.extend(self.tag.1.to_le_bytes());
        bytes.extend(self.vr);
        if [*b"OB", *b"OW", *b"SQ", *b"UN"].contains(&self.vr) {
            bytes.extend([0, 0]);
            let length = if self.undefined_length {
                u32::MAX
            } else {
                self.value.len() as u32
            };
            bytes.extend(length.to_le_bytes());
        } else {
            bytes.extend((self.value.len() as u16).to_le_bytes());
        }
        bytes.extend(&self.value);
        bytes
    }
}

/// A chest radiograph as DICOM: 16 bits allocated, `bits` stored, of a patient of `age` (`054Y`).
pub fn chest_dicom(age: &str, modality: &str, pixels: Option<Element>, transfer_syntax: &str, bits: u16) -> Vec<u8> {
    let (height, width) = (300, 260);
    let scale = f32::from((1_u16 << bits) - 1);
    let values = chest_values(height, width);
    let stored = values.iter().flat_map(|v| ((v * scale) as u16).to_le_bytes()).collect();
    dicom(
        transfer_syntax,
        &[
            Element::text(8, 0x16, *b"UI", "1.2.840.10008.5.1.4.1.1.1.1"),
            Element::text(8, 0x18, *b"UI", "1.2.3.4"),
            Element::text(8, 0x60, *b"CS", modality),
            Element::text(0x10, 0x1010, *b"AS", age),
            Element::text(0x18, 0x15, *b"CS", "CHEST"),
            Element::text(0x18, 0x5101, *b"CS", "PA"),
            Element::number(0x28, 2, 1),
            Element::text(0x28, 4, *b"CS", "MONOCHROME2"),
            Element::number(0x28, 0x10, height as u16),
            Element::number(0x28, 0x11, width as u16),
            Element::number(0x28, 0x100, 16),
            Element::number(0x28, 0x101, bits),
            Element::number(0x28, 0x102, bits - 1),
            Element::number(0x28, 0x103, 0),
            pixels.unwrap_or_else(|| Element::new(0x7fe0, 0x10, *b"OW", stored)),
        ],
    )
}

/// What a radiograph of the tests says.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    pub uid: &'a str,
    pub study: &'a str,
    pub modality: &'a str,
    pub body_part: &'a str,
    pub name: &'a str,
    /// Empty for a radiograph.
    pub series: &'a str,
    pub frames: usize,
    /// Rows and columns.
    pub size: [usize; 2],
}

/// A frontal radiograph.
pub const CHEST: Said<'static> = Said {
    uid: "1.2.3.1",
    study: "1.2.3",
    modality: "DX",
    body_part: "CHEST",
    name: "Geheimrat^Ottilie",
    series: "",
    frames: 1,
    size: [200, 180],
};

impl Said<'_> {
    /// The pixels of a frame: 12 bits stored in 16.
    pub fn pixels(self) -> Vec<u8> {
        let values = chest_values(self.size[0], self.size[1]);
        values
            .iter()
            .flat_map(|v| ((v * 4095.0) as u16).to_le_bytes())
            .collect()
    }

    /// The file.
    pub fn bytes(self) -> Vec<u8> {
        self.with(&self.pixels())
    }

    /// The file with these pixels in each frame.
    pub fn with(self, frame: &[u8]) -> Vec<u8> {
        let class = match self.modality {
            "CT" => "1.2.840.10008.5.1.4.1.1.2",
            _ => "1.2.840.10008.5.1.4.1.1.1.1",
        };
        let [height, width] = self.size;
        let frames = self.frames.to_string();
        dicom(
            EXPLICIT,
            &[
                Element::text(8, 0x16, *b"UI", class),
                Element::text(8, 0x18, *b"UI", self.uid),
                Element::text(8, 0x60, *b"CS", self.modality),
                Element::text(0x10, 0x10, *b"PN", self.name),
                Element::text(0x10, 0x20, *b"LO", "VERTRAULICH-77"),
                Element::text(0x10, 0x1010, *b"AS", "054Y"),
                Element::text(0x18, 0x15, *b"CS", self.body_part),
                Element::text(0x18, 0x5101, *b"CS", "PA"),
                Element::text(0x20, 0x0d, *b"UI", self.study),
                Element::text(0x20, 0x0e, *b"UI", self.series),
                Element::number(0x28, 2, 1),
                Element::text(0x28, 4, *b"CS", "MONOCHROME2"),
                Element::text(0x28, 8, *b"IS", &frames),
                Element::number(0x28, 0x10, height as u16),
                Element::number(0x28, 0x11, width as u16),
                Element::number(0x28, 0x100, 16),
                Element::number(0x28, 0x101, 12),
                Element::number(0x28, 0x102, 11),
                Element::number(0x28, 0x103, 0),
                Element::new(0x7fe0, 0x10, *b"OW", frame.repeat(self.frames)),
            ],
        )
    }
}
