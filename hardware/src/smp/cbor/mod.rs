//! Bodies in CBOR (RFC 8949): a bounded reader that borrows from the frame, and a writer of maps.
//!
//! SMP's requests are one flat map with names as keys. What else a client puts into it is skipped, as long as it is
//! well formed and within [`MAX_DEPTH`] and [`MAX_ITEMS`]; a body costs no more memory than its own length.

mod writer;

use minicbor::Decoder;
use minicbor::data::Type;

use super::refusal::{Code, Refusal};
pub use writer::MapWriter;

/// Maps and arrays may lie this deep within each other; SMP's own requests have depth 1.
pub const MAX_DEPTH: usize = 8;
/// A body may hold this many items, keys and values counted alike; SMP's largest request has 13.
pub const MAX_ITEMS: usize = 256;

/// Why a body is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not exactly one map in CBOR: what noise makes of a body.
    #[error("the body is not one well-formed CBOR map")]
    Damaged,
    /// Well formed so far, but nested too deeply.
    #[error("the body is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Well formed so far, but with too many items.
    #[error("the body has more than {MAX_ITEMS} items")]
    TooMany,
    /// A string in pieces, which no client sends.
    #[error("the body has a string in pieces")]
    Pieces,
    /// The same key twice.
    #[error("the body has a key twice")]
    Twice,
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

/// Checks that `body` is one map, well formed and within the bounds, with nothing behind it.
///
/// # Errors
/// [`BodyError::Damaged`] if it is not CBOR at all, the others for what this server does not take.
pub fn check(body: &[u8]) -> Result<(), BodyError> {
    let mut walk = Walk::default();
    let mut decoder = Decoder::new(body);
    if !matches!(decoder.datatype(), Ok(Type::Map | Type::MapIndef)) {
        return Err(BodyError::Damaged);
    }
    loop {
        walk.item(&mut decoder)?;
        if walk.depth == 0 {
            break;
        }
    }
    if decoder.position() == body.len() {
        Ok(())
    } else {
        Err(BodyError::Damaged)
    }
}

/// Where the check stands: what is still to come in each open map or array.
#[derive(Default)]
struct Walk {
    open: [Open; MAX_DEPTH],
    depth: usize,
    items: usize,
}

#[derive(Default, Clone, Copy)]
enum Open {
    /// This many items.
    Counted(u64),
    /// Until a break; a map needs an even number of items.
    #[default]
    UntilBreak,
    /// Until a break, after a key whose value is missing.
    MapWantsValue,
    /// Until a break, before a key.
    MapWantsKey,
}

impl Walk {
    /// One item: opens a map or array, or is complete by itself.
    fn item(&mut self, decoder: &mut Decoder<'_>) -> Result<(), BodyError> {
        let damaged = |_| BodyError::Damaged;
        self.items += 1;
        if self.items > MAX_ITEMS {
            return Err(BodyError::TooMany);
        }
        match decoder.datatype().map_err(damaged)? {
            Type::Map | Type::MapIndef => {
                let open = match decoder.map().map_err(damaged)? {
                    Some(pairs) => Open::Counted(pairs.checked_mul(2).ok_or(BodyError::TooMany)?),
                    None => Open::MapWantsKey,
                };
                return self.open(open);
            }
            Type::Array | Type::ArrayIndef => {
                let open = decoder.array().map_err(damaged)?;
                return self.open(open.map_or(Open::UntilBreak, Open::Counted));
            }
            // A tag belongs to the item behind it.
            Type::Tag => {
                decoder.tag().map_err(damaged)?;
                let behind = decoder.datatype().map_err(damaged)?;
                return if behind == Type::Break {
                    Err(BodyError::Damaged)
                } else {
                    Ok(())
                };
            }
            Type::Break => {
                decoder.set_position(decoder.position() + 1);
                return self.close();
            }
            Type::BytesIndef | Type::StringIndef => return Err(BodyError::Pieces),
            Type::Unknown(_) => return Err(BodyError::Damaged),
            Type::String => decoder.str().map(drop).map_err(damaged)?,
            _ => decoder.skip().map_err(damaged)?,
        }
        self.complete();
        Ok(())
    }

    fn open(&mut self, open: Open) -> Result<(), BodyError> {
        if let Open::Counted(0) = open {
            self.complete();
            return Ok(());
        }
        *self.open.get_mut(self.depth).ok_or(BodyError::TooDeep)? = open;
        self.depth += 1;
        Ok(())
    }

    /// A break: closes what was opened without a count.
    fn close(&mut self) -> Result<(), BodyError> {
        let top = self.depth.checked_sub(1).ok_or(BodyError::Damaged)?;
        match self.open[top] {
            Open::UntilBreak | Open::MapWantsKey => {
                self.depth = top;
                self.complete();
                Ok(())
            }
            Open::Counted(_) | Open::MapWantsValue => Err(BodyError::Damaged),
        }
    }

    /// An item is complete; that may complete the maps and arrays around it.
    fn complete(&mut self) {
        while let Some(top) = self.depth.checked_sub(1) {
            self.open[top] = match self.open[top] {
                Open::Counted(1) => {
                    self.depth = top;
                    continue;
                }
                Open::Counted(left) => Open::Counted(left.saturating_sub(1)),
                Open::MapWantsKey => Open::MapWantsValue,
                Open::MapWantsValue => Open::MapWantsKey,
                Open::UntilBreak => Open::UntilBreak,
            };
            break;
        }
    }
}

/// A value of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A whole number from 0.
    Uint(u64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A text string.
    Text(&'a str),
    /// True or false.
    Bool(bool),
    /// Null or undefined: as good as absent.
    Null,
    /// Anything else.
    Other,
}

/// The map of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body<'a> {
    entries: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Body<'a> {
    /// Reads a body; an empty one counts as an empty map.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn parse(body: &'a [u8]) -> Result<Self, BodyError> {
        let mut entries = Vec::new();
        if body.is_empty() {
            return Ok(Self { entries });
        }
        check(body)?;
        let mut decoder = Decoder::new(body);
        let mut left = decoder.map().map_err(|_| BodyError::Damaged)?;
        while more(&mut left, &decoder) {
            let (key, value) = entry(&mut decoder).map_err(|_| BodyError::Damaged)?;
            let Some(key) = key else { continue };
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(BodyError::Twice);
            }
            entries.push((key, value));
        }
        Ok(Self { entries })
    }

    fn get(&self, key: &str) -> Option<Value<'a>> {
        let found = self.entries.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| *value).filter(|value| *value != Value::Null)
    }

    /// A whole number, if the key is there.
    ///
    /// # Errors
    /// [`Code::Invalid`] if it is something else.
    pub fn uint(&self, key: &str) -> Result<Option<u64>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Uint(number)) => Ok(Some(number)),
            Some(_) => Err(wrong(key, "a whole number from 0")),
        }
    }

    /// A whole number that fits 32 bits, if the key is there.
    ///
    /// # Errors
    /// [`Code::Invalid`] if it is something else.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, Refusal> {
        let narrow = |number| u32::try_from(number).map_err(|_| wrong(key, "a whole number below 2^32"));
        self.uint(key)?.map(narrow).transpose()
    }

    /// A byte string, if the key is there.
    ///
    /// # Errors
    /// [`Code::Invalid`] if it is something else.
    pub fn bytes(&self, key: &str) -> Result<Option<&'a [u8]>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(wrong(key, "a byte string")),
        }
    }

    /// A SHA-256, if the key is there.
    ///
    /// # Errors
    /// [`Code::Invalid`] if it is something else.
    pub fn sha256(&self, key: &str) -> Result<Option<&'a [u8; 32]>, Refusal> {
        let exact = |bytes: &'a [u8]| bytes.try_into().map_err(|_| wrong(key, "32 bytes"));
        self.bytes(key)?.map(exact).transpose()
    }

    /// A text, if the key is there.
    ///
    /// # Errors
    /// [`Code::Invalid`] if it is something else.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(key, "a text")),
        }
    }

    /// Checks that the map has no other keys than these.
    ///
    /// # Errors
    /// [`Code::Invalid`], with the key.
    pub fn only(&self, keys: &[&str]) -> Result<(), Refusal> {
        let other = self.entries.iter().find(|(name, _)| !keys.contains(name));
        other.map_or(Ok(()), |(name, _)| {
            Err(Refusal::new(
                Code::Invalid,
                format!("{name} does not belong to this command"),
            ))
        })
    }

    /// True or false; 0 and 1 are taken as well. Absent means false.
    ///
    /// # Errors
    /// [`Code::Invalid`] if it is something else.
    pub fn flag(&self, key: &str) -> Result<bool, Refusal> {
        match self.get(key) {
            None | Some(Value::Bool(false) | Value::Uint(0)) => Ok(false),
            Some(Value::Bool(true) | Value::Uint(1)) => Ok(true),
            Some(_) => Err(wrong(key, "true or false")),
        }
    }
}

/// Refuses a key that must be there.
pub(crate) fn missing(key: &str) -> Refusal {
    Refusal::new(Code::Invalid, format!("{key} is missing"))
}

fn wrong(key: &str, wanted: &str) -> Refusal {
    Refusal::new(Code::Invalid, format!("{key} is not {wanted}"))
}

/// Whether another entry follows; counts down where there is a count.
fn more(left: &mut Option<u64>, decoder: &Decoder<'_>) -> bool {
    match left {
        Some(0) => false,
        Some(count) => {
            *count -= 1;
            true
        }
        None => !matches!(decoder.datatype(), Ok(Type::Break) | Err(_)),
    }
}

type Entry<'a> = (Option<&'a str>, Value<'a>);

fn entry<'a>(decoder: &mut Decoder<'a>) -> Result<Entry<'a>, minicbor::decode::Error> {
    let key = if decoder.datatype()? == Type::String {
        Some(decoder.str()?)
    } else {
        decoder.skip()?;
        None
    };
    let value = match decoder.datatype()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Value::Uint(decoder.u64()?),
        Type::Bytes => Value::Bytes(decoder.bytes()?),
        Type::String => Value::Text(decoder.str()?),
        Type::Bool => Value::Bool(decoder.bool()?),
        Type::Null | Type::Undefined => {
            decoder.skip()?;
            Value::Null
        }
        _ => {
            decoder.skip()?;
            Value::Other
        }
    };
    Ok((key, value))
}

#[cfg(test)]
mod tests;
