//! An appliance with an engineer who wants one image after the other confirmed, and does whatever that needs next.

use std::sync::Arc;

use super::toy::{self, Toy};
use crate::slots::simulated::Simulated;
use crate::slots::simulated::cuts::{Life as _, Stop};
use crate::slots::*;

/// What the engineer wants next.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
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
pub struct Life {
    pub name: &'static str,
    /// An image that is confirmed before the first cut.
    pub from: Option<usize>,
    pub goals: &'static [Goal],
}

pub const LIVES: &[Life] = &[
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

pub fn toys() -> [Toy; 4] {
    [Toy::new(0, 1), Toy::new(1, 2), Toy::new(2, 2), Toy::new(3, 3)]
}

/// An appliance with its engineer, who remembers what the device answered.
pub struct World<'a> {
    pub disk: Arc<Simulated>,
    wrap: Wrap,
    toys: &'a [Toy; 4],
    goals: &'a [Goal],
    memory: Memory,
}

/// What the appliance puts between itself and the folder.
pub type Wrap = fn(Arc<Simulated>) -> Arc<dyn Storage>;

#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
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

impl World<'_> {
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

/// The appliance at the beginning of a life.
pub fn begin<'a>(life: &'a Life, toys: &'a [Toy; 4], wrap: Wrap) -> World<'a> {
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

impl simulated::cuts::Life for World<'_> {
    fn disk(&self) -> &Simulated {
        &self.disk
    }

    fn fork(&self) -> Self {
        Self {
            disk: Arc::new((*self.disk).clone()),
            ..*self
        }
    }

    fn live(&mut self) -> Result<(), Stop> {
        let mut slots = self.start()?;
        while let Some(&goal) = self.goals.get(self.memory.goal) {
            if self.work(&mut slots, goal)? {
                (self.memory.goal, self.memory.half) = (self.memory.goal + 1, false);
            }
        }
        Ok(())
    }
}
