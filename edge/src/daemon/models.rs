//! The model that serves each role: loaded from its slot, tried if it is new, replaced if it fails.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use bundle::{Policy, TrustedKeys};
use hardware::slots::{Activity, Cause, Load, Side, Slots};
use hardware::smp::OutcomeKind;
use imaging::decode::Limits;
use onnx::runtime::{Runtime, SessionOptions};

use super::board::{Part, Progress, Step};
use super::pulse::Doing;
use super::shared::{Served, Shared};
use super::site::{Seen, Site};
use crate::appliance::Appliance;
use crate::examination::Examiner;
use crate::finding::Engine;
use crate::golden::{self, GoldenResult};
use crate::inference::{Model, ModelError, ReadBundle};
use crate::store::Store;

/// Loads tried before a role is left without a model: both images, each as confirmed and on trial.
const MAX_LOADS: usize = 4;

/// Said of a trial whose self-test passed.
pub const ON_TRIAL: &str = "the new model is on trial until it is confirmed";

/// Said of one that nobody asked for.
pub const IN_NEED: &str =
    "it serves in place of the confirmed model, which does not load, and is not confirmed by itself";

/// What models are loaded with.
#[derive(Debug, Clone)]
pub struct Loading {
    /// Whose signatures are trusted.
    pub keys: TrustedKeys,
    /// Limits of a bundle.
    pub policy: Policy,
    /// Library or its folder; searched for if absent.
    pub onnxruntime: Option<PathBuf>,
    /// Threads and providers.
    pub session: SessionOptions,
    /// What the device has.
    pub appliance: Appliance,
}

/// Why a model does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The slot is empty although it should not be.
    #[error("the slot holds no whole file")]
    Empty,
    /// The ONNX Runtime library is missing or does not fit.
    #[error(transparent)]
    Library(#[from] onnx::runtime::LibraryError),
    /// The bundle is refused, or does not load or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The slots could not be asked.
    #[error(transparent)]
    Slots(#[from] hardware::slots::SlotError),
    /// Golden cases came out differently.
    #[error("self-test: {failed} of {cases} golden cases differ, {first} the most by {difference:.4}")]
    SelfTest {
        /// Number of cases that differ.
        failed: usize,
        /// Number of cases.
        cases: usize,
        /// Name of the first that differs.
        first: String,
        /// Its largest difference of a probability.
        difference: f32,
    },
}

/// A model that is ready, with the files of its golden cases by path.
struct Loaded {
    model: Model,
    golden: BTreeMap<String, Vec<u8>>,
    engine: Engine,
}

/// A model in use.
struct Serving {
    side: Side,
    examiner: Examiner,
    calibration: Seen,
}

impl Serving {
    fn refresh(&mut self, image: u32, site: &Site, shared: &Shared) {
        if site.refresh(&mut self.examiner, &mut self.calibration) {
            shared.set_serving(image, Some(served(image, &self.examiner)));
        }
    }
}

/// What others know of a model that serves.
fn served(image: u32, examiner: &Examiner) -> Served {
    Served {
        image,
        manifest: Arc::new(examiner.model().manifest().clone()),
        site_thresholds: examiner.model().site_thresholds().map(|site| site.made.clone()),
    }
}

/// The models of all roles.
pub struct Models {
    shared: Arc<Shared>,
    loading: Loading,
    site: Site,
    store: Arc<Store>,
    serving: BTreeMap<u32, Serving>,
}

impl Models {
    /// None yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, loading: Loading, site: Site, store: Arc<Store>) -> Self {
        Self {
            shared,
            loading,
            site,
            store,
            serving: BTreeMap::new(),
        }
    }

    /// The model of a role, with the operating points that hold at this moment.
    pub fn examiner(&mut self, image: u32) -> Option<&mut Examiner> {
        let serving = self.serving.get_mut(&image)?;
        serving.refresh(image, &self.site, &self.shared);
        Some(&mut serving.examiner)
    }

    /// Takes up operating points that changed while no image came, so that the screens tell of them.
    pub fn refresh(&mut self) {
        for (image, serving) in &mut self.serving {
            serving.refresh(*image, &self.site, &self.shared);
        }
    }

    /// Serves what `load` says, or what the slots name instead if that does not load or fails its self-test. The
    /// model that served so far goes on until the new one is ready.
    pub fn serve(&mut self, image: u32, load: Load) {
        let mut load = load;
        for _ in 0..MAX_LOADS {
            let served = match load {
                Load::Nothing => return self.leave(image),
                Load::Confirmed(side) => self
                    .serve_confirmed(image, side)
                    .map_err(|error| self.fall_back(image, &error)),
                Load::Trial(side) => self.serve_trial(image, side),
            };
            match served {
                Ok(()) => return,
                Err(Some(next)) => load = next,
                Err(None) => return self.leave(image),
            }
        }
        // Each fails in turn with the other: a trial that nobody tries any more would be waited for for ever.
        let mut slots = self.shared.slots();
        if matches!(slots.on_trial(image), Ok(Some(_)))
            && let Err(error) = slots.revert(image, Cause::Load, "neither model loads")
        {
            tracing::error!(image, "{error}");
        }
        drop(slots);
        self.leave(image);
    }

    /// A role has no model.
    fn leave(&mut self, image: u32) {
        self.serving.remove(&image);
        self.shared.set_serving(image, None);
    }

    /// Runs the golden cases of a role's model once more.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn self_test(&mut self, image: u32) -> Result<Vec<GoldenResult>, ServeError> {
        let side = self
            .serving
            .get(&image)
            .map(|serving| serving.side)
            .ok_or(ServeError::Empty)?;
        // The cases are not kept in memory between two tests.
        let Loaded { model, golden, .. } = self.load(image, side)?;
        self.check(image, model, &golden).map(|(_, results)| results)
    }

    fn serve_confirmed(&mut self, image: u32, side: Side) -> Result<(), ServeError> {
        if self.serving.get(&image).is_some_and(|serving| serving.side == side) {
            return Ok(());
        }
        let Loaded { model, engine, .. } = self.load(image, side)?;
        self.shared.slots().loaded(image)?;
        self.put(image, side, model, engine);
        Ok(())
    }

    /// Serves an image on trial if it passes its self-test; else gives what the slots name instead.
    fn serve_trial(&mut self, image: u32, side: Side) -> Result<(), Option<Load>> {
        let tested = self.load(image, side).and_then(|Loaded { model, golden, engine }| {
            let (model, _) = self.check(image, model, &golden)?;
            Ok((model, engine))
        });
        let mut slots = self.shared.slots();
        if !matches!(slots.on_trial(image), Ok(Some(found)) if found == side) {
            drop(slots);
            tracing::info!(image, "the trial was taken back during its self-test");
            // Whoever did that has said so, and wishes for what to serve instead.
            self.shared.board().end(image);
            return Ok(());
        }
        let passed = tested.and_then(|tested| Ok((tested, slots.trial_passed(image)?)));
        let ((model, engine), confirmed) = match passed {
            Ok(passed) => passed,
            Err(error) => return Err(self.revert(image, slots, &error)),
        };
        let unasked = matches!(slots.activity(image), Ok(Activity::Trial { good_results: None, .. }));
        drop(slots);
        self.put(image, side, model, engine);
        let (kind, reason) = match (confirmed, unasked) {
            (true, _) => (OutcomeKind::Confirmed, "confirmed with its self-test, as was asked for"),
            (false, false) => (OutcomeKind::Passed, ON_TRIAL),
            (false, true) => (OutcomeKind::Passed, IN_NEED),
        };
        tracing::info!(image, "the self-test of the new model passed; {reason}");
        self.shared.board().conclude(image, kind, reason, Instant::now());
        Ok(())
    }

    fn put(&mut self, image: u32, side: Side, model: Model, engine: Engine) {
        let identity = model.identity();
        tracing::info!(
            image,
            name = identity.name,
            version = identity.version,
            digest = identity.digest,
            "serving"
        );
        let mut examiner = Examiner::new(model, engine, Limits::default());
        self.site.note(&examiner);
        let mut calibration = Seen::default();
        self.site.refresh(&mut examiner, &mut calibration);
        let manifest = examiner.model().manifest();
        if let Err(error) = self
            .store
            .note_model(&examiner.model().identity().digest, manifest, self.shared.now())
        {
            tracing::error!("which model serves cannot be noted: {error}");
        }
        self.shared.set_serving(image, Some(served(image, &examiner)));
        match self.store.examine_unserved(self.shared.now()) {
            Ok(0) => {}
            Ok(images) => tracing::info!(images, "images that waited for a model of their kind are examined"),
            Err(error) => tracing::error!("images that waited for this model cannot be queued: {error}"),
        }
        self.serving.insert(
            image,
            Serving {
                side,
                examiner,
                calibration,
            },
        );
    }

    fn load(&self, image: u32, side: Side) -> Result<Loaded, ServeError> {
        self.shared.serving_pulse().at(Doing::Loading);
        let reader = self.shared.slots().reader(image, side)?.ok_or(ServeError::Empty)?;
        let Loading {
            keys,
            policy,
            onnxruntime,
            session,
            appliance,
        } = &self.loading;
        let bundle = ReadBundle::read(BufReader::new(reader), keys, policy, appliance, true)?;
        let runtime: &Runtime = onnx::runtime::load(onnxruntime.as_deref())?;
        let engine = Engine::new(runtime, session, bundle.manifest());
        let (model, golden) = bundle.load(runtime, session)?;
        Ok(Loaded { model, golden, engine })
    }

    /// Runs the golden cases; gives the model back if all pass. What comes of it is for the caller to tell: until then the
    /// board has the self-test going on.
    fn check(
        &self,
        image: u32,
        mut model: Model,
        golden: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(Model, Vec<GoldenResult>), ServeError> {
        let total = model.manifest().golden.len() as u64;
        let tell = |done: usize| {
            let done = done as u64;
            self.shared.serving_pulse().at(Doing::Loading);
            self.shared
                .board()
                .begin(image, Step::SelfTest(Progress { done, total }));
        };
        let results = golden::run(&mut model, golden, tell)?;
        let failed: Vec<&GoldenResult> = results.iter().filter(|case| !case.passed).collect();
        match failed.first() {
            None => Ok((model, results)),
            Some(first) => Err(ServeError::SelfTest {
                failed: failed.len(),
                cases: results.len(),
                first: first.name.clone(),
                difference: first.probability_difference,
            }),
        }
    }

    /// The confirmed model does not load. Without a library no other one would, and it is not to blame.
    fn fall_back(&self, image: u32, error: &ServeError) -> Option<Load> {
        tracing::error!(image, "the confirmed model does not load: {error}");
        let message = error.to_string();
        if let ServeError::Library(_) = error {
            self.shared.board().set_fault(Part::Library, message);
            return None;
        }
        self.shared.board().set_fault(Part::Models, message.as_str());
        let next = self.shared.slots().fall_back(image, &message);
        self.next(next)
    }

    /// The model on trial failed.
    fn revert(&self, image: u32, mut slots: MutexGuard<'_, Slots>, error: &ServeError) -> Option<Load> {
        tracing::error!(image, "the model on trial is taken back: {error}");
        let (cause, kind) = match error {
            ServeError::SelfTest { .. } => (Cause::SelfTest, OutcomeKind::Failed),
            _ => (Cause::Load, OutcomeKind::Reverted),
        };
        let message = error.to_string();
        let next = slots.revert(image, cause, &message);
        drop(slots);
        self.shared
            .board()
            .conclude(image, kind, message.as_str(), Instant::now());
        self.next(next)
    }

    fn next(&self, next: Result<Load, hardware::slots::SlotError>) -> Option<Load> {
        next.inspect_err(|error| {
            tracing::error!("the slots cannot say what to serve instead: {error}");
            self.shared.board().set_fault(Part::Models, error.to_string());
        })
        .ok()
    }
}
