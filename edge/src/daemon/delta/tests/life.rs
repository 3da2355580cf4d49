//! The life of an appliance whose models come as differences, and of an engineer who wants one after the other confirmed
//! and does whatever that needs next.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bundle::Policy;
use hardware::clock::Clock;
use hardware::slots::simulated::Simulated;
use hardware::slots::simulated::cuts::{Life, Stop};
use hardware::slots::{Cause, FileCounter, ImageState, Load, SecurityCounter, Slots, Storage, StorageReader};
use hardware::smp::{Code, DeltaBegin, DeltaChunk, OutcomeKind, UploadReply};

use super::{Announced, PIECE, difference, digest, noise, packed, trusted, upload};
use crate::appliance::Appliance;
use crate::daemon::delta::{Inbox, Received, rebuild};
use crate::daemon::gatekeeper::BundleGate;
use crate::daemon::shared::Shared;
use crate::daemon::verifier;

/// Bytes of a network: some blocks of a bundle, some pieces of a difference.
const NETWORK: usize = 20_000;
/// One byte in so many differs from the model before.
const CHANGED: usize = 8;

/// What the engineer wants next of a model.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// In use: difference, test, restart, confirm.
    Confirmed(usize),
    /// The same, confirmed by itself when the self-test passes.
    Permanent(usize),
    /// On trial, and taken back while it serves.
    TakenBack(usize),
    /// Tried, and its self-test fails.
    Fails(usize),
}

pub const GOALS: [Goal; 4] = [
    Goal::Confirmed(1),
    Goal::TakenBack(2),
    Goal::Fails(3),
    Goal::Permanent(4),
];
/// The model whose self-test fails.
const FAILING: usize = 3;

/// A model, and the difference that leads to it.
struct Model {
    bundle: Vec<u8>,
    hash: [u8; 32],
    counter: u32,
    /// `None` of the first one.
    difference: Option<Announced>,
}

/// The models of a life, each with the model that it is a relative of.
pub struct Models {
    keys: bundle::TrustedKeys,
    appliance: Appliance,
    models: Vec<Model>,
    /// Differences that a power cut tore, which was noticed.
    pub torn: AtomicU64,
    /// Differences that went on where they were.
    pub resumed: AtomicU64,
    /// Differences that were followed.
    pub followed: AtomicU64,
}

impl Models {
    pub fn new() -> Self {
        let keys = bundle::sign::generate(None).unwrap();
        let mut network = noise(NETWORK, 1);
        // Model 4 replaces model 1: 2 and 3 are never confirmed.
        let of = [(0, 1), (0, 2), (1, 3), (1, 3), (1, 4)];
        let mut models: Vec<Model> = Vec::new();
        for (number, (base, counter)) in of.into_iter().enumerate() {
            let changes = noise(NETWORK, 100 + number as u64);
            let changed = network.iter_mut().zip(&changes).step_by(CHANGED);
            changed.for_each(|(byte, change)| *byte = byte.wrapping_add(*change));
            let bundle = packed(&keys, &format!("{number}.0.0"), counter, network.clone());
            let base = models.get(base).map(|base| base.bundle.as_slice());
            models.push(Model {
                hash: digest(&bundle),
                counter,
                difference: base.map(|base| Announced::of(difference(base, &bundle), base, &bundle)),
                bundle,
            });
        }
        Self {
            keys: trusted(&keys),
            appliance: Appliance::here(&[]),
            models,
            torn: AtomicU64::default(),
            resumed: AtomicU64::default(),
            followed: AtomicU64::default(),
        }
    }

    /// Which model that is, every byte of which is right.
    fn check(&self, reader: StorageReader) -> Result<usize, String> {
        let checked = bundle::container::verify(reader, &self.keys, &Policy::default()).map_err(|e| e.to_string())?;
        let known = self.models.iter().position(|model| model.hash == checked.image_digest);
        known.ok_or_else(|| "no such model".to_owned())
    }
}

/// An appliance with its engineer, who remembers what the device answered.
pub struct World<'a> {
    disk: Arc<Simulated>,
    models: &'a Models,
    memory: Memory,
}

#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    /// Number of the goal in work.
    goal: usize,
    /// The model of this goal was seen on trial.
    tried: bool,
    /// The newest model that was acknowledged as confirmed.
    confirmed: usize,
    /// Models that somebody asked for.
    asked: [bool; 5],
    /// What the security counter was read as.
    counter: u32,
}

/// The appliance between two starts.
struct Device {
    shared: Arc<Shared>,
    inbox: Inbox,
}

impl<'a> World<'a> {
    /// With the first model in use.
    pub fn new(models: &'a Models) -> Self {
        let mut world = Self {
            disk: Arc::new(Simulated::new(1)),
            models,
            memory: Memory::default(),
        };
        let device = world.open().unwrap_or_else(|_| panic!("the slots can be opened"));
        let bundle = &models.models[0].bundle;
        upload(&device.shared, bundle, 0, bundle.len());
        world
            .read_back(&device)
            .unwrap_or_else(|_| panic!("it can be read back"));
        let mut slots = device.shared.slots();
        slots.request(&models.models[0].hash, true).unwrap();
        slots.begin_start();
        assert!(slots.trial_passed(0).unwrap());
        world.memory.asked[0] = true;
        world
    }

    fn open(&self) -> Result<Device, Stop> {
        let disk: Arc<dyn Storage> = self.disk.clone();
        let gate = BundleGate::new(
            self.models.keys.clone(),
            Policy::default(),
            self.models.appliance.clone(),
        );
        let counter = Arc::new(FileCounter::new(disk.clone()));
        let roles = [bundle::example::manifest().role];
        let slots = Slots::open(disk.clone(), &roles, Arc::new(gate), counter)?;
        let clock = Clock::open(Arc::new(Simulated::new(3)), Duration::ZERO);
        Ok(Device {
            shared: Arc::new(Shared::new(slots, clock)),
            inbox: Inbox::new(disk),
        })
    }

    /// What the appliance does on a start, and what must hold then.
    fn start(&mut self) -> Result<Device, Stop> {
        let device = self.open()?;
        self.read_back(&device)?;
        let start = device.shared.slots().begin_start().remove(0);
        if let Some(problem) = start.problem {
            return Err(problem.into());
        }
        let mut serving = self.load(&device, start.load)?;
        if let Load::Trial(_) = start.load {
            let mut slots = device.shared.slots();
            if serving == FAILING {
                let load = slots.revert(0, Cause::SelfTest, "golden case 1 differs")?;
                drop(slots);
                serving = self.load(&device, load)?;
            } else if slots.trial_passed(0)? {
                self.memory.confirmed = self.memory.confirmed.max(serving);
            }
        }
        self.check_serving(serving)?;
        self.check_bootable(&device)?;
        self.check_counter(&device, serving)?;
        Ok(device)
    }

    fn wrong<T>(why: impl Into<String>) -> Result<T, Stop> {
        Err(Stop::Wrong(why.into()))
    }

    /// Loads a model, every byte of which must be right.
    fn load(&self, device: &Device, load: Load) -> Result<usize, Stop> {
        let (Load::Confirmed(side) | Load::Trial(side)) = load else {
            return Self::wrong("no model is served");
        };
        let reader = device.shared.slots().reader(0, side)?;
        let reader = reader.ok_or_else(|| Stop::Wrong(format!("{load:?} is not whole")))?;
        let model = self.models.check(reader);
        model.map_err(|why| Stop::Wrong(format!("{load:?} does not load: {why}")))
    }

    fn check_serving(&self, serving: usize) -> Result<(), Stop> {
        if !self.memory.asked[serving] {
            return Self::wrong(format!("model {serving} is served and nobody asked for it"));
        }
        if serving == FAILING {
            return Self::wrong("a model is served whose self-test failed");
        }
        // A model on trial may be taken back; but what was confirmed is not followed by something older.
        if serving < self.memory.confirmed {
            let confirmed = self.memory.confirmed;
            return Self::wrong(format!("model {serving} is served after {confirmed} was confirmed"));
        }
        Ok(())
    }

    /// Whatever may be asked for next is whole.
    fn check_bootable(&self, device: &Device) -> Result<(), Stop> {
        let slots = device.shared.slots();
        for state in slots.states().into_iter().filter(|state| state.bootable) {
            let reader = slots.reader(0, state.side)?;
            let reader = reader.ok_or_else(|| Stop::Wrong("a bootable model is not whole".to_owned()))?;
            let found = self.models.check(reader).map(|model| self.models.models[model].hash);
            if found != Ok(state.hash) {
                return Self::wrong(format!("what is on {} is bootable and {found:?}", state.side));
            }
        }
        Ok(())
    }

    fn check_counter(&mut self, device: &Device, serving: usize) -> Result<(), Stop> {
        let now = device.shared.slots().lowest_counter(0)?;
        let role = bundle::example::manifest().role;
        let file = FileCounter::new(self.disk.clone()).read(&role);
        let file = file.map_err(|error| Stop::Wrong(error.to_string()))?;
        let least = self
            .memory
            .counter
            .max(self.models.models[self.memory.confirmed].counter);
        if now < least || file < least {
            return Self::wrong(format!("the counter is {now} (file: {file}) after it was {least}"));
        }
        if self.models.models[serving].counter < now {
            return Self::wrong(format!("model {serving} is served below the counter {now}"));
        }
        self.memory.counter = now;
        Ok(())
    }

    fn restart(&mut self, device: &mut Device) -> Result<(), Stop> {
        device.shared.slots().stop_in_order()?;
        *device = self.start()?;
        Ok(())
    }

    /// The next step towards a goal; true when it is reached.
    fn work(&mut self, device: &mut Device, goal: Goal) -> Result<bool, Stop> {
        let (Goal::Confirmed(model) | Goal::Permanent(model) | Goal::TakenBack(model) | Goal::Fails(model)) = goal;
        let hash = self.models.models[model].hash;
        let states = device.shared.slots().states();
        match states.iter().find(|state| state.hash == hash) {
            Some(state) if state.active => return self.go_on_with_trial(device, goal, state),
            // The engineer took it back, its self-test failed, or a power cut ended the trial, which is as good.
            _ if self.memory.tried && !matches!(goal, Goal::Confirmed(_) | Goal::Permanent(_)) => return Ok(true),
            Some(state) if state.pending => {
                self.memory.tried = true;
                self.restart(device)?;
            }
            Some(state) if state.bootable => {
                self.memory.asked[model] = true;
                let permanent = matches!(goal, Goal::Permanent(_));
                device.shared.slots().request(&hash, permanent)?;
            }
            Some(_) => self.read_back(device)?,
            None => self.send(device, model)?,
        }
        Ok(false)
    }

    fn go_on_with_trial(&mut self, device: &Device, goal: Goal, state: &ImageState) -> Result<bool, Stop> {
        match goal {
            Goal::Confirmed(model) | Goal::Permanent(model) => {
                if !state.confirmed {
                    device.shared.slots().confirm(0)?;
                }
                self.memory.confirmed = self.memory.confirmed.max(model);
                Ok(state.confirmed)
            }
            Goal::TakenBack(_) | Goal::Fails(_) => {
                let load = device
                    .shared
                    .slots()
                    .revert(0, Cause::Engineer, "taken back by an engineer")?;
                let serving = self.load(device, load)?;
                self.check_serving(serving)?;
                Ok(true)
            }
        }
    }

    /// Sends the difference to a model until the device has put it together.
    fn send(&self, device: &mut Device, model: usize) -> Result<(), Stop> {
        let Some(difference) = &self.models.models[model].difference else {
            return Self::wrong("the first model comes as a whole");
        };
        let mut at = 0;
        loop {
            let (reply, received) = self.piece(device, difference, at)?;
            if at == 0 && reply.offset > PIECE as u64 {
                self.models.resumed.fetch_add(1, Ordering::Relaxed);
            }
            at = reply.offset as usize;
            if let Some(received) = received {
                return self.follow(device, difference, &received);
            }
            match reply.matches {
                Some(true) => return Self::wrong("a difference is said to be here already, and is not followed"),
                Some(false) => {
                    self.models.torn.fetch_add(1, Ordering::Relaxed);
                }
                None => {}
            }
        }
    }

    fn piece(
        &self,
        device: &mut Device,
        difference: &Announced,
        at: usize,
    ) -> Result<(UploadReply, Option<Received>), Stop> {
        let bytes = &difference.bytes;
        let begin = DeltaBegin {
            image: 0,
            length: bytes.len() as u64,
            sha: &difference.sha,
            base: &difference.base,
            target: &difference.target,
            target_bytes: difference.target_bytes,
        };
        let chunk = DeltaChunk {
            offset: at as u64,
            data: &bytes[at..(at + PIECE).min(bytes.len())],
            begin: (at == 0).then_some(begin),
        };
        loop {
            match device.inbox.take(&device.shared, chunk) {
                Err(refusal) if refusal.code == Code::Busy => {}
                answer => return answer.map_err(|refusal| Stop::Wrong(refusal.to_string())),
            }
        }
    }

    /// What is followed must be what was sent, and lead to its bundle.
    fn follow(&self, device: &Device, difference: &Announced, received: &Received) -> Result<(), Stop> {
        let mut believed = Vec::new();
        let read = received.file.reader().read_to_end(&mut believed);
        read.map_err(|error| Stop::Wrong(error.to_string()))?;
        if believed != difference.bytes {
            return Self::wrong("a difference is to be followed that is not the one that was sent");
        }
        rebuild(&device.shared, received);
        let outcomes = device.shared.board().outcomes();
        if let Some(refused) = outcomes.iter().find(|outcome| outcome.kind == OutcomeKind::Refused) {
            return Self::wrong(format!("a difference was not followed: {}", refused.reason));
        }
        self.models.followed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_back(&self, device: &Device) -> Result<(), Stop> {
        verifier::verify_waiting(&device.shared, &self.models.keys, &Policy::default())?;
        Ok(())
    }
}

impl Life for World<'_> {
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
        let mut device = self.start()?;
        while let Some(&goal) = GOALS.get(self.memory.goal) {
            if self.work(&mut device, goal)? {
                (self.memory.goal, self.memory.tried) = (self.memory.goal + 1, false);
            }
        }
        Ok(())
    }
}
