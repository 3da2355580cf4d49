//! The service as a process on a pseudo-terminal: flashed, tried, confirmed, killed.

mod service;
mod support;

use std::time::Instant;

use embedded_graphics::geometry::Size;
use hardware::smp::Code;
use scanside_edge::screens::layout::Layout;
use service::Site;

#[test]
fn a_first_model_arrives_is_tried_confirmed_and_stays() {
    let Some(site) = Site::new() else { return };
    let bundle = site.bundle(|_| ());
    let image = site.image("waiting.png");
    let mut service = site.start();
    assert!(service.states().is_empty(), "nothing was flashed yet");

    service.upload(&bundle);
    let hash = service.wait_for_bootable();
    service.test(&hash);
    assert!(service.states()[0].pending);
    assert!(image.exists(), "without a model an image waits");

    service.restart();
    service.wait_for_outcome("passed");
    assert!(service.states()[0].active && !service.states()[0].confirmed);
    let result = site.wait_for_result();
    assert_eq!(result["decision"]["kind"], "flagged", "{result}");
    site.wait("the image to be put away", || (!image.exists()).then_some(()));

    service.confirm(&hash);
    let states = service.states();
    assert!(states[0].active && states[0].confirmed, "{states:?}");
    service.kill();
    let mut service = site.start();
    service.wait_for("the confirmed model", |states| states[0].active && states[0].confirmed);
    assert_eq!(service.stop(), 0);
}

#[test]
fn each_role_gets_the_model_that_names_it_with_its_first_piece() {
    let Some(mut site) = Site::new() else { return };
    site.roles = vec!["chest-xray", "chest-ct"];
    let mut service = site.with_models(&[("chest-xray", &["DX"]), ("chest-ct", &["CT"])]);
    let states = service.states();
    assert!(
        states.len() == 2 && states.iter().all(|state| state.active && state.confirmed),
        "{states:?}"
    );
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_model_that_fails_its_self_test_leaves_the_old_one_serving() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let old = service.states()[0].hash.clone();
    service.upload(&site.failing());
    let hash = service.wait_for_bootable();
    service.test(&hash);
    service.restart();
    let reason = service.wait_for_outcome("failed");
    assert!(reason.contains("golden case"), "{reason}");
    let states = service.states();
    let active = states.iter().find(|state| state.active).unwrap();
    assert!(active.hash == old && active.confirmed, "{states:?}");
    site.image("after.png");
    site.wait_for_result();
}

#[test]
fn a_crash_during_the_trial_brings_the_old_model_back_with_the_reason() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let old = service.states()[0].hash.clone();
    service.upload(&site.bundle(|_| ()));
    let hash = service.wait_for_bootable();
    service.test(&hash);
    service.restart();
    service.wait_for_outcome("passed");
    service.kill();

    let mut service = site.start();
    service.wait_for("the old model", |states| {
        states.iter().any(|s| s.active && s.hash == old)
    });
    let reason = service.wait_for_outcome("reverted");
    assert!(reason.contains("without being stopped in order"), "{reason}");
}

#[test]
fn a_missing_library_ends_the_trial_and_the_old_model_serves_once_it_is_back() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let old = service.states()[0].hash.clone();
    service.upload(&site.bundle(|_| ()));
    let hash = service.wait_for_bootable();
    service.test(&hash);
    *site.onnxruntime.borrow_mut() = Some(site.path("nowhere"));
    site.write_config();
    service.restart();
    service.wait_for_outcome("reverted");
    let problem = site.wait("the problem", || service.problems().pop());
    assert!(problem.contains("nowhere"), "{problem}");
    let states = service.states();
    assert!(
        states.iter().all(|state| state.bootable),
        "neither is damaged: {states:?}"
    );
    let image = site.image("waiting.png");
    drop(service);
    assert!(image.exists(), "an image waits for a model");

    *site.onnxruntime.borrow_mut() = None;
    let mut service = site.start();
    service.wait_for("the old model", |states| {
        states.iter().any(|s| s.active && s.confirmed && s.hash == old)
    });
    assert_eq!(site.wait_for_result()["model"]["digest"], hex(&old));
    let states = service.states();
    assert!(
        states.iter().all(|state| state.bootable),
        "neither is damaged: {states:?}"
    );
    // The new one was not to blame: it may be tried again.
    service.test(&hash);
    service.restart();
    service.wait_for("the trial", |states| states.iter().any(|s| s.active && s.hash == hash));
}

#[test]
fn the_running_model_serves_until_the_switch_which_loses_no_queued_image() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let old = service.states()[0].hash.clone();
    let bundle = site.bundle(|_| ());
    service.upload_until(&bundle, bundle.len() as u64 / 2);
    site.image("meanwhile.png");
    assert_eq!(site.wait_for_result()["model"]["digest"], hex(&old));
    service.upload(&bundle);
    let hash = service.wait_for_bootable();
    service.test(&hash);
    let images: Vec<_> = (0..20).map(|number| site.image(&format!("{number:02}.png"))).collect();
    let asked = Instant::now();
    service.restart();
    let mut gap = None;
    let models: Vec<String> = images
        .iter()
        .map(|_| {
            let model = site.wait_for_result()["model"]["digest"].as_str().unwrap().to_owned();
            if model == hex(&hash) {
                gap.get_or_insert_with(|| asked.elapsed());
            }
            model
        })
        .collect();
    println!(
        "the first result of the new model came {:?} after the restart was asked for",
        gap.unwrap()
    );
    assert!(models.contains(&hex(&hash)), "the new model took over: {models:?}");
    // Whichever came first, the old model never comes back behind the new one.
    let switch = models.iter().position(|model| *model == hex(&hash)).unwrap();
    assert!(models[..switch].iter().all(|model| *model == hex(&old)), "{models:?}");
    assert!(models[switch..].iter().all(|model| *model == hex(&hash)), "{models:?}");
    site.wait("the images to be put away", || {
        images.iter().all(|image| !image.exists()).then_some(())
    });
}

#[test]
fn an_engineer_takes_a_trial_back_without_a_restart() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let old = service.states()[0].hash.clone();
    service.upload(&site.bundle(|_| ()));
    let hash = service.wait_for_bootable();
    service.test(&hash);
    service.restart();
    service.wait_for("the trial", |states| states.iter().any(|s| s.active && s.hash == hash));
    service.revert();
    service.wait_for("the old model", |states| {
        states.iter().any(|s| s.active && s.hash == old)
    });
    site.image("after.png");
    let result = site.wait_for_result();
    assert_eq!(result["model"]["digest"], hex(&old), "{result}");
}

#[test]
fn what_may_not_be_stored_is_refused_with_its_reason_and_changes_nothing() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    let before = service.states();
    for (bundle, code) in [
        (site.stranger(), Code::Signature),
        (site.of_role("chest-ct"), Code::Role),
        (site.bundle_of_counter(0, |_| ()), Code::Downgrade),
        (
            b"this is no bundle, however long it is, and never will be one".repeat(20),
            Code::Format,
        ),
    ] {
        let rc = service.try_upload(&bundle).expect_err("it must not be taken");
        assert_eq!(rc, u64::from(code.rc()), "{code:?}");
        assert_eq!(service.states(), before, "{code:?}");
    }
    let damaged = site.damaged_payload();
    let rc = service
        .try_upload(&damaged)
        .expect_err("a block that never fits its checksum");
    assert_eq!(rc, u64::from(Code::Corrupt.rc()));
    assert_eq!(service.states(), before);
    service.upload(&site.bundle(|_| ()));
    service.wait_for_bootable();
}

#[test]
fn an_upload_goes_on_where_a_power_cut_ended_it() {
    let Some(site) = Site::new() else { return };
    let bundle = site.bundle(|_| ());
    let mut service = site.start();
    let half = service.upload_until(&bundle, bundle.len() as u64 / 2);
    service.kill();
    let mut service = site.start();
    let went_on = service.begin_upload(&bundle);
    assert!(went_on > 0 && went_on <= half, "{went_on} of {half}");
    service.upload(&bundle);
    service.wait_for_bootable();
}

#[test]
fn a_delta_brings_the_new_bundle_bit_by_bit() {
    let Some(site) = Site::new() else { return };
    let (old, new) = (site.bundle(|_| ()), site.bundle(|_| ()));
    let delta = bundle::delta::make(&old, &new).unwrap();
    assert!(delta.len() * 2 < new.len(), "{} of {}", delta.len(), new.len());
    let mut service = site.start();
    let refused = service
        .delta(&delta, [7; 32], &new)
        .expect_err("the device does not have that base");
    assert_eq!(refused, u64::from(Code::WrongBase.rc()));

    service.upload(&old);
    let base = service.wait_for_bootable();
    // It lies where the new one goes.
    let refused = service.delta(&delta, base.clone().try_into().unwrap(), &new);
    assert_eq!(refused, Err(u64::from(Code::WrongBase.rc())));
    service.test(&base);
    service.restart();
    service.wait_for_outcome("passed");
    service.confirm(&base);
    service.delta(&delta, base.try_into().unwrap(), &new).unwrap();
    let hash = service.wait_for_bootable();
    assert_eq!(hash, site.hash(&new));
    service.test(&hash);
    service.restart();
    service.wait_for_outcome("passed");
}

#[test]
fn results_and_logs_can_be_fetched_and_nothing_else() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    site.image("a.png");
    site.wait_for_result();
    let files = service.files();
    assert!(files.iter().any(|name| name.starts_with("logs/edge")), "{files:?}");
    let result = files
        .iter()
        .find(|name| name.starts_with("results/"))
        .expect("a result");
    let text = service.download(result).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("scanside-finding/1"));
    for name in [
        "/etc/passwd",
        "../slots/x",
        "slots/chest-xray.0",
        "results/../../edge.toml",
    ] {
        assert!(service.download(name).is_err(), "{name}");
    }
}

#[test]
fn a_self_test_on_demand_writes_its_report() {
    let Some(site) = Site::new() else { return };
    let mut service = site.with_confirmed_model();
    service.self_test();
    let reason = service.wait_for_outcome("passed");
    assert!(reason.contains("golden cases agree"), "{reason}");
    let report = service.download("doctor.json").unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["healthy"], true, "{report}");
}

#[test]
fn a_trial_ends_by_itself_after_enough_results_if_so_configured() {
    let Some(mut site) = Site::new() else { return };
    site.trial_inferences = Some(2);
    let mut service = site.start();
    service.upload(&site.bundle(|_| ()));
    let hash = service.wait_for_bootable();
    service.test(&hash);
    service.restart();
    for name in ["one.png", "two.png"] {
        site.image(name);
        site.wait_for_result();
    }
    service.wait_for("the confirmation", |states| states[0].confirmed);
    assert!(service.wait_for_outcome("confirmed").contains("good results"));
}

#[test]
fn it_says_what_it_is_and_what_it_was_built_from() {
    let Some(site) = Site::new() else { return };
    let mut service = site.start();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(service.information("sr"), format!("Scanside {version}"));
    // Tests are told neither.
    let built = [option_env!("SCANSIDE_GIT_REVISION"), option_env!("SCANSIDE_BUILD")];
    let wanted = [built[0].unwrap_or("unknown"), built[1].unwrap_or("development")];
    assert_eq!(service.information("vb"), wanted.join(" "));
}

#[test]
fn what_cannot_be_written_down_is_told_and_the_model_serves() {
    let Some(site) = Site::new() else { return };
    let mut service = site.start();
    service.upload(&site.bundle(|_| ()));
    let hash = service.wait_for_bootable();
    service.test(&hash);
    service.restart();
    service.wait_for_outcome("passed");
    assert!(service.problems().is_empty(), "{:?}", service.problems());
    // The counter's folder is gone: the record holds what the counter could not.
    std::fs::remove_dir_all(site.path("state/monotonic")).unwrap();
    service.confirm(&hash);
    let problem = site.wait("the problem", || service.problems().pop());
    assert!(
        problem.contains("security counter") && problem.contains("advanced"),
        "{problem}"
    );
    let log = std::fs::read_to_string(site.path("stderr")).unwrap();
    assert!(log.contains(&problem), "{log}");
    site.image("after.png");
    site.wait_for_result();
    assert_eq!(service.problems(), [problem], "a result does not write it down");
    assert!(service.states()[0].confirmed);
}

#[test]
fn the_display_tells_what_goes_on() {
    let Some(site) = Site::new() else { return };
    let service = site.start();
    let screen = site.wait_for_screen();
    assert_eq!(screen.dimensions(), (800, 480));
    // A mark moves, so that whoever looks at the file sees a frozen one.
    let place = Layout::new(Size::new(800, 480), 1).beat;
    let beat = |screen: &image::RgbImage| {
        let (at, size) = (place.top_left, place.size);
        image::imageops::crop_imm(screen, at.x as u32, at.y as u32, size.width, size.height).to_image()
    };
    for _ in 0..2 {
        let before = beat(&site.wait_for_screen());
        site.wait("the mark to move", || {
            (beat(&site.wait_for_screen()) != before).then_some(())
        });
    }
    drop(service);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
