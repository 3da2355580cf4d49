//! Images from the watched folder become results on disk and on the display.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use hardware::slots::Cause;
use hardware::smp::OutcomeKind;

use super::models::Models;
use super::shared::{Shared, Wish};
use crate::decision::DecisionKind;
use crate::examination::{Examination, Request};
use crate::exit::Failure;
use crate::intake::watch_folder::{Outcome, WatchError, WatchFolder};

/// After so many faults of a model on trial in a row it is taken back.
const FAULTS_TO_REVERT: u32 = 3;

/// Why an image got no result now. It stays in the folder and will be taken again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TriageError {
    /// No model serves.
    #[error("no model serves; flash one over the serial line")]
    NoModel,
    /// The model failed.
    #[error(transparent)]
    Model(#[from] crate::inference::ModelError),
    /// The result cannot be stored.
    #[error(transparent)]
    Store(#[from] Failure),
    /// The folder of results cannot be read.
    #[error("results {}: {source}; check that the folder exists and has room", path.display())]
    Results {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The watched folder failed.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

/// Takes images from a folder.
pub struct Triage {
    shared: Arc<Shared>,
    folder: WatchFolder,
    results: PathBuf,
    trial_inferences: Option<u32>,
    faults: u32,
}

impl Triage {
    /// From `folder` into `results`; a model on trial is confirmed after `trial_inferences` good results.
    #[must_use]
    pub fn new(shared: Arc<Shared>, folder: WatchFolder, results: PathBuf, trial_inferences: Option<u32>) -> Self {
        Self {
            shared,
            folder,
            results,
            trial_inferences,
            faults: 0,
        }
    }

    /// The images that wait, the oldest first.
    ///
    /// # Errors
    /// [`TriageError::Watch`].
    pub fn waiting(&mut self) -> Result<Vec<PathBuf>, TriageError> {
        let waiting = self.folder.waiting(Instant::now())?;
        self.shared.board().tally.waiting = waiting.len() as u64;
        Ok(waiting)
    }

    /// Examines one image: its result is safe before the image leaves the folder.
    ///
    /// # Errors
    /// [`TriageError`]; the image is still there.
    pub fn examine(
        &mut self,
        path: &Path,
        models: &mut Models,
        now: DateTime<Utc>,
    ) -> Result<Examination, TriageError> {
        let image = models.images().first().copied().ok_or(TriageError::NoModel)?;
        let examiner = models.examiner(image).ok_or(TriageError::NoModel)?;
        let case_id = self.next_case(now)?;
        let request = Request {
            path,
            frame: 0,
            case_id: &case_id,
            time: now,
        };
        let examined = examiner.examine(request).inspect_err(|error| {
            tracing::error!(image, "the model failed: {error}");
        });
        let examination = match examined {
            Ok(examination) => examination,
            Err(error) => return Err(self.model_failed(image, error)),
        };
        self.store(&examination, &case_id)?;
        let outcome = match examination.refused {
            Some(_) => Outcome::Refused,
            None => Outcome::Done,
        };
        self.folder.finish(path, outcome)?;
        self.count(&examination);
        self.faults = 0;
        if examination.finding.decision.kind != DecisionKind::NotReadable {
            self.good_result(image);
        }
        Ok(examination)
    }

    fn store(&self, examination: &Examination, case_id: &str) -> Result<(), TriageError> {
        let text = serde_json::to_string_pretty(&examination.finding).map_err(|e| {
            Failure::new(
                crate::exit::Exit::Failed,
                format!("cannot write the result as JSON: {e}"),
            )
        })?;
        let path = self.results.join(format!("{case_id}.json"));
        Ok(crate::cli::write_output(&path, text.as_bytes())?)
    }

    /// Day and number: `260314-0007`. The numbers go on after a restart.
    fn next_case(&self, now: DateTime<Utc>) -> Result<String, TriageError> {
        let day = now.format("%y%m%d-").to_string();
        let read = |source| TriageError::Results {
            path: self.results.clone(),
            source,
        };
        let mut highest = 0;
        for entry in fs::read_dir(&self.results).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            let name = name.to_string_lossy();
            let number = name.strip_prefix(&day).and_then(|rest| rest.strip_suffix(".json"));
            highest = highest.max(number.and_then(|n| n.parse::<u32>().ok()).unwrap_or(0));
        }
        Ok(format!("{day}{:04}", highest.saturating_add(1)))
    }

    fn count(&self, examination: &Examination) {
        let finding = &examination.finding;
        tracing::info!(
            case = finding.case_id,
            milliseconds = finding.timings_ms.total,
            decision = ?finding.decision.kind,
            "examined"
        );
        let tally = &mut self.shared.board().tally;
        tally.results += 1;
        match finding.decision.kind {
            DecisionKind::Flagged => tally.flagged += 1,
            DecisionKind::Uncertain => tally.uncertain += 1,
            DecisionKind::NotReadable => {
                tally.results -= 1;
                tally.refused += 1;
            }
            DecisionKind::NoFindingFlagged => {}
        }
    }

    /// A trial ends by itself after enough good results, if that is configured.
    fn good_result(&self, image: u32) {
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

    /// A model on trial that keeps failing is taken back; a confirmed one is a fault of the appliance.
    fn model_failed(&mut self, image: u32, error: crate::inference::ModelError) -> TriageError {
        self.faults += 1;
        self.shared.board().tally.faults += 1;
        if self.faults >= FAULTS_TO_REVERT {
            self.faults = 0;
            let message = format!("it failed {FAULTS_TO_REVERT} times: {error}");
            let reverted = self.shared.slots().revert(image, Cause::Results, &message);
            if let Ok(load) = reverted {
                self.shared
                    .board()
                    .report(image, OutcomeKind::Reverted, message, Instant::now());
                self.shared.wish(Wish::Serve(image, load));
            }
        }
        error.into()
    }
}
