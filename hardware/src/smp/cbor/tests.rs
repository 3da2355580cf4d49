use proptest::prelude::*;

use super::*;

#[test]
fn a_map_is_written_as_others_write_it() {
    let map = MapWriter::new()
        .uint("off", 500)
        .bool("match", true)
        .flag("pending", false)
        .optional("len", None)
        .bytes("data", &[1, 2])
        .texts("names", ["a", "b"].into_iter())
        .maps("images", vec![MapWriter::new().uint("slot", 1)])
        .finish();
    // Checked with Python's cbor2.
    let wanted = b"\xa5\x63off\x19\x01\xf4\x65match\xf5\x64data\x42\x01\x02\x65names\x82\x61a\x61b\
        \x66images\x81\xa1\x64slot\x01";
    assert_eq!(map, wanted);
    assert_eq!(check(&map), Ok(()));
}

#[test]
fn values_are_read_by_their_keys() {
    let bytes = MapWriter::new()
        .uint("off", 7)
        .bytes("data", b"xyz")
        .text("name", "log")
        .bool("confirm", true)
        .map("other", MapWriter::new().uint("deep", 1))
        .finish();
    let body = Body::parse(&bytes).unwrap();
    assert_eq!(body.uint("off"), Ok(Some(7)));
    assert_eq!(body.u32("off"), Ok(Some(7)));
    assert_eq!(body.bytes("data"), Ok(Some(b"xyz".as_slice())));
    assert_eq!(body.text("name"), Ok(Some("log")));
    assert_eq!(body.flag("confirm"), Ok(true));
    assert_eq!(body.flag("absent"), Ok(false));
    assert_eq!(body.uint("absent"), Ok(None));
    for refused in [
        body.uint("name").map(drop),
        body.text("off").map(drop),
        body.bytes("other").map(drop),
    ] {
        assert_eq!(refused.unwrap_err().code, Code::Invalid);
    }
    assert_eq!(body.sha256("data").unwrap_err().message, "data is not 32 bytes");
}

#[test]
fn lengths_without_a_count_null_and_tags_are_taken() {
    // {_ "off": 1, "sha": null, 5: "ignored", "x": 24(h'00')}
    let body = b"\xbf\x63off\x01\x63sha\xf6\x05\x67ignored\x61x\xd8\x18\x41\x00\xff";
    let body = Body::parse(body).unwrap();
    assert_eq!(body.uint("off"), Ok(Some(1)));
    assert_eq!(body.bytes("sha"), Ok(None));
    assert_eq!(Body::parse(b"").unwrap().uint("off"), Ok(None));
}

#[test]
fn damage_and_attacks_are_told_apart() {
    let damaged: [&[u8]; 12] = [
        b"\xa1",                                             // no entry
        b"\xa1\x63off",                                      // no value
        b"\xa0\x00",                                         // something behind it
        b"\x80",                                             // an array
        b"\x01",                                             // a number
        b"\xbf\x63off\xff",                                  // a break instead of a value
        b"\xff",                                             // a break
        b"\xa1\x64data\x5b\xff\xff\xff\xff\xff\xff\xff\xff", // 2^64 bytes
        b"\xa1\x64data\x5a\x40\x00\x00\x00ab",               // 1 GiB
        b"\xa1\x63o\xfff\x01",                               // not UTF-8
        b"\xa1\x61a\x1c",                                    // a reserved length
        b"\xa1\x61a\xa1\x61b\xff",                           // a break in a counted map
    ];
    for body in damaged {
        assert_eq!(check(body), Err(BodyError::Damaged), "{body:02x?}");
    }
    let mut deep = b"\xa1\x61a".to_vec();
    deep.extend([0x81; 8000]);
    assert_eq!(check(&deep), Err(BodyError::TooDeep));
    let mut seven = b"\xa1\x61a".to_vec();
    seven.extend([0x81; MAX_DEPTH - 1]);
    seven.push(0);
    assert_eq!(check(&seven), Ok(()));
    let mut many = b"\xbf".to_vec();
    many.extend([0; 8000]);
    assert_eq!(check(&many), Err(BodyError::TooMany));
    assert_eq!(check(b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff"), Err(BodyError::TooMany));
    assert_eq!(check(b"\xa1\x61a\x5f\x41\x00\xff"), Err(BodyError::Pieces));
    assert_eq!(Body::parse(b"\xa2\x61a\x00\x61a\x01"), Err(BodyError::Twice));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let parsed = Body::parse(&bytes);
        prop_assert_eq!(parsed.is_ok(), bytes.is_empty() || matches!(check(&bytes), Ok(())) && parsed != Err(BodyError::Twice));
    }

    #[test]
    fn what_is_written_is_read(off: u64, data in prop::collection::vec(any::<u8>(), 0..300), name: String, flag: bool) {
        let bytes = MapWriter::new().uint("off", off).bytes("data", &data).text("name", &name).bool("flag", flag).finish();
        let body = Body::parse(&bytes).unwrap();
        prop_assert_eq!(body.uint("off"), Ok(Some(off)));
        prop_assert_eq!(body.bytes("data"), Ok(Some(data.as_slice())));
        prop_assert_eq!(body.text("name"), Ok(Some(name.as_str())));
        prop_assert_eq!(body.flag("flag"), Ok(flag));
        // No shorter piece of it is a body.
        for end in 1..bytes.len() {
            prop_assert_eq!(check(&bytes[..end]), Err(BodyError::Damaged));
        }
    }
}
