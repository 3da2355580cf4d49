//! Every way in which a bundle can be wrong is refused, each with its own message.

mod support;

use std::sync::LazyLock;

use proptest::prelude::*;
use scanside_bundle::blocks::{BlockError, BlockTable};
use scanside_bundle::container::{self, BundleError, Front, Policy, Reader};
use scanside_bundle::manifest::Manifest;
use scanside_bundle::mcuboot::{HEADER_BYTES, ImageError};
use scanside_bundle::sign::{self, SignError};
use scanside_bundle::{TrustedKeys, example};
use support::{Fixture, u32_at};

/// Packed once: key making and compression would cost more than what is tested.
static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::new);

fn open(fixture: &Fixture, file: &[u8]) -> Result<container::Bundle, BundleError> {
    container::open(file, &fixture.keys, &Policy::default(), |_| true)
}

fn refusal(fixture: &Fixture, file: &[u8]) -> BundleError {
    open(fixture, file).expect_err("accepted a damaged bundle")
}

fn flipped(file: &[u8], bit: usize) -> Vec<u8> {
    let mut file = file.to_vec();
    file[bit / 8] ^= 1 << (bit % 8);
    file
}

#[test]
fn the_whole_example_comes_back() {
    let fixture = &*FIXTURE;
    let bundle = open(fixture, &fixture.file).unwrap();
    assert_eq!(bundle.files.len(), example::files().len());
    for file in example::files() {
        assert_eq!(bundle.files[&file.path], file.bytes, "{}", file.path);
    }
    let checked = container::verify(fixture.file.as_slice(), &fixture.keys, &Policy::default()).unwrap();
    assert_eq!(checked.file_bytes, fixture.file.len() as u64);
    assert_eq!(checked.front.file_bytes(), fixture.file.len() as u64);
    assert_eq!(checked.image_digest, bundle.image_digest);
    assert_eq!(
        checked.front.signed_by.comment,
        "example-triage 1.2.3 security counter 7"
    );
}

#[test]
fn files_that_nobody_asked_for_are_not_kept() {
    let fixture = &*FIXTURE;
    let only_reports = |entry: &scanside_bundle::manifest::FileEntry| entry.path.starts_with("report/");
    let bundle = container::open(fixture.file.as_slice(), &fixture.keys, &Policy::default(), only_reports).unwrap();
    assert_eq!(bundle.files.keys().collect::<Vec<_>>(), ["report/quantization.json"]);
}

#[test]
fn a_flipped_bit_is_refused_wherever_it_is() {
    let fixture = &*FIXTURE;
    for byte in 0..fixture.file.len() {
        // Every bit of what has a layout of its own, one bit of every byte elsewhere.
        let structural = byte < HEADER_BYTES + 24
            || (fixture.signature_at()..fixture.signature_at() + 4).contains(&byte)
            || byte >= fixture.trailer_at();
        // The payload's bytes are alike, and each costs a whole reading.
        let payload = (fixture.payload_at()..fixture.trailer_at()).contains(&byte);
        if payload && byte % 11 != 0 {
            continue;
        }
        let bits = if structural { 0..8 } else { byte % 8..byte % 8 + 1 };
        for bit in bits {
            let file = flipped(&fixture.file, byte * 8 + bit);
            let error = refusal(fixture, &file);
            assert_region(fixture, byte, &error);
        }
    }
}

/// The message fits the place of the flipped bit.
fn assert_region(fixture: &Fixture, byte: usize, error: &BundleError) {
    let at = |offset: usize| HEADER_BYTES + offset;
    let fits = match byte {
        0..4 => matches!(error, BundleError::Image(ImageError::Magic { .. })),
        12..16 => matches!(error, BundleError::Mismatch { field: "body size", .. }),
        20..28 => matches!(error, BundleError::Mismatch { field: "version", .. }),
        b if b < at(0) => matches!(error, BundleError::Image(ImageError::Field { .. })),
        b if b < at(8) => matches!(error, BundleError::Magic { .. }),
        b if b < at(10) => matches!(error, BundleError::FormatVersion { .. }),
        b if b < at(12) => matches!(error, BundleError::Reserved { .. }),
        // A wrong header length reads the signature's length from the wrong place.
        b if b < at(16) => !matches!(error, BundleError::Read { .. } | BundleError::Manifest(_)),
        b if b < fixture.signature_at() => matches!(error, BundleError::Signature(SignError::Invalid { .. })),
        b if b < fixture.signature_at() + 4 => matches!(
            error,
            BundleError::SignatureLength { .. } | BundleError::Signature(SignError::Malformed { .. })
        ),
        b if b < fixture.payload_at() => matches!(error, BundleError::Signature(_)),
        b if b < fixture.trailer_at() => matches!(error, BundleError::Block(BlockError::Checksum { .. })),
        b if b < fixture.trailer_at() + 8 => matches!(error, BundleError::Image(ImageError::Trailer { .. })),
        b if b < fixture.trailer_at() + 12 => matches!(
            error,
            BundleError::Mismatch {
                field: "security counter",
                ..
            }
        ),
        b if b < fixture.trailer_at() + 20 => matches!(error, BundleError::Image(ImageError::Trailer { .. })),
        _ => matches!(error, BundleError::ImageDigest { .. }),
    };
    assert!(fits, "byte {byte} of {}: {error}", fixture.file.len());
}

#[test]
fn a_truncated_bundle_names_the_part_that_ends() {
    let fixture = &*FIXTURE;
    let parts = [
        (HEADER_BYTES, "the MCUboot header"),
        (HEADER_BYTES + 16, "the beginning of the stream"),
        (fixture.signature_at(), "the signed header"),
        (fixture.payload_at(), "the signature"),
        (fixture.trailer_at(), "the payload"),
        (fixture.file.len(), "the MCUboot trailer"),
    ];
    let mut start = 0;
    for (end, wanted) in parts {
        for cut in [start, start + 1, (start + end) / 2, end - 1] {
            let error = refusal(fixture, &fixture.file[..cut]);
            assert!(
                matches!(error, BundleError::Truncated { part, offset } if part == wanted && offset == cut as u64),
                "cut at {cut}: {error}"
            );
        }
        start = end;
    }
}

#[test]
fn bytes_behind_the_end_are_refused() {
    let fixture = &*FIXTURE;
    let mut file = fixture.file.clone();
    file.push(0);
    let error = refusal(fixture, &file);
    assert!(matches!(error, BundleError::TrailingBytes { offset } if offset == fixture.file.len() as u64));
    let twice = [fixture.file.clone(), fixture.file.clone()].concat();
    assert!(matches!(refusal(fixture, &twice), BundleError::TrailingBytes { .. }));
}

#[test]
fn other_files_are_not_bundles() {
    let fixture = &*FIXTURE;
    assert!(matches!(
        refusal(fixture, b""),
        BundleError::Truncated { offset: 0, .. }
    ));
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 64]].concat();
    let error = refusal(fixture, &png).to_string();
    assert!(error.starts_with("not a Scanside bundle"), "{error}");
    let mut firmware = fixture.file.clone();
    firmware[HEADER_BYTES..].fill(0xa5);
    let error = refusal(fixture, &firmware).to_string();
    assert!(error.starts_with("not a Scanside bundle"), "{error}");
}

#[test]
fn an_unknown_version_is_refused_before_its_signature_is_read() {
    let fixture = &*FIXTURE;
    let mut file = fixture.file[..HEADER_BYTES + 16].to_vec();
    file[HEADER_BYTES + 8] = 2;
    let error = refusal(fixture, &file);
    assert!(matches!(error, BundleError::FormatVersion { found: 2 }), "{error}");
    assert!(error.to_string().contains("reads version 1"), "{error}");
}

#[test]
fn an_unsigned_bundle_is_refused() {
    let fixture = &*FIXTURE;
    let mut file = fixture.file[..fixture.signature_at()].to_vec();
    file.extend([0; 4]);
    file.extend(fixture.payload());
    assert!(matches!(refusal(fixture, &file), BundleError::Unsigned));
}

#[test]
fn another_key_is_refused() {
    let fixture = &*FIXTURE;
    let keys = TrustedKeys::new(vec![sign::generate(None).unwrap().public]);
    let error = container::verify(fixture.file.as_slice(), &keys, &Policy::default()).unwrap_err();
    assert!(
        matches!(error, BundleError::Signature(SignError::UnknownKey { .. })),
        "{error}"
    );
    let nobody = TrustedKeys::default();
    let error = container::verify(fixture.file.as_slice(), &nobody, &Policy::default()).unwrap_err();
    assert!(error.to_string().contains("trusted here: none"), "{error}");
}

#[test]
fn a_lower_security_counter_is_refused() {
    let fixture = &*FIXTURE;
    let lowest = |lowest_security_counter| Policy {
        lowest_security_counter,
        ..Policy::default()
    };
    assert!(container::verify(fixture.file.as_slice(), &fixture.keys, &lowest(7)).is_ok());
    let error = container::verify(fixture.file.as_slice(), &fixture.keys, &lowest(8)).unwrap_err();
    assert!(
        matches!(error, BundleError::SecurityCounter { found: 7, lowest: 8 }),
        "{error}"
    );
}

#[test]
fn long_files_are_refused_before_they_are_read() {
    let fixture = &*FIXTURE;
    let policy = Policy {
        max_file_bytes: 1000,
        ..Policy::default()
    };
    let error = Reader::new(&fixture.file[..fixture.payload_at()], &fixture.keys, &policy)
        .err()
        .unwrap();
    assert!(
        error.to_string().starts_with("model.int8.onnx has 20000 bytes"),
        "{error}"
    );
    let policy = Policy {
        max_total_bytes: 20_100,
        ..Policy::default()
    };
    let error = Reader::new(&fixture.file[..fixture.payload_at()], &fixture.keys, &policy)
        .err()
        .unwrap();
    assert!(error.to_string().starts_with("the payload has"), "{error}");
}

#[test]
fn the_front_alone_decides_and_leaves_the_reader_at_the_payload() {
    let fixture = &*FIXTURE;
    let mut rest = fixture.file.as_slice();
    let front = Front::read(&mut rest).unwrap();
    assert_eq!(
        front.signed_bytes(),
        &fixture.file[HEADER_BYTES..fixture.signature_at()]
    );
    assert_eq!(rest.len(), fixture.file.len() - fixture.payload_at());
    let front = front.verify(&fixture.keys, &Policy::default()).unwrap();
    assert_eq!(front.payload_offset, fixture.payload_at() as u64);
    for (i, block) in fixture.payload().chunks(front.blocks.block_bytes()).enumerate() {
        front.blocks.verify(i, block, front.payload_offset).unwrap();
    }
}

/// A header of any manifest text and block table.
fn header(manifest: &[u8], table: &[u8]) -> Vec<u8> {
    [&(manifest.len() as u32).to_le_bytes(), manifest, table].concat()
}

/// A signed bundle of the example's files after `change`, with the given payload.
fn signed_with(fixture: &Fixture, payload: &[u8], change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let length = u32_at(fixture.header(), 0) as usize;
    let mut manifest = Manifest::from_json(&fixture.header()[4..4 + length]).unwrap();
    change(&mut manifest);
    let json = serde_json::to_vec(&manifest).unwrap();
    let table = BlockTable::of(payload, 1 << 15).unwrap();
    fixture.assemble(&header(&json, &table.to_bytes()), payload)
}

#[test]
fn a_signed_bundle_that_contradicts_itself_is_refused() {
    let fixture = &*FIXTURE;
    let payload = fixture.payload().to_vec();
    assert!(open(fixture, &signed_with(fixture, &payload, |_| {})).is_ok());

    let error = refusal(fixture, &signed_with(fixture, &payload, |m| m.files[0].length -= 1));
    assert!(matches!(error, BundleError::FileLength { .. }), "{error}");
    let error = refusal(fixture, &signed_with(fixture, &payload, |m| m.files[0].length += 1));
    assert!(matches!(error, BundleError::FileLength { .. }), "{error}");
    let error = refusal(
        fixture,
        &signed_with(fixture, &payload, |m| m.files[0].sha256 = "0".repeat(64)),
    );
    assert!(matches!(error, BundleError::FileDigest { .. }), "{error}");
    let error = refusal(fixture, &signed_with(fixture, &payload, |m| m.files[0].stored += 1));
    assert!(matches!(error, BundleError::PayloadLength { .. }), "{error}");
    let shift = |m: &mut Manifest| {
        m.files[0].stored -= 1;
        m.files[1].stored += 1;
    };
    let error = refusal(fixture, &signed_with(fixture, &payload, shift));
    assert!(matches!(error, BundleError::Decompress { .. }), "{error}");
    let shift = |m: &mut Manifest| {
        m.files[0].stored += 1;
        m.files[1].stored -= 1;
    };
    let error = refusal(fixture, &signed_with(fixture, &payload, shift));
    assert!(error.to_string().contains("1 bytes follow its zstd frame"), "{error}");
    let error = refusal(fixture, &signed_with(fixture, &payload, |m| m.security_counter = 8));
    assert!(
        matches!(
            error,
            BundleError::Mismatch {
                field: "security counter",
                ..
            }
        ),
        "{error}"
    );
    let error = refusal(fixture, &signed_with(fixture, &payload, |m| m.temperature = -1.0));
    assert!(matches!(error, BundleError::Manifest(_)), "{error}");
}

#[test]
fn a_decompression_bomb_costs_no_more_than_its_declared_length() {
    let fixture = &*FIXTURE;
    let zeros = vec![0_u8; 64 << 20];
    let bomb = zstd::bulk::compress(&zeros, 9).unwrap();
    assert!(bomb.len() < 16 << 10);
    let payload = [&bomb, &fixture.payload()[first_stored(fixture)..]].concat();
    let file = signed_with(fixture, &payload, |m| m.files[0].stored = bomb.len() as u64);
    let mut reader = Reader::new(file.as_slice(), &fixture.keys, &Policy::default()).unwrap();
    let mut kept = Vec::new();
    let error = reader.copy_file(&mut kept).unwrap_err();
    // The frame's own window of 8 MiB is refused already; one with a small window is cut off at its length.
    assert!(matches!(error, BundleError::Decompress { .. }), "{error}");
    assert!(kept.is_empty());

    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 9).unwrap();
    encoder.window_log(container::WINDOW_LOG).unwrap();
    std::io::Write::write_all(&mut encoder, &zeros).unwrap();
    let bomb = encoder.finish().unwrap();
    let payload = [&bomb, &fixture.payload()[first_stored(fixture)..]].concat();
    let file = signed_with(fixture, &payload, |m| m.files[0].stored = bomb.len() as u64);
    let mut reader = Reader::new(file.as_slice(), &fixture.keys, &Policy::default()).unwrap();
    let error = reader.copy_file(&mut kept).unwrap_err();
    assert!(
        matches!(error, BundleError::FileLength { wanted: 20_000, .. }),
        "{error}"
    );
    assert!(kept.len() <= 20_000);
}

/// Length of the first file's frame.
fn first_stored(fixture: &Fixture) -> usize {
    let front = Front::read(fixture.file.as_slice()).unwrap();
    let front = front.verify(&fixture.keys, &Policy::default()).unwrap();
    front.manifest.files[0].stored as usize
}

#[test]
fn a_manifest_too_long_for_the_header_is_not_packed() {
    let fixture = &*FIXTURE;
    let mut manifest = example::manifest();
    manifest.provenance.sources = vec!["x".repeat(1000); 70];
    let error = container::write(&manifest, &example::files(), &fixture.secret, Vec::new()).unwrap_err();
    assert!(matches!(error, BundleError::ManifestTooLong { .. }), "{error}");
}

#[test]
fn a_full_disk_is_an_io_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let fixture = &*FIXTURE;
    let error = container::write(&example::manifest(), &example::files(), &fixture.secret, Full).unwrap_err();
    assert!(error.is_io(), "{error}");
    let mut reader = Reader::new(fixture.file.as_slice(), &fixture.keys, &Policy::default()).unwrap();
    assert!(matches!(reader.copy_file(&mut Full), Err(BundleError::Write(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_damage_is_refused(
        cut in any::<prop::sample::Index>(),
        insert in prop::collection::vec(any::<u8>(), 0..40),
        drop in 0_usize..40,
    ) {
        let fixture = &*FIXTURE;
        let at = cut.index(fixture.file.len());
        let end = (at + drop).min(fixture.file.len());
        let mut file = fixture.file.clone();
        file.splice(at..end, insert);
        if file != fixture.file {
            prop_assert!(open(fixture, &file).is_err());
        }
    }

    #[test]
    fn any_signed_header_and_payload_is_taken_or_refused(
        manifest in prop::collection::vec(any::<u8>(), 0..200),
        table in prop::collection::vec(any::<u8>(), 0..60),
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let fixture = &*FIXTURE;
        prop_assert!(open(fixture, &fixture.assemble(&header(&manifest, &table), &payload)).is_err());
        // The same manifest with a payload of noise: zstd must cope.
        let stored = payload.len() as u64;
        let file = signed_with(fixture, &payload, |m| {
            let last = m.files.len() - 1;
            m.files.iter_mut().for_each(|f| f.stored = 0);
            m.files[last].stored = stored;
        });
        prop_assert!(open(fixture, &file).is_err());
    }
}
