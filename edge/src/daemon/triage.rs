//! What waits in the store becomes results: decoded, examined, stored, shown.
//!
//! While a model runs, the next image is decoded, looked at and prepared on a thread beside it, so that the model has
//! nothing to wait for as long as the queue is not empty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bundle::Manifest;
use hardware::slots::Cause;
use hardware::smp::OutcomeKind;
use imaging::decode::{self, Limits, Source};

use super::board::Part;
use super::filing::Tray;
use super::models::Models;
use super::pulse::Doing;
use super::routing::{Kind, Route, route};
use super::shared::{News, Shared, Wish, Work};
use crate::decision::DecisionKind;
use crate::examination::{Decoded, Examination, Request, Stage};
use crate::finding::{Finding, ImageSource};
use crate::inference::ModelError;
use crate::screens::WorkStep;
use crate::store::cases::CaseKind;
use crate::store::queue::{ForWhom, Waiting};
use crate::store::results::Examined;
use crate::store::{Store, StoreError};

/// After so many faults of a model on trial in a row it is taken back.
const FAULTS_TO_REVERT: u32 = 3;
/// Modalities whose files hold one slice a frame.
const SLICED: [&str; 1] = ["CT"];

/// Why an image got no result now. It waits on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TriageError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a look at the queue came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// Nothing waits, or no model serves.
    Rest,
    /// An image was dealt with; there may be more.
    Busy,
}

/// Takes images from the store.
pub struct Triage {
    shared: Arc<Shared>,
    store: Arc<Store>,
    roles: usize,
    tray: Tray,
    trial_inferences: Option<u32>,
    /// Faults of the model of each role since its last result.
    faults: BTreeMap<u32, u32>,
    /// Series of which a good result counted for the trial of a role.
    counted: BTreeSet<(u32, i64)>,
    ahead: Option<Opened>,
}

/// An image whose file was opened, and a frame of it decoded.
struct Opened {
    waiting: Waiting,
    frame: u32,
    frames: u32,
    decoded: Decoded,
    /// The file, if more of its frames are to be examined.
    source: Option<Source>,
}

impl Triage {
    /// From the store, and back into it, for so many roles; `tray` takes what is to be filed. A model on trial is confirmed
    /// after `trial_inferences` good results.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        store: Arc<Store>,
        roles: usize,
        tray: Tray,
        trial_inferences: Option<u32>,
    ) -> Self {
        Self {
            shared,
            store,
            roles,
            tray,
            trial_inferences,
            faults: BTreeMap::new(),
            counted: BTreeSet::new(),
            ahead: None,
        }
    }

    /// Deals with the image that is next.
    ///
    /// # Errors
    /// [`TriageError`]; the image waits on.
    pub fn next(&mut self, models: &mut Models) -> Result<Looked, TriageError> {
        self.shared.board().tally.waiting = self.store.waiting()?;
        let Some(waiting) = self.store.next_waiting(&[])? else {
            return Ok(Looked::Rest);
        };
        match route(kind(&waiting), &self.shared.serving(), self.roles) {
            Route::NotYet => return Ok(Looked::Rest),
            Route::Nowhere => self.leave(&waiting, ForWhom::Nobody)?,
            Route::Unserved => self.leave(&waiting, ForWhom::RoleWithoutModel)?,
            Route::Role(image) => self.examine(waiting, image, models)?,
        }
        Ok(Looked::Busy)
    }

    /// No model that serves is for such an image.
    fn leave(&self, waiting: &Waiting, whom: ForWhom) -> Result<(), TriageError> {
        self.store.leave_without_model(waiting.image, whom, self.shared.now())?;
        tracing::info!(case = waiting.case_number, "no model is for this kind of image");
        self.shared.show(News::Without { image: waiting.image });
        self.tray.look();
        Ok(())
    }

    fn examine(&mut self, waiting: Waiting, image: u32, models: &mut Models) -> Result<(), TriageError> {
        let next = self.store.next_waiting(&[waiting.image])?;
        // An image that ends the service must be known afterwards, also if it was only being decoded.
        let examining: Vec<i64> = [Some(waiting.image), next.as_ref().map(|next| next.image)]
            .into_iter()
            .flatten()
            .collect();
        self.store.note_examining(&examining)?;
        self.shared.set_work(Some(work(&waiting)));
        let ahead = self.ahead.take().filter(|ahead| ahead.waiting.image == waiting.image);
        let current = ahead.unwrap_or_else(|| Opened::read(waiting));
        self.shared.serving_pulse().at(Doing::Step);
        let examined = thread::scope(|scope| {
            let ahead = next.map(|next| {
                let manifest = self.manifest_for(&next);
                scope.spawn(move || Opened::read(next).prepared_for(manifest.as_deref()))
            });
            let examined = self.examine_frames(current, image, models);
            self.shared.serving_pulse().at(Doing::Step);
            // A thread that failed is no loss: its image is decoded when its turn comes.
            self.ahead = ahead.and_then(|thread| thread.join().ok());
            examined
        });
        self.shared.set_work(None);
        examined
    }

    /// Of the model that will examine an image, if none is put in its place before.
    fn manifest_for(&self, waiting: &Waiting) -> Option<Arc<Manifest>> {
        let mut serving = self.shared.serving();
        match route(kind(waiting), &serving, self.roles) {
            Route::Role(image) => serving.remove(&image),
            Route::Nowhere | Route::Unserved | Route::NotYet => None,
        }
    }

    /// Examines the frames that have no result yet; stops between two of them for an urgent image and for the end.
    fn examine_frames(&mut self, mut opened: Opened, image: u32, models: &mut Models) -> Result<(), TriageError> {
        loop {
            let Opened {
                waiting,
                frame,
                frames,
                decoded,
                source,
            } = opened;
            self.examine_frame(&waiting, [frame, frames], decoded, image, models)?;
            let Some(source) = source.filter(|_| frame + 1 < frames) else {
                return Ok(());
            };
            let urgent = self
                .store
                .next_waiting(&[waiting.image])?
                .is_some_and(|next| next.urgent);
            if self.shared.is_ending() || (urgent && !waiting.urgent) {
                return Ok(());
            }
            opened = Opened {
                decoded: Decoded::one_of(&source, &waiting.path, frame as usize + 1),
                frame: frame + 1,
                frames,
                source: Some(source),
                waiting,
            };
        }
    }

    fn examine_frame(
        &mut self,
        waiting: &Waiting,
        [frame, frames]: [u32; 2],
        decoded: Decoded,
        image: u32,
        models: &mut Models,
    ) -> Result<(), TriageError> {
        let now = self.shared.now();
        let request = Request {
            path: &waiting.path,
            frame: frame as usize,
            case_id: &waiting.case_number,
            time: now,
        };
        // Whoever routed the image saw the model serve, and this thread alone changes that.
        let Some(examiner) = models.examiner(image) else {
            return Ok(());
        };
        let several = (frames > 1).then_some([frame as usize + 1, frames as usize]);
        let picture = decoded.image().cloned();
        self.shared
            .advance_work(|work| (work.image, work.frames) = (picture, several));
        let first = if examiner.has_run() {
            Doing::Step
        } else {
            Doing::Loading
        };
        let tell = |stage| self.tell(stage, first);
        let examined = examiner.judge_in_stages(request, decoded, &tell);
        self.shared.serving_pulse().at(Doing::Step);
        let mut examination = match examined {
            Ok(examination) => examination,
            Err(error) => return Err(self.model_failed(waiting, image, error)),
        };
        examination.finding.source.file.clone_from(&waiting.name);
        let stored = self.store.store_result(
            Examined {
                image: waiting.image,
                frame,
                frames,
                finding: &examination.finding,
            },
            now,
        )?;
        if !stored {
            return Ok(());
        }
        self.publish(waiting, image, examination)?;
        Ok(())
    }

    /// The examination is at a stage; the network is at `network` then.
    fn tell(&self, stage: Stage, network: Doing) {
        let (step, doing) = match stage {
            Stage::Quality => (WorkStep::Checking, Doing::Step),
            Stage::Network => (WorkStep::Model, network),
        };
        self.shared.advance_work(|work| work.step = step);
        self.shared.serving_pulse().at(doing);
    }

    /// The result is safe: it is shown, counted and filed.
    fn publish(&mut self, waiting: &Waiting, image: u32, examination: Examination) -> Result<(), TriageError> {
        let examination = Arc::new(examination);
        // A model that is uncertain of everything has not shown that it can be relied on.
        let is_good = matches!(
            examination.finding.decision.kind,
            DecisionKind::Flagged | DecisionKind::NoFindingFlagged
        );
        let case = self.store.case_of_image(waiting.image)?;
        // Of a series the display keeps the worst slice.
        let is_series = case.as_ref().is_some_and(|case| case.kind == CaseKind::Series);
        let series = case.as_ref().filter(|_| is_series).map(|case| case.id);
        let is_worst = case.and_then(|case| case.summary).is_none_or(|summary| {
            (summary.worst_image, summary.worst_frame as usize) == (waiting.image, examination.finding.source.frame)
        });
        let manifest = self.shared.serving().get(&image).cloned();
        if let Some(manifest) = manifest.filter(|_| is_worst || !is_series) {
            if !is_series {
                self.shared.set_work(None);
            }
            self.shared.show(News::Result {
                examination: examination.clone(),
                manifest,
                image: waiting.image,
                arrived: waiting.arrived,
            });
        }
        self.count(&examination.finding);
        self.faults.remove(&image);
        let mut board = self.shared.board();
        for part in [Part::Library, Part::Models, Part::Slots, Part::Store] {
            board.clear_fault(part);
        }
        drop(board);
        if is_good {
            self.good_result(image, series);
        }
        self.tray.put(waiting.image, (!is_series).then_some(examination));
        Ok(())
    }

    fn count(&self, finding: &Finding) {
        tracing::info!(
            case = finding.case_id,
            milliseconds = finding.timings_ms.total,
            decision = ?finding.decision.kind,
            "examined"
        );
        let tally = &mut self.shared.board().tally;
        match finding.decision.kind {
            DecisionKind::NotReadable => tally.refused += 1,
            _ => tally.results += 1,
        }
        match finding.decision.kind {
            DecisionKind::Flagged => tally.flagged += 1,
            DecisionKind::Uncertain => tally.uncertain += 1,
            DecisionKind::NotReadable | DecisionKind::NoFindingFlagged => {}
        }
    }

    /// A trial ends by itself after enough good results, if that is configured. A series counts once, however many slices
    /// it has.
    fn good_result(&mut self, image: u32, series: Option<i64>) {
        if self.trial_inferences.is_none() || !self.is_on_trial(image) {
            self.counted.retain(|(role, _)| *role != image);
            return;
        }
        if series.is_some_and(|series| !self.counted.insert((image, series))) {
            return;
        }
        let counted = self.shared.slots().count_good_result(image);
        let enough = self
            .trial_inferences
            .zip(counted.ok())
            .is_some_and(|(after, count)| count >= after && count > 0);
        if !enough {
            return;
        }
        let confirmed = self.shared.slots().confirm(image);
        match confirmed {
            Ok(_) => {
                tracing::info!(image, "the model was confirmed after enough good results");
                let reason = "after enough good results";
                self.shared
                    .board()
                    .report(image, OutcomeKind::Confirmed, reason, Instant::now());
            }
            Err(error) => tracing::error!(image, "the model on trial cannot be confirmed: {error}"),
        }
    }

    fn is_on_trial(&self, image: u32) -> bool {
        matches!(self.shared.slots().on_trial(image), Ok(Some(_)))
    }

    /// A model on trial that keeps failing is taken back; a confirmed one is a fault of the appliance. An image on which
    /// alone it fails is given up in the end.
    fn model_failed(&mut self, waiting: &Waiting, image: u32, error: ModelError) -> TriageError {
        tracing::error!(image, "the model failed: {error}");
        self.shared.board().tally.faults += 1;
        let faults = self.faults.entry(image).or_default();
        *faults += 1;
        if *faults >= FAULTS_TO_REVERT && self.is_on_trial(image) {
            self.faults.remove(&image);
            let message = format!("it failed {FAULTS_TO_REVERT} times: {error}");
            let reverted = self.shared.slots().revert(image, Cause::Results, &message);
            if let Ok(load) = reverted {
                self.shared
                    .board()
                    .report(image, OutcomeKind::Reverted, message, Instant::now());
                self.shared.wish(Wish::Serve(image, load));
                return error.into();
            }
        }
        let problem = error.to_string();
        match self.store.record_fault(waiting.image, &problem, self.shared.now()) {
            Ok(true) => self.shared.show(News::Without { image: waiting.image }),
            Ok(false) => {}
            Err(error) => return error.into(),
        }
        error.into()
    }
}

impl Opened {
    /// Opens a file and decodes the first of its frames that has no result.
    fn read(waiting: Waiting) -> Self {
        let limits = Limits::default();
        let frame = waiting.frames_done;
        let is_sliced = waiting
            .modality
            .as_deref()
            .is_some_and(|modality| SLICED.contains(&modality));
        let (decoded, frames, source) = if is_sliced {
            match decode::decode_path(&waiting.path, &limits) {
                Ok(source) => {
                    let frames = u32::try_from(source.frame_count()).unwrap_or(u32::MAX);
                    let decoded = Decoded::one_of(&source, &waiting.path, frame as usize);
                    (decoded, frames, (frames > 1).then_some(source))
                }
                Err(error) => (Decoded::refused(error), 1, None),
            }
        } else {
            (Decoded::read(&waiting.path, 0, &limits), 1, None)
        };
        Self {
            waiting,
            frame,
            frames,
            decoded,
            source,
        }
    }

    /// Does what comes before the model's turn.
    fn prepared_for(mut self, manifest: Option<&Manifest>) -> Self {
        self.decoded = self.decoded.prepared_for(manifest.map(|manifest| &manifest.preprocess));
        self
    }
}

fn work(waiting: &Waiting) -> Work {
    Work {
        case_number: waiting.case_number.clone(),
        source: ImageSource {
            modality: waiting.modality.clone(),
            body_part: waiting.body_part.clone(),
            view: waiting.view.clone(),
            ..ImageSource::default()
        },
        image: None,
        step: WorkStep::Reading,
        frames: None,
        since: Instant::now(),
    }
}

fn kind(waiting: &Waiting) -> Kind<'_> {
    Kind {
        modality: waiting.modality.as_deref(),
        body_part: waiting.body_part.as_deref(),
        view: waiting.view.as_deref(),
        image_type: waiting.image_type.as_deref(),
    }
}
