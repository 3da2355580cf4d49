//! What somebody with the cable could try: refused with the right code, in bounded memory, and the service goes on.
//!
//! The formats themselves are attacked byte by byte in `bundle/tests/refusals.rs` and `hardware/tests/smp_damage.rs`;
//! here the whole service stands behind the line.

mod service;
mod support;

use bundle::blocks::BlockTable;
use bundle::container::{PROLOGUE_BYTES, PayloadFile};
use bundle::manifest::{FileKind, Manifest};
use bundle::mcuboot::{HEADER_BYTES, ImageHeader, TRAILER_BYTES, Trailer};
use bundle::{delta, sign};
use hardware::smp::Code;
use hardware::smp::message::group;
use service::{Service, Site};
use sha2::{Digest, Sha256};

/// What attacks may take above the idle service, in bytes.
const MEMORY: u64 = 20_000_000;

/// The parts of a bundle's file.
struct Parts {
    /// Offset of the signature's length.
    signature: usize,
    /// Offset of the payload.
    payload: usize,
    /// Offset of the MCUboot trailer.
    trailer: usize,
}

impl Parts {
    fn of(file: &[u8]) -> Self {
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        let signature = HEADER_BYTES + PROLOGUE_BYTES + number(HEADER_BYTES + 12);
        Self {
            signature,
            payload: signature + 4 + number(signature),
            trailer: file.len() - TRAILER_BYTES,
        }
    }
}

fn changed(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn flipped(file: &[u8], at: usize) -> Vec<u8> {
    changed(file, at, &[file[at] ^ 1])
}

/// A payload that cannot be compressed: bundles with one differ in content, not in length.
fn noise(seed: u64) -> PayloadFile {
    let mut state = seed;
    let byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let bytes = std::iter::repeat_with(byte).take(100_000).collect();
    PayloadFile::new("report/noise.bin", FileKind::Report, bytes)
}

/// Bundles that a gatekeeper must refuse, with its code.
fn forgeries(site: &Site) -> Vec<(String, Vec<u8>, Code)> {
    let good = site.bundle(|files| files.push(noise(1)));
    let parts = Parts::of(&good);
    let mut unsigned = good[..parts.signature].to_vec();
    unsigned.extend([0; 4]);
    unsigned.extend(&good[parts.payload..]);
    let header_length = HEADER_BYTES + 12;
    let mut forgeries = vec![
        ("no signature", unsigned, Code::Signature),
        ("another key", site.stranger(), Code::Signature),
        ("another signature", flipped(&good, parts.payload - 30), Code::Signature),
        (
            "another block table",
            flipped(&good, parts.signature - 1),
            Code::Signature,
        ),
        ("an older counter", site.bundle_of_counter(0, |_| ()), Code::Downgrade),
        ("another role", site.of_role("chest-ct"), Code::Role),
        ("another format", flipped(&good, HEADER_BYTES + 8), Code::Format),
        (
            "a header without end",
            changed(&good, header_length, &[255; 4]),
            Code::ImageTooLarge,
        ),
        (
            "a signature without end",
            changed(&good, parts.signature, &[255; 4]),
            Code::ImageTooLarge,
        ),
        ("MCUboot's magic", flipped(&good, 0), Code::Format),
        ("MCUboot's size", flipped(&good, 12), Code::Format),
        ("MCUboot's version", flipped(&good, 20), Code::Format),
        ("MCUboot's flags", flipped(&good, 16), Code::Format),
    ]
    .into_iter()
    .map(|(name, file, code)| (name.to_owned(), file, code))
    .collect::<Vec<_>>();
    let manifest = String::from_utf8_lossy(&good[..parts.signature]).into_owned();
    for key in serde_json::to_value(support::tiny(support::Says::Finding).0)
        .unwrap()
        .as_object()
        .unwrap()
        .keys()
    {
        // What comes before is not valid text everywhere; the letters of the key are.
        let name = format!("\"{key}\":");
        let at = good.windows(name.len()).position(|window| window == name.as_bytes());
        let at = at.unwrap_or_else(|| panic!("no {key} in {manifest}")) + name.len();
        forgeries.push((format!("the field {key}"), flipped(&good, at), Code::Signature));
    }
    let mut header_of_another = site.bundle(|files| files.push(noise(2)))[..].to_vec();
    let other = Parts::of(&header_of_another);
    header_of_another.truncate(other.payload);
    header_of_another.extend(&good[parts.payload..]);
    forgeries.push((
        "the header of another bundle".to_owned(),
        header_of_another,
        Code::Corrupt,
    ));
    forgeries
}

#[test]
fn forged_bundles_are_refused_with_their_codes_and_change_nothing() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let before = service.states();
    service.forget_peak_memory();
    let idle = service.memory("VmRSS");
    let forgeries = forgeries(&site);
    assert!(forgeries.len() > 30, "{}", forgeries.len());
    for (name, bundle, code) in forgeries {
        let rc = service.try_upload(&bundle).expect_err(&name);
        assert_eq!(rc, u64::from(code.rc()), "{name}: {code:?}");
        assert_eq!(service.states(), before, "{name}");
    }
    let above = service.memory("VmHWM").saturating_sub(idle);
    assert!(above < MEMORY, "{above}");
    goes_on(&site, &mut service);
}

/// What stands behind the payload is not signed: it is believed when the whole file was read back, and only then.
#[test]
fn a_trailer_that_says_something_else_never_becomes_bootable() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let good = site.bundle(|_| ());
    let parts = Parts::of(&good);
    for at in [parts.trailer, parts.trailer + 8, parts.trailer + 16, good.len() - 1] {
        let forged = flipped(&good, at);
        if service.try_upload(&forged).is_ok() {
            service.wait_for_outcome("damaged");
        }
        service.wait_for("the forgery to be gone", |states| {
            assert!(states.iter().all(|s| s.confirmed || !s.bootable), "{at}: {states:?}");
            states.len() == 1
        });
    }
    goes_on(&site, &mut service);
}

#[test]
fn a_bundle_that_unpacks_to_much_more_is_checked_in_bounded_memory() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let zeros = PayloadFile::new("report/zeros.bin", FileKind::Report, vec![0; 300_000_000]);
    let bomb = site.bundle(|files| files.push(zeros));
    assert!(bomb.len() < 1_000_000, "{}", bomb.len());
    service.forget_peak_memory();
    let idle = service.memory("VmRSS");
    service.upload(&bomb);
    service.wait_for_bootable();
    let above = service.memory("VmHWM").saturating_sub(idle);
    assert!(above < MEMORY, "{above}");
}

/// A bundle with another payload and another manifest, signed as it then is: by a packer that lies.
fn resigned(site: &Site, good: &[u8], payload: &[u8], change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let signed_to = HEADER_BYTES + PROLOGUE_BYTES;
    let length = u32::from_le_bytes(good[signed_to..signed_to + 4].try_into().unwrap()) as usize;
    let mut manifest = Manifest::from_json(&good[signed_to + 4..signed_to + 4 + length]).unwrap();
    change(&mut manifest);
    let json = serde_json::to_vec(&manifest).unwrap();
    let table = BlockTable::of(payload, 1 << 15).unwrap().to_bytes();
    let mut signed = good[HEADER_BYTES..HEADER_BYTES + 12].to_vec();
    signed.extend(((4 + json.len() + table.len()) as u32).to_le_bytes());
    signed.extend((json.len() as u32).to_le_bytes());
    signed.extend([json, table].concat());
    let signature = sign::sign(&site.secret(), &signed, "a liar").unwrap();
    let image = ImageHeader {
        version: manifest.version,
        body_bytes: (signed.len() + 4 + signature.len() + payload.len()) as u32,
    };
    let mut file = image.to_bytes().to_vec();
    file.extend(signed);
    file.extend((signature.len() as u32).to_le_bytes());
    file.extend([signature.as_bytes(), payload].concat());
    file.extend(Trailer::protected_bytes(manifest.security_counter));
    let digest: [u8; 32] = Sha256::digest(&file).into();
    file.extend(Trailer::unprotected_bytes(&digest));
    file
}

/// A zstd frame that wants a window of 1 GiB for a thousand equal bytes (RFC 8878, 3.1.1).
fn wide_frame() -> Vec<u8> {
    // The last block, of one byte a thousand times.
    let block: u32 = 1 | 1 << 1 | 1000 << 3;
    let [a, b, c, _] = block.to_le_bytes();
    vec![0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, a, b, c, 0]
}

#[test]
fn bombs_in_signed_bundles_and_in_deltas_are_refused_in_bounded_memory() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let before = service.states();
    let zeros = PayloadFile::new("report/zeros.bin", FileKind::Report, vec![0; 300_000_000]);
    let good = site.bundle(|files| files.push(zeros));
    let parts = Parts::of(&good);
    let payload = &good[parts.payload..parts.trailer];
    let last = |manifest: &mut Manifest, length: u64, stored: usize| {
        let zeros = manifest.files.last_mut().unwrap();
        (zeros.length, zeros.stored) = (length, stored as u64);
    };
    let mut frame = 0;
    resigned(&site, &good, payload, |manifest| {
        frame = manifest.files.last().unwrap().stored as usize
    });
    let (others, frame) = payload.split_at(payload.len() - frame);
    service.forget_peak_memory();
    let idle = service.memory("VmRSS");

    // It says itself that it unpacks to too much.
    for length in [(512 << 20) + 1, 1 << 40, u64::MAX] {
        let bomb = resigned(&site, &good, payload, |manifest| last(manifest, length, frame.len()));
        assert_eq!(
            service.try_upload(&bomb),
            Err(u64::from(Code::ImageTooLarge.rc())),
            "{length}"
        );
    }
    // It unpacks to more than it says, or wants more memory for it than a device grants: found when it is read back.
    let longer = resigned(&site, &good, payload, |manifest| last(manifest, 1000, frame.len()));
    let wide = [others, &wide_frame()].concat();
    let wide = resigned(&site, &good, &wide, |manifest| last(manifest, 1000, wide_frame().len()));
    for (bomb, words) in [(longer, "does not have the 1000 bytes"), (wide, "does not decompress")] {
        service.upload(&bomb);
        site.wait("the refusal", || {
            service.wait_for_outcome("damaged").contains(words).then_some(())
        });
        assert_eq!(service.states(), before, "{words}");
    }
    // A delta that unpacks to more than the bundle that it leads to.
    let base: [u8; 32] = before[0].hash.clone().try_into().unwrap();
    let mut delta = [&delta::MAGIC[..], &delta::FORMAT_VERSION.to_le_bytes(), &[0; 2], &base].concat();
    delta.extend((good.len() as u64).to_le_bytes());
    delta.extend(Sha256::digest(&good));
    delta.extend([&[3][..], &(frame.len() as u32).to_le_bytes(), frame].concat());
    delta.extend(
        [
            &[2][..],
            &(TRAILER_BYTES as u32).to_le_bytes(),
            &good[parts.trailer..],
            &[0],
        ]
        .concat(),
    );
    service.delta(&delta, base, &good).unwrap();
    let reason = service.wait_for_outcome("refused");
    assert!(reason.contains("send the whole bundle"), "{reason}");
    assert_eq!(service.states(), before);

    let above = service.memory("VmHWM").saturating_sub(idle);
    println!("bombs: {:.1} MB above idle", above as f64 / 1e6);
    assert!(above < MEMORY, "{above}");
    goes_on(&site, &mut service);
}

#[test]
fn absurd_lengths_are_refused() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let good = site.bundle(|_| ());
    let right = good.len() as u64;
    for (length, code) in [
        // The first piece is longer than all.
        (0, Code::DataOverrun),
        (1, Code::DataOverrun),
        // A length that the front contradicts is refused as soon as the front is here.
        (right - 1, Code::Format),
        (right + 1, Code::Format),
        (1 << 40, Code::Format),
        (u64::MAX, Code::Format),
    ] {
        let refused = service.try_upload_as(&good, length);
        assert_eq!(refused, Err(u64::from(code.rc())), "{length}");
    }
    goes_on(&site, &mut service);
}

/// A raw write to the image group's upload with any body.
fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0];
    frame.extend((body.len() as u16).to_be_bytes());
    frame.extend(group::IMAGE.to_be_bytes());
    frame.extend([1, 1]);
    frame.extend(body);
    frame
}

#[test]
fn hostile_cbor_and_floods_leave_the_service_alive_and_small() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let before = service.states();
    service.forget_peak_memory();
    let idle = service.memory("VmRSS");
    let key = |rest: &[u8]| [&[0xa1, 0x64, b'd', b'a', b't', b'a'], rest].concat();
    let huge = [255; 8];
    let bodies = [
        key(&[0x81; 8000]),
        key(&[&[0xd8, 0x18].repeat(3000)[..], &[0]].concat()),
        key(&[&[0x9f; 4000][..], &[0xff; 4000]].concat()),
        key(&[&[0x5b], &huge[..]].concat()),
        key(&[&[0x9b], &huge[..]].concat()),
        [&[0xbb], &huge[..]].concat(),
        vec![0xa0; 8000],
    ];
    for body in &bodies {
        service.put_on_line(&frame(body));
        service.wait_until_it_answers();
    }
    let echo = [&[2, 0, 0, 11, 0, 0, 9, 0][..], b"\xa1\x61d\x67flooded"].concat();
    service.put_on_line(&echo.repeat(5_000));
    service.wait_until_it_answers();
    let mut state = 1_u32;
    let garbage = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    service.put_on_line(&garbage.take(300_000).collect::<Vec<_>>());
    service.wait_until_it_answers();
    assert_eq!(service.states(), before);
    let above = service.memory("VmHWM").saturating_sub(idle);
    assert!(above < MEMORY, "{above}");
    goes_on(&site, &mut service);
}

#[test]
fn no_name_leads_out_of_the_listed_folders() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let outside = site.path("edge.toml");
    assert!(outside.exists());
    let impossible = [
        "../edge.toml",
        "logs/../../edge.toml",
        "logs/..\\..\\edge.toml",
        "logs//../../edge.toml",
        "./logs/../../edge.toml",
        outside.to_str().unwrap(),
        "logs/",
        "..",
        "",
        "logs/\0",
        "LOGS/../edge.toml",
    ];
    // Whether they exist or not.
    let absent = [
        "logs",
        "slots/chest-xray.a",
        "slots/chest-xray.c",
        "monotonic/chest-xray.counter.0",
        "edge.toml",
    ];
    let all = impossible.map(|name| (name, Code::InvalidName)).into_iter();
    for (name, code) in all.chain(absent.map(|name| (name, Code::FileNotFound))) {
        assert_eq!(service.download(name), Err(u64::from(code.rc())), "{name:?}");
    }
    goes_on(&site, &mut service);
}

/// The service still takes a bundle and examines an image.
fn goes_on(site: &Site, service: &mut Service<'_>) {
    service.upload(&site.bundle(|_| ()));
    service.wait_for_bootable();
    site.image("after.png");
    site.wait_for_result();
}
