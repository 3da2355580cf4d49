//! Where the rounds of a game come from: the loader's worker threads. What a round holds depends on its number alone, so
//! a training that was resumed sees what an uninterrupted one would have seen.

use ndarray::Axis;

use super::game::Round;
use crate::data::{Batches, DataError, Loader, Pass};
use crate::recipes::Balance;

/// Rounds one after another, for ever.
pub type Rounds<'a> = Box<dyn Iterator<Item = Result<Round, DataError>> + 'a>;

/// Gives the rounds of a game.
pub trait RoundSource {
    /// All rounds from this one on.
    fn rounds(&self, from: u64) -> Rounds<'_>;

    /// Images that could not be used: path and reason.
    fn failures(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Real images of all labels.
#[derive(Debug)]
pub struct ImageRounds {
    /// Over the training rows.
    pub loader: Loader,
    /// Whether labels are drawn equally often.
    pub balance: Balance,
}

impl RoundSource for ImageRounds {
    fn rounds(&self, from: u64) -> Rounds<'_> {
        let batches = endless(&self.loader, self.balance, from);
        Box::new(batches.map(|batch| {
            let batch = batch?;
            Ok(Round {
                images: batch.images,
                labels: batch.labels,
                sources: None,
            })
        }))
    }

    fn failures(&self) -> Vec<String> {
        self.loader.failures()
    }
}

/// Images of one label, and of another to be translated into: partners are drawn together anew in each epoch.
#[derive(Debug)]
pub struct PairRounds {
    /// The images that are translated.
    pub sources: Loader,
    /// Images of the wanted label.
    pub images: Loader,
}

impl RoundSource for PairRounds {
    fn rounds(&self, from: u64) -> Rounds<'_> {
        let sources = endless(&self.sources, Balance::None, from);
        let images = endless(&self.images, Balance::None, from);
        Box::new(sources.zip(images).map(|(source, image)| {
            let (mut source, mut image) = (source?, image?);
            // Where an image could not be decoded, its batch is smaller.
            let count = source.labels.len().min(image.labels.len());
            image.labels.truncate(count);
            source.images.slice_axis_inplace(Axis(0), (..count).into());
            image.images.slice_axis_inplace(Axis(0), (..count).into());
            Ok(Round {
                images: image.images,
                labels: image.labels,
                sources: Some(source.images),
            })
        }))
    }

    fn failures(&self) -> Vec<String> {
        [self.sources.failures(), self.images.failures()].concat()
    }
}

/// Batches of one epoch after another, from batch number `from` on.
fn endless(
    loader: &Loader,
    balance: Balance,
    from: u64,
) -> impl Iterator<Item = Result<crate::data::Batch, DataError>> {
    let pass = move |epoch: u64| Pass::Train { epoch, balance };
    let an_epoch = (loader.batch_count(pass(0)) as u64).max(1);
    let loader = loader.clone();
    let first = from / an_epoch;
    let begin = move |epoch: u64| -> Batches {
        let skipped = if epoch == first { (from % an_epoch) as usize } else { 0 };
        loader.batches(pass(epoch), skipped)
    };
    (first..).flat_map(begin)
}
