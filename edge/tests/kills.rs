//! The service killed at random moments: of starts, uploads, deltas, reading back, trials, reverts and confirmations. The
//! next start serves the old valid model or the new one, and the security counter never goes back.
//!
//! `SCANSIDE_KILLS=200 cargo test --test kills` is the long run; `SCANSIDE_SEED` repeats one.

mod service;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bundle::container::{PayloadFile, hexadecimal};
use bundle::manifest::FileKind;
use hardware::slots::{FileCounter, Folder, SecurityCounter};
use service::{Service, Site, State};
use support::dice::{Dice, number};

/// Bytes in which no two bundles agree, so that a delta is not there in one piece.
const UNLIKE: usize = 60_000;
/// Bundles that are not too old yet among which the engineer chooses.
const CHOICE: usize = 4;

/// A bundle with what the engineer knows of it.
struct Known {
    file: Vec<u8>,
    hash: Vec<u8>,
    counter: u32,
}

impl Known {
    fn new(site: &Site, number: usize, counter: u32) -> Self {
        let mut state = number as u64 + 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        let unlike = (0..UNLIKE).map(|_| next()).collect();
        let unlike = PayloadFile::new("report/unlike.bin", FileKind::Report, unlike);
        let file = site.bundle_of_counter(counter, |files| files.push(unlike));
        Self {
            hash: site.hash(&file),
            file,
            counter,
        }
    }
}

/// What the engineer knows, and what was done.
struct Engineer<'a> {
    site: &'a Site,
    bundles: Vec<Known>,
    dice: Dice,
    /// Hash of the model that was seen confirmed, and of those that were asked for since.
    confirmed: Vec<u8>,
    asked: Vec<Vec<u8>>,
    /// What the security counter was read as.
    counter: u32,
    done: BTreeMap<&'static str, u64>,
}

impl Engineer<'_> {
    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// What must hold once a start is over.
    fn look(&mut self, service: &mut Service<'_>) {
        service.wait_for("a model that serves", |states| {
            states.iter().any(|s| s.active && s.bootable)
        });
        let states = service.states();
        let active = states.iter().find(|state| state.active).unwrap();
        assert!(
            self.may_serve(&active.hash),
            "{active:?} serves, and nobody asked for it"
        );
        let counter = self.read_counter();
        assert!(
            counter >= self.counter,
            "the counter is {counter} after {}",
            self.counter
        );
        let serves = self.bundles.iter().find(|bundle| bundle.hash == active.hash);
        assert!(
            serves.is_none_or(|bundle| bundle.counter >= counter),
            "{active:?} is below the counter {counter}"
        );
        self.counter = counter;
        if let Some(confirmed) = states.iter().find(|state| state.confirmed) {
            self.confirmed.clone_from(&confirmed.hash);
        }
        self.asked
            .retain(|hash| states.iter().any(|s| s.hash == *hash && (s.pending || s.active)));
    }

    /// The old model, or one that was asked for.
    fn may_serve(&self, hash: &[u8]) -> bool {
        let asked = self.asked.iter().any(|asked| asked == hash);
        self.confirmed == hash || asked
    }

    fn read_counter(&self) -> u32 {
        let folder = Folder::open_to_read(self.site.path("state/monotonic")).unwrap();
        FileCounter::new(Arc::new(folder)).read("chest-xray").unwrap()
    }

    /// One step of an update after the other, from where the device is, until the service is gone.
    fn work(&mut self, service: &mut Service<'_>) {
        while let Some(states) = service.try_states() {
            let active = states.iter().find(|state| state.active).cloned();
            let other = states.iter().find(|state| !state.active).cloned();
            match (active, other) {
                (Some(active), _) if !active.confirmed => self.end_trial(service, &active),
                (_, Some(other)) if other.pending => {
                    self.count("restarts into a trial");
                    service.send_restart();
                    // A second restart would end what the first one began.
                    while service
                        .try_states()
                        .is_some_and(|states| states.iter().any(|state| state.pending))
                    {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
                (_, Some(other)) if other.bootable && self.dice.below(2) > 0 => {
                    self.asked.push(other.hash.clone());
                    service.send_test(&other.hash);
                }
                // It is being read back.
                (_, Some(other)) if !other.bootable && self.dice.below(8) > 0 => {}
                (active, _) => self.send(service, active.as_ref()),
            }
            std::thread::sleep(Duration::from_millis(self.dice.below(50)));
        }
    }

    fn end_trial(&mut self, service: &mut Service<'_>, active: &State) {
        match self.dice.below(4) {
            0 => {
                self.count("confirmations");
                service.send_confirm(&active.hash);
            }
            1 => {
                self.count("reverts");
                service.send_revert();
            }
            _ => std::thread::sleep(Duration::from_millis(self.dice.below(300))),
        }
    }

    /// Another one than the model that serves, at most one step of the security counter up.
    fn choose(&mut self, active: Option<&State>) -> usize {
        let wanted = |bundle: &Known| {
            let serves = active.is_some_and(|active| active.hash == bundle.hash);
            !serves && (self.counter..=self.counter + 1).contains(&bundle.counter)
        };
        let numbers: Vec<usize> = (0..self.bundles.len()).filter(|n| wanted(&self.bundles[*n])).collect();
        // Now and then another one, so that the counter goes on rising.
        if numbers.len() < CHOICE || self.dice.below(8) == 0 {
            let number = self.bundles.len();
            let counter = self.counter + u32::from(self.dice.below(3) == 0);
            self.bundles.push(Known::new(self.site, number, counter));
            return number;
        }
        numbers[self.dice.below(numbers.len() as u64) as usize]
    }

    /// Part of a bundle or all of it, whole or as its difference to the one that serves.
    fn send(&mut self, service: &mut Service<'_>, active: Option<&State>) {
        let target = self.choose(active);
        let base = active.and_then(|active| self.bundles.iter().position(|bundle| bundle.hash == active.hash));
        let share = 1 + self.dice.below(4);
        let part = |bytes: usize| (bytes as u64 * share).div_ceil(4);
        // A refusal is an answer too: the slot may be in use by now.
        let (file, as_delta) = (&self.bundles[target].file, self.dice.below(2) > 0);
        let sent = match base.filter(|_| as_delta) {
            Some(base) => {
                let base = &self.bundles[base];
                let delta = bundle::delta::make(&base.file, file).unwrap();
                let hash = base.hash.clone().try_into().unwrap();
                // Asked for behind its last byte, it is there to the end.
                let until = part(delta.len()) + share / 4;
                service
                    .delta_until(&delta, hash, file, until)
                    .map(|()| "deltas, or parts of them")
            }
            None => service
                .try_upload_until(file, part(file.len()))
                .map(|_| "bundles, or parts of them"),
        };
        self.count(sent.unwrap_or("refused, or cut off"));
    }
}

#[test]
fn whenever_it_is_killed_a_valid_model_serves_afterwards() {
    let Some(site) = Site::new() else { return };
    let (kills, seed) = (number("SCANSIDE_KILLS", 8), number("SCANSIDE_SEED", 1));
    let mut first = site.with_confirmed_model();
    let mut engineer = Engineer {
        bundles: Vec::new(),
        site: &site,
        dice: Dice::new(seed),
        confirmed: first.states().remove(0).hash,
        asked: Vec::new(),
        counter: 0,
        done: BTreeMap::new(),
    };
    first.kill();
    let mut served = Vec::new();
    for kill in 0..kills {
        // What a start does is worth being interrupted, too.
        if engineer.dice.below(4) == 0 {
            engineer.count("killed starts");
            let time = Duration::from_millis(engineer.dice.below(600));
            site.spawn().kill_after(time, |_| ());
        }
        let mut service = site.start();
        engineer.look(&mut service);
        site.image(&format!("{kill}.png"));
        let model = &site.wait_for_result()["model"];
        served.push(model["version"].as_str().unwrap().to_owned());
        let served_may = |hash: &Vec<u8>| model["digest"] == hexadecimal(hash);
        let known = served_may(&engineer.confirmed) || engineer.asked.iter().any(served_may);
        assert!(known, "{model}");
        let time = Duration::from_millis(engineer.dice.below(2_500));
        service.kill_after(time, |service| engineer.work(service));
    }
    let mut service = site.start();
    engineer.look(&mut service);
    service.settle();
    let last = site.bundle_of_counter(engineer.counter, |_| ());
    service.upload(&last);
    let hash = site.hash(&last);
    service.wait_for("the last bundle", |states| {
        states.iter().any(|state| state.bootable && state.hash == hash)
    });
    served.dedup();
    println!("{kills} kills from seed {seed}; served in turn: {}", served.join(", "));
    println!("counter {} at the end; {:?}", engineer.counter, engineer.done);
}
