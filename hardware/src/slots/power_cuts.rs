//! Power cuts at every operation of an appliance's life with its slots.
//!
//! An engineer wants one image after the other confirmed and does whatever that needs next; after a power cut they go
//! on. So each case ends with a further upload that is confirmed, and each start on the way is checked.

use std::io;
use std::sync::Arc;

use super::simulated::{Moment, Random, Simulated};
use super::storage::Storage;
use super::toy::{self, Toy};
use super::*;

/// What the engineer wants next.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// This image in use: upload, test, restart, confirm.
    Test(usize),
    /// The same, confirmed by itself when the self-test passes.
    Permanent(usize),
    /// This image tried; its self-test fails.
    Fails(usize),
    /// This image tried, a restart in order meanwhile, and taken back.
    TakenBack(usize),
    /// This image uploaded and erased again.
    Erased(usize),
}

/// A life of an appliance.
struct Life {
    name: &'static str,
    /// An image that is confirmed before the first cut.
    from: Option<usize>,
    goals: &'static [Goal],
}

const LIVES: &[Life] = &[
    Life {
        name: "update, revert, update",
        from: Some(0),
        goals: &[Goal::Test(1), Goal::Fails(2), Goal::Permanent(3)],
    },
    Life {
        name: "take back, erase, update",
        from: Some(0),
        goals: &[Goal::TakenBack(1), Goal::Erased(2), Goal::Test(3)],
    },
    Life {
        name: "first install, update",
        from: None,
        goals: &[Goal::Permanent(0), Goal::Test(3)],
    },
];

fn toys() -> [Toy; 4] {
    [Toy::new(0, 1), Toy::new(1, 2), Toy::new(2, 2), Toy::new(3, 3)]
}

/// Operations after a start within which a second cut is tried: all that a start does, and the beginning of what
/// follows.
const REACH: u64 = 60;

/// An appliance with its engineer, who remembers what the device answered.
struct World<'a> {
    disk: Arc<Simulated>,
    wrap: Wrap,
    toys: &'a [Toy; 4],
    goals: &'a [Goal],
    memory: Memory,
}

/// What the appliance puts between itself and the folder.
type Wrap = fn(Arc<Simulated>) -> Arc<dyn Storage>;

#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    /// Number of the goal in work.
    goal: usize,
    /// Whether the goal's first half is done.
    half: bool,
    /// The highest image that was acknowledged as confirmed.
    confirmed: Option<usize>,
    /// Images that somebody asked for.
    asked: [bool; 4],
    /// What the security counter was read as.
    counter: u32,
}

/// The power went off, or something is wrong.
enum Stop {
    Power,
    Wrong(String),
}

impl From<SlotError> for Stop {
    fn from(error: SlotError) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl World<'_> {
    /// One time from power on to power off, or to the end of all goals.
    fn live(&mut self) -> Result<(), Stop> {
        let done = self.try_live();
        // Whatever fails without power fails because of that.
        if self.disk.has_power() { done } else { Err(Stop::Power) }
    }

    fn try_live(&mut self) -> Result<(), Stop> {
        let mut slots = self.start()?;
        while let Some(&goal) = self.goals.get(self.memory.goal) {
            if self.work(&mut slots, goal)? {
                (self.memory.goal, self.memory.half) = (self.memory.goal + 1, false);
            }
        }
        Ok(())
    }

    /// What the appliance does on a start, and what must hold then.
    fn start(&mut self) -> Result<Slots, Stop> {
        let mut slots = toy::open((self.wrap)(self.disk.clone()));
        toy::verify(&mut slots, self.toys);
        let mut starts = slots.begin_start();
        let start = starts.remove(0);
        self.power()?;
        if let Some(problem) = start.problem {
            return Err(problem.into());
        }
        let mut serving = self.load(&slots, start.load)?;
        if let Load::Trial(_) = start.load {
            if serving == Some(2) {
                let load = slots.revert(0, Cause::SelfTest, "golden case 1 differs")?;
                serving = self.load(&slots, load)?;
            } else if slots.trial_passed(0)? {
                self.memory.confirmed = self.memory.confirmed.max(serving);
            }
        }
        self.power()?;
        self.check_serving(serving)?;
        self.check_bootable(&slots)?;
        self.check_counter(&slots, serving)?;
        Ok(slots)
    }

    fn power(&self) -> Result<(), Stop> {
        if self.disk.has_power() {
            Ok(())
        } else {
            Err(Stop::Power)
        }
    }

    /// Loads an image, every byte of which must be right.
    fn load(&self, slots: &Slots, load: Load) -> Result<Option<usize>, Stop> {
        let (Load::Confirmed(side) | Load::Trial(side)) = load else {
            return Ok(None);
        };
        let reader = slots
            .reader(0, side)?
            .ok_or(Stop::Wrong(format!("{load:?} is not whole")))?;
        let hash = toy::check(reader, self.toys);
        self.power()?;
        let hash = hash.map_err(|refusal| Stop::Wrong(format!("{load:?} does not load: {refusal}")))?;
        Ok(self.toys.iter().position(|toy| toy.hash == hash))
    }

    fn check_serving(&self, serving: Option<usize>) -> Result<(), Stop> {
        let Some(image) = serving else {
            let none_yet = self.memory.confirmed.is_none();
            return none_yet
                .then_some(())
                .ok_or(Stop::Wrong("no image is served".to_owned()));
        };
        if !self.memory.asked[image] {
            return Err(Stop::Wrong(format!("image {image} is served and nobody asked for it")));
        }
        // Image 1 may be tried and taken back; but what was confirmed is not followed by something older.
        if self.memory.confirmed > serving {
            return Err(Stop::Wrong(format!(
                "image {image} is served after {:?} was confirmed",
                self.memory.confirmed
            )));
        }
        if image == 2 {
            return Err(Stop::Wrong("an image is served whose self-test failed".to_owned()));
        }
        Ok(())
    }

    /// Whatever may be asked for next is whole.
    fn check_bootable(&self, slots: &Slots) -> Result<(), Stop> {
        for state in slots.states().into_iter().filter(|state| state.bootable) {
            let reader = slots
                .reader(0, state.side)?
                .ok_or(Stop::Wrong("a bootable image is not whole".to_owned()))?;
            let found = toy::check(reader, self.toys);
            self.power()?;
            if found != Ok(state.hash) {
                return Err(Stop::Wrong(format!(
                    "the image on {} is bootable and {found:?}",
                    state.side
                )));
            }
        }
        Ok(())
    }

    fn check_counter(&mut self, slots: &Slots, serving: Option<usize>) -> Result<(), Stop> {
        let now = slots.lowest_counter(0)?;
        let file = FileCounter::new(self.disk.clone()).read(toy::ROLE).unwrap_or(0);
        self.power()?;
        let least = self
            .memory
            .confirmed
            .map_or(0, |image| self.toys[image].counter)
            .max(self.memory.counter);
        if now < least || file < least {
            return Err(Stop::Wrong(format!(
                "the counter is {now} (file: {file}) after it was {least}"
            )));
        }
        if serving.is_some_and(|image| self.toys[image].counter < now) {
            return Err(Stop::Wrong(format!(
                "image {serving:?} is served below the counter {now}"
            )));
        }
        self.memory.counter = now;
        Ok(())
    }

    fn restart(&mut self, slots: &mut Slots) -> Result<(), Stop> {
        slots.stop_in_order()?;
        *slots = self.start()?;
        Ok(())
    }

    /// The next step towards a goal; true when it is reached.
    fn work(&mut self, slots: &mut Slots, goal: Goal) -> Result<bool, Stop> {
        match goal {
            Goal::Test(image) => self.bring(slots, image, false),
            Goal::Permanent(image) => self.bring(slots, image, true),
            Goal::Fails(image) => self.attempt(slots, image),
            Goal::TakenBack(image) => self.take_back(slots, image),
            Goal::Erased(image) => self.erase(slots, image),
        }
    }

    fn state(&self, slots: &Slots, image: usize) -> Option<ImageState> {
        slots
            .states()
            .into_iter()
            .find(|state| state.hash == self.toys[image].hash)
    }

    fn bring(&mut self, slots: &mut Slots, image: usize, permanent: bool) -> Result<bool, Stop> {
        match self.state(slots, image) {
            Some(state) if state.confirmed && state.active => {
                self.memory.confirmed = self.memory.confirmed.max(Some(image));
                return Ok(true);
            }
            Some(state) if state.active => {
                slots.confirm(0)?;
                self.memory.confirmed = self.memory.confirmed.max(Some(image));
            }
            Some(state) if state.pending => self.restart(slots)?,
            Some(state) if state.bootable => {
                self.memory.asked[image] = true;
                slots.request(&state.hash, permanent)?;
            }
            Some(_) => self.read_back(slots)?,
            None => self.send(slots, image)?,
        }
        Ok(false)
    }

    /// Goes as far as the failed self-test.
    fn attempt(&mut self, slots: &mut Slots, image: usize) -> Result<bool, Stop> {
        match self.state(slots, image) {
            Some(state) if state.pending => {
                self.restart(slots)?;
                return Ok(true);
            }
            Some(state) if state.bootable => {
                self.memory.asked[image] = true;
                slots.request(&state.hash, false)?;
            }
            Some(_) => self.read_back(slots)?,
            None => self.send(slots, image)?,
        }
        Ok(false)
    }

    /// Test, restart, restart in order during the trial, then back.
    fn take_back(&mut self, slots: &mut Slots, image: usize) -> Result<bool, Stop> {
        let old = slots
            .states()
            .into_iter()
            .find(|state| state.confirmed)
            .map(|state| state.hash);
        match self.state(slots, image) {
            Some(state) if state.active && !self.memory.half => {
                self.memory.half = true;
                slots.count_good_result(0)?;
                self.restart(slots)?;
                if self.state(slots, image).is_none_or(|state| !state.active) {
                    return Err(Stop::Wrong("a restart in order ended the trial".to_owned()));
                }
            }
            Some(state) if state.active => {
                slots.request(&old.unwrap_or_default(), false)?;
                self.restart(slots)?;
                return Ok(self.state(slots, image).is_some_and(|state| !state.active));
            }
            // A power cut ended the trial, which is as good.
            Some(_) if self.memory.half => return Ok(true),
            _ => return self.bring(slots, image, false),
        }
        Ok(false)
    }

    fn erase(&mut self, slots: &mut Slots, image: usize) -> Result<bool, Stop> {
        match self.state(slots, image) {
            None if self.memory.half => return Ok(true),
            Some(state) if state.bootable => {
                self.memory.half = true;
                slots.erase(0, None)?;
            }
            Some(_) => self.read_back(slots)?,
            None => self.send(slots, image)?,
        }
        Ok(false)
    }

    fn send(&self, slots: &mut Slots, image: usize) -> Result<(), Stop> {
        let toy = &self.toys[image];
        let reply = toy::send(slots, &toy.bytes, Some(&toy.sha), 700)?;
        let right = reply.matches == Some(true);
        right
            .then_some(())
            .ok_or(Stop::Wrong(format!("the upload of image {image} ended with {reply:?}")))
    }

    fn read_back(&self, slots: &mut Slots) -> Result<(), Stop> {
        let outcomes = toy::verify(slots, self.toys);
        self.power()?;
        match outcomes[..] {
            [Outcome::Bootable { .. }] => Ok(()),
            _ => Err(Stop::Wrong(format!("reading back gave {outcomes:?}"))),
        }
    }
}

/// What is counted.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    cuts: u64,
}

/// The cuts behind the first: number of operations from the power's return, and when.
type Cuts = Vec<(u64, Moment)>;

fn plain(disk: Arc<Simulated>) -> Arc<dyn Storage> {
    disk
}

/// The appliance at the beginning of a life.
fn begin<'a>(life: &'a Life, toys: &'a [Toy; 4], wrap: Wrap) -> World<'a> {
    let mut world = World {
        disk: Arc::new(Simulated::new(1)),
        wrap,
        toys,
        goals: life.goals,
        memory: Memory::default(),
    };
    if let Some(image) = life.from {
        let goals = [Goal::Permanent(image)];
        let mut before = World {
            disk: world.disk.clone(),
            goals: &goals,
            ..world
        };
        assert!(before.live().is_ok(), "an image can be installed");
        world.memory = Memory {
            goal: 0,
            ..before.memory
        };
    }
    world
}

impl<'a> World<'a> {
    /// A second world with the same past.
    fn fork(&self) -> World<'a> {
        World {
            disk: Arc::new((*self.disk).clone()),
            ..*self
        }
    }

    /// Lives with cuts, then without. Gives the number of cuts that happened.
    fn live_through(&mut self, cuts: &[(u64, Moment)]) -> Result<u64, String> {
        let mut happened = 0;
        for &(after, moment) in cuts {
            self.disk.cut_at(self.disk.operations() + after, moment);
            match self.live() {
                Ok(()) => break,
                Err(Stop::Power) => happened += 1,
                Err(Stop::Wrong(why)) => return Err(format!("after {happened} more cuts: {why}")),
            }
            self.disk.restart();
        }
        self.disk.restart();
        match self.live() {
            Ok(()) => Ok(happened),
            Err(Stop::Power) => Err("the power is off".to_owned()),
            Err(Stop::Wrong(why)) => Err(format!("after {happened} more cuts and none to come: {why}")),
        }
    }
}

/// Cuts the power at every operation of a life, before and within it; `rest` gives the seeds of what the cut does and
/// the cuts that follow it.
fn every_first_cut(life: &Life, wrap: Wrap, rest: &dyn Fn(u64) -> Vec<(u64, Cuts)>) -> Result<Tally, String> {
    let toys = toys();
    let whole = begin(life, &toys, wrap);
    let first = whole.disk.operations();
    let mut uncut = whole.fork();
    uncut.live_through(&[])?;
    let mut tally = Tally::default();
    for operation in 0..uncut.disk.operations() - first {
        for moment in [Moment::Before, Moment::Within] {
            let mut world = whole.fork();
            world.disk.cut_at(first + operation, moment);
            match world.live() {
                Err(Stop::Power) => {}
                Err(Stop::Wrong(why)) => return Err(why),
                Ok(()) => return Err(format!("operation {operation} never came")),
            }
            for (seed, cuts) in rest(operation) {
                let mut world = world.fork();
                world.disk.reseed(seed);
                world.disk.restart();
                let place = || {
                    format!(
                        "{}: {moment:?} operation {operation}, seed {seed:#x}, then {cuts:?}",
                        life.name
                    )
                };
                let more = world.live_through(&cuts).map_err(|why| format!("{}: {why}", place()))?;
                tally.cases += 1;
                tally.cuts += 1 + more;
            }
        }
    }
    Ok(tally)
}

/// For each first cut: each number of further cuts up to four, `seeds` times each, wherever the seed says.
fn up_to_five(operation: u64, seeds: u64) -> Vec<(u64, Cuts)> {
    let case = |n: u64| {
        let seed = (operation << 20) + n;
        let mut random = Random::new(seed);
        let mut cut = |_| {
            // A start has some dozens of operations; what it does after a cut matters most.
            let reach = [4, 30, 30, 200][random.below(4)];
            let moment = [Moment::Before, Moment::Within][random.below(2)];
            (random.below(reach) as u64, moment)
        };
        (seed, (0..n % 5).map(&mut cut).collect())
    };
    (0..5 * seeds).map(case).collect()
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
