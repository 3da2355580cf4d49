//! Damaged files: cut, flipped, with absurd numbers. Nothing panics in our code, memory stays bounded, and what is
//! refused has a code. Memory is that of Rust's allocator; `jpeg2000_memory` looks at the decoder that has its own.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use common::{goldens, shared_dicom};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scanside_imaging::decode::{DecodeError, Limits, decode_bytes};

/// Far below what a claimed size of 65535 x 65535 or a length of 4 GiB would take.
const LIMITS: Limits = Limits {
    max_pixels: 1 << 20,
    max_bytes: 4 << 20,
    max_frames: 64,
};
/// For 1 megapixel: the file, what the decoders keep meanwhile, the image.
const PEAK_BYTES: usize = 32 << 20;

/// For what a file may hold many of: elements, items, fragments. They are counted, so this does not grow with the file.
const BEYOND_THE_FILE_BYTES: usize = 8 << 20;

struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; only numbers are kept.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Peaks are those of one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Decodes up to 4 frames; gives the peak of memory and the first error.
fn attempt(bytes: &[u8], limits: &Limits) -> (usize, Result<(), DecodeError>) {
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = decode_bytes(bytes.to_vec(), limits).and_then(|source| {
        (0..source.frame_count().min(4)).try_for_each(|index| {
            let image = source.frame(index)?;
            assert_eq!(
                image.display_table().map(&image.pixels).dim(),
                (image.height(), image.width())
            );
            Ok(())
        })
    });
    (PEAK.load(Ordering::Relaxed).saturating_sub(before), result)
}

/// Counts of refusals by code, and the hungriest attempt.
#[derive(Default, Debug)]
struct Outcome {
    decoded: usize,
    refused: BTreeMap<&'static str, usize>,
    peak: usize,
    third_party_panics: BTreeMap<String, usize>,
}

impl Outcome {
    fn check(&mut self, name: &str, damage: &str, bytes: &[u8], limits: &Limits) {
        let (peak, result) = attempt(bytes, limits);
        assert!(peak <= PEAK_BYTES, "{name}, {damage}: {peak} bytes at the peak");
        self.peak = self.peak.max(peak);
        let Err(error) = result else {
            self.decoded += 1;
            return;
        };
        *self.refused.entry(error.code()).or_default() += 1;
        assert!(
            !error.code().is_empty() && error.is_refusal(),
            "{name}, {damage}: {error}"
        );
        if let Some(place) = error
            .to_string()
            .split("gave up at ")
            .nth(1)
            .and_then(|rest| rest.split(':').next())
        {
            assert!(
                !place.starts_with("imaging/src"),
                "{name}, {damage}: a panic of our own: {error}"
            );
            *self.third_party_panics.entry(place.to_owned()).or_default() += 1;
        }
    }
}

fn dicom_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .filter(|path| path.is_file())
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&path).expect("a file"),
            )
        })
        .collect()
}

fn rasters() -> Vec<(String, Vec<u8>)> {
    let grey = DynamicImage::ImageLuma8(ImageBuffer::from_fn(40, 30, |x, y| Luma([(x * 5 + y * 3) as u8])));
    let deep = DynamicImage::ImageLuma16(ImageBuffer::from_fn(40, 30, |x, y| Luma([(x * 1500 + y) as u16])));
    let rgb = DynamicImage::ImageRgb8(ImageBuffer::from_fn(40, 30, |x, y| Rgb([(x + y) as u8; 3])));
    let encoded = |image: &DynamicImage, format: ImageFormat| {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).expect("an encoder");
        bytes.into_inner()
    };
    let mut files = Vec::new();
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        files.extend([&grey, &deep, &rgb].map(|image| (format!("{format:?}"), encoded(image, format))));
    }
    files.extend([&grey, &rgb].map(|image| ("Jpeg".to_owned(), encoded(image, ImageFormat::Jpeg))));
    files
}

/// `count` versions of a file with a few bits, bytes or numbers replaced.
fn mutations(bytes: &[u8], count: usize, seed: u64) -> impl Iterator<Item = (String, Vec<u8>)> {
    const NUMBERS: [&[u8]; 6] = [
        &[0xFF; 4],
        &[0; 4],
        &[0xFF, 0xFF],
        &[0xFF, 0xFF, 0xFF, 0x7F],
        &[0xFE, 0xFF, 0xFF, 0xFF],
        &[0x7F, 0xFF],
    ];
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(move |round| {
        let mut damaged = bytes.to_vec();
        for _ in 0..1 + round % 3 {
            let at = random.random_range(0..damaged.len());
            match random.random_range(0..4) {
                0 => damaged[at] ^= 1 << random.random_range(0..8),
                1 => damaged[at] = random.random(),
                2 => {
                    let number = NUMBERS[random.random_range(0..NUMBERS.len())];
                    let end = (at + number.len()).min(damaged.len());
                    damaged[at..end].copy_from_slice(&number[..end - at]);
                }
                _ => {
                    let end = (at + random.random_range(1..9)).min(damaged.len());
                    damaged.drain(at..end);
                }
            }
            if damaged.is_empty() {
                break;
            }
        }
        (format!("mutation {round} of seed {seed}"), damaged)
    })
}

#[test]
fn cut_files_never_decode_whole() {
    let _alone = alone();
    let mut outcome = Outcome::default();
    for (name, bytes) in dicom_files(&goldens().join("dicom")) {
        let pixels = bytes.len() - attempt_tail(&bytes);
        for step in 0..64 {
            let length = bytes.len() * step / 64;
            let before = outcome.decoded;
            outcome.check(&name, &format!("cut to {length}"), &bytes[..length], &LIMITS);
            assert!(
                outcome.decoded == before || length >= pixels,
                "{name} cut to {length} of {} decodes",
                bytes.len()
            );
        }
    }
    for (name, bytes) in rasters() {
        for length in (0..bytes.len()).step_by(7) {
            outcome.check(&name, &format!("cut to {length}"), &bytes[..length], &LIMITS);
        }
    }
    eprintln!("{outcome:?}");
    assert!(outcome.refused["truncated"] > 1000, "{outcome:?}");
}

/// Bytes at the end that a file can lose: the delimiter of encapsulated pixels, padding of the last fragment, and the
/// last bytes of a deflate stream (its end mark and the padding).
fn attempt_tail(bytes: &[u8]) -> usize {
    if bytes.ends_with(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]) {
        10
    } else {
        2
    }
}

#[test]
fn mutated_files_never_panic_and_take_bounded_memory() {
    let _alone = alone();
    let mut outcome = Outcome::default();
    let files = [
        dicom_files(&goldens().join("dicom")),
        dicom_files(&goldens().join("refused")),
        rasters(),
    ]
    .concat();
    for (index, (name, bytes)) in files.iter().enumerate() {
        for (damage, damaged) in mutations(bytes, 120, index as u64) {
            outcome.check(name, &damage, &damaged, &LIMITS);
        }
    }
    eprintln!("{outcome:?}");
    for code in ["truncated", "damaged", "too-large", "not-an-image"] {
        assert!(outcome.refused.contains_key(code), "{code} never seen: {outcome:?}");
    }
}

#[test]
fn damaged_real_files_never_panic_and_take_bounded_memory() {
    let _alone = alone();
    let Some(folder) = shared_dicom() else { return };
    let limits = Limits {
        max_pixels: 4 << 20,
        max_bytes: 4 << 20,
        max_frames: 64,
    };
    let mut outcome = Outcome::default();
    for (name, bytes) in [dicom_files(&folder.join("ct")), dicom_files(&folder.join("cxr"))].concat() {
        for (damage, damaged) in mutations(&bytes, 6, bytes.len() as u64) {
            outcome.check(&name, &damage, &damaged, &limits);
        }
        for part in 1..8 {
            outcome.check(
                &name,
                &format!("cut to {part} eighths"),
                &bytes[..bytes.len() * part / 8],
                &limits,
            );
        }
    }
    eprintln!("{outcome:?}");
    assert!(outcome.refused["truncated"] > 50, "{outcome:?}");
}

#[test]
fn no_length_is_believed() {
    let _alone = alone();
    // A private element of 4 GiB, and one sequence in another without end, in files of a few hundred bytes.
    let start = || {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0");
        bytes
    };
    let lie = [start(), b"\x09\0\x10\x10OB\0\0\xFE\xFF\xFF\xFFab".to_vec()].concat();
    let nested = [
        start(),
        b"\x09\0\x10\x10SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF".repeat(5000),
    ]
    .concat();
    for (bytes, code) in [(lie, "truncated"), (nested, "damaged")] {
        let (peak, result) = attempt(&bytes, &Limits::default());
        assert_eq!(result.expect_err("refused").code(), code);
        assert!(peak < 1 << 20, "{peak} bytes for a file of {}", bytes.len());
    }
}

/// One element of explicit VR little endian, with a 32-bit length where `vr` has one.
fn element([group, element]: [u16; 2], vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = [group.to_le_bytes(), element.to_le_bytes(), *vr].concat();
    match vr {
        b"OB" | b"SQ" | b"UN" | b"UT" => {
            bytes.extend([0, 0]);
            bytes.extend((value.len() as u32).to_le_bytes());
        }
        _ => bytes.extend((value.len() as u16).to_le_bytes()),
    }
    bytes.extend(value);
    bytes
}

/// An item of a sequence or a fragment of pixel data.
fn item(value: &[u8]) -> Vec<u8> {
    let mut bytes = b"\xFE\xFF\0\xE0".to_vec();
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend(value);
    bytes
}

/// An image of one pixel and `frames` frames; `early` and `late` stand before and behind the Image Pixel Module.
fn one_pixel(transfer_syntax: &[u8], frames: &[u8], early: &[u8], late: &[u8], pixel_data: &[u8]) -> Vec<u8> {
    let number = |tag, value: u16| element(tag, b"US", &value.to_le_bytes());
    [
        vec![0; 128],
        b"DICM".to_vec(),
        element([2, 0x10], b"UI", transfer_syntax),
        early.to_vec(),
        number([0x28, 2], 1),
        element([0x28, 4], b"CS", b"MONOCHROME2 "),
        element([0x28, 8], b"UT", frames),
        number([0x28, 0x10], 1),
        number([0x28, 0x11], 1),
        number([0x28, 0x100], 8),
        number([0x28, 0x101], 8),
        number([0x28, 0x102], 7),
        number([0x28, 0x103], 0),
        late.to_vec(),
        pixel_data.to_vec(),
    ]
    .concat()
}

/// Files of `length` bytes that are nearly all one repeated thing.
fn swollen_files(length: usize) -> Vec<(&'static str, Vec<u8>)> {
    const NATIVE: &[u8] = b"1.2.840.10008.1.2.1\0";
    const RLE: &[u8] = b"1.2.840.10008.1.2.5\0";
    let pixel = element([0x7FE0, 0x10], b"OB", b"\x05\0");
    let encapsulated = |items: Vec<u8>| {
        let end = b"\xFE\xFF\xDD\xE0\0\0\0\0";
        [b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF", items.as_slice(), end].concat()
    };
    let meta = [vec![0; 128], b"DICM".to_vec(), b"\x02\0\x16\0AE\0\0".repeat(length / 8)].concat();
    let text = element([8, 0x60], b"UT", &vec![0xFF; length]);
    let numbers = element([0x28, 0x1050], b"UT", &b"1\\".repeat(length / 2));
    let table = [
        element([0x28, 0x3002], b"UN", &vec![1; length]),
        element([0x28, 0x3006], b"UN", &[1; 2]),
    ]
    .concat();
    let table = element([0x28, 0x3010], b"SQ", &item(&table));
    let fragments = encapsulated([item(b""), item(b"").repeat(length / 8)].concat());
    let offsets = encapsulated([item(&vec![1; length]), item(b"ab").repeat(3)].concat());
    vec![
        ("elements of the meta information", meta),
        ("one text", one_pixel(NATIVE, b"1 ", &text, b"", &pixel)),
        ("one list of numbers", one_pixel(NATIVE, b"1 ", b"", &numbers, &pixel)),
        ("one LUT descriptor", one_pixel(NATIVE, b"1 ", b"", &table, &pixel)),
        ("fragments", one_pixel(RLE, b"1 ", b"", b"", &fragments)),
        ("one offset table", one_pixel(RLE, b"2 ", b"", b"", &offsets)),
    ]
}

#[test]
fn a_swollen_file_takes_its_own_size_and_little_more() {
    let _alone = alone();
    let mut hungry = Vec::new();
    for (name, bytes) in swollen_files(24 << 20) {
        let (peak, result) = attempt(&bytes, &Limits::default());
        let beyond = peak.saturating_sub(bytes.len());
        let outcome = result.err().map_or("decoded".to_owned(), |error| error.to_string());
        eprintln!("{name}: {beyond} bytes beyond the file; {outcome}");
        if beyond > BEYOND_THE_FILE_BYTES {
            hungry.push(name);
        }
    }
    assert!(hungry.is_empty(), "{hungry:?}");
}
