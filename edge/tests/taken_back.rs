//! A trial that is taken back while its self-test runs: that is told once, and the model before serves on.

mod service;
mod support;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bundle::Policy;
use hardware::clock::Clock;
use hardware::slots::simulated::Simulated;
use hardware::slots::{Cause, Chunk, FileCounter, Load, Slots};
use hardware::smp::{Outcome, OutcomeKind};
use onnx::runtime::SessionOptions;
use scanside_edge::appliance::Appliance;
use scanside_edge::calibration::CalibrationFolder;
use scanside_edge::daemon::gatekeeper::BundleGate;
use scanside_edge::daemon::models::{Loading, Models};
use scanside_edge::daemon::shared::Shared;
use scanside_edge::daemon::verifier;
use scanside_edge::store::Store;
use scanside_edge::store::config::StoreConfig;
use service::Site;

/// Said by whoever takes it back.
const BY_AN_ENGINEER: &str = "taken back by an engineer";

/// The slots and the models, without the threads around them.
struct Bench<'a> {
    site: &'a Site,
    shared: Arc<Shared>,
    models: Models,
}

impl<'a> Bench<'a> {
    /// With a confirmed model that serves.
    fn new(site: &'a Site) -> Self {
        let gate = BundleGate::new(site.trusted(), Policy::default(), Appliance::here(&[]));
        let counter = Arc::new(FileCounter::new(Arc::new(Simulated::new(1))));
        let roles = [bundle::example::manifest().role];
        let slots = Slots::open(Arc::new(Simulated::new(2)), &roles, Arc::new(gate), counter).unwrap();
        let clock = Clock::open(Arc::new(Simulated::new(3)), Duration::ZERO);
        let shared = Arc::new(Shared::new(slots, clock));
        let loading = Loading {
            keys: site.trusted(),
            policy: Policy::default(),
            onnxruntime: None,
            session: SessionOptions::default(),
            appliance: Appliance::here(&[]),
        };
        let state = site.path("bench");
        fs::create_dir_all(&state).unwrap();
        let store = Arc::new(Store::open(&state, StoreConfig::default(), Vec::new()).unwrap());
        let calibrations = CalibrationFolder::new(state.join("calibration"));
        let place = scanside_edge::daemon::site::Site::new(calibrations, state.join("serving"));
        let models = Models::new(shared.clone(), loading, place, store);
        let mut bench = Self { site, shared, models };
        let load = bench.begin_trial(&site.bundle(|_| ()), true);
        bench.models.serve(0, load);
        assert!(bench.shared.slots().states()[0].confirmed);
        bench
    }

    /// Brings a bundle, asks for it, and gives what the start is to load.
    fn begin_trial(&self, bundle: &[u8], permanent: bool) -> Load {
        let mut at = 0;
        while at < bundle.len() as u64 {
            let chunk = Chunk {
                image: 0,
                offset: at,
                data: &bundle[at as usize..bundle.len().min(at as usize + 30_000)],
                length: Some(bundle.len() as u64),
                sha: None,
                upgrade: false,
            };
            at = self.shared.slots().upload(&chunk).unwrap().offset;
        }
        verifier::verify_waiting(&self.shared, &self.site.trusted(), &Policy::default()).unwrap();
        let mut slots = self.shared.slots();
        slots.request(&self.site.hash(bundle), permanent).unwrap();
        slots.begin_start().remove(0).load
    }

    fn serving(&self) -> String {
        self.shared.serving()[&0].version.to_string()
    }

    /// What is told, and whether anything is said to be wrong.
    fn told(&self) -> (Vec<Outcome>, bool) {
        let board = self.shared.board();
        (board.outcomes(), board.fault().is_some())
    }
}

#[test]
fn a_trial_that_was_taken_back_during_its_self_test_is_told_once_however_that_comes_out() {
    let Some(site) = Site::new() else { return };
    for new in [site.bundle(|_| ()), site.failing()] {
        let mut bench = Bench::new(&site);
        let old = bench.serving();
        let trial = bench.begin_trial(&new, false);
        // It comes while the golden cases run; what they give is looked at behind it.
        let back = bench.shared.slots().revert(0, Cause::Engineer, BY_AN_ENGINEER).unwrap();
        bench
            .shared
            .board()
            .report(0, OutcomeKind::Reverted, BY_AN_ENGINEER, Instant::now());
        let taken_back = bench.told();
        bench.models.serve(0, trial);
        assert_eq!(bench.told(), taken_back);
        assert_eq!(bench.shared.board().step(0), None);
        assert_eq!(bench.serving(), old);
        bench.models.serve(0, back);
        assert_eq!((bench.told(), bench.serving()), (taken_back, old));
        let states = bench.shared.slots().states();
        assert!(states.iter().all(|state| state.active == state.confirmed), "{states:?}");
    }
}
