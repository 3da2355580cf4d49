//! Decoded images within a budget of memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imaging::grey::GreyImage;

/// Keeps the first images that fit. There is no eviction: an epoch comes by every image once, so that throwing one
/// out for another would lose as much as it gains.
#[derive(Debug)]
pub(super) struct Cache {
    budget_bytes: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    images: HashMap<usize, Arc<GreyImage>>,
    bytes: usize,
}

impl Cache {
    pub fn new(budget_bytes: usize) -> Self {
        Self {
            budget_bytes,
            held: Mutex::default(),
        }
    }

    /// The image of a row, decoded by `decode` if it is not held. Decoding does not hold others up.
    pub fn get(
        &self,
        row: usize,
        decode: impl FnOnce() -> Result<GreyImage, String>,
    ) -> Result<Arc<GreyImage>, String> {
        if let Some(image) = self.lock().images.get(&row) {
            return Ok(Arc::clone(image));
        }
        let image = Arc::new(decode()?);
        let bytes = image.height() * image.width() * usize::from(image.pixels.bits_allocated() / 8);
        let mut held = self.lock();
        if held.bytes + bytes <= self.budget_bytes && held.images.insert(row, Arc::clone(&image)).is_none() {
            held.bytes += bytes;
        }
        Ok(image)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imaging::grey::Pixels;
    use ndarray::Array2;

    #[test]
    fn images_are_decoded_once_while_they_fit() {
        let cache = Cache::new(250);
        let mut decoded = Vec::new();
        for row in [1, 2, 3, 1, 2, 3] {
            let image = cache.get(row, || {
                decoded.push(row);
                Ok(GreyImage::new(Pixels::U8(Array2::zeros((10, 10))), 8))
            });
            assert_eq!(image.unwrap().height(), 10);
        }
        assert_eq!(decoded, [1, 2, 3, 3], "the third image is beyond the budget");
        assert!(cache.get(9, || Err("gone".into())).is_err());
    }
}
