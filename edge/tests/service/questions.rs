//! Questions of the client that few tests ask.

use std::thread;
use std::time::{Duration, Instant};

use ciborium::Value;

use super::PATIENCE;
use super::client::{Map, Service, get, number, text};

impl Service<'_> {
    /// Asks for a restart once; gives the `rc` if it is refused.
    pub fn try_restart(&mut self, force: bool) -> Result<(), u64> {
        let answer = self.ask(true, 0, 5, vec![(Value::from("force"), Value::from(force))]);
        refused(&answer)
    }

    /// Confirms whatever is on trial; gives the `rc` if that is refused.
    pub fn try_confirm_running(&mut self) -> Result<(), u64> {
        refused(&self.ask(true, 1, 0, vec![(Value::from("confirm"), Value::from(true))]))
    }

    /// The states of what goes on, and the outcomes.
    pub fn goings_on(&mut self) -> (Vec<String>, Vec<String>) {
        let answer = self.ask(false, 64, 1, Vec::new());
        (
            words(&answer, "activities", "state"),
            words(&answer, "outcomes", "outcome"),
        )
    }

    /// Good results that are left until a trial is confirmed by itself, if it ever is.
    pub fn results_left(&mut self) -> Option<u64> {
        let answer = self.ask(false, 64, 1, Vec::new());
        let trial = maps(&answer, "activities")
            .into_iter()
            .find(|map| get(map, "left").is_some())?;
        get(&trial, "left").map(number)
    }

    /// The sizes of the slots of the first image, and how long an upload may be.
    pub fn slot_sizes(&mut self) -> (Vec<u64>, Option<u64>) {
        let answer = self.ask(false, 1, 6, Vec::new());
        let image = maps(&answer, "images").remove(0);
        let sizes = maps(&image, "slots");
        let sizes = sizes.iter().map(|slot| number(get(slot, "size").unwrap()));
        (sizes.collect(), get(&image, "max_image_size").map(number))
    }

    /// How often a model failed since the service began.
    pub fn faults(&mut self) -> u64 {
        let answer = self.ask(false, 2, 0, vec![text("name", "triage")]);
        let fields = get(&answer, "fields").and_then(Value::as_map).unwrap();
        get(fields, "faults").map(number).unwrap()
    }

    /// Waits until no self-test goes on.
    pub fn wait_for_rest(&mut self) {
        let start = Instant::now();
        while self.goings_on().0.contains(&"self-test".to_owned()) {
            assert!(start.elapsed() < PATIENCE, "a self-test without an end");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the device says of itself: the letters of `format`.
    pub fn information(&mut self, format: &str) -> String {
        let answer = self.ask(false, 0, 7, vec![text("format", format)]);
        get(&answer, "output").and_then(Value::as_text).unwrap().to_owned()
    }
}

fn refused(answer: &Map) -> Result<(), u64> {
    let own = get(answer, "err")
        .and_then(Value::as_map)
        .and_then(|err| get(err, "rc"));
    match get(answer, "rc").or(own) {
        Some(rc) => Err(number(rc)),
        None => Ok(()),
    }
}

fn maps(answer: &Map, key: &str) -> Vec<Map> {
    let array = get(answer, key).and_then(Value::as_array).cloned().unwrap_or_default();
    array.into_iter().map(|map| map.into_map().unwrap()).collect()
}

fn words(answer: &Map, array: &str, key: &str) -> Vec<String> {
    let word = |map: Map| get(&map, key).and_then(Value::as_text).unwrap_or_default().to_owned();
    maps(answer, array).into_iter().map(word).collect()
}
