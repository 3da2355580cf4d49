//! The last line of defence against panics of third-party decoders.
//!
//! Our own parsers return errors. The codecs behind them (zune-jpeg, jpeg-decoder, openjp2, png, tiff) were not all
//! written for hostile input, and an appliance must not stop for one bad image. A panic inside becomes
//! [`DecodeError::Damaged`]. Nothing but panics is held here: openjp2, the JPEG 2000 decoder, is mostly unsafe Rust, and
//! against its faults stand the checks that `jpeg2000/codestream.rs` makes before it.
//!
//! The message of a panic is kept off standard error by a hook that looks at a thread-local flag and otherwise calls
//! the hook that was there before; unwinding must be on (`panic = "unwind"`).

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use super::error::DecodeError;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `decode`; a panic in it is a damaged `part`. `decode` must leave nothing half-changed behind: here all of them
/// only read their input and build a new image.
pub(super) fn contained<T>(
    part: &'static str,
    decode: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    quiet_hook();
    let outer = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    CONTAINED.set(outer);
    result.unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| text.to_string())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        let place = PLACE.take();
        Err(DecodeError::damaged(
            part,
            format!("the decoder gave up at {place} ({message})"),
        ))
    })
}

fn quiet_hook() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info| {
            if !CONTAINED.try_with(Cell::get).unwrap_or(false) {
                return previous(info);
            }
            if let Some(place) = info.location() {
                PLACE.set(format!("{}:{}", within_crate(place.file()), place.line()));
            }
        }));
    });
}

/// A source file from its crate's folder on (`png-0.18.0/src/decoder/zlib.rs`): what lies above belongs to the machine
/// where it was built.
fn within_crate(file: &str) -> &str {
    let below = file.rfind("/src/").unwrap_or(file.len());
    file[..below].rfind('/').map_or(file, |at| &file[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_refusal() {
        let error = contained("codec", || -> Result<(), _> { panic!("index 7 of 3") }).unwrap_err();
        assert_eq!(error.code(), "damaged");
        assert!(
            error.to_string().contains("gave up at imaging/src/decode/contain.rs:"),
            "{error}"
        );
        assert!(error.to_string().contains("index 7 of 3"), "{error}");
        assert!(!CONTAINED.get());
        assert_eq!(contained("codec", || Ok(5)).unwrap(), 5);
    }

    #[test]
    fn a_place_is_told_from_its_crate_on() {
        for (file, told) in [
            (
                "/home/a/registry/src/index-1/png-0.18.0/src/decoder/zlib.rs",
                "png-0.18.0/src/decoder/zlib.rs",
            ),
            ("imaging/src/decode/mod.rs", "imaging/src/decode/mod.rs"),
            ("/a/b/build.rs", "build.rs"),
            ("lib.rs", "lib.rs"),
        ] {
            assert_eq!(within_crate(file), told);
        }
    }
}
