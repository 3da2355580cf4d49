//! The service killed at random moments of a DICOM push: whatever its sender was told was stored is there once, and gets
//! its result.
//!
//! `SCANSIDE_KILLS=100 SCANSIDE_IMAGES=500 cargo test --test dicom_kills` is the long run; `SCANSIDE_SEED` repeats one.

mod peers;
mod scanner;
mod service;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use peers::servers::free_port;
use scanner::{Push, SMALL};
use service::Site;
use support::dice::{Dice, number};

/// A sender that goes on with what it was not told of, and now and then repeats what it was told of.
struct Sender {
    port: u16,
    files: Vec<PathBuf>,
    acknowledged: BTreeSet<PathBuf>,
    /// What one image took lately, from one answer to the next.
    pace: Duration,
}

impl Sender {
    /// The files of the next push.
    fn next(&self, dice: &mut Dice) -> Vec<PathBuf> {
        let again = self
            .acknowledged
            .iter()
            .nth(dice.below(self.files.len() as u64) as usize);
        let rest = self.files.iter().filter(|file| !self.acknowledged.contains(*file));
        again.into_iter().chain(rest).cloned().collect()
    }

    /// Pushes until success was answered for so many images in all, and then for a moment more; gives the push.
    fn push_until(&mut self, wanted: usize, dice: &mut Dice) -> Push {
        let push = Push::start(self.port, &self.next(dice));
        let begin = Instant::now();
        let before = self.acknowledged.len();
        while self.acknowledged.len() < wanted {
            let Some(file) = push.next() else { break };
            self.acknowledged.insert(file);
        }
        let new = (self.acknowledged.len() - before) as u32;
        self.pace = begin.elapsed().checked_div(new).unwrap_or(self.pace);
        // Anywhere in the next image, or in the one behind it.
        std::thread::sleep(Duration::from_micros(dice.below(2 * self.pace.as_micros() as u64 + 1)));
        push
    }

    /// What the sender heard before the connection broke counts.
    fn hear_the_rest(&mut self, push: &Push) {
        while let Some(file) = push.next() {
            self.acknowledged.insert(file);
        }
    }

    fn uids(&self) -> BTreeSet<String> {
        let number = |file: &PathBuf| file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        self.acknowledged
            .iter()
            .map(|file| scanner::uid(number(file)))
            .collect()
    }
}

#[test]
fn whenever_it_is_killed_what_was_acknowledged_is_there_once_and_gets_its_result() {
    if peers::dcmtk("storescu").is_none() {
        return;
    }
    let Some(mut site) = Site::new() else { return };
    let (kills, images, seed) = (
        number("SCANSIDE_KILLS", 8),
        number("SCANSIDE_IMAGES", 60) as usize,
        number("SCANSIDE_SEED", 1),
    );
    let mut dice = Dice::new(seed);
    let port = free_port();
    site.extra = scanner::section(port);
    site.with_confirmed_model().stop();
    let mut sender = Sender {
        port,
        files: scanner::write(&site.path("scanner"), 0..images, SMALL),
        acknowledged: BTreeSet::new(),
        pace: Duration::from_millis(20),
    };
    for kill in 1..=kills {
        let service = site.spawn();
        // Now and then it does not even come to its port.
        if dice.below(8) == 0 {
            std::thread::sleep(Duration::from_micros(dice.below(500_000)));
            service.kill();
            continue;
        }
        site.wait("the port", || TcpStream::connect(("127.0.0.1", port)).ok());
        let push = sender.push_until(images * kill as usize / kills as usize, &mut dice);
        service.kill();
        sender.hear_the_rest(&push);
    }

    let service = site.start();
    let acknowledged = sender.uids();
    let stored = site.texts("SELECT key FROM images");
    let distinct: BTreeSet<String> = stored.iter().cloned().collect();
    assert_eq!(stored.len(), distinct.len(), "each once");
    let lost: Vec<_> = acknowledged.difference(&distinct).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    site.wait("the port", || TcpStream::connect(("127.0.0.1", port)).ok());
    let again = scanner::push("storescu", &[], port, &sender.files);
    assert!(again.status.success(), "{again:?}");
    let all = images as i64;
    site.wait_for_all("results", all, || {
        site.count("SELECT count(*) FROM images WHERE state = 'done'")
    });
    site.wait_for_all("files of results", all, || {
        let files = fs::read_dir(site.path("state/results")).into_iter().flatten().flatten();
        files
            .filter(|file| file.path().extension().is_some_and(|end| end == "json"))
            .count() as i64
    });
    assert_eq!(service.stop(), 0);
    site.assert_each_once(all);
    println!(
        "{kills} kills from seed {seed} over {images} images, {} of them acknowledged before the last start",
        acknowledged.len()
    );
}
