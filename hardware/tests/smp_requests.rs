//! Every command, on the simulated twin: what is answered, what is refused with which code, and that a request may be
//! repeated.

mod support;

use scanside_hardware::smp::cbor::MapWriter;
use scanside_hardware::smp::scanside::command;
use scanside_hardware::smp::{
    Code, DeltaBegin, DeltaChunk, Device, Framing, Operation, PreflightChunk, Refusal, Simulated, Slot,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::client::{ask, ask_in};
use support::image;

const IMAGE_STATE: (u16, u8) = (1, 0);
const UPLOAD: (u16, u8) = (1, 1);
const ERASE: (u16, u8) = (1, 5);

fn user(command: u8) -> (u16, u8) {
    (64, command)
}

fn read(device: &mut dyn Device, to: (u16, u8), body: MapWriter) -> Value {
    ask(device, Operation::Read, to, body)
}

fn write(device: &mut dyn Device, to: (u16, u8), body: MapWriter) -> Value {
    ask(device, Operation::Write, to, body)
}

fn map() -> MapWriter {
    MapWriter::new()
}

fn sha(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The first piece of an upload.
fn first(file: &[u8], length: usize) -> MapWriter {
    map()
        .uint("off", 0)
        .uint("len", file.len() as u64)
        .bytes("sha", &sha(file))
        .bytes("data", &file[..length])
}

fn next(file: &[u8], from: usize, to: usize) -> MapWriter {
    map().uint("off", from as u64).bytes("data", &file[from..to])
}

fn off(offset: usize) -> Value {
    json!({ "off": offset })
}

fn complete(file: &[u8]) -> Value {
    json!({"off": file.len(), "match": true})
}

/// A device on which a confirmed image runs.
fn running(file: &[u8]) -> Simulated {
    let mut device = Simulated::new();
    device.pairs[0][0] = Some(Slot {
        confirmed: true,
        ..Slot::new(file.to_vec())
    });
    device
}

#[test]
fn every_piece_of_an_upload_may_be_repeated() {
    let file = image(5000, 0);
    let mut device = Simulated::new();
    for _ in 0..2 {
        assert_eq!(write(&mut device, UPLOAD, first(&file, 1000)), off(1000));
    }
    for _ in 0..2 {
        assert_eq!(write(&mut device, UPLOAD, next(&file, 1000, 3000)), off(3000));
    }
    // The client began anew, or asks for a piece that is not due.
    assert_eq!(write(&mut device, UPLOAD, first(&file, 1000)), off(3000));
    assert_eq!(write(&mut device, UPLOAD, next(&file, 4000, 4500)), off(3000));
    assert_eq!(write(&mut device, UPLOAD, next(&file, 3000, 3000)), off(3000));
    for _ in 0..3 {
        assert_eq!(
            write(&mut device, UPLOAD, next(&file, 3000, file.len())),
            complete(&file)
        );
    }
    assert_eq!(write(&mut device, UPLOAD, first(&file, 1000)), complete(&file));
    assert_eq!(device.pairs[0][1].as_ref().unwrap().bytes, file);
}

#[test]
fn an_upload_continues_where_a_piece_was_damaged_or_another_begins() {
    let (file, other) = (image(5000, 0), image(4000, 1));
    let mut device = Simulated::new();
    device.damage_at = Some(1000);
    assert_eq!(write(&mut device, UPLOAD, next(&file, 1000, 2000)), off(0));
    write(&mut device, UPLOAD, first(&file, 1000));
    assert_eq!(write(&mut device, UPLOAD, next(&file, 1000, 2000)), off(1000));
    assert_eq!(write(&mut device, UPLOAD, next(&file, 1000, 2000)), off(2000));
    assert_eq!(write(&mut device, UPLOAD, first(&other, 500)), off(500));
    assert_eq!(
        write(&mut device, UPLOAD, next(&other, 500, other.len())),
        complete(&other)
    );
    assert_eq!(device.pairs[0][1].as_ref().unwrap().bytes, other);

    // A wrong digest is told with the last piece, and nothing is stored.
    let length = file.len() as u64;
    let wrong = next(&file, 0, file.len()).uint("len", length).bytes("sha", &[0; 32]);
    let mut device = Simulated::new();
    for _ in 0..2 {
        assert_eq!(
            write(&mut device, UPLOAD, wrong.clone()),
            json!({"off": length, "match": false})
        );
    }
    assert_eq!(device.pairs[0][1], None);
}

/// SMP version 2's answer to a refusal that is the group's own.
fn err(group: u16, rc: u8) -> Value {
    json!({"err": {"group": group, "rc": rc}})
}

#[test]
fn bad_uploads_are_refused_with_smps_codes() {
    let file = image(5000, 0);
    let length = || map().uint("len", 5000);
    let mut small = Simulated::new();
    small.max_image_bytes = 4000;
    let cases = [
        (map().bytes("data", b"x"), err(1, 20)),
        (map().uint("off", 0).bytes("data", b"x"), err(1, 21)),
        (map().uint("off", 0).uint("len", 3).bytes("data", b"four"), err(1, 31)),
        (map().uint("off", u64::MAX).bytes("data", b"xx"), err(1, 31)),
        (map().uint("off", 0).uint("len", 31).bytes("data", b""), err(1, 22)),
        (length().uint("off", 0).bytes("data", b"\x7fELF"), err(1, 23)),
        (length().uint("off", 0).uint("image", 7), err(1, 14)),
        (first(&file, 100), err(1, 30)),
    ];
    for (body, wanted) in cases {
        assert_eq!(write(&mut small, UPLOAD, body.clone()), wanted, "{body:?}");
    }
    let invalid = |key: &str, wanted: &str| json!({"rc": 3, "rsn": format!("{key} is not {wanted}")});
    let cases = [
        (map().text("off", "0"), invalid("off", "a whole number from 0")),
        (
            length().uint("off", 0).bytes("sha", &[0; 31]),
            invalid("sha", "32 bytes"),
        ),
        (
            length().uint("off", 0).text("data", "x"),
            invalid("data", "a byte string"),
        ),
        (
            length().uint("off", 0).uint("image", 1 << 32),
            invalid("image", "a whole number below 2^32"),
        ),
        (
            length().uint("off", 0).uint("upgrade", 2),
            invalid("upgrade", "true or false"),
        ),
    ];
    for (body, wanted) in cases {
        assert_eq!(write(&mut small, UPLOAD, body.clone()), wanted, "{body:?}");
    }
    assert_eq!(small.pairs, Simulated::new().pairs);
}

#[test]
fn a_bundles_refusal_says_which_in_words() {
    let file = image(5000, 0);
    for (code, rc) in [
        (Code::Signature, 11),
        (Code::Format, 9),
        (Code::Role, 3),
        (Code::Downgrade, 11),
        (Code::Hardware, 11),
        (Code::Space, 2),
    ] {
        let mut device = Simulated::new();
        device.refuse = Some(Refusal::new(code, "because"));
        assert_eq!(
            write(&mut device, UPLOAD, first(&file, 100)),
            json!({"rc": rc, "rsn": "because"})
        );
        let preflight = map().uint("off", 0).uint("len", 5000).bytes("data", &file[..100]);
        let refused = json!({"verdict": "refused", "code": code.name(), "reason": "because"});
        assert_eq!(write(&mut device, user(command::PREFLIGHT), preflight), refused);
    }
}

#[test]
fn states_are_set_by_hash() {
    let (old, new) = (image(1000, 1), image(2000, 2));
    let mut device = running(&old);
    device.pairs[0][1] = Some(Slot::new(new.clone()));
    let hash = |file: &[u8]| map().bytes("hash", &Slot::new(file.to_vec()).hash);
    for (body, wanted) in [
        (map(), err(1, 24)),
        (map().bool("confirm", false), err(1, 24)),
        (map().bytes("hash", &[0; 31]), err(1, 24)),
        (map().bytes("hash", &[0; 32]), err(1, 24)),
        (hash(&old), err(1, 33)),
    ] {
        assert_eq!(write(&mut device, IMAGE_STATE, body), wanted);
    }
    let flags = |state: &Value| -> Vec<String> {
        let fields = state.as_object().unwrap().iter();
        fields
            .filter(|(_, value)| value.is_boolean())
            .map(|(name, _)| name.clone())
            .collect()
    };
    for _ in 0..2 {
        let states = write(&mut device, IMAGE_STATE, hash(&new).bool("confirm", true));
        assert_eq!(flags(&states["images"][0]), ["bootable", "confirmed", "active"]);
        assert_eq!(flags(&states["images"][1]), ["bootable", "pending", "permanent"]);
    }
    device.restart_now();
    let states = read(&mut device, IMAGE_STATE, map());
    assert_eq!(flags(&states["images"][0]), ["bootable", "confirmed", "active"]);
    assert_eq!(device.pairs[0][0].as_ref().unwrap().bytes, new);
    // The old one again, on trial. It survives a restart, but no crash.
    write(&mut device, IMAGE_STATE, hash(&old));
    device.restart_now();
    device.restart_now();
    assert_eq!(device.pairs[0][0].as_ref().unwrap().bytes, old);
    device.crash();
    assert_eq!(device.pairs[0][0].as_ref().unwrap().bytes, new);
}

#[test]
fn slots_are_told_and_erased() {
    let mut device = running(&image(1000, 1));
    device.pairs[0][1] = Some(Slot::new(image(2000, 2)));
    device.pairs.push([None, None]);
    let slots = read(&mut device, (1, 6), map());
    let size = 64 << 20;
    let pair = |image: u32| {
        let slots = json!([{"slot": 0, "size": size}, {"slot": 1, "size": size, "upload_image_id": image}]);
        json!({"image": image, "slots": slots, "max_image_size": size})
    };
    assert_eq!(slots, json!({"images": [pair(0), pair(1)]}));
    assert_eq!(write(&mut device, ERASE, map().uint("slot", 0))["rc"], 6);
    assert_eq!(write(&mut device, ERASE, map().uint("slot", 4)), err(1, 14));
    for body in [map(), map().uint("slot", 1), map().uint("slot", 3)] {
        assert_eq!(write(&mut device, ERASE, body), json!({}));
    }
    assert_eq!(device.pairs[0][1], None);
}

#[test]
fn a_wrong_bit_in_a_raw_header_destroys_nothing() {
    let mut device = running(&image(1000, 1));
    device.pairs[0][1] = Some(Slot::new(image(2000, 2)));
    let before = device.clone();
    let piece = || map().uint("off", 100).bytes("data", b"x");
    for to in [ERASE, IMAGE_STATE, (0, 5), user(command::REVERT)] {
        assert_eq!(write(&mut device, to, piece())["rc"], 3, "{to:?}");
    }
    assert_eq!(device, before);
    // A checksum is proof enough; what a later client may add is ignored.
    let erased = ask_in(Framing::Console, &mut device, Operation::Write, ERASE, piece());
    assert_eq!(erased, json!({}));
}

#[test]
fn a_restart_is_asked_for_once_or_twice() {
    let mut device = Simulated::new();
    for body in [map(), map().uint("force", 1).uint("boot_mode", 0)] {
        assert_eq!(write(&mut device, (0, 5), body), json!({}));
    }
    assert!(device.restart.unwrap().force);
    assert_eq!(write(&mut device, (0, 5), map().uint("boot_mode", 256))["rc"], 3);
    assert_eq!(
        read(&mut device, user(command::STATUS), map())["activities"],
        json!([{"state": "restarting"}])
    );
}

#[test]
fn a_restart_that_would_spoil_a_self_test_is_refused_unless_it_is_forced() {
    let new = image(2000, 2);
    let mut device = running(&image(1000, 1));
    device.pairs[0][1] = Some(Slot::new(new.clone()));
    device.slowness = 3;
    write(&mut device, IMAGE_STATE, map().bytes("hash", &Slot::new(new).hash));
    assert_eq!(write(&mut device, (0, 5), map()), json!({}));
    device.restart_now();
    // The same request once more, from a client that heard no answer.
    assert_eq!(write(&mut device, (0, 5), map())["rc"], 10);
    assert_eq!(device.restart, None);
    assert_eq!(write(&mut device, (0, 5), map().bool("force", true)), json!({}));
    assert!(device.restart.is_some());
}

#[test]
fn a_confirmation_without_a_hash_is_for_the_only_image_on_trial() {
    let (old, new) = (image(1000, 1), image(2000, 2));
    let on_trial = |file: &[u8]| [Some(Slot::new(file.to_vec())), None];
    let confirm = || map().bool("confirm", true);
    let mut device = running(&old);
    device.pairs[0][0].as_mut().unwrap().confirmed = true;
    device.pairs.push(on_trial(&new));
    device.pairs.push(on_trial(&old));
    assert_eq!(write(&mut device, IMAGE_STATE, confirm()), err(1, 24));
    device.pairs[2] = [None, None];
    for _ in 0..2 {
        let states = write(&mut device, IMAGE_STATE, confirm());
        assert_eq!(states["images"][1]["confirmed"], true, "{states}");
    }
    let mut device = Simulated::new();
    assert_eq!(write(&mut device, IMAGE_STATE, confirm()), err(1, 32));
}

#[test]
fn the_clock_does_not_go_back() {
    let mut device = Simulated::new();
    let set = |text: &str| map().text("datetime", text);
    assert_eq!(write(&mut device, (0, 4), set("2026-01-31T23:59:59")), json!({}));
    assert_eq!(write(&mut device, (0, 4), set("2026-01-31T23:59:58")), err(0, 5));
    for body in [map(), set("yesterday"), map().uint("datetime", 1)] {
        assert_eq!(write(&mut device, (0, 4), body)["rc"], 3);
    }
    assert_eq!(
        read(&mut device, (0, 4), map()),
        json!({"datetime": "2026-01-31T23:59:59"})
    );
}

#[test]
fn files_are_read_in_pieces_and_no_path_leads_out() {
    let mut device = Simulated::new();
    device
        .files
        .insert("logs/b.log".to_owned(), (0..5000_u32).map(|at| at as u8).collect());
    for framing in [Framing::Console, Framing::Raw] {
        let mut file = Vec::new();
        loop {
            let body = map().text("name", "logs/b.log").uint("off", file.len() as u64);
            let answer = ask_in(framing, &mut device, Operation::Read, (8, 0), body);
            assert_eq!(answer["off"], file.len());
            assert_eq!(answer["len"].as_u64(), file.is_empty().then_some(5000));
            let piece = answer["data"].as_array().unwrap();
            file.extend(piece.iter().map(|byte| byte.as_u64().unwrap() as u8));
            if piece.is_empty() {
                break;
            }
        }
        assert_eq!(file, device.files["logs/b.log"]);
    }
    let at = |name: &str, offset: u64| map().text("name", name).uint("off", offset);
    assert_eq!(read(&mut device, (8, 0), at("logs/b.log", 5001)), err(8, 12));
    assert_eq!(read(&mut device, (8, 0), at("other", 0)), err(8, 3));
    assert_eq!(read(&mut device, (8, 2), at("logs/b.log", 5000)), err(8, 16));
    assert_eq!(
        read(&mut device, (8, 2), at("logs/b.log", 0).text("type", "md5")),
        err(8, 13)
    );
    for name in ["/etc/passwd", "../secret", "logs/../../x", "logs\\..\\x", "", "a\0b"] {
        for command in 0..3 {
            assert_eq!(read(&mut device, (8, command), at(name, 0)), err(8, 2), "{name:?}");
        }
    }
}

#[test]
fn the_user_group_tells_who_and_what() {
    let mut device = running(&image(1000, 1));
    let identity = read(&mut device, user(command::IDENTITY), map());
    assert_eq!(
        (&identity["protocol"], &identity["roles"]),
        (&json!(1), &json!(["chest-xray"]))
    );
    let idle = json!({"activities": [], "outcomes": [], "problems": []});
    assert_eq!(read(&mut device, user(command::STATUS), map()), idle);
    let file = image(5000, 0);
    write(&mut device, UPLOAD, first(&file, 1000));
    let receiving = json!([{"state": "receiving", "image": 0, "bytes": 1000, "total": file.len()}]);
    assert_eq!(read(&mut device, user(command::STATUS), map())["activities"], receiving);
    write(&mut device, UPLOAD, next(&file, 1000, file.len()));
    let outcome = |name: &str| json!([{"image": 0, "outcome": name}]);
    assert_eq!(
        read(&mut device, user(command::STATUS), map())["outcomes"],
        outcome("stored")
    );
    let bundles = read(&mut device, user(command::BUNDLES), map());
    assert_eq!(bundles["bundles"][1]["len"], file.len());
    assert_eq!(bundles["bundles"][1]["hash"], json!(Slot::new(file.clone()).hash));

    assert_eq!(
        write(&mut device, user(command::SELF_TEST), map().uint("image", 0)),
        json!({})
    );
    assert_eq!(
        read(&mut device, user(command::STATUS), map())["outcomes"],
        outcome("passed")
    );
    write(&mut device, IMAGE_STATE, map().bytes("hash", &Slot::new(file).hash));
    device.restart_now();
    let trial = json!([{"state": "trial", "image": 0}]);
    assert_eq!(read(&mut device, user(command::STATUS), map())["activities"], trial);
    assert_eq!(write(&mut device, user(command::REVERT), map()), json!({}));
    assert_eq!(write(&mut device, user(command::REVERT), map())["rc"], 6);
    let reverted = json!([{"image": 0, "outcome": "reverted", "reason": "asked for"}]);
    assert_eq!(read(&mut device, user(command::STATUS), map())["outcomes"], reverted);
}

#[test]
fn a_preflight_asks_for_as_much_as_it_needs() {
    let mut device = Simulated::new();
    let file = image(5000, 0);
    let piece = |from: usize, to: usize| next(&file, from, to).uint("len", file.len() as u64);
    let preflight = user(command::PREFLIGHT);
    assert_eq!(
        write(&mut device, preflight, piece(0, 20)),
        json!({"verdict": "more", "off": 20})
    );
    assert_eq!(
        write(&mut device, preflight, piece(0, 20)),
        json!({"verdict": "more", "off": 20})
    );
    assert_eq!(
        write(&mut device, preflight, piece(25, 50)),
        json!({"verdict": "more", "off": 20})
    );
    assert_eq!(
        write(&mut device, preflight, piece(20, 50)),
        json!({"verdict": "accepted"})
    );
    assert_eq!(
        write(&mut device, preflight, next(&file, 0, 50))["rsn"],
        "len is missing"
    );
    // A damaged piece is asked for again, whatever of it is damaged.
    for (piece, off) in [
        (piece(20, 50).uint("crc", 7), 20),
        (piece(0, 20).uint("image", 3).uint("crc", 7), 0),
        (
            map()
                .uint("off", 9000)
                .uint("len", 5000)
                .bytes("data", b"x")
                .uint("crc", 7),
            9000,
        ),
    ] {
        assert_eq!(
            write(&mut device, preflight, piece),
            json!({"verdict": "more", "off": off})
        );
    }
    let fits = PreflightChunk {
        image: 0,
        offset: 0,
        data: &file[..50],
        total: file.len() as u64,
    };
    let whole = piece(0, 50).uint("crc", fits.checksum().into());
    assert_eq!(write(&mut device, preflight, whole), json!({"verdict": "accepted"}));
    assert_eq!(
        write(&mut device, preflight, piece(0, 50).uint("image", 3)),
        json!({"rc": 3, "rsn": "there is no such image"})
    );
    assert_eq!(
        write(
            &mut device,
            preflight,
            map().uint("off", 9).uint("len", 9).bytes("data", b"x")
        )["rc"],
        3
    );
}

#[test]
fn a_difference_becomes_the_bundle_that_it_names() {
    let (old, new) = (image(4000, 1), image(5000, 2));
    let masks = old.iter().copied().chain(std::iter::repeat(0));
    let delta: Vec<u8> = new.iter().zip(masks).map(|(byte, mask)| byte ^ mask).collect();
    let hash = |file: &[u8]| Slot::new(file.to_vec()).hash;
    let begin = |base: &[u8; 32]| {
        first(&delta, 1000)
            .bytes("base", base)
            .bytes("hash", &hash(&new))
            .uint("total", new.len() as u64)
    };
    let to = user(command::DELTA);
    let mut device = running(&old);
    let before = device.clone();
    assert_eq!(write(&mut device, to, begin(&[0; 32]))["rc"], 6);
    assert_eq!(write(&mut device, to, first(&delta, 1000))["rsn"], "base is missing");
    assert_eq!(device, before);
    for _ in 0..2 {
        assert_eq!(write(&mut device, to, begin(&hash(&old))), off(1000));
    }
    for _ in 0..2 {
        assert_eq!(
            write(&mut device, to, next(&delta, 1000, delta.len())),
            complete(&delta)
        );
    }
    assert_eq!(device.pairs[0][1].as_ref().unwrap().bytes, new);
}

#[test]
fn a_damaged_piece_of_a_difference_is_asked_for_again() {
    let (old, new) = (image(4000, 1), image(5000, 2));
    let masks = old.iter().copied().chain(std::iter::repeat(0));
    let delta: Vec<u8> = new.iter().zip(masks).map(|(byte, mask)| byte ^ mask).collect();
    let (base, target) = (Slot::new(old.clone()).hash, Slot::new(new.clone()).hash);
    let sha = Sha256::digest(&delta).into();
    let begin = DeltaBegin {
        image: 0,
        length: delta.len() as u64,
        sha: &sha,
        base: &base,
        target: &target,
        target_bytes: new.len() as u64,
    };
    let crc = |from: usize, to: usize| {
        let (offset, data) = (from as u64, &delta[from..to]);
        let begin = (from == 0).then_some(begin);
        u64::from(DeltaChunk { offset, data, begin }.checksum())
    };
    let named = |base: &[u8; 32]| {
        let piece = first(&delta, 1000).bytes("base", base).bytes("hash", &target);
        piece.uint("total", new.len() as u64).uint("crc", crc(0, 1000))
    };
    let to = user(command::DELTA);
    let mut device = running(&old);
    let before = device.clone();
    // One bit of what it says of itself: no refusal for that, and nothing begins.
    let mut wrong = base;
    wrong[31] ^= 1;
    assert_eq!(write(&mut device, to, named(&wrong)), off(0));
    assert_eq!(device, before);
    assert_eq!(write(&mut device, to, named(&base)), off(1000));
    let piece = |from, to| next(&delta, from, to).uint("crc", crc(from, to) ^ 4);
    assert_eq!(write(&mut device, to, piece(1000, 2000)), off(1000));
    let piece = |from, to| next(&delta, from, to).uint("crc", crc(from, to));
    assert_eq!(write(&mut device, to, piece(1000, 2000)), off(2000));
    assert_eq!(write(&mut device, to, piece(2000, delta.len())), complete(&delta));
    assert_eq!(device.pairs[0][1].as_ref().unwrap().bytes, new);
}

#[test]
fn long_lists_of_files_come_in_parts() {
    let mut device = Simulated::new();
    device.files = (0..300)
        .map(|n| (format!("results/{n:0100}.json"), vec![0; n]))
        .collect();
    device.files.insert("logs/a.log".to_owned(), vec![1]);
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let request = map().text("below", "results/").text("after", &after);
        let answer = read(&mut device, user(command::FILES), request);
        // The list is by name: what goes meanwhile makes nobody skip another one.
        device.files.remove(&after);
        let files = answer["files"].as_array().unwrap();
        names.extend(
            files
                .iter()
                .map(|file| (file["name"].as_str().unwrap().to_owned(), file["len"].as_u64().unwrap())),
        );
        assert!(files.len() < 25);
        match answer["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    let wanted: Vec<(String, u64)> = (0..300).map(|n| (format!("results/{n:0100}.json"), n)).collect();
    assert_eq!(names, wanted);
    let all = read(&mut device, user(command::FILES), map());
    assert_eq!(all["files"][0]["name"], "logs/a.log");
}
