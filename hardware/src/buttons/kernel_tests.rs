//! Buttons and lamps that the kernel simulates: a uinput keypad and gpio-sim lines. Where a kernel has neither, and in
//! containers, these tests skip with a line.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use ::evdev::uinput::VirtualDevice;
use ::evdev::{AttributeSet, EventType, InputEvent, KeyCode};

use super::*;

/// One press at a time: the tests share the machine's devices.
static ALONE: Mutex<()> = Mutex::new(());

fn wired<W>(wire: W, has_long: bool) -> Wired<W> {
    Wired { wire, has_long }
}

fn short(button: usize) -> Press {
    Press {
        button,
        length: Length::Short,
    }
}

/// A keypad with the cursor keys, or nothing where this user may make none.
fn keypad(name: &str) -> Option<VirtualDevice> {
    let mut keys = AttributeSet::<KeyCode>::new();
    keys.insert(KeyCode::KEY_RIGHT);
    keys.insert(KeyCode::KEY_LEFT);
    let built = VirtualDevice::builder()
        .and_then(|builder| builder.name(name).with_keys(&keys))
        .and_then(|builder| builder.build());
    match built {
        Ok(mut device) => {
            // The node appears a moment after the device.
            let nodes = device.enumerate_dev_nodes_blocking().map(Iterator::count);
            assert!(nodes.is_ok_and(|count| count > 0), "the keypad has a node");
            Some(device)
        }
        Err(error) => {
            eprintln!("skipped: no /dev/uinput ({error}); load the module uinput and run as root");
            None
        }
    }
}

fn set(device: &mut VirtualDevice, key: KeyCode, down: bool) {
    let event = InputEvent::new(EventType::KEY.0, key.0, i32::from(down));
    device.emit(&[event]).expect("an event");
}

/// Presses within a while; an event takes some time through the kernel.
fn some(buttons: &mut dyn Buttons) -> Vec<Press> {
    for _ in 0..50 {
        let presses = buttons.poll(Duration::from_millis(200)).expect("buttons");
        if !presses.is_empty() {
            return presses;
        }
    }
    Vec::new()
}

#[test]
fn a_keypad_of_the_kernel_is_pressed_unplugged_and_plugged_in_again() {
    let _alone = ALONE.lock();
    let name = "scanside test keypad";
    let Some(mut device) = keypad(name) else { return };
    let keys = [wired(KeyCode::KEY_RIGHT.0, false), wired(KeyCode::KEY_LEFT.0, true)];
    let mut buttons = EvdevButtons::new(name, &keys, Timing::default());
    assert_eq!(buttons.poll(Duration::ZERO).expect("the keypad"), []);
    assert!(buttons.describe().contains(name));
    set(&mut device, KeyCode::KEY_RIGHT, true);
    assert_eq!(some(&mut buttons), [short(0)]);
    set(&mut device, KeyCode::KEY_RIGHT, false);
    set(&mut device, KeyCode::KEY_LEFT, true);
    let long = Press {
        button: 1,
        length: Length::Long,
    };
    assert_eq!(some(&mut buttons), [long]);
    set(&mut device, KeyCode::KEY_LEFT, false);

    let other = EvdevButtons::new(name, &keys, Timing::default()).poll(Duration::ZERO);
    assert!(other.is_err(), "nothing else gets its keys meanwhile");
    let mut lacking = EvdevButtons::new(name, &[wired(KeyCode::KEY_H.0, false)], Timing::default());
    let lacking = lacking.poll(Duration::ZERO).expect_err("no such key").to_string();
    assert!(lacking.contains("KEY_H"), "{lacking}");

    drop(device);
    let lost = (0..50).find_map(|_| buttons.poll(Duration::from_millis(200)).err());
    assert!(matches!(lost, Some(ButtonsError::Lost { .. })), "{lost:?}");
    let mut device = keypad(name).expect("made before");
    // It is looked for every two seconds.
    let found = (0..50).any(|_| {
        let _ = buttons.poll(Duration::from_millis(200));
        set(&mut device, KeyCode::KEY_RIGHT, true);
        let pressed = buttons
            .poll(Duration::from_millis(200))
            .is_ok_and(|presses| presses == [short(0)]);
        set(&mut device, KeyCode::KEY_RIGHT, false);
        pressed
    });
    assert!(found, "it was not found again");
}

/// A GPIO chip of four lines that the kernel simulates (`Documentation/admin-guide/gpio/gpio-sim.rst`).
struct Chip {
    config: PathBuf,
    lines: PathBuf,
    device: PathBuf,
}

impl Chip {
    fn new() -> Option<Self> {
        let config = Path::new("/sys/kernel/config/gpio-sim/scanside");
        if let Err(error) = fs::create_dir(config) {
            eprintln!("skipped: no gpio-sim ({error}); load the modules configfs and gpio-sim and run as root");
            return None;
        }
        let bank = config.join("bank");
        fs::create_dir(&bank).expect("a bank");
        fs::write(bank.join("num_lines"), "4").expect("lines");
        fs::write(config.join("live"), "1").expect("a chip");
        let [device, chip] = [config.join("dev_name"), bank.join("chip_name")]
            .map(|file| fs::read_to_string(file).expect("a name").trim().to_owned());
        Some(Self {
            config: config.to_path_buf(),
            lines: Path::new("/sys/devices/platform").join(device).join(&chip),
            device: Path::new("/dev").join(chip),
        })
    }

    /// What pulls a line from outside: a button to ground that is pressed, or not.
    fn pull(&self, line: u32, up: bool) {
        let pull = if up { "pull-up" } else { "pull-down" };
        fs::write(self.lines.join(format!("sim_gpio{line}/pull")), pull).expect("pulled");
    }

    fn is_high(&self, line: u32) -> bool {
        let value = fs::read_to_string(self.lines.join(format!("sim_gpio{line}/value")));
        value.expect("a value").trim() == "1"
    }
}

impl Drop for Chip {
    fn drop(&mut self) {
        let _ = fs::write(self.config.join("live"), "0");
        let _ = fs::remove_dir(self.config.join("bank"));
        let _ = fs::remove_dir(&self.config);
    }
}

#[test]
fn buttons_to_ground_on_lines_of_the_kernel_are_pressed() {
    let _alone = ALONE.lock();
    let Some(chip) = Chip::new() else { return };
    chip.pull(1, true);
    chip.pull(3, true);
    let wiring = GpioWiring {
        chip: chip.device.clone(),
        active_low: true,
        lines: vec![wired(3, false), wired(1, true)],
    };
    let mut buttons = GpioButtons::new(wiring.clone(), Timing::default());
    assert_eq!(buttons.poll(Duration::ZERO).expect("the lines"), []);
    let other = GpioButtons::new(wiring, Timing::default()).poll(Duration::ZERO);
    assert!(other.is_err(), "the lines are taken");
    for up in [false, true, false] {
        chip.pull(3, up);
    }
    assert_eq!(some(&mut buttons), [short(0)], "it bounced");
    chip.pull(3, true);
    chip.pull(1, false);
    let long = some(&mut buttons);
    assert_eq!(
        long.first().map(|press| (press.button, press.length)),
        Some((1, Length::Long))
    );
    chip.pull(1, true);
    assert_eq!(buttons.poll(Duration::from_millis(300)).expect("none"), []);
}

#[cfg(feature = "leds")]
#[test]
fn lamps_on_lines_of_the_kernel_shine_and_blink() {
    use crate::leds::{GpioLamps, GpioLeds, Lamps, LedState, Leds};

    let _alone = ALONE.lock();
    let Some(chip) = Chip::new() else { return };
    for active_low in [false, true] {
        let lamps = GpioLamps {
            chip: chip.device.clone(),
            active_low,
            lines: Lamps {
                green: Some(0),
                amber: None,
                red: Some(2),
            },
        };
        let mut leds = GpioLeds::new(lamps);
        let shine = || [0, 2].map(|line| chip.is_high(line) != active_low);
        leds.show(LedState::Ready, Duration::ZERO).expect("shown");
        assert_eq!(shine(), [true, false]);
        leds.show(LedState::Fault, Duration::ZERO).expect("shown");
        assert_eq!(shine(), [false, true]);
        leds.show(LedState::Fault, Duration::from_millis(1500)).expect("shown");
        assert_eq!(shine(), [false, false], "it blinks");
        leds.show(LedState::Off, Duration::from_secs(2)).expect("shown");
        assert_eq!(shine(), [false, false]);
    }
}
