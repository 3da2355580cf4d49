//! What belongs to this site beside the models: its operating points, and a note of which model serves each role.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::calibration::CalibrationFolder;
use crate::examination::Examiner;
use crate::served::Served;

/// The site's folders.
#[derive(Debug, Clone)]
pub struct Site {
    calibrations: CalibrationFolder,
    serving: PathBuf,
}

/// Which state of a role's calibration a model runs with; none before it was looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen(Option<Option<SystemTime>>);

impl Site {
    /// With the folder of calibrations, and the one that tells which model serves.
    #[must_use]
    pub fn new(calibrations: CalibrationFolder, serving: PathBuf) -> Self {
        Self { calibrations, serving }
    }

    /// Notes that a model serves its role from now on, for the verbs that run beside the service.
    pub fn note(&self, examiner: &Examiner) {
        let served = Served {
            identity: examiner.model().identity().clone(),
            manifest: examiner.model().manifest().clone(),
        };
        if let Err(error) = served.write(&self.serving) {
            tracing::error!("which model serves cannot be noted, so that calibrate does not know it: {error}");
        }
    }

    /// Lets the model take up the site's operating points, or give them up, if they changed since they were last `seen`.
    /// Gives whether they did.
    pub fn refresh(&self, examiner: &mut Examiner, seen: &mut Seen) -> bool {
        let role = examiner.model().identity().role.clone();
        let changed = Seen(Some(self.calibrations.changed(&role)));
        if changed == *seen {
            return false;
        }
        *seen = changed;
        let calibration = self.calibrations.read(&role).unwrap_or_else(|error| {
            tracing::error!("{error}");
            None
        });
        examiner.calibrate(calibration.as_ref());
        match (calibration, examiner.model().site_thresholds()) {
            (_, Some(site)) => tracing::info!(role, made = site.made, n = site.n, "operating points of this site"),
            (Some(other), None) => tracing::warn!(
                role,
                made_for = other.model,
                "the site's operating points are for another model and are not used; run calibrate again"
            ),
            (None, None) => {}
        }
        true
    }
}
