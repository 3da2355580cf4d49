//! Images with a patient and a study, and what a real model finds in them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use bundle::{Manifest, Policy, TrustedKeys};
use chrono::{DateTime, Utc};
use imaging::Limits;
use onnx::runtime::{self, SessionOptions};
use scanside_edge::appliance::Appliance;
use scanside_edge::decision::{Decision, DecisionKind};
use scanside_edge::examination::{Examination, Examiner, Request};
use scanside_edge::finding::{Engine, OfSeries};
use scanside_edge::inference::ReadBundle;
use scanside_edge::outbox::{self, Built, Case, CaseImage, Device, Kind, OutgoingObject, Wanted};

use crate::support::{EXPLICIT, Element, Says, chest, chest_values, dicom, place, tiny};

/// Everything.
pub const ALL: Wanted = Wanted {
    secondary_capture: true,
    structured_report: true,
    json: true,
};

/// An image that was examined.
pub struct Examined {
    pub name: String,
    pub path: PathBuf,
    pub examination: Examination,
    pub manifest: Manifest,
}

impl Examined {
    pub fn kind(&self) -> DecisionKind {
        self.examination.finding.decision.kind
    }

    pub fn build(&self, wanted: Wanted) -> Built {
        let image = CaseImage {
            examination: &self.examination,
            path: &self.path,
            member: 1,
        };
        let case = Case {
            images: &[image],
            manifest: &self.manifest,
        };
        outbox::build(&case, wanted, &device(), &Limits::default()).unwrap()
    }

    /// The object of a kind, in a file.
    pub fn file(&self, kind: Kind, folder: &Path) -> PathBuf {
        let built = self.build(ALL);
        let object = built.objects.iter().find(|object| object.kind == kind);
        let object = object.unwrap_or_else(|| panic!("{}: {:?}", self.name, built.left_out));
        write(object, folder)
    }
}

pub fn write(object: &OutgoingObject, folder: &Path) -> PathBuf {
    let path = folder.join(&object.id);
    fs::write(&path, &object.bytes).unwrap();
    path
}

pub fn device() -> Device {
    Device {
        ae_title: "SCANSIDE".to_owned(),
        serial_number: "SN-0001".to_owned(),
    }
}

/// What a bundle makes of a file.
pub fn examine(name: &str, path: &Path, says: Says) -> Examined {
    let place = place().expect("asked for before");
    let bundle = match says {
        Says::Finding => "finding.scanside",
        Says::NoFinding => "none.scanside",
    };
    let keys = TrustedKeys::from_files(&[place.path("site.pub")]).unwrap();
    let file = File::open(place.path(bundle)).unwrap();
    let read = ReadBundle::read(file, &keys, &Policy::default(), &Appliance::here(&[]), false).unwrap();
    let (runtime, options) = (runtime::load(None).unwrap(), SessionOptions::default());
    let engine = Engine::new(runtime, &options, read.manifest());
    let manifest = read.manifest().clone();
    let (model, _) = read.load(runtime, &options).unwrap();
    let mut examiner = Examiner::new(model, engine, Limits::default());
    let time: DateTime<Utc> = "2026-01-31T13:32:05Z".parse().unwrap();
    let request = Request {
        path,
        frame: 0,
        case_id: "260131-0007",
        time,
    };
    Examined {
        name: name.to_owned(),
        path: path.to_owned(),
        examination: examiner.examine(request).unwrap(),
        manifest,
    }
}

/// A frontal chest radiograph as a DX machine sends it, of a patient whose name needs ISO 8859-1.
pub fn radiograph(age: &str, bright: f32) -> Vec<u8> {
    let (height, width) = (300, 260);
    let values = chest_values(height, width);
    let stored = values.iter().flat_map(|v| ((v * bright * 4095.0) as u16).to_le_bytes());
    let name = b"M\xFCller^J\xF6rg".to_vec();
    dicom(
        EXPLICIT,
        &[
            Element::text(8, 5, *b"CS", "ISO_IR 100"),
            Element::text(8, 0x16, *b"UI", "1.2.840.10008.5.1.4.1.1.1.1"),
            Element::text(8, 0x18, *b"UI", "1.2.826.0.1.3680043.8.498.1"),
            Element::text(8, 0x20, *b"DA", "20260131"),
            Element::text(8, 0x30, *b"TM", "143000"),
            Element::text(8, 0x50, *b"SH", "A-4711"),
            Element::text(8, 0x60, *b"CS", "DX"),
            Element::text(8, 0x90, *b"PN", "Referrer^Rita"),
            Element::text(8, 0x0201, *b"SH", "+0100"),
            Element::text(8, 0x1030, *b"LO", "Chest PA"),
            Element::new(0x10, 0x10, *b"PN", [name, vec![b' '; 1]].concat()),
            Element::text(0x10, 0x20, *b"LO", "PID-00042"),
            Element::text(0x10, 0x21, *b"LO", "Clinic"),
            Element::text(0x10, 0x30, *b"DA", "19710704"),
            Element::text(0x10, 0x40, *b"CS", "M"),
            Element::text(0x10, 0x1010, *b"AS", age),
            Element::text(0x18, 0x15, *b"CS", "CHEST"),
            Element::text(0x18, 0x5101, *b"CS", "PA"),
            Element::text(0x20, 0x0D, *b"UI", "1.2.826.0.1.3680043.8.498.2"),
            Element::text(0x20, 0x0E, *b"UI", "1.2.826.0.1.3680043.8.498.3"),
            Element::text(0x20, 0x10, *b"SH", "ST1"),
            Element::number(0x28, 2, 1),
            Element::text(0x28, 4, *b"CS", "MONOCHROME2"),
            Element::number(0x28, 0x10, height as u16),
            Element::number(0x28, 0x11, width as u16),
            Element::number(0x28, 0x100, 16),
            Element::number(0x28, 0x101, 12),
            Element::number(0x28, 0x102, 11),
            Element::number(0x28, 0x103, 0),
            Element::new(0x7fe0, 0x10, *b"OW", stored.collect()),
        ],
    )
}

/// A slice with few elements, one of them wrong: what an old scanner sends.
pub fn slice() -> Vec<u8> {
    let side = 256;
    let values = chest_values(side, side);
    let stored = values.iter().flat_map(|v| ((v * 2000.0) as u16).to_le_bytes());
    dicom(
        EXPLICIT,
        &[
            Element::text(8, 0x16, *b"UI", "1.2.840.10008.5.1.4.1.1.2"),
            Element::text(8, 0x18, *b"UI", "1.2.826.0.1.3680043.8.498.11"),
            Element::text(8, 0x20, *b"DA", "2026.1.31"),
            Element::text(8, 0x60, *b"CS", "CT"),
            Element::text(0x10, 0x20, *b"LO", "PID-00043"),
            Element::text(0x10, 0x40, *b"CS", "male"),
            Element::text(0x18, 0x15, *b"CS", "CHEST"),
            Element::text(0x20, 0x0D, *b"UI", "1.2.826.0.1.3680043.8.498.12"),
            Element::text(0x20, 0x0E, *b"UI", "1.2.826.0.1.3680043.8.498.13"),
            Element::number(0x28, 2, 1),
            Element::text(0x28, 4, *b"CS", "MONOCHROME2"),
            Element::number(0x28, 0x10, side as u16),
            Element::number(0x28, 0x11, side as u16),
            Element::number(0x28, 0x100, 16),
            Element::number(0x28, 0x101, 16),
            Element::number(0x28, 0x102, 15),
            Element::number(0x28, 0x103, 0),
            Element::text(0x28, 0x1052, *b"DS", "-1024"),
            Element::text(0x28, 0x1053, *b"DS", "1"),
            Element::new(0x7fe0, 0x10, *b"OW", stored.collect()),
        ],
    )
}

/// One of each kind of decision, from a DX machine.
pub fn each_kind() -> Option<Vec<Examined>> {
    let place = place()?;
    let file = |name: &str, bytes: &[u8]| place.write(&format!("{name}.dcm"), bytes);
    let adult = file("outbox-adult", &radiograph("054Y", 1.0));
    let child = file("outbox-child", &radiograph("004Y", 1.0));
    let dark = file("outbox-dark", &radiograph("054Y", 0.02));
    Some(vec![
        examine("flagged", &adult, Says::Finding),
        examine("no finding flagged", &adult, Says::NoFinding),
        examine("uncertain", &child, Says::Finding),
        examine("not readable", &dark, Says::Finding),
    ])
}

/// What img2dcm makes of a JPEG, once for all tests.
static CONVERTED: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = place().expect("asked for before");
    let (jpeg, converted) = (place.path("outbox.jpg"), place.path("outbox-img2dcm.dcm"));
    chest(300, 260).save(&jpeg).unwrap();
    let made = Command::new("img2dcm").args([&jpeg, &converted]).status();
    assert!(made.unwrap().success());
    converted
});

/// What scanners and converters make, beside [`radiograph`]: a slice, what img2dcm makes of a JPEG, a file that is cut.
pub fn other_sources() -> Option<Vec<Examined>> {
    let place = place()?;
    let slice = place.write("outbox-slice.dcm", &slice());
    let whole = radiograph("054Y", 1.0);
    let cut = place.write("outbox-cut.dcm", &whole[..whole.len() - 1000]);
    Some(vec![
        examine("slice", &slice, Says::Finding),
        examine("img2dcm", &CONVERTED, Says::Finding),
        examine("cut", &cut, Says::Finding),
    ])
}

/// The labels that the tiny model knows.
pub fn labels() -> Vec<String> {
    let (manifest, _) = tiny(Says::Finding);
    manifest.labels.into_iter().map(|label| label.id).collect()
}

/// A series of which one slice alone would be flagged, and the whole is not; with another slice behind it.
pub fn series(slices: usize) -> Option<[Examined; 2]> {
    let place = place()?;
    let paths = [b'7', b'8'].map(|last| {
        let mut bytes = radiograph("054Y", 1.0);
        let uid = b"1.2.826.0.1.3680043.8.498.1\0";
        // It stands in the file meta group, too.
        while let Some(at) = bytes.windows(uid.len()).position(|part| part == uid) {
            bytes[at + uid.len() - 2] = last;
        }
        place.write(&format!("outbox-series-{last}.dcm"), &bytes)
    });
    let [mut first, second] = paths.map(|path| examine("series", &path, Says::Finding));
    let finding = &mut first.examination.finding;
    let whole = Decision {
        kind: DecisionKind::NoFindingFlagged,
        label: None,
        reasons: Vec::new(),
    };
    let slice_alone = std::mem::replace(&mut finding.decision, whole);
    finding.series = Some(OfSeries { slices, slice_alone });
    Some([first, second])
}

/// The objects of a series.
pub fn build_series(series: &[Examined]) -> Built {
    let images: Vec<_> = (1..)
        .zip(series)
        .map(|(member, examined)| CaseImage {
            examination: &examined.examination,
            path: &examined.path,
            member,
        })
        .collect();
    let case = Case {
        images: &images,
        manifest: &series[0].manifest,
    };
    outbox::build(&case, ALL, &device(), &Limits::default()).unwrap()
}
