//! The service killed at random moments of an update: the next start serves the old valid model or the new one.
//!
//! `SCANSIDE_KILLS=200 cargo test --test kills` is the long run; `SCANSIDE_SEED` repeats one.

mod service;
mod support;

use std::time::Duration;

use service::{Service, Site};
use support::dice::{Dice, number};

/// One step of an update towards `bundle`, from where the device is.
fn step(service: &mut Service<'_>, bundle: &[u8], dice: &mut Dice) {
    let states = service.states();
    let other = states.iter().find(|state| !state.active);
    match other {
        _ if states.iter().any(|state| state.active && !state.confirmed) => {
            let active = states.iter().find(|state| state.active).unwrap();
            service.send_confirm(&active.hash);
        }
        Some(state) if state.pending => service.send_restart(),
        Some(state) if state.bootable && dice.below(3) > 0 => service.send_test(&state.hash),
        _ => {
            let share = 1 + dice.below(4);
            let until = (bundle.len() as u64 * share).div_ceil(4);
            // A refusal is an answer too: the slot may be in use by now.
            let _ = service.try_upload_until(bundle, until);
        }
    }
}

#[test]
fn whenever_it_is_killed_a_valid_model_serves_afterwards() {
    let Some(site) = Site::new() else { return };
    let (kills, seed) = (number("SCANSIDE_KILLS", 8), number("SCANSIDE_SEED", 1));
    let mut dice = Dice::new(seed);
    let bundles: Vec<Vec<u8>> = (0..4).map(|_| site.bundle(|_| ())).collect();
    drop(site.with_confirmed_model());
    let mut served = Vec::new();
    for kill in 0..kills {
        let mut service = site.start();
        service.wait_for("a model that serves", |states| {
            states.iter().any(|s| s.active && s.bootable)
        });
        site.image(&format!("{kill}.png"));
        let result = site.wait_for_result();
        served.push(result["model"]["version"].as_str().unwrap().to_owned());
        let bundle = &bundles[dice.below(4) as usize];
        for _ in 0..dice.below(5) {
            step(&mut service, bundle, &mut dice);
        }
        std::thread::sleep(Duration::from_micros(dice.below(300_000)));
        service.kill();
    }
    let mut service = site.start();
    service.wait_for("a model that serves", |states| {
        states.iter().any(|s| s.active && s.bootable)
    });
    service.settle();
    service.upload(&site.bundle(|_| ()));
    service.wait_for_bootable();
    served.dedup();
    println!("{kills} kills from seed {seed}; served in turn: {}", served.join(", "));
}
