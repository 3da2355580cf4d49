//! Any bytes as lines of the console, and any message through it and back.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use scanside_hardware::smp::{Frame, Framing, Receiver, console, link};

const MAX: usize = 8192;

// The first byte says in how large pieces the rest arrives.
fuzz_target!(|bytes: &[u8]| {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let mut receiver = Receiver::new(MAX, Duration::from_secs(1));
    for piece in bytes.chunks(usize::from(*piece) + 1) {
        receiver.push(piece, Duration::ZERO);
        while let Some(frame) = receiver.next() {
            assert!(frame.message.len() <= MAX);
        }
        assert!(receiver.pending_bytes() <= console::longest_line(MAX));
    }
    receiver.tick(Duration::from_secs(1));
    while receiver.next().is_some() {}
    assert_eq!(receiver.pending_bytes(), 0);

    // Whatever came before, a message survives.
    let message = bytes[..bytes.len().min(MAX)].to_vec();
    let mut line = Vec::new();
    link::encode(Framing::Console, &message, &mut line);
    receiver.push(&line, Duration::from_secs(2));
    let framing = Framing::Console;
    assert_eq!(receiver.next(), Some(Frame { framing, message }));
});
