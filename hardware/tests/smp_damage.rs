//! Damaged and hostile bytes, thousands of them and always the same: nothing panics, memory stays bounded, nothing
//! wrong becomes active, and the server goes on answering.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Read, Write};

use scanside_hardware::smp::cbor::MapWriter;
use scanside_hardware::smp::scanside::command;
use scanside_hardware::smp::{Framing, Operation, Parameters, ServeError, Server, Simulated, Slot, console, link};
use support::client::{request, serve};
use support::image;

/// The system's allocator, with the sum and the peak of what this thread holds.
struct Counted;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything to the system's allocator and counts besides, without allocating.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get().saturating_add(layout.size());
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get().saturating_sub(layout.size()));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Bytes that a piece of work holds at most beyond what was held before it.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, PEAK.get() - before)
}

/// Random numbers from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One valid request of each command.
fn requests(file: &[u8]) -> Vec<Vec<u8>> {
    let map = MapWriter::new;
    let (sha, hash) = ([7; 32], Slot::new(file.to_vec()).hash);
    let read = |group, command, body: MapWriter| request(Operation::Read, group, command, &body.finish());
    let write = |group, command, body: MapWriter| request(Operation::Write, group, command, &body.finish());
    let name = || map().text("name", "logs/service.log").uint("off", 0);
    let piece = || {
        map()
            .uint("off", 0)
            .uint("len", file.len() as u64)
            .bytes("data", &file[..900])
    };
    vec![
        write(0, 0, map().text("d", "hello")),
        write(0, 4, map().text("datetime", "2026-01-31T23:59:59.5+01:00")),
        read(0, 4, map()),
        write(0, 5, map().uint("force", 1)),
        read(0, 6, map()),
        read(0, 7, map().text("format", "a")),
        read(1, 0, map()),
        write(1, 0, map().bytes("hash", &hash)),
        write(1, 1, piece().bytes("sha", &sha).bool("upgrade", true).uint("image", 0)),
        write(1, 1, map().uint("off", 900).bytes("data", &file[900..1800])),
        write(1, 5, map().uint("slot", 1)),
        read(1, 6, map()),
        read(2, 0, map().text("name", "link")),
        read(2, 1, map()),
        read(8, 0, name()),
        read(8, 1, name()),
        read(8, 2, name().text("type", "crc32")),
        read(8, 3, map()),
        write(8, 4, map()),
        read(64, command::IDENTITY, map()),
        read(64, command::STATUS, map()),
        write(64, command::PREFLIGHT, piece()),
        write(64, command::SELF_TEST, map().uint("image", 0)),
        read(64, command::BUNDLES, map()),
        write(
            64,
            command::DELTA,
            piece()
                .bytes("sha", &sha)
                .bytes("base", &hash)
                .bytes("hash", &sha)
                .uint("total", 9),
        ),
        read(64, command::FILES, map().text("below", "logs/").text("after", "logs/a")),
        write(64, command::REVERT, map()),
    ]
}

/// Damages bytes once: flips a bit, drops, doubles, inserts, cuts off, or overwrites with what looks like something.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    let until = (at + 1 + random.below(20)).min(bytes.len());
    match random.below(7) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 => drop(bytes.drain(at..until)),
        3 => {
            let piece = bytes[at..until].to_vec();
            bytes.splice(at..at, piece);
        }
        4 => {
            let noise: Vec<u8> = (0..random.below(40)).map(|_| random.next() as u8).collect();
            bytes.splice(at..at, noise);
        }
        5 => bytes.truncate(at),
        _ => {
            let telling: [&[u8]; 8] = [
                b"\n",
                b"\x06\x09",
                b"\x04\x14",
                b"\x0a\0\x1f\xf8\0\x01\0\x01\xbf",
                b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
                b"\xbf",
                b"\xff",
                b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            ];
            bytes.splice(at..until, telling[random.below(telling.len())].iter().copied());
        }
    }
}

/// The device and the file that runs on it.
fn device(file: &[u8]) -> Simulated {
    let mut device = Simulated::new();
    device.pairs[0] = [Some(Slot::new(file.to_vec())), Some(Slot::new(image(3000, 5)))];
    if let Some(slot) = &mut device.pairs[0][0] {
        slot.confirmed = true;
    }
    device
}

/// What every device must answer after whatever came before: an echo in both framings. A line feed and a gap of text
/// stand for the silence that ends a half message.
fn assert_alive(device: &mut Simulated, before: &[u8], seed: u64) -> usize {
    let echo = request(Operation::Write, 0, 0, b"\xa1\x61d\x65alive");
    let mut line = before.to_vec();
    // More than any half message may still want.
    line.extend(b"#".repeat(console::longest_line(8192)));
    line.push(b'\n');
    for framing in [Framing::Raw, Framing::Console] {
        link::encode(framing, &echo, &mut line);
    }
    let (answers, statistics) = serve(device, &line);
    let mut raw = echo.clone();
    raw[0] = 0x0b;
    raw[10] = b'r';
    let mut wanted = raw.clone();
    link::encode(Framing::Console, &raw, &mut wanted);
    assert!(answers.ends_with(&wanted), "seed {seed}");
    statistics.frames_sent as usize
}

#[test]
fn damaged_requests_do_no_harm() {
    let running = image(2000, 3);
    let requests = requests(&running);
    let mut answered = 0;
    for seed in 1..=3000 {
        let mut random = Random(seed);
        let mut device = device(&running);
        let mut line = Vec::new();
        for _ in 0..1 + random.below(4) {
            let mut message = requests[random.below(requests.len())].clone();
            let framing = [Framing::Raw, Framing::Console][random.below(2)];
            // Before the checksum: a client that is wrong. Behind it: noise.
            if random.below(2) == 0 {
                damage(&mut message, &mut random);
            }
            let start = line.len();
            link::encode(framing, &message, &mut line);
            let mut sent = line.split_off(start);
            if random.below(2) == 0 {
                damage(&mut sent, &mut random);
            }
            line.extend(sent);
        }
        answered += assert_alive(&mut device, &line, seed) - 2;
        let active = device.pairs[0][0].as_ref().expect("the active image");
        assert!(active.confirmed && active.bytes == running, "seed {seed}");
    }
    // Otherwise the requests were too damaged to test anything.
    assert!(answered > 2000, "{answered}");
}

#[test]
fn random_bytes_are_no_requests() {
    for seed in 1..=50 {
        let mut random = Random(seed);
        let bytes: Vec<u8> = (0..20_000).map(|_| random.next() as u8).collect();
        assert_eq!(assert_alive(&mut Simulated::new(), &bytes, seed), 2);
    }
}

#[test]
fn memory_is_bounded_whatever_arrives() {
    let random = |seed: u64| {
        let mut random = Random(seed);
        (0..).map(move |_| random.next() as u8)
    };
    let cycle = |bytes: &[u8]| Vec::from(bytes).into_iter().cycle();
    let mut many = b"\x0a\0\x1f\xf8\0\x01\0\x01\xa1".to_vec();
    many.extend([0x81; 300]);
    let mut echo = b"\x0a\0\x1f\xf8\0\0\0\0\xa1\x61d\x79\x1f\xf2".to_vec();
    echo.extend([b'x'; 0x1ff2]);
    let floods: Vec<Box<dyn Iterator<Item = u8>>> = vec![
        Box::new(random(1)),
        Box::new(cycle(b"\x06\x09")),
        Box::new(b"\x06\x09".iter().copied().chain(cycle(b"A"))),
        Box::new(cycle(b"\x06\x09//8A\n\x04\x14AAAA\n")),
        Box::new(b"\x06\x09H/wA\n".iter().copied().chain(cycle(b"\x04\x14\n"))),
        Box::new(cycle(b"\x0a\0\x1f\xf8\0\x01\0\x01\xa1")),
        Box::new(cycle(b"\x0a\0\x1f\xf8\0\x01\0\x01\xbb\xff\xff\xff\xff\xff\xff\xff\xff")),
        Box::new(cycle(&many)),
        // A flood of frames: the largest request that is answered with as much.
        Box::new(cycle(&echo)),
    ];
    for (index, flood) in floods.into_iter().enumerate() {
        let mut device = Simulated::new();
        let line = Flood {
            bytes: Box::new(flood.take(1 << 20)),
            heard: 0,
        };
        let (answered, held) = peak(|| {
            let mut server = Server::new(line, Parameters::default());
            assert!(matches!(
                server.serve(&mut device, &mut || false),
                Err(ServeError::Closed)
            ));
            server.port().heard
        });
        assert!(held < 120_000, "flood {index}: {held} bytes");
        println!("flood {index}: at most {held} bytes held, {answered} bytes answered");
    }
}

/// A line that says what an iterator says, and forgets what it hears.
struct Flood {
    bytes: Box<dyn Iterator<Item = u8>>,
    heard: usize,
}

impl Read for Flood {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        for (place, byte) in into.iter_mut().zip(&mut self.bytes) {
            *place = byte;
            read += 1;
        }
        Ok(read)
    }
}

impl Write for Flood {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
