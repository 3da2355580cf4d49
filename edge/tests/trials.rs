//! What makes a model on trial the confirmed one, and what does not; and what a restart or a self-test in between does.

mod service;
mod support;

use std::fs;
use std::sync::Arc;

use bundle::manifest::{Conformal, ConformalQuantile, Label};
use hardware::slots::{FileCounter, Folder, SecurityCounter};
use service::{Service, Site, State};
use support::{CHEST, Said, Says, TINY, of_work};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A site whose trials end by themselves after so many good results.
fn site(trial_inferences: u32) -> Option<Site> {
    let mut site = Site::new()?;
    site.trial_inferences = Some(trial_inferences);
    Some(site)
}

/// Uploads a bundle and puts it on trial; gives its hash.
fn try_out(service: &mut Service<'_>, bundle: &[u8]) -> Vec<u8> {
    service.upload(bundle);
    let hash = service.wait_for_bootable();
    service.test(&hash);
    service.restart();
    service.wait_for_outcome("passed");
    hash
}

/// One that is uncertain about every image.
fn uncertain(site: &Site) -> Vec<u8> {
    let (mut manifest, files) = of_work(Says::Finding, TINY);
    // Every label is in every prediction set.
    let always = |label: &Label| ConformalQuantile {
        label: label.id.clone(),
        score: 1.0,
    };
    manifest.conformal = Some(Conformal {
        coverage: 0.95,
        n: 200,
        quantiles: manifest.labels.iter().map(always).collect(),
    });
    site.bundle_of(manifest, &files)
}

/// One that has no golden cases to fail, and fails on every image: its network is made for another size.
fn failing_in_use(site: &Site) -> Vec<u8> {
    let (mut manifest, files) = of_work(Says::Finding, TINY);
    manifest.preprocess.size = manifest.preprocess.size.map(|side| 2 * side);
    manifest.golden.clear();
    site.bundle_of(manifest, &files[..1])
}

fn counter(site: &Site) -> u32 {
    let folder = Folder::open_to_read(site.path("state/monotonic")).unwrap();
    FileCounter::new(Arc::new(folder)).read("chest-xray").unwrap()
}

#[test]
fn an_image_that_nobody_asked_for_serves_in_need_and_is_never_confirmed_by_itself() {
    let Some(site) = site(1) else { return };
    let mut service = site.with_confirmed_model();
    let confirmed = service.states()[0].hash.clone();
    // It is there, of a higher counter, and nobody asked for it.
    service.upload(&site.bundle_of_counter(9, |_| ()));
    let stored = service.wait_for_bootable();
    let before = counter(&site);
    service.stop();
    let file = ["a", "b"].map(|side| site.path(&format!("state/slots/chest-xray.{side}")));
    let file = file
        .into_iter()
        .find(|path| fs::read(path).is_ok_and(|file| file.ends_with(&confirmed)))
        .unwrap();
    let good = fs::read(&file).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() * 3 / 4] ^= 1;
    fs::write(&file, &damaged).unwrap();

    let mut service = site.start();
    for name in ["one.png", "two.png"] {
        site.image(name);
        assert_eq!(site.wait_for_result()["model"]["digest"], hex(&stored));
    }
    let reason = service.wait_for_outcome("passed");
    assert!(reason.contains("in place of the confirmed model"), "{reason}");
    let states = service.states();
    let state = |hash: &[u8]| states.iter().find(|state| state.hash == hash).unwrap();
    assert!(state(&stored).active && !state(&stored).confirmed, "{states:?}");
    assert!(state(&confirmed).confirmed && !state(&confirmed).bootable, "{states:?}");
    assert_eq!((service.results_left(), counter(&site)), (None, before));
    service.stop();

    // The medium has recovered.
    fs::write(&file, &good).unwrap();
    let mut service = site.start();
    service.wait_for("the confirmed model", |states| {
        states
            .iter()
            .any(|s| s.active && s.confirmed && s.bootable && s.hash == confirmed)
    });
    site.image("three.png");
    assert_eq!(site.wait_for_result()["model"]["digest"], hex(&confirmed));
}

/// A byte of the network of each slot is another, as a failing medium leaves it.
fn damage_both(site: &Site) {
    for side in ["a", "b"] {
        let path = site.path(&format!("state/slots/chest-xray.{side}"));
        let mut file = fs::read(&path).unwrap();
        let at = file.len() * 3 / 4;
        file[at] ^= 1;
        fs::write(&path, file).unwrap();
    }
}

#[test]
fn where_no_model_loads_no_trial_is_waited_for() {
    let Some(site) = site(1) else { return };
    let mut service = site.with_confirmed_model();
    service.upload(&site.bundle_of_counter(9, |_| ()));
    let asked = service.wait_for_bootable();
    service.test(&asked);
    service.stop();
    damage_both(&site);
    let mut service = site.start();
    let given_up = |states: &[State]| {
        let state = states.iter().find(|state| state.hash == asked);
        state.is_some_and(|state| !state.active && !state.pending)
    };
    service.wait_for("both to be given up", given_up);
    // Nothing refuses it: no self-test runs.
    service.restart();
    service.wait_for("the same after a restart", given_up);
    // A good bundle mends it, once the start has given up both: until then their slots are in use.
    let bundle = site.bundle_of_counter(10, |_| ());
    site.wait("a good bundle to be taken", || service.try_upload(&bundle).ok());
    let good = service.wait_for_bootable();
    service.test(&good);
    service.restart();
    service.wait_for_outcome("passed");
}

#[test]
fn a_model_that_is_uncertain_of_everything_does_not_confirm_itself() {
    let Some(site) = site(1) else { return };
    let mut service = site.with_confirmed_model();
    let hash = try_out(&mut service, &uncertain(&site));
    for name in ["one.png", "two.png"] {
        site.image(name);
        let result = site.wait_for_result();
        assert_eq!(result["decision"]["kind"], "uncertain", "{result}");
    }
    assert_eq!(service.results_left(), Some(1));
    let states = service.states();
    assert!(
        states.iter().any(|s| s.active && !s.confirmed && s.hash == hash),
        "{states:?}"
    );
}

#[test]
fn a_series_counts_once_for_a_trial() {
    let Some(mut site) = site(2) else { return };
    site.modalities = vec!["CT"];
    site.extra = "[appliance.store]\nseries_quiet_seconds = 1\n".to_owned();
    let mut service = site.with_confirmed_model();
    try_out(&mut service, &site.bundle(|_| ()));
    let series = |series: &str| {
        let slice = Said {
            modality: "CT",
            series,
            ..CHEST
        };
        for n in 0..4 {
            let uid = format!("{series}.{n}");
            fs::write(site.path("arriving"), Said { uid: &uid, ..slice }.bytes()).unwrap();
            fs::rename(site.path("arriving"), site.path("inbox").join(format!("{uid}.dcm"))).unwrap();
        }
        site.wait_for_result();
    };
    series("1.2.3.9");
    assert_eq!(service.results_left(), Some(1));
    series("1.2.3.8");
    service.wait_for("the confirmation", |states| states[0].confirmed);
}

#[test]
fn faults_of_the_confirmed_model_do_not_withdraw_what_is_to_mend_it() {
    let Some(site) = Site::new() else { return };
    let mut service = site.start();
    service.serve(0, &failing_in_use(&site));
    service.upload(&site.bundle(|_| ()));
    let mending = service.wait_for_bootable();
    service.test(&mending);
    for n in 0..4 {
        site.image(&format!("{n}.png"));
    }
    site.wait("four faults", || (service.faults() >= 4).then_some(()));
    let states = service.states();
    assert!(states.iter().any(|s| s.pending && s.hash == mending), "{states:?}");
    assert!(!service.goings_on().1.contains(&"reverted".to_owned()));
    service.restart();
    service.wait_for_outcome("passed");
    assert_eq!(site.wait_for_result()["model"]["digest"], hex(&mending));
}

#[test]
fn a_model_on_trial_that_keeps_failing_is_taken_back() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let old = service.states()[0].hash.clone();
    try_out(&mut service, &failing_in_use(&site));
    site.image("one.png");
    let reason = service.wait_for_outcome("reverted");
    assert!(reason.contains("failed 3 times"), "{reason}");
    assert_eq!(site.wait_for_result()["model"]["digest"], hex(&old));
}

#[test]
fn without_a_hash_the_only_image_on_trial_is_confirmed_and_none_of_several() {
    let Some(mut site) = Site::new() else { return };
    site.roles = vec!["chest-xray", "chest-ct"];
    let mut service = site.start();
    for (image, role) in ["chest-xray", "chest-ct"].into_iter().enumerate() {
        let bundle = site.of_role(role);
        service.upload_to(image as u32, &bundle);
        let hash = site.hash(&bundle);
        service.wait_for("the bundle", |states| {
            states.iter().any(|s| s.bootable && s.hash == hash)
        });
        service.test(&hash);
    }
    assert_eq!(service.try_confirm_running(), Err(11), "none is on trial");
    service.restart();
    service.wait_for("both trials", |states| states.iter().all(|s| s.active));
    service.wait_for_rest();
    assert_eq!(service.try_confirm_running(), Err(3), "whichever is meant");
    assert!(service.states().iter().all(|state| !state.confirmed));
    let first = service.states()[0].hash.clone();
    service.confirm(&first);
    for _ in 0..2 {
        assert_eq!(service.try_confirm_running(), Ok(()));
        assert!(service.states().iter().all(|state| state.confirmed));
    }
}

#[test]
fn a_restart_during_a_self_test_is_refused_or_waits_and_takes_nothing_back() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    service.upload(&site.slow(|_| ()));
    let hash = service.wait_for_bootable();
    service.test(&hash);
    service.restart();
    // Repeated by a client that heard no answer.
    assert_eq!(service.try_restart(false), Err(10));
    assert!(service.goings_on().0.contains(&"self-test".to_owned()) || service.states().iter().any(|s| s.pending));
    service.wait_for_outcome("passed");
    let on_trial = |service: &mut Service<'_>| {
        service
            .states()
            .iter()
            .any(|s| s.active && !s.confirmed && s.hash == hash)
    };
    assert!(on_trial(&mut service));
    // In order and between two self-tests, the trial goes on with another one; also when that is cut short by force.
    service.restart();
    service.wait_for("the next self-test", |states| {
        states.iter().any(|s| s.active && s.hash == hash)
    });
    assert_eq!(service.try_restart(true), Ok(()));
    service.wait_until_it_answers();
    service.wait_for_outcome("passed");
    assert!(on_trial(&mut service));
}

#[test]
fn a_self_test_that_was_asked_for_goes_on_until_its_own_end() {
    let Some(site) = Site::new() else { return };
    let mut service = site.start();
    service.serve(0, &site.slow(|_| ()));
    for _ in 0..2 {
        service.self_test();
        // At once, before its model is even loaded; and nothing of an earlier one.
        let (activities, outcomes) = service.goings_on();
        assert!(activities.contains(&"self-test".to_owned()), "{activities:?}");
        assert!(outcomes.is_empty(), "{outcomes:?}");
        service.wait_for_outcome("passed");
        assert!(!service.goings_on().0.contains(&"self-test".to_owned()));
    }
}

#[test]
fn slots_are_as_large_as_what_they_may_ever_hold() {
    let Some(site) = Site::new() else { return };
    let mut service = site.start();
    let (empty, longest) = service.slot_sizes();
    assert!(empty[0] > 1 << 30 && empty[0] == empty[1], "{empty:?}");
    assert!(
        longest.is_some_and(|longest| longest <= empty[0] && longest > 1_000_000),
        "{longest:?}"
    );
    service.serve(0, &site.bundle(|_| ()));
    assert_eq!(service.slot_sizes().0, empty);
}
