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
                // The file's name only: its folder is that of the machine where the decoder was built.
                let name = place.file().rsplit(['/', '\\']).next().unwrap_or_default();
                PLACE.set(format!("{name}:{}", place.line()));
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_refusal() {
        let error = contained("codec", || -> Result<(), _> { panic!("index 7 of 3") }).unwrap_err();
        assert_eq!(error.code(), "damaged");
        assert!(error.to_string().contains("gave up at contain.rs:"), "{error}");
        assert!(error.to_string().contains("index 7 of 3"), "{error}");
        assert!(!CONTAINED.get());
        assert_eq!(contained("codec", || Ok(5)).unwrap(), 5);
    }
}
