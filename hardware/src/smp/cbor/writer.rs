//! Writing maps.

use minicbor::Encoder;

/// Writes a map, an entry after the other.
#[derive(Debug, Clone, Default)]
pub struct MapWriter {
    entries: u64,
    bytes: Vec<u8>,
}

impl MapWriter {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A whole number.
    #[must_use]
    pub fn uint(self, key: &str, value: u64) -> Self {
        self.entry(key, |encoder| encoder.u64(value).map(drop))
    }

    /// A text.
    #[must_use]
    pub fn text(self, key: &str, value: &str) -> Self {
        self.entry(key, |encoder| encoder.str(value).map(drop))
    }

    /// A byte string.
    #[must_use]
    pub fn bytes(self, key: &str, value: &[u8]) -> Self {
        self.entry(key, |encoder| encoder.bytes(value).map(drop))
    }

    /// True or false.
    #[must_use]
    pub fn bool(self, key: &str, value: bool) -> Self {
        self.entry(key, |encoder| encoder.bool(value).map(drop))
    }

    /// True; false is left out, as SMP allows where absent means false.
    #[must_use]
    pub fn flag(self, key: &str, value: bool) -> Self {
        if value { self.bool(key, true) } else { self }
    }

    /// A whole number, unless there is none.
    #[must_use]
    pub fn optional(self, key: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.uint(key, value),
            None => self,
        }
    }

    /// A map within the map.
    #[must_use]
    pub fn map(mut self, key: &str, value: Self) -> Self {
        self = self.entry(key, |_| Ok(()));
        self.bytes.extend(value.finish());
        self
    }

    /// An array of maps.
    #[must_use]
    pub fn maps(mut self, key: &str, values: Vec<Self>) -> Self {
        self = self.entry(key, |encoder| encoder.array(values.len() as u64).map(drop));
        for value in values {
            self.bytes.extend(value.finish());
        }
        self
    }

    /// An array of texts.
    #[must_use]
    pub fn texts<'t>(self, key: &str, mut values: impl ExactSizeIterator<Item = &'t str>) -> Self {
        self.entry(key, |encoder| {
            encoder.array(values.len() as u64)?;
            values.try_for_each(|value| encoder.str(value).map(drop))
        })
    }

    /// The map in CBOR.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.bytes.len() + 9);
        written(Encoder::new(&mut whole).map(self.entries).map(drop));
        whole.extend(self.bytes);
        whole
    }

    fn entry(mut self, key: &str, value: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Self {
        let mut encoder = Encoder::new(&mut self.bytes);
        let key = encoder.str(key).map(drop);
        written(key.and_then(|()| value(&mut encoder)));
        self.entries += 1;
        self
    }
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

/// Writing to a vector cannot fail.
fn written(result: Written) {
    debug_assert!(result.is_ok());
}
