//! Any bytes as a delta, and as a delta to a bundle that is there: what is rebuilt has the announced digest and length,
//! or is refused; nothing panics, and nothing is written beyond the announced length.

#![no_main]

use std::io::{self, Cursor, Write};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use scanside_bundle::delta::{self, Outline, PROLOGUE_BYTES};
use scanside_bundle::{container, example, sign};

/// The longest bundle that is rebuilt here, in bytes: the fuzzer looks for more than was allowed.
const LONGEST: u64 = 1 << 20;

/// Two bundles and the delta between them.
static EXAMPLE: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let keys = sign::generate(None).expect("random numbers");
    let secret = sign::parse_secret(&keys.secret_file).expect("a secret key");
    let bundle = |change: u8| {
        let mut files = example::files();
        if let Some(byte) = files[0].bytes.first_mut() {
            *byte ^= change;
        }
        let mut file = Vec::new();
        container::write(&example::manifest(), &files, &secret, &mut file).expect("a bundle");
        file
    };
    let base = bundle(0);
    let delta = delta::make(&base, &bundle(1)).expect("a delta");
    (base, delta)
});

/// Counts what is written.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// The first byte chooses: steps as they are behind a good prologue, or edits of a delta that is in order.
fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let (base, example) = &*EXAMPLE;
    let delta = match choice % 3 {
        0 => rest.to_vec(),
        1 => [&example[..PROLOGUE_BYTES], rest].concat(),
        _ => edited(example, rest),
    };
    let outline = Outline::read(Cursor::new(&delta));
    let announced = delta.get(44..52).and_then(|length| length.try_into().ok());
    let announced = announced.map_or(0, u64::from_le_bytes);
    if announced > LONGEST {
        return;
    }
    let mut out = Counted(0);
    let rebuilt = delta::rebuild(delta.as_slice(), Cursor::new(base), &mut out);
    assert!(out.0 <= announced);
    if let Ok(prologue) = rebuilt {
        assert_eq!(out.0, prologue.target_bytes);
        assert!(outline.is_err() || outline.is_ok_and(|outline| outline.prologue == prologue));
    }
});

/// Four bytes an edit: what to do, where (16 bits), with which byte.
fn edited(example: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut delta = example.to_vec();
    for [action, low, high, value] in edits.as_chunks::<4>().0 {
        if delta.is_empty() {
            break;
        }
        let at = usize::from(u16::from_le_bytes([*low, *high])) % delta.len();
        match action % 4 {
            0 => delta[at] = *value,
            1 => delta.insert(at, *value),
            2 => drop(delta.remove(at)),
            _ => delta.truncate(at),
        }
    }
    delta
}
