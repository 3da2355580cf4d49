//! Power cuts at every operation of an appliance's life with its slots.
//!
//! After each cut the engineer goes on, so each case ends with a further upload that is confirmed, and each start on the
//! way is checked.

use std::io;
use std::sync::Arc;

use super::world::{LIVES, Life, Wrap, begin, toys};
use crate::slots::Storage;
use crate::slots::simulated::cuts::{self, Cuts, Tally, up_to_five};
use crate::slots::simulated::{Moment, Simulated};

/// Operations after a start within which a second cut is tried: all that a start does, and the beginning of what
/// follows.
const REACH: u64 = 60;

fn plain(disk: Arc<Simulated>) -> Arc<dyn Storage> {
    disk
}

fn every_first_cut(life: &Life, wrap: Wrap, rest: &dyn Fn(u64) -> Vec<(u64, Cuts)>) -> Result<Tally, String> {
    let toys = toys();
    cuts::every_first_cut(&begin(life, &toys, wrap), rest).map_err(|why| format!("{}: {why}", life.name))
}

fn report(life: &Life, tally: &Tally) {
    println!(
        "power cuts, {}: {} cases with {} cuts, none skipped",
        life.name, tally.cases, tally.cuts
    );
}

fn every_cut_is_survived(life: &Life) {
    let tally = every_first_cut(life, plain, &|operation| up_to_five(operation, 3)).unwrap();
    report(life, &tally);
}

#[test]
fn a_valid_model_survives_cuts_of_updates_and_reverts() {
    every_cut_is_survived(&LIVES[0]);
}

#[test]
fn a_valid_model_survives_cuts_of_trials_taken_back() {
    every_cut_is_survived(&LIVES[1]);
}

#[test]
fn a_first_install_survives_cuts() {
    every_cut_is_survived(&LIVES[2]);
}

/// Every pair of cuts in which the second falls into what follows the first, and many seeds of up to five.
#[test]
#[ignore = "takes minutes; `cargo xtask soak power`"]
fn every_pair_of_cuts() {
    const BOTH: [Moment; 2] = [Moment::Before, Moment::Within];
    for life in LIVES {
        let pairs = |operation: u64| -> Vec<(u64, Cuts)> {
            let second = (0..REACH).flat_map(|after| BOTH.map(|moment| vec![(after, moment)]));
            second
                .enumerate()
                .map(|(n, cuts)| ((operation << 32) + n as u64, cuts))
                .collect()
        };
        report(life, &every_first_cut(life, plain, &pairs).unwrap());
        report(
            life,
            &every_first_cut(life, plain, &|operation| up_to_five(operation, 100)).unwrap(),
        );
    }
}

/// A folder that does not do what it promises.
struct Sloppy {
    disk: Arc<Simulated>,
    syncs_files: bool,
}

impl Storage for Sloppy {
    fn create(&self, name: &str) -> io::Result<()> {
        self.disk.create(name)
    }
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(name, offset, bytes)
    }
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(name, offset, buffer)
    }
    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        self.disk.length(name)
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        if self.syncs_files { self.disk.sync(name) } else { Ok(()) }
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn sync_folder(&self) -> io::Result<()> {
        if self.syncs_files {
            Ok(())
        } else {
            self.disk.sync_folder()
        }
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

/// The test above is worth nothing if it passes with a folder that forgets.
#[test]
fn a_missing_sync_is_noticed() {
    let wraps: [Wrap; 2] = [
        |disk| {
            Arc::new(Sloppy {
                disk,
                syncs_files: false,
            })
        },
        |disk| {
            Arc::new(Sloppy {
                disk,
                syncs_files: true,
            })
        },
    ];
    for wrap in wraps {
        let found = every_first_cut(&LIVES[0], wrap, &|operation| up_to_five(operation, 3));
        println!("noticed: {}", found.unwrap_err());
    }
}
