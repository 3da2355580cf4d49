//! The case store by itself: what it promises to intakes, screens and outbox, whatever happens in between.

#[path = "../support/mod.rs"]
mod support;

mod arrivals;
mod audit;
mod export;
mod outbox;
mod privacy;
mod queue;
mod results;
mod retention;
mod startup;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use bundle::example;
use chrono::{DateTime, TimeDelta, Utc};
use scanside_edge::decision::decide;
use scanside_edge::finding::{self, Engine, Finding, ImageSource, Timings};
use scanside_edge::inference::ModelIdentity;
use scanside_edge::intake::arrival::{AcceptError, Accepted, Arrival, Known, Origin, Received};
use scanside_edge::outbox::Kind;
use scanside_edge::store::Store;
use scanside_edge::store::arrivals::Taken;
use scanside_edge::store::config::StoreConfig;
use scanside_edge::store::results::Examined;
use support::{EXPLICIT, Element, dicom};

/// A store in a folder of its own, at a time of its own.
pub(crate) struct Shelf {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) now: DateTime<Utc>,
    arrived: AtomicU32,
}

pub(crate) fn config() -> StoreConfig {
    StoreConfig {
        reserve_megabytes: 1,
        ..StoreConfig::default()
    }
}

impl Shelf {
    pub(crate) fn new() -> Self {
        Self::with(config(), Vec::new())
    }

    pub(crate) fn with(config: StoreConfig, owed: Vec<Kind>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), config, owed).unwrap();
        Self::of(folder, store, "2026-03-14T12:00:00Z".parse().unwrap())
    }

    pub(crate) fn of(folder: tempfile::TempDir, store: Store, now: DateTime<Utc>) -> Self {
        Self {
            folder,
            store,
            now,
            arrived: AtomicU32::new(0),
        }
    }

    /// As after a restart with another config.
    pub(crate) fn reopen(self, config: StoreConfig) -> Self {
        let Self {
            folder,
            store,
            now,
            arrived,
        } = self;
        drop(store);
        let store = Store::open(folder.path(), config, Vec::new()).unwrap();
        Self {
            folder,
            store,
            now,
            arrived,
        }
    }

    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
    }

    /// A file in the spool.
    pub(crate) fn incoming(&self, bytes: &[u8]) -> Arrival {
        let number = self.arrived.fetch_add(1, Ordering::SeqCst);
        let path = self.store.folders().incoming().join(number.to_string());
        fs::write(&path, bytes).unwrap();
        Arrival {
            path,
            received: Received {
                at: Instant::now(),
                time: self.now,
            },
            origin: Origin::Dicom {
                calling_ae: "SCANNER".to_owned(),
                peer: "10.0.0.1".to_owned(),
            },
            known: Known::default(),
        }
    }

    pub(crate) fn try_take(&self, bytes: &[u8]) -> Result<Taken, AcceptError> {
        self.store.take_in(&self.incoming(bytes))
    }

    /// Takes an image in that is new.
    pub(crate) fn take(&self, bytes: &[u8]) -> i64 {
        let taken = self.try_take(bytes).unwrap();
        assert_eq!(taken.accepted, Accepted::New);
        taken.image
    }

    /// Stores a finding with these probabilities of the example's labels (normal, covid19 from 0.4, viral from 0.35).
    pub(crate) fn judge(&self, image: i64, probabilities: [f32; 3]) -> bool {
        self.judge_frame(image, 0, 1, probabilities)
    }

    pub(crate) fn judge_frame(&self, image: i64, frame: u32, frames: u32, probabilities: [f32; 3]) -> bool {
        let number = self.store.case_of_image(image).unwrap().unwrap().number;
        let examined = Examined {
            image,
            frame,
            frames,
            finding: &found(&number, &probabilities),
        };
        self.store.store_result(examined, self.now).unwrap()
    }

    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// A second connection, as a person with a tool would open it.
    pub(crate) fn tool(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("store.sqlite")).unwrap()
    }

    pub(crate) fn is_sound(&self) -> bool {
        let sound: String = self
            .tool()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        sound == "ok"
    }
}

pub(crate) const FLAGGED: [f32; 3] = [0.05, 0.9, 0.05];
pub(crate) const CLEAR: [f32; 3] = [0.9, 0.05, 0.05];

pub(crate) fn found(case: &str, probabilities: &[f32]) -> Finding {
    let manifest = example::manifest();
    Finding {
        schema: finding::SCHEMA.into(),
        case_id: case.into(),
        time: "2026-03-14T12:00:00Z".into(),
        source: ImageSource {
            age_years: Some(54.0),
            ..ImageSource::undecoded("image".into(), 0)
        },
        decision: decide(&manifest, probabilities, Some(30.0), &[]),
        series: None,
        probabilities: finding::label_probabilities(&manifest, probabilities),
        conformal: None,
        novelty: None,
        heatmaps: vec![],
        quality: None,
        unchecked_use: vec![],
        site_thresholds: None,
        model: ModelIdentity {
            name: "chest".into(),
            version: "1.0.0".into(),
            role: "chest-xray".into(),
            digest: "0".repeat(64),
            key_id: "A".repeat(16),
        },
        engine: Engine::default(),
        timings_ms: Timings::default(),
        warnings: vec![],
        notice: finding::NOTICE.into(),
    }
}

/// What a DICOM file of the tests says.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) uid: String,
    pub(crate) study: String,
    pub(crate) series: String,
    pub(crate) modality: &'static str,
    pub(crate) name: &'static str,
    pub(crate) id: &'static str,
    pub(crate) priority: &'static str,
    pub(crate) pixels: u8,
}

/// A radiograph of a study.
pub(crate) fn radiograph(uid: &str, study: &str) -> Said {
    Said {
        uid: uid.to_owned(),
        study: study.to_owned(),
        series: format!("{study}.1"),
        modality: "DX",
        name: "Meier^Anna",
        id: "PATIENT-0815",
        priority: "",
        pixels: 0,
    }
}

/// A slice of a series.
pub(crate) fn slice(uid: &str, series: &str) -> Said {
    Said {
        series: series.to_owned(),
        modality: "CT",
        ..radiograph(uid, "1.9.9")
    }
}

impl Said {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_of("1.2.840.10008.5.1.4.1.1.1.1")
    }

    /// As an object of a SOP class.
    pub(crate) fn bytes_of(&self, class: &str) -> Vec<u8> {
        dicom(
            EXPLICIT,
            &[
                Element::text(8, 0x16, *b"UI", class),
                Element::text(8, 0x18, *b"UI", &self.uid),
                Element::text(8, 0x50, *b"SH", "ACC-4711"),
                Element::text(8, 0x60, *b"CS", self.modality),
                Element::text(0x10, 0x10, *b"PN", self.name),
                Element::text(0x10, 0x20, *b"LO", self.id),
                Element::text(0x18, 0x15, *b"CS", "CHEST"),
                Element::text(0x20, 0x0d, *b"UI", &self.study),
                Element::text(0x20, 0x0e, *b"UI", &self.series),
                Element::text(0x40, 0x1003, *b"SH", self.priority),
                Element::new(0x7fe0, 0x10, *b"OW", vec![self.pixels; 64]),
            ],
        )
    }
}
