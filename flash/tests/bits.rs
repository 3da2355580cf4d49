//! A wrong bit where raw framing would not notice it, and an image on the device that is not what it was.

mod support;

use hardware::smp::Slot;
use support::pump::{Channel, Pump};
use support::{Bundle, device, flash};

/// Changes one bit wherever these bytes pass.
struct Flip {
    pattern: &'static [u8],
    /// Which byte of the pattern, and what to change in it.
    at: usize,
    bit: u8,
}

impl Channel for Flip {
    fn piece(&self) -> usize {
        4096
    }

    fn carry(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut bytes = piece.to_vec();
        let found = bytes
            .windows(self.pattern.len())
            .position(|window| window == self.pattern);
        if let Some(found) = found {
            bytes[found + self.at] ^= self.bit;
        }
        bytes
    }
}

/// As [`Flip`], the first time only.
struct FlipOnce(Option<Flip>);

impl Channel for FlipOnce {
    fn piece(&self) -> usize {
        4096
    }

    fn carry(&mut self, piece: &[u8]) -> Vec<u8> {
        let carried = match &mut self.0 {
            Some(flip) => flip.carry(piece),
            None => piece.to_vec(),
        };
        if carried != piece {
            self.0 = None;
        }
        carried
    }
}

struct Plain;

impl Channel for Plain {
    fn piece(&self) -> usize {
        4096
    }

    fn carry(&mut self, piece: &[u8]) -> Vec<u8> {
        piece.to_vec()
    }
}

/// "Try it" becomes "confirm it".
const CONFIRM: Flip = Flip {
    pattern: b"confirm\xf4",
    at: 7,
    bit: 1,
};

#[test]
fn a_trial_does_not_become_a_confirmation_on_the_way() {
    let (bundle, device) = (Bundle::new(20_000, 1), device(|_| ()));
    let pump = Pump::new(device.path(), CONFIRM, Plain);
    flash(pump.port(), &["upload", bundle.file(), "--test", "--no-reset"]).expect(0);
    let slot = device.device().pairs[0][1].clone().unwrap();
    assert!(slot.pending && !slot.permanent);
}

#[test]
fn where_raw_is_insisted_on_the_answer_shows_it() {
    let (bundle, device) = (Bundle::new(20_000, 2), device(|_| ()));
    flash(device.path(), &["upload", bundle.file()]).expect(0);
    let pump = Pump::new(device.path(), CONFIRM, Plain);
    let run = flash(pump.port(), &["--framing", "raw", "test", "--no-reset"]).expect(5);
    assert!(run.errors.contains("shows it otherwise"), "{}", run.errors);
    assert!(device.device().pairs[0][1].as_ref().unwrap().permanent);
}

#[test]
fn an_answer_that_nobody_can_read_is_asked_for_again() {
    let (bundle, device) = (Bundle::new(20_000, 4), device(|_| ()));
    flash(device.path(), &["upload", bundle.file()]).expect(0);
    // "True" becomes a simple value that there is none of.
    let bootable = Flip {
        pattern: b"bootable\xf5",
        at: 8,
        bit: 0x10,
    };
    let pump = Pump::new(device.path(), Plain, FlipOnce(Some(bootable)));
    let run = flash(pump.port(), &["--framing", "raw", "status"]).expect(0);
    assert!(run.out.contains(&bundle.hash[..8]), "{}", run.out);
}

#[test]
fn the_clock_is_not_set_to_another_year_on_the_way() {
    let device = device(|_| ());
    let year = Flip {
        pattern: b"2026-01-31",
        at: 3,
        bit: 1,
    };
    let pump = Pump::new(device.path(), year, Plain);
    flash(pump.port(), &["time", "--set", "2026-01-31T12:00:00Z"]).expect(0);
    let seconds = device.device().time.unwrap().as_secs();
    assert!((1_769_860_800..1_769_860_860).contains(&seconds), "{seconds}");
}

#[test]
fn a_damaged_image_is_sent_again() {
    let bundle = Bundle::new(20_000, 3);
    let device = device(|device| {
        let slot = Slot::new(bundle.bytes.clone());
        device.pairs[0][1] = Some(Slot { damaged: true, ..slot });
    });
    let run = flash(device.path(), &["upload", bundle.file(), "--json"]).expect(0);
    assert!(run.stages().contains(&"sending".to_owned()), "{:?}", run.stages());
    assert_eq!(run.event("stored")["hash"], bundle.hash.as_str());
    assert!(!device.device().pairs[0][1].as_ref().unwrap().damaged);
}
