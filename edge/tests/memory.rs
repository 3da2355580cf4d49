//! What an update costs in memory: less than 20 MB above the idle service, whatever the bundle's size.
//!
//! `SCANSIDE_MEGABYTES=5,50,200 cargo test -p scanside-edge --test memory` takes bundles of these sizes.

mod service;
mod support;

use std::time::Duration;

use bundle::container::PayloadFile;
use bundle::manifest::FileKind;
use service::{Service, Site};

/// Sizes of a plain test run.
const MEGABYTES: &str = "5,20";
const MEGABYTE: u64 = 1_000_000;
/// Within which the last piece of an upload is answered, looked at in the long form: clients give up after 2 s.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// What receiving, verifying and rebuilding may take above the idle service, in bytes.
const LIMIT: u64 = 20 * MEGABYTE;

fn sizes() -> Vec<usize> {
    let wanted = std::env::var("SCANSIDE_MEGABYTES").unwrap_or_else(|_| MEGABYTES.to_owned());
    let size = |text: &str| text.parse().expect("SCANSIDE_MEGABYTES is a list of numbers");
    wanted.split(',').map(size).collect()
}

/// Bytes that no compressor makes shorter.
fn noise(megabytes: usize, seed: u64) -> PayloadFile {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let bytes = (0..megabytes * MEGABYTE as usize / 8).flat_map(|_| next()).collect();
    PayloadFile::new("report/noise.bin", FileKind::Report, bytes)
}

/// Does something to the service, and gives by how many bytes its memory rose above the idle service's at most.
fn above_idle(service: &mut Service<'_>, step: impl FnOnce(&mut Service<'_>)) -> u64 {
    service.forget_peak_memory();
    service.slowest = Duration::ZERO;
    let idle = service.memory("VmRSS");
    step(service);
    service.memory("VmHWM").saturating_sub(idle)
}

/// Waits until the model is loaded and has examined an image: what is idle has worked before.
fn warm_up(site: &Site, megabytes: usize) {
    site.image(&format!("before-{megabytes}.png"));
    site.wait_for_result();
}

#[test]
fn an_upload_takes_no_more_memory_for_a_larger_bundle() {
    let Some(site) = Site::new() else { return };
    drop(site.with_confirmed_model());
    for megabytes in sizes() {
        // A service that has not grown yet.
        let mut service = site.start();
        warm_up(&site, megabytes);
        let bundle = site.bundle(|files| files.push(noise(megabytes, 1)));
        let above = above_idle(&mut service, |service| {
            service.upload(&bundle);
            let whole = site.hash(&bundle);
            service.wait_for("the bundle", |states| {
                states.iter().any(|s| s.bootable && s.hash == whole)
            });
        });
        println!(
            "upload of {megabytes} MB: {:.1} MB above idle, slowest answer {} ms, last one {} ms",
            above as f64 / 1e6,
            service.slowest.as_millis(),
            service.last_piece.as_millis()
        );
        assert!(above < LIMIT, "{above} bytes for {megabytes} MB");
        let is_long = std::env::var_os("SCANSIDE_MEGABYTES").is_some();
        assert!(!is_long || service.last_piece < LAST_ANSWER, "{:?}", service.last_piece);
    }
}

#[test]
fn a_delta_is_rebuilt_in_bounded_memory() {
    let Some(site) = Site::new() else { return };
    for megabytes in sizes() {
        let base = site.bundle(|files| files.push(noise(megabytes, 2)));
        let target = site.bundle(|files| {
            let mut changed = noise(megabytes, 2);
            changed.bytes.iter_mut().step_by(997).for_each(|byte| *byte ^= 1);
            files.push(changed);
        });
        let delta = bundle::delta::make(&base, &target).unwrap();
        let mut service = site.start();
        service.settle();
        service.upload(&base);
        let hash = service.wait_for_bootable();
        service.test(&hash);
        service.restart();
        service.wait_for("the base", |states| states.iter().any(|s| s.active && s.hash == hash));
        service.confirm(&hash);
        service.wait_for("the confirmation", |states| states[0].confirmed);
        warm_up(&site, megabytes);
        let above = above_idle(&mut service, |service| {
            service
                .delta(&delta, hash.clone().try_into().unwrap(), &target)
                .unwrap();
            let rebuilt = site.hash(&target);
            service.wait_for("the target", |states| {
                states.iter().any(|s| s.bootable && s.hash == rebuilt)
            });
        });
        println!(
            "delta of {:.1} MB to {megabytes} MB: {:.1} MB above idle, slowest answer {} ms",
            delta.len() as f64 / 1e6,
            above as f64 / 1e6,
            service.slowest.as_millis()
        );
        assert!(above < LIMIT, "{above} bytes for {megabytes} MB");
    }
}
