use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::smp::cbor::MapWriter;
use crate::smp::message::{Header, message};

const TIMEOUT: Duration = Duration::from_secs(1);
const MAX: usize = 8192;

fn receiver() -> Receiver {
    Receiver::new(MAX, TIMEOUT)
}

/// A request: an upload of some bytes.
fn request(first: u8, sequence: u8, data: &[u8]) -> Vec<u8> {
    let body = MapWriter::new().uint("off", 0).bytes("data", data).finish();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let header = Header::parse([first, 0, length[0], length[1], 0, 1, sequence, 1]);
    message(header, &body)
}

fn on_line(framing: Framing, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(framing, message, &mut out);
    out
}

/// Everything that is found in bytes that arrive in pieces of some length.
fn receive(receiver: &mut Receiver, bytes: &[u8], piece: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        receiver.push(piece, Duration::ZERO);
        frames.extend(std::iter::from_fn(|| receiver.next()));
    }
    frames
}

fn frame(framing: Framing, message: &[u8]) -> Frame {
    Frame {
        framing,
        message: message.to_vec(),
    }
}

#[test]
fn stray_newlines_before_a_raw_header_cost_nothing() {
    // A raw write of version 2 begins with a line feed itself.
    let write = request(0x0a, 7, b"xyz");
    for newlines in ["\n", "\n\n\n", "\r\n", "\n\r\n\n"] {
        for piece in [1, 2, 5, 4096] {
            let mut line = newlines.as_bytes().to_vec();
            line.extend(&write);
            line.extend(b"\n");
            line.extend(&write);
            let mut receiver = receiver();
            let frames = receive(&mut receiver, &line, piece);
            assert_eq!(
                frames,
                [frame(Framing::Raw, &write), frame(Framing::Raw, &write)],
                "{newlines:?} {piece}"
            );
            assert_eq!(receiver.statistics.bytes_skipped, 0);
        }
    }
}

#[test]
fn a_garbage_line_costs_at_most_that_line() {
    let console = request(0x0a, 1, &[0x55; 300]);
    let raw = request(0x0a, 2, &[0x0a; 50]);
    let lines = on_line(Framing::Console, &console);
    let garbage: [&[u8]; 9] = [
        b"[ 12.3] kernel: usb 1-1: disconnect\n",
        b"login: \x06\x09\n",
        b"\x06\x09AAAA\n",
        b"\x06\x09not base64 at all\n",
        b"\x04\x14AAAA\n",
        // Lines that lost their end.
        b"\x06\x09AAAA",
        b"\x06\x09",
        b"\x06",
        b"no end",
    ];
    for garbage in garbage {
        let mut line = garbage.to_vec();
        line.extend(&lines);
        line.extend(garbage);
        line.extend(&raw);
        line.extend(garbage);
        line.extend(&lines);
        let frames = receive(&mut receiver(), &line, 3);
        let wanted = [
            (Framing::Console, &console),
            (Framing::Raw, &raw),
            (Framing::Console, &console),
        ];
        let wanted: Vec<Frame> = wanted
            .iter()
            .map(|(framing, message)| frame(*framing, message))
            .collect();
        assert_eq!(frames, wanted, "{:?}", String::from_utf8_lossy(garbage));
    }
}

#[test]
fn a_raw_write_stands_in_for_a_lost_line_feed() {
    let message = request(0x0a, 1, &[0x55; 300]);
    let mut line = on_line(Framing::Console, &message);
    line.pop();
    line.extend(&message);
    let wanted = [frame(Framing::Console, &message), frame(Framing::Raw, &message)];
    assert_eq!(receive(&mut receiver(), &line, 7), wanted);
}

#[test]
fn text_between_the_lines_of_a_frame_is_skipped() {
    let message = request(0x0a, 1, &[7; 500]);
    let lines = on_line(Framing::Console, &message);
    let mixed: Vec<u8> = lines
        .split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| [line, b"a line of the kernel's\n".as_slice()].concat())
        .collect();
    assert_eq!(
        receive(&mut receiver(), &mixed, 17),
        [frame(Framing::Console, &message)]
    );
}

#[test]
fn a_raw_message_that_was_cut_costs_itself_only() {
    let message = request(0x0a, 1, &[7; 500]);
    let next = request(0x08, 2, b"next");
    for cut in 1..message.len() {
        let mut receiver = receiver();
        let mut line = message.clone();
        line.remove(cut);
        receiver.push(&line, Duration::ZERO);
        let mut found: Vec<Frame> = std::iter::from_fn(|| receiver.next()).collect();
        // The client waits for an answer, gives up, and repeats itself.
        receiver.tick(TIMEOUT);
        found.extend(std::iter::from_fn(|| receiver.next()));
        assert_eq!(receiver.pending_bytes(), 0, "cut at {cut}");
        receiver.push(&next, TIMEOUT);
        found.extend(std::iter::from_fn(|| receiver.next()));
        assert_eq!(found.last(), Some(&frame(Framing::Raw, &next)), "cut at {cut}");
    }
}

#[test]
fn what_is_swallowed_by_a_wrong_length_is_found_again() {
    // A plausible header that announces 600 bytes, and then whole messages.
    let next = request(0x0a, 2, &[7; 100]);
    let mut line = vec![0x0a, 0, 2, 0x58, 0, 1, 0, 1, 0xbf];
    for _ in 0..8 {
        line.extend(&next);
    }
    let mut receiver = receiver();
    let frames = receive(&mut receiver, &line, 100);
    assert_eq!(frames.len(), 8);
    assert_eq!(receiver.statistics.raw_damaged, 1);
}

#[test]
fn a_silence_within_a_message_gives_it_up() {
    let raw = request(0x0a, 1, &[7; 100]);
    let lines = on_line(Framing::Console, &raw);
    for line in [&raw, &lines] {
        let (head, tail) = line.split_at(line.len() - 60);
        let mut receiver = receiver();
        // Bytes that keep coming, however slowly, are no silence.
        for (index, byte) in head.iter().enumerate() {
            let now = TIMEOUT * index as u32 * 9 / 10;
            receiver.tick(now);
            assert_eq!(receiver.next(), None);
            receiver.push(&[*byte], now);
            assert_eq!(receiver.next(), None);
        }
        let last = TIMEOUT * (head.len() as u32 - 1) * 9 / 10;
        receiver.tick(last + TIMEOUT - Duration::from_nanos(1));
        assert_eq!(receiver.next(), None);
        assert_eq!(receiver.statistics.byte_timeouts, 0);
        receiver.tick(last + TIMEOUT);
        assert_eq!(receiver.next(), None);
        assert_eq!(receiver.statistics.byte_timeouts, 1);
        receiver.push(tail, last + TIMEOUT);
        assert_eq!(std::iter::from_fn(|| receiver.next()).count(), 0);
        receiver.tick(last + TIMEOUT * 2);
        assert_eq!(receiver.next(), None);
        assert_eq!(receiver.pending_bytes(), 0);
    }
    // A line feed alone is no message that was given up.
    let mut receiver = receiver();
    receiver.push(b"\n", Duration::ZERO);
    assert_eq!(receiver.next(), None);
    receiver.tick(TIMEOUT);
    assert_eq!(receiver.next(), None);
    assert_eq!((receiver.pending_bytes(), receiver.statistics.byte_timeouts), (0, 0));
}

#[test]
fn memory_is_bounded_whatever_arrives() {
    let longest = console::longest_line(MAX);
    let floods: [&mut dyn FnMut(usize) -> u8; 5] = [
        // One endless line.
        &mut |index| [0x06, 0x09].get(index).copied().unwrap_or(b'A'),
        // Lines without end of one frame.
        &mut |index| {
            b"\x06\x09//8A\n"
                .get(index)
                .copied()
                .unwrap_or(b"\x04\x14AAAA\n"[index % 7])
        },
        // Empty continuations.
        &mut |index| b"\x04\x14\n"[index % 3],
        // Raw headers that announce as much as they may.
        &mut |index| [0x0a, 0, 0x1f, 0xf8, 0, 1, 0, 1, 0xa1][index % 9],
        // The beginning of a map without end.
        &mut |index| {
            [0x0a, 0, 0x1f, 0xf8, 0, 1, 0, 1, 0xbf]
                .get(index)
                .copied()
                .unwrap_or(0x60)
        },
    ];
    for flood in floods {
        let bytes: Vec<u8> = (0..200_000).map(flood).collect();
        let mut receiver = receiver();
        for piece in bytes.chunks(4096) {
            receiver.push(piece, Duration::ZERO);
            while receiver.next().is_some() {}
            assert!(receiver.pending_bytes() <= longest, "{}", receiver.pending_bytes());
            assert!(
                receiver.buffer.capacity() <= 4 * longest,
                "{}",
                receiver.buffer.capacity()
            );
        }
        let good = request(0x0a, 1, b"still alive");
        let mut line = b"!\n".to_vec();
        line.extend(on_line(Framing::Console, &good));
        receiver.tick(TIMEOUT);
        while receiver.next().is_some() {}
        assert_eq!(receive(&mut receiver, &line, 4096), [frame(Framing::Console, &good)]);
    }
}

/// A message, in either framing.
fn any_frame() -> impl Strategy<Value = Frame> {
    let data = prop::collection::vec(any::<u8>(), 0..700);
    let first = prop::sample::select(vec![0x00_u8, 0x02, 0x08, 0x0a]);
    let framing = prop::sample::select(vec![Framing::Console, Framing::Raw]);
    (framing, first, any::<u8>(), data)
        .prop_map(|(framing, first, sequence, data)| frame(framing, &request(first, sequence, &data)))
}

proptest! {
    #[test]
    fn mixed_framings_are_told_apart(
        frames in prop::collection::vec(any_frame(), 1..12),
        piece in 1_usize..5000,
        newlines: [bool; 12],
    ) {
        let mut line = Vec::new();
        for (frame, newline) in frames.iter().zip(newlines) {
            line.extend(on_line(frame.framing, &frame.message));
            line.extend(newline.then_some(b'\n'));
        }
        let mut receiver = receiver();
        prop_assert_eq!(receive(&mut receiver, &line, piece), frames);
        prop_assert_eq!(receiver.statistics.bytes_skipped, 0);
    }

    #[test]
    fn any_bytes_are_received_without_a_panic(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\x06\x09\x04\x14\n\0\x0aAA=".to_vec())], 0..3000),
        piece in 1_usize..300,
    ) {
        let mut receiver = receiver();
        let _ = receive(&mut receiver, &bytes, piece);
        receiver.tick(TIMEOUT);
        while receiver.next().is_some() {}
        prop_assert_eq!(receiver.pending_bytes(), 0);
        let good = request(0x0a, 1, b"still alive");
        prop_assert_eq!(receive(&mut receiver, &good, piece), [frame(Framing::Raw, &good)]);
    }

    #[test]
    fn noise_on_the_console_never_changes_a_message(
        frames in prop::collection::vec(any_frame(), 1..4),
        flips in prop::collection::vec((any::<Index>(), 0_u8..8), 1..4),
    ) {
        let messages: Vec<&[u8]> = frames.iter().map(|frame| frame.message.as_slice()).collect();
        let mut line: Vec<u8> = messages.iter().flat_map(|message| on_line(Framing::Console, message)).collect();
        for (at, bit) in flips {
            let at = at.index(line.len());
            line[at] ^= 1 << bit;
        }
        for found in receive(&mut receiver(), &line, 100) {
            if found.framing == Framing::Console {
                prop_assert!(messages.contains(&found.message.as_slice()));
            }
        }
    }
}

#[test]
fn a_client_finds_answers_behind_noise_and_its_own_echo() {
    let header = Header::parse([9, 0, 0, 1, 0, 0, 5, 6]);
    let answer = message(header, b"\xa0");
    let mut bytes = on_line(Framing::Raw, &request(8, 5, b""));
    bytes.extend(b"login: \x0b\0\0");
    bytes.extend(on_line(Framing::Raw, &answer));
    bytes.extend(on_line(Framing::Console, &answer));
    let mut receiver = Receiver::of_answers(MAX, TIMEOUT);
    let found = receive(&mut receiver, &bytes, 7);
    assert_eq!(found, [frame(Framing::Raw, &answer), frame(Framing::Console, &answer)]);
}
