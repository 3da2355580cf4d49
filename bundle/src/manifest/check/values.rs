//! What single values of a manifest may be.

use std::collections::BTreeSet;

use super::error::{ManifestError, Result, field, quoted};

/// A name, role or label id, in bytes.
const MAX_NAME_BYTES: usize = 48;
/// A path in the payload, in bytes.
const MAX_PATH_BYTES: usize = 128;
/// Text that people read, in characters.
const MAX_TEXT_CHARS: usize = 2000;

pub(super) fn name(at: &str, value: &str) -> Result {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let well_formed = (1..=MAX_NAME_BYTES).contains(&value.len())
        && value.bytes().all(allowed)
        && value.as_bytes()[0].is_ascii_alphanumeric();
    if well_formed {
        return Ok(());
    }
    let wanted = format!("1 to {MAX_NAME_BYTES} lower-case letters, digits, hyphens and underscores");
    Err(field(at, quoted(value), wanted))
}

pub(super) fn text(at: &str, value: &str) -> Result {
    let visible = !value.trim().is_empty() && !value.chars().any(|c| c.is_control() && c != '\n');
    if visible && value.chars().count() <= MAX_TEXT_CHARS {
        return Ok(());
    }
    let wanted = format!("1 to {MAX_TEXT_CHARS} characters without control characters");
    Err(field(at, quoted(value), wanted))
}

pub(super) fn path(at: &str, value: &str) -> Result {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let part = |p: &str| !p.is_empty() && p != "." && p != ".." && p.bytes().all(allowed);
    if value.len() <= MAX_PATH_BYTES && value.split('/').all(part) {
        return Ok(());
    }
    let wanted = "a relative path of letters, digits, '.', '_', '-' and '/', without '.' and '..'";
    Err(field(at, quoted(value), wanted))
}

pub(super) fn hexadecimal(at: &str, value: &str) -> Result {
    let digits = value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if value.len() == 64 && digits {
        return Ok(());
    }
    Err(field(
        at,
        quoted(value),
        "a SHA-256 as 64 lower-case hexadecimal digits",
    ))
}

pub(super) fn fraction(at: &str, value: f32) -> Result {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(field(at, value, "0 to 1"))
}

pub(super) fn above_zero(at: &str, value: f32) -> Result {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(field(at, value, "above 0"))
}

pub(super) fn finite(at: &str, value: f32) -> Result {
    if value.is_finite() {
        return Ok(());
    }
    Err(field(at, value, "a finite number"))
}

pub(super) fn unique<'a>(list: &'static str, entries: impl Iterator<Item = &'a str>) -> Result {
    let mut seen = BTreeSet::new();
    for entry in entries {
        if !seen.insert(entry) {
            return Err(ManifestError::Twice {
                field: list,
                found: quoted(entry),
            });
        }
    }
    Ok(())
}
