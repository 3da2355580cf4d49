//! JPEG 2000 takes memory outside Rust's allocator, so it is judged by what the system counts for the whole process.
//! One test in a file of its own, so that the process does nothing else.
#![cfg(target_os = "linux")]

mod common;

use std::fs;

use common::goldens;
use scanside_imaging::decode::{DecodeError, Limits, decode_bytes};

/// What a file of a few kilobytes may take, whatever it claims.
const PEAK_BYTES: u64 = 64 << 20;
const SIZE_SEGMENT: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];

/// `VmHWM` or `VmRSS` of this process in bytes.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
    let kibibytes = line.split_whitespace().nth(1).expect("a number");
    kibibytes.parse::<u64>().expect("a number") * 1024
}

/// Decodes the first frame; gives what the process took at most above what it had before.
fn attempt(bytes: Vec<u8>) -> (u64, Result<(), DecodeError>) {
    // SAFETY: gives free memory back to the system, so that what was freed before does not hide what is taken now.
    unsafe { libc::malloc_trim(0) };
    // Lets VmHWM count from now on (proc(5)).
    fs::write("/proc/self/clear_refs", "5").expect("a process may reset its own peak");
    let before = memory("VmRSS:");
    let result = decode_bytes(bytes, &Limits::default())
        .and_then(|source| source.frame(0))
        .map(drop);
    (memory("VmHWM:").saturating_sub(before), result)
}

/// The file with another size in its DICOM header, its codestream's image and its only tile.
fn claiming(file: &[u8], side: u16) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for element in [0x10, 0x11] {
        let tag = [0x28, 0, element, 0, b'U', b'S', 2, 0];
        let at = bytes.windows(8).position(|window| window == tag).expect("the element");
        bytes[at + 8..at + 10].copy_from_slice(&side.to_le_bytes());
    }
    let at = bytes.windows(4).position(|window| window == SIZE_SEGMENT).expect("SIZ");
    for field in [8, 12, 24, 28] {
        bytes[at + field..at + field + 4].copy_from_slice(&u32::from(side).to_be_bytes());
    }
    bytes
}

#[test]
fn a_short_stream_takes_little_whatever_it_claims() {
    let mut refused = 0;
    let mut most = 0;
    for name in ["j2k_8_8_u", "j2k_16_12_s", "j2k_16_16_u", "lossy_j2k_8", "lossy_j2k_16"] {
        let file = fs::read(goldens().join(format!("dicom/{name}.dcm"))).expect("a golden");
        assert!(attempt(file.clone()).1.is_ok(), "{name}");
        for side in [500, 1000, 2000, 3000, 5000, 8000] {
            let (peak, result) = attempt(claiming(&file, side));
            assert!(
                peak <= PEAK_BYTES,
                "{name} claims {side} x {side}: {peak} bytes at the peak"
            );
            most = most.max(peak);
            let too_large = result.is_err_and(|error| error.code() == "too-large");
            assert_eq!(too_large, side >= 3000, "{name} claims {side} x {side}");
            refused += usize::from(too_large);
        }
    }
    eprintln!("{refused} refused; {most} bytes at most");
    assert_eq!(refused, 15);
}
