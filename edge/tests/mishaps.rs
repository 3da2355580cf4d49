//! What happens to an appliance that nobody looks after, against the running service: its display is unplugged, its clock
//! jumps, its archive is away for a day, its model is gone, it gets hot, a thread of it hangs. It lives, says so, and
//! loses nothing that it accepted.

mod inside;
mod peers;
mod service;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use embedded_graphics::geometry::{OriginDimensions, Size};
use hardware::display::Canvas;
use hardware::leds::LedState;
use hardware::watchdog::News;
use inside::tampered::Tampered;
use inside::{CONTROLS, Clocks, Setup, body, count, pixels_of, site, text};
use peers::servers::{free_port, storescp};
use scanside_edge::controls::Action;
use scanside_edge::daemon::network::{Sender, outgoing};
use scanside_edge::daemon::pulse::Patience;
use scanside_edge::daemon::{DaemonError, Ended};
use scanside_edge::screens::palette;
use service::Site;
use support::{CHEST, Said};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether the screen is the red one.
fn is_fault(canvas: &Canvas) -> bool {
    pixels_of(canvas, palette::FAULT) > 500
}

fn put(site: &Site, name: &str, bytes: &[u8]) {
    fs::write(site.path("arriving"), bytes).unwrap();
    fs::rename(site.path("arriving"), site.path("inbox").join(name)).unwrap();
}

#[test]
fn a_display_that_is_unplugged_is_missed_by_nobody_and_shows_the_present_when_it_is_back() {
    let Some(site) = site() else { return };
    let running = Setup::new(&site).start();
    let idle = running.settled();
    running.glass.unplug();
    running.image("unseen.png");
    // Nobody can have seen what a button would judge.
    running.press(Action::Agree);
    thread::sleep(inside::SETTLED);
    assert!(body(&running.canvas()).iter().all(|byte| *byte == 0), "it is dark");
    assert_eq!(count(&site, "SELECT count(*) FROM audit WHERE event = 'verdict'"), 0);
    assert_eq!(
        count(&site, "SELECT count(*) FROM images WHERE latency_ms IS NOT NULL"),
        0,
        "nobody saw it"
    );
    running.glass.plug_in(idle.size());
    let back = running.wait_for_screen("the result", |canvas| body(canvas).iter().any(|byte| *byte > 0));
    assert!(body(&back) != body(&idle));
    // A flagged result would be held for a while.
    running.after(Action::Acknowledge);
    // Another display in its place: the screens fill it.
    running.glass.unplug();
    running.glass.plug_in(Size::new(320, 240));
    let small = running.wait_for_screen("the small one", |canvas| {
        canvas.size() == Size::new(320, 240) && canvas.rgb().iter().any(|byte| *byte > 0)
    });
    assert_eq!(small.size(), Size::new(320, 240));
    running.image("seen.png");
    site.wait("its latency", || {
        (count(&site, "SELECT count(*) FROM images WHERE latency_ms IS NOT NULL") == 1).then_some(())
    });
    assert_eq!(running.stop(), Ended::Stopped);
}

#[test]
fn a_framebuffer_that_is_not_there_keeps_nobody_from_a_result() {
    let Some(site) = Site::new() else { return };
    site.with_confirmed_model().stop();
    let config = fs::read_to_string(site.path("edge.toml")).unwrap();
    let (before, rest) = config.split_once("[appliance.display]").unwrap();
    let (_, after) = rest.split_once("[appliance.intake]").unwrap();
    let absent = site.path("fb0");
    let display = format!("[appliance.display]\nkind = \"framebuffer\"\ndevice = {absent:?}\n");
    fs::write(
        site.path("edge.toml"),
        format!("{before}{display}[appliance.intake]{after}"),
    )
    .unwrap();
    let service = site.spawn_as_configured();
    site.image("a.png");
    site.wait_for_result();
    assert_eq!(service.stop(), 0);
    let log = fs::read_to_string(site.path("stderr")).unwrap();
    let told = log
        .lines()
        .filter(|line| line.contains("fb0") && line.contains("cannot open"));
    assert_eq!(told.count(), 1, "it is told once: {log}");
}

#[test]
fn a_clock_that_jumps_deletes_nothing_and_holds_nothing_up() {
    let Some(mut site) = site() else { return };
    site.extra += "[appliance.store]\nkeep_days = 8\n";
    let clocks = Clocks::default();
    let start = |site| {
        let setup = Setup {
            clocks: Some(clocks.clone()),
            ..Setup::new(site)
        };
        setup.start()
    };
    let running = start(&site);
    let first = running.image("a.png");
    // The system's clock goes back to 1970 and far ahead while the service runs: it follows the steady one.
    let time = |site: &Site| count(site, "SELECT max(changed) FROM cases");
    let before = time(&site);
    for year in [0, 80] {
        clocks.set_system(year * 365 * DAY);
        running.image(&format!("{year}.png"));
        let moved = time(&site) - before;
        assert!((0..3_600_000).contains(&moved), "year {year}: {moved} ms");
    }
    running.stop();
    // It starts with a clock that was reset, and with one that is years ahead: time goes on, and no case goes for its age.
    for system in [Duration::from_secs(7), 70 * 365 * DAY] {
        clocks.set_system(system);
        let running = start(&site);
        running.image(&format!("{}.png", system.as_secs()));
        assert!(time(&site) >= before, "time never goes back");
        running.stop();
    }
    let kept = format!("SELECT count(*) FROM cases WHERE number = '{first}'");
    assert_eq!(count(&site, &kept), 1);
    assert_eq!(count(&site, "SELECT count(*) FROM results"), 5);
    // A year passes in a moment: a week of age at most, at this start and at the next.
    clocks.pass(365 * DAY);
    for _ in 0..2 {
        let running = start(&site);
        running.image(&format!("{}.png", count(&site, "SELECT count(*) FROM images")));
        running.stop();
    }
    assert_eq!(count(&site, &kept), 1);
    let verified = support::program()
        .args(["audit", "verify", "--config"])
        .arg(site.path("edge.toml"))
        .output()
        .unwrap();
    assert_eq!(support::code(&verified), 0, "{}", support::stdout(&verified));
}

#[test]
fn a_clock_that_an_engineer_sets_wrongly_is_refused_and_one_set_ahead_deletes_nothing() {
    let Some(mut site) = Site::new() else { return };
    site.extra = "[appliance.store]\nkeep_days = 8\n".to_owned();
    let mut service = site.with_confirmed_model();
    site.image("a.png");
    let first = site.wait_for_result()["case_id"].as_str().unwrap().to_owned();
    for wrong in ["1999-12-31T23:59:59", "2099-01-01T00:00:00"] {
        let refused = service.set_time(wrong).expect_err("it must be refused");
        assert!(refused.contains("last one seen"), "{wrong}: {refused}");
    }
    // A year ahead is possible, and cannot be taken back.
    let year = chrono::Utc::now() + chrono::TimeDelta::days(365);
    service.set_time(&year.format("%Y-%m-%dT%H:%M:%S").to_string()).unwrap();
    assert!(
        service
            .set_time(&chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S").to_string())
            .is_err()
    );
    site.image("b.png");
    let second = site.wait_for_result();
    assert!(
        second["time"]
            .as_str()
            .unwrap()
            .starts_with(&year.format("%Y").to_string()),
        "{second}"
    );
    assert_eq!(service.stop(), 0);
    // The next start tidies, with the clock a year ahead.
    let service = site.start();
    site.image("c.png");
    site.wait_for_result();
    assert_eq!(service.stop(), 0);
    let kept = format!("SELECT count(*) FROM cases WHERE number = '{first}'");
    assert_eq!(count(&site, &kept), 1);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[test]
fn an_archive_that_is_away_for_a_day_has_everything_once_it_is_back() {
    if peers::dcmtk("storescp").is_none() {
        return;
    }
    let Some(mut site) = site() else { return };
    let port = free_port();
    site.extra += &format!(
        "[appliance.outbox]\n[appliance.outbox.archive]\naddress = \"127.0.0.1:{port}\"\nae_title = \"ARCHIVE\"\n"
    );
    let clocks = Clocks::default();
    let setup = Setup {
        clocks: Some(clocks.clone()),
        outgoing: Some(Box::new(|config| outgoing(config.outbox.as_ref().unwrap()))),
        tasks: Box::new(|config| vec![Box::new(Sender::new(config.outbox.as_ref().unwrap()))]),
        ..Setup::new(&site)
    };
    let running = setup.start();
    let attempts = || count(&site, "SELECT coalesce(sum(attempts), 0) FROM outbox");
    for hour in 0..24 {
        if hour % 6 == 0 {
            let uid = format!("1.2.3.4.{hour}");
            let said = Said {
                uid: &uid,
                study: &uid,
                series: &uid,
                ..CHEST
            };
            put(&site, &format!("{hour}.dcm"), &said.bytes());
            site.wait("the objects to be made", || {
                (count(&site, "SELECT count(*) FROM outbox WHERE state = 'waiting'") == 2 * (hour / 6 + 1))
                    .then_some(())
            });
        }
        let before = attempts();
        clocks.pass(HOUR);
        site.wait("another attempt", || (attempts() > before).then_some(()));
    }
    let told = text(&site, "SELECT last_error FROM outbox WHERE state = 'waiting' LIMIT 1");
    assert!(told.contains("ARCHIVE") && told.contains("cannot be reached"), "{told}");
    let unsent = running.settled();
    assert!(!is_fault(&unsent), "what cannot be sent waits, and has its mark");
    let archived = site.path("archived");
    let _archive = storescp(port, &archived, &[]);
    clocks.pass(HOUR);
    site.wait("all objects", || (files(&archived).len() == 8).then_some(()));
    site.wait("an empty outbox", || {
        (count(&site, "SELECT count(*) FROM outbox WHERE state <> 'sent'") == 0).then_some(())
    });
    let sent = running.settled();
    assert!(sent.rgb() != unsent.rgb(), "the mark is another");
    assert_eq!(running.stop(), Ended::Stopped);
}

/// The files of a role's models.
fn slots(site: &Site) -> Vec<PathBuf> {
    let mut large = files(&site.path("state/slots"));
    large.retain(|path| path.metadata().unwrap().len() > 10_000);
    large
}

#[test]
fn a_model_that_is_gone_or_damaged_is_a_fault_on_the_screen_and_images_wait_for_another() {
    for damage in [
        |path: &Path| fs::remove_file(path).unwrap(),
        |path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        },
    ] {
        let Some(site) = site() else { return };
        let found = slots(&site);
        assert!(!found.is_empty());
        found.iter().for_each(|path| damage(path));
        let running = Setup::new(&site).start();
        running.wait_for_screen("the fault", is_fault);
        site.image("waiting.png");
        site.wait("it to be taken in", || {
            (count(&site, "SELECT count(*) FROM images WHERE state = 'waiting'") == 1).then_some(())
        });
        site.wait("the red light", || {
            (running.leds.states().last() == Some(&LedState::Fault)).then_some(())
        });
        assert_eq!(running.stop(), Ended::Stopped);

        let mut service = site.start();
        site.wait("the problem", || service.problems().pop());
        service.upload(&site.bundle(|_| ()));
        let hash = service.wait_for_bootable();
        service.test(&hash);
        service.restart();
        let result = site.wait_for_result();
        assert_eq!(result["decision"]["kind"], "flagged", "{result}");
        assert_eq!(service.stop(), 0);
    }
}

#[test]
fn without_any_model_the_screen_says_how_one_comes_and_images_wait() {
    let Some(mut site) = Site::new() else { return };
    site.extra = CONTROLS.to_owned();
    let running = Setup::new(&site).start();
    let screen = running.wait_for_screen("the notice", |canvas| pixels_of(canvas, palette::SETBACK) > 200);
    assert!(!is_fault(&screen));
    let image = site.image("waiting.png");
    site.wait("it to be taken in", || {
        (count(&site, "SELECT count(*) FROM images WHERE state = 'waiting'") == 1).then_some(())
    });
    assert!(image.exists());
    assert_eq!(running.stop(), Ended::Stopped);
}

/// A folder like the kernel's with one zone that switches the machine off at 100 °C.
fn zone(site: &Site, celsius: f32) {
    let zone = site.path("thermal/thermal_zone0");
    fs::create_dir_all(&zone).unwrap();
    let millis = format!("{}", (celsius * 1000.0) as i64);
    for (file, text) in [
        ("type", "cpu-thermal"),
        ("trip_point_0_type", "passive"),
        ("trip_point_0_temp", "80000"),
        ("trip_point_1_type", "critical"),
        ("trip_point_1_temp", "100000"),
        ("temp", &millis),
    ] {
        fs::write(zone.join(file), text).unwrap();
    }
}

#[test]
fn heat_is_shown_then_a_fault_and_what_waited_is_examined_when_it_has_cooled() {
    let Some(site) = site() else { return };
    zone(&site, 60.0);
    let setup = Setup {
        thermal: site.path("thermal"),
        ..Setup::new(&site)
    };
    let running = setup.start();
    let cool = running.settled();
    zone(&site, 78.0);
    let line = |canvas: &Canvas| {
        (0..20)
            .flat_map(|y| canvas.row(y, 0, 600).to_vec())
            .collect::<Vec<u8>>()
    };
    running.wait_for_screen("the mark", |canvas| line(canvas) != line(&cool));
    running.image("warm.png");
    zone(&site, 97.0);
    running.wait_for_screen("the fault", is_fault);
    site.image("hot.png");
    site.wait("it to be taken in", || {
        (count(&site, "SELECT count(*) FROM images WHERE state = 'waiting'") == 1).then_some(())
    });
    thread::sleep(inside::SETTLED);
    assert_eq!(count(&site, "SELECT count(*) FROM results"), 1, "it rests");
    zone(&site, 90.0);
    thread::sleep(Duration::from_secs(6));
    assert!(is_fault(&running.canvas()), "it has not cooled enough");
    zone(&site, 85.0);
    site.wait("the result", || {
        (count(&site, "SELECT count(*) FROM results") == 2).then_some(())
    });
    running.wait_for_screen("the end of the fault", |canvas| !is_fault(canvas));
    assert_eq!(running.stop(), Ended::Stopped);
}

#[test]
fn a_thread_that_hangs_ends_the_service_which_tells_it_and_a_slow_one_does_not() {
    let Some(site) = site() else { return };
    let stalls = Arc::new(AtomicBool::new(true));
    let start = |long: Duration| {
        let stalled = stalls.clone();
        let setup = Setup {
            patience: Patience {
                step: Duration::from_secs(600),
                long,
            },
            parts: Box::new(|parts| Tampered::stall(parts, stalled)),
            ..Setup::new(&site)
        };
        setup.start()
    };
    let running = start(Duration::from_secs(2));
    running.wait_for_screen("the start", |canvas| pixels_of(canvas, palette::BRAND) > 200);
    let (watchdog, glass) = (running.watchdog.clone(), running.glass.clone());
    let stuck = running.ended();
    assert!(matches!(stuck, DaemonError::Stuck { thread: "serving", .. }), "{stuck}");
    let said = stuck.to_string();
    assert!(said.contains("a model is loaded") && said.contains("for 2 s"), "{said}");
    assert!(is_fault(&glass.shown()), "the screen says that a part of it hangs");
    let told = watchdog.told();
    assert!(told.contains(&News::Alive), "it lived until then: {told:?}");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(watchdog.told(), [], "nobody says that it lives");
    stalls.store(false, Ordering::SeqCst);
    // The thread that hung lets go of the slots.
    thread::sleep(Duration::from_secs(1));

    stalls.store(true, Ordering::SeqCst);
    let running = start(Duration::from_secs(3600));
    thread::sleep(Duration::from_secs(4));
    assert!(
        running.watchdog.told().contains(&News::Alive),
        "a slow medium is no fault"
    );
    stalls.store(false, Ordering::SeqCst);
    running.image("a.png");
    assert_eq!(running.stop(), Ended::Stopped);
}
