//! A case as it is looked at: its finding, the picture, and of a series the slices that weigh most.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bundle::Manifest;
use chrono::{DateTime, Utc};
use embedded_graphics::geometry::Size;
use imaging::GreyImage;
use imaging::decode::{self, Limits};

use crate::examination::Examination;
use crate::finding::ImageSource;
use crate::presentation::cases::{Lack, of_patient, without_result_view};
use crate::presentation::{no_model_view, result_view};
use crate::screens::{Page, ResultView, SeriesView, SliceView};
use crate::store::cases::{CaseKind, CaseRecord, STRIP, Summary};
use crate::store::images::{ImageRecord, ImageState, ResultRecord};
use crate::store::{Store, StoreError};
use crate::text::words::Words;

/// A case that was loaded.
pub struct OpenCase {
    /// The case as it was then.
    pub record: Arc<CaseRecord>,
    /// A number that no other loading has.
    pub loaded: u64,
    /// When that was.
    pub at: Instant,
    /// The looks at it, once they are known, and the size that they are for.
    pub looks: Vec<Page>,
    /// See `looks`.
    pub size: Size,
    content: Content,
}

enum Content {
    /// It has a result.
    Found {
        examination: Arc<Examination>,
        manifest: Arc<Manifest>,
        strip: Option<Strip>,
    },
    /// No model is for its images.
    NoModel {
        source: Box<ImageSource>,
        image: Option<Box<GreyImage>>,
    },
    /// It has none that can be shown.
    Without { source: Box<ImageSource>, lack: Lack },
}

struct Strip {
    slices: Vec<Slice>,
    of: usize,
}

struct Slice {
    number: usize,
    probability: f32,
    image: Option<GreyImage>,
}

impl OpenCase {
    /// A result that was just found, with the image that is still at hand. `None` if another image stands for the case,
    /// or if it is a series, whose other slices are in the store.
    #[must_use]
    pub fn fresh(
        record: &Arc<CaseRecord>,
        image: i64,
        examination: &Arc<Examination>,
        manifest: &Arc<Manifest>,
        loaded: u64,
    ) -> Option<Self> {
        let summary = record.summary.as_ref()?;
        let stands_for = (summary.worst_image, summary.worst_frame as usize);
        if stands_for != (image, examination.finding.source.frame) || record.kind == CaseKind::Series {
            return None;
        }
        Some(Self {
            record: record.clone(),
            loaded,
            at: Instant::now(),
            looks: Vec::new(),
            size: Size::zero(),
            content: Content::Found {
                examination: examination.clone(),
                manifest: manifest.clone(),
                strip: None,
            },
        })
    }

    /// A case out of the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn load(store: &Store, record: &Arc<CaseRecord>, loaded: u64) -> Result<Self, StoreError> {
        let content = match &record.summary {
            Some(summary) => Self::found(store, record, summary)?,
            None => Self::without_result(store, record)?,
        };
        Ok(Self {
            record: record.clone(),
            loaded,
            at: Instant::now(),
            looks: Vec::new(),
            size: Size::zero(),
            content,
        })
    }

    fn found(store: &Store, record: &CaseRecord, summary: &Summary) -> Result<Content, StoreError> {
        let of_worst = store.results_of_image(summary.worst_image)?;
        let worst = of_worst.into_iter().find(|result| result.frame == summary.worst_frame);
        let manifest = match &worst {
            Some(worst) => store.model(&worst.finding.model.digest)?,
            None => None,
        };
        let (Some(worst), Some(manifest)) = (worst, manifest) else {
            return Ok(Content::Without {
                source: Box::default(),
                lack: Lack::Model,
            });
        };
        let slices = match record.kind {
            CaseKind::Series => store.worst_results(record.id, STRIP)?,
            CaseKind::Study | CaseKind::Single => Vec::new(),
        };
        let image = picture_of(store, &worst)?.map(Arc::new);
        let finding = record.judged(worst.finding, slices.iter().map(|slice| &slice.finding));
        let strip = match &finding.series {
            Some(series) => Some(Strip::load(store, &slices, summary, series.slices)?),
            None => None,
        };
        let examination = Examination {
            image,
            finding,
            small: None,
            refused: None,
        };
        Ok(Content::Found {
            examination: Arc::new(examination),
            manifest,
            strip,
        })
    }

    fn without_result(store: &Store, record: &CaseRecord) -> Result<Content, StoreError> {
        let members = store.case(&record.number)?.members;
        let state = |state| members.iter().rev().find(|image| image.state == state);
        if let Some(failed) = state(ImageState::Failed) {
            return Ok(Content::Without {
                source: Box::new(source(failed)),
                lack: failed.given_up.map_or(Lack::Everything, Lack::GivenUp),
            });
        }
        let Some(image) = state(ImageState::NoModel) else {
            return Ok(Content::Without {
                source: Box::default(),
                lack: Lack::Everything,
            });
        };
        let path = image.picture.as_deref().or(image.file.as_deref());
        Ok(Content::NoModel {
            source: Box::new(source(image)),
            image: path.and_then(|path| decoded(path, 0)).map(Box::new),
        })
    }

    /// The case as a screen shows it; edges, marks and position are left to be filled in.
    #[must_use]
    pub fn view(&self, words: &'static Words) -> ResultView<'_> {
        let view = self.view_of_content(words);
        ResultView {
            case_details: of_patient(&self.record, &view.case_details),
            ..view
        }
    }

    fn view_of_content(&self, words: &'static Words) -> ResultView<'_> {
        match &self.content {
            Content::Found {
                examination,
                manifest,
                strip,
            } => {
                let mut view = result_view(examination, manifest, words, "");
                if let Some(strip) = strip {
                    // Small screens have no room for the strip.
                    view.reasons.insert(0, (words.results.top_slices)(&strip.numbers()));
                    view.series = Some(strip.view());
                }
                view
            }
            Content::NoModel { source, image } => no_model_view(source, image.as_deref(), &self.record.number, words),
            Content::Without { source, lack } => without_result_view(&self.record, source, *lack, words),
        }
    }

    /// Whether what is shown of the case is another since it was loaded; marks are not.
    #[must_use]
    pub fn differs(&self, now: &CaseRecord) -> bool {
        let then = &self.record;
        (then.id, &then.summary, then.images) != (now.id, &now.summary, now.images)
    }

    /// When the result was found.
    #[must_use]
    pub fn time(&self) -> DateTime<Utc> {
        match &self.content {
            Content::Found { examination, .. } => examination.finding.time.parse().unwrap_or(self.record.changed),
            Content::NoModel { .. } | Content::Without { .. } => self.record.changed,
        }
    }
}

impl Strip {
    fn load(store: &Store, worst: &[ResultRecord], summary: &Summary, of: usize) -> Result<Self, StoreError> {
        let mut slices = Vec::new();
        for result in worst {
            let label = summary.label.as_deref();
            let probabilities = &result.finding.probabilities;
            let of_label = probabilities.iter().find(|p| Some(p.label.as_str()) == label);
            slices.push(Slice {
                number: slice_number(result),
                probability: of_label.map_or(0.0, |p| p.probability),
                image: picture_of(store, result)?,
            });
        }
        Ok(Self { slices, of })
    }

    /// "84, 85, 83"
    fn numbers(&self) -> String {
        let numbers: Vec<String> = self.slices.iter().map(|slice| slice.number.to_string()).collect();
        numbers.join(", ")
    }

    fn view(&self) -> SeriesView<'_> {
        let slice = |slice: &'_ Slice| (slice.number, slice.probability);
        let slices = self.slices.iter().map(|one| {
            let (number, probability) = slice(one);
            SliceView {
                number,
                probability,
                image: one.image.as_ref(),
            }
        });
        SeriesView {
            slices: slices.collect(),
            shown: 0,
            of: self.of,
        }
    }
}

/// The number by which people know a slice: its frame in a file of many, else its instance number.
fn slice_number(result: &ResultRecord) -> usize {
    if result.finding.source.frames > 1 {
        return result.frame as usize + 1;
    }
    let instance = result.instance_number.and_then(|number| usize::try_from(number).ok());
    instance.unwrap_or(result.member as usize)
}

/// The small picture of a result, or the image itself while its file is there.
fn picture_of(store: &Store, result: &ResultRecord) -> Result<Option<GreyImage>, StoreError> {
    let Some(image) = store.image(result.image)? else {
        return Ok(None);
    };
    let is_only = result.finding.source.frames <= 1;
    let small = image.picture.filter(|_| is_only).and_then(|path| decoded(&path, 0));
    Ok(small.or_else(|| image.file.and_then(|path| decoded(&path, result.frame as usize))))
}

fn decoded(path: &Path, frame: usize) -> Option<GreyImage> {
    let source = decode::decode_path(path, &Limits::default()).ok()?;
    source.frame(frame).ok()
}

fn source(image: &ImageRecord) -> ImageSource {
    ImageSource {
        file: image.name.clone().unwrap_or_default(),
        modality: image.modality.clone(),
        body_part: image.body_part.clone(),
        view: image.view.clone(),
        ..ImageSource::default()
    }
}
