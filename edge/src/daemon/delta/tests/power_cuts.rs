//! Power cuts at every operation of an appliance's life whose models come as differences: of receiving, following, reading
//! back, trial, confirmation and return.
//!
//! Deltas, slots and counter lie in one simulated folder, so that their power fails together. After each cut the engineer
//! goes on, so each case ends with a further update that is confirmed, and each start on the way is checked.

use std::sync::atomic::{AtomicU64, Ordering};

use hardware::slots::simulated::cuts::{Tally, every_first_cut, up_to_five};

use super::life::{Models, World};

fn every_cut_is_survived(seeds: u64) {
    let models = Models::new();
    let Tally { cases, cuts } =
        every_first_cut(&World::new(&models), &|operation| up_to_five(operation, seeds)).unwrap();
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let (torn, resumed) = (count(&models.torn), count(&models.resumed));
    println!("power cuts, deltas: {cases} cases with {cuts} cuts, none skipped");
    println!(
        "of the deltas, {} were followed, {resumed} went on where they were, {torn} came back torn and were sent again",
        count(&models.followed)
    );
    assert!(torn > 0 && resumed > 0, "{torn} and {resumed}");
}

#[test]
fn a_valid_model_survives_cuts_of_deltas_trials_and_reverts() {
    every_cut_is_survived(1);
}

#[test]
#[ignore = "takes long; `cargo xtask soak power`"]
fn a_valid_model_survives_cuts_from_many_seeds() {
    every_cut_is_survived(20);
}
