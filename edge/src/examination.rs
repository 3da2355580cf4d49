//! From a file to a finding: decode, quality gate, intended use, network, decision.

mod decoded;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, SecondsFormat, Utc};
use imaging::decode::{DecodeError, Limits};
use imaging::{GreyImage, small_image};

pub use decoded::Decoded;
use decoded::{Ahead, Look};

use crate::calibration::SiteCalibration;
use crate::codes::Reason;
use crate::decision::{Decision, DecisionKind, decide};
use crate::finding::{self, Engine, Finding, ImageSource, NOTICE, SCHEMA, Timings};
use crate::inference::{Model, ModelError, Prediction};
use crate::intended_use;

/// Longest side of the picture that stands in for a larger image, in pixels.
pub const SMALL_SIDE: usize = 768;

/// Examines one image after the other with one model.
#[derive(Debug)]
pub struct Examiner {
    model: Model,
    engine: Engine,
    limits: Limits,
    has_run: bool,
}

/// Which image to examine.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The file.
    pub path: &'a Path,
    /// The frame, from 0.
    pub frame: usize,
    /// Number of the case.
    pub case_id: &'a str,
    /// The time that the finding bears.
    pub time: DateTime<Utc>,
}

/// What came of it.
#[derive(Debug)]
pub struct Examination {
    /// The finding; for a file that was refused the decision is "not readable" with the decoder's code.
    pub finding: Finding,
    /// The image, if it could be decoded.
    pub image: Option<Arc<GreyImage>>,
    /// The picture of at most [`SMALL_SIDE`] pixels a side that stands in for it on screens, if it is larger.
    pub small: Option<Arc<GreyImage>>,
    /// Why there is no image.
    pub refused: Option<DecodeError>,
}

/// What an examination comes to next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The image's quality.
    Quality,
    /// The network.
    Network,
}

impl Examination {
    /// What screens show of the image.
    #[must_use]
    pub fn shown(&self) -> Option<&GreyImage> {
        self.small.as_deref().or(self.image.as_deref())
    }
}

impl Examiner {
    /// An examiner with a loaded model.
    #[must_use]
    pub fn new(model: Model, engine: Engine, limits: Limits) -> Self {
        Self {
            model,
            engine,
            limits,
            has_run: false,
        }
    }

    /// Whether the model ran here before: the first time may take minutes with some providers.
    #[must_use]
    pub fn has_run(&self) -> bool {
        self.has_run
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Takes the operating points of this site, or the bundle's own again.
    pub fn calibrate(&mut self, calibration: Option<&SiteCalibration>) {
        self.model.calibrate(calibration);
    }

    /// Examines one image. A file that is no image is an examination too.
    ///
    /// # Errors
    /// [`ModelError`] if the model fails, which is not the image's fault.
    pub fn examine(&mut self, request: Request<'_>) -> Result<Examination, ModelError> {
        let decoded = Decoded::read(request.path, request.frame, &self.limits);
        self.judge(request, decoded)
    }

    /// Examines an image that was decoded before.
    ///
    /// # Errors
    /// As [`examine`](Self::examine).
    pub fn judge(&mut self, request: Request<'_>, decoded: Decoded) -> Result<Examination, ModelError> {
        self.judge_in_stages(request, decoded, &|_| ())
    }

    /// As [`judge`](Self::judge); `tell` hears what comes next.
    ///
    /// # Errors
    /// As [`examine`](Self::examine).
    pub fn judge_in_stages(
        &mut self,
        request: Request<'_>,
        decoded: Decoded,
        tell: &dyn Fn(Stage),
    ) -> Result<Examination, ModelError> {
        let start = Instant::now();
        let file = request.path.display().to_string();
        let mut finding = self.blank(request, ImageSource::undecoded(file.clone(), request.frame));
        finding.timings_ms.decode = decoded.milliseconds;
        finding.timings_ms.total = decoded.milliseconds;
        let (image, frames) = match decoded.image {
            Ok(image) => image,
            Err(refused) => {
                finding.decision = not_readable(vec![refusal(&refused)]);
                return Ok(Examination {
                    finding,
                    image: None,
                    small: None,
                    refused: Some(refused),
                });
            }
        };
        let size = [image.height(), image.width()];
        finding.source = ImageSource::decoded(file, request.frame, frames, size, &image.meta);
        finding.warnings = warnings(&image, if decoded.others_left_out { frames } else { 1 });
        let small = self.assess(&image, decoded.ahead, &mut finding, tell)?;
        finding.timings_ms.total += milliseconds(start);
        Ok(Examination {
            finding,
            small: small.map(Arc::new),
            image: Some(image),
            refused: None,
        })
    }

    /// Intended use, quality gate, network, decision. An image of another kind than the model's may well fail a gate that
    /// is made for the model's: then its kind is told first. Gives the small picture of a large image.
    fn assess(
        &mut self,
        image: &GreyImage,
        ahead: Option<Ahead>,
        finding: &mut Finding,
        tell: &dyn Fn(Stage),
    ) -> Result<Option<GreyImage>, ModelError> {
        let (look, prepared) = ahead.map_or((None, None), |ahead| (Some(ahead.look), ahead.prepared));
        tell(Stage::Quality);
        let (prepared, took) = timed(|| match prepared {
            Some(prepared) if self.model.takes(&prepared) => {
                self.model.take(prepared);
                Ok(None)
            }
            _ => self.model.prepare(image, SMALL_SIDE),
        });
        finding.timings_ms.prepare = took;
        let (prepared, small) = match prepared {
            Ok(small) => (Ok(()), small),
            Err(error) => (Err(error), small_image(image, SMALL_SIDE)),
        };
        let Look { small, quality, took } = look.unwrap_or_else(|| Look::at(image, small));
        let reasons = quality.reasons(&self.model.manifest().quality);
        finding.quality = Some(quality);
        finding.timings_ms.quality = took;
        let usage = intended_use::check(&image.meta, &self.model.manifest().intended_use);
        finding.unchecked_use = usage.unknown;
        if !reasons.is_empty() {
            // Whatever the network would say of such an image, it is not asked.
            let reasons = reasons.iter().map(|r| Reason::with_code(r.code(), r.message()));
            finding.decision = not_readable(usage.outside.into_iter().chain(reasons).collect());
            return Ok(small);
        }
        tell(Stage::Network);
        let prediction = prepared.and_then(|()| self.predict(&mut finding.timings_ms))?;
        let manifest = self.model.manifest();
        finding.decision = decide(manifest, &prediction.probabilities, prediction.novelty, &usage.outside);
        finding.probabilities = finding::label_probabilities(manifest, &prediction.probabilities);
        finding.conformal = finding::prediction_set(manifest, &prediction.probabilities);
        finding.novelty = finding::novelty_value(manifest, &prediction);
        finding.heatmaps = finding::heatmaps(manifest, &prediction.maps);
        Ok(small)
    }

    /// Runs the network on the tensor that was prepared.
    fn predict(&mut self, timings: &mut Timings) -> Result<Prediction, ModelError> {
        let (prediction, took) = timed(|| self.model.run());
        timings.inference = took;
        self.has_run |= prediction.is_ok();
        prediction
    }

    fn blank(&self, request: Request<'_>, source: ImageSource) -> Finding {
        Finding {
            schema: SCHEMA.to_owned(),
            case_id: request.case_id.to_owned(),
            time: request.time.to_rfc3339_opts(SecondsFormat::Secs, true),
            source,
            decision: not_readable(Vec::new()),
            series: None,
            probabilities: Vec::new(),
            conformal: None,
            novelty: None,
            heatmaps: Vec::new(),
            quality: None,
            unchecked_use: Vec::new(),
            site_thresholds: self.model.site_thresholds().cloned(),
            model: self.model.identity().clone(),
            engine: self.engine.clone(),
            timings_ms: Timings::default(),
            warnings: Vec::new(),
            notice: NOTICE.to_owned(),
        }
    }
}

/// The decision on an image that cannot be assessed.
#[must_use]
pub fn not_readable(reasons: Vec<Reason>) -> Decision {
    Decision {
        kind: DecisionKind::NotReadable,
        label: None,
        reasons,
    }
}

/// Why a file gives no image; without the file's name, which stands beside it wherever it is shown.
#[must_use]
pub fn refusal(error: &DecodeError) -> Reason {
    let detail = match error {
        DecodeError::File { reason, .. } => reason.to_string(),
        reason => reason.to_string(),
    };
    Reason::with_code(error.code(), error.summary()).with_detail(detail)
}

fn warnings(image: &GreyImage, frames: usize) -> Vec<String> {
    let mut warnings = image.meta.warnings.clone();
    if frames > 1 {
        warnings.push(format!(
            "the file has {frames} frames and one was assessed; choose it with --frame"
        ));
    }
    warnings
}

/// What `work` gives, and how many milliseconds it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    (work(), milliseconds(start))
}

fn milliseconds(start: Instant) -> f64 {
    // Microseconds are enough, and keep the JSON short.
    (start.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
