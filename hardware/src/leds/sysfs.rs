//! Lamps of the kernel's LED class (`Documentation/leds/leds-class.rst`), which blink by themselves.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Lamps, LedState, Leds, LedsError, Light, lights};

/// Where the kernel shows them.
pub const SYSFS: &str = "/sys/class/leds";

/// Lamps by their names in a folder such as [`SYSFS`].
#[derive(Debug)]
pub struct SysfsLeds {
    lamps: Lamps<Option<PathBuf>>,
    shown: Lamps<Option<Light>>,
}

impl SysfsLeds {
    /// The lamps of these names below `root`. One that is not there is told by [`show`](Leds::show), and tried again.
    #[must_use]
    pub fn new(root: &Path, names: &Lamps<Option<String>>) -> Self {
        let lamp = |name: &Option<String>| name.as_ref().map(|name| root.join(name));
        Self {
            lamps: Lamps {
                green: lamp(&names.green),
                amber: lamp(&names.amber),
                red: lamp(&names.red),
            },
            shown: Lamps::default(),
        }
    }
}

/// Switches a lamp.
fn switch(lamp: &Path, light: Light) -> Result<(), LedsError> {
    let write = |file: &str, text: &str| write(&lamp.join(file), text);
    match light {
        Light::Off => write("trigger", "none").and_then(|()| write("brightness", "0")),
        Light::On => write("trigger", "none").and_then(|()| write("brightness", &brightest(lamp))),
        Light::Blink { on, off } => {
            // A kernel without the timer trigger refuses it; a lamp that only shines says more than a dark one.
            if write("trigger", "timer").is_err() {
                return write("brightness", &brightest(lamp));
            }
            write("delay_on", &on.to_string()).and_then(|()| write("delay_off", &off.to_string()))
        }
    }
}

fn brightest(lamp: &Path) -> String {
    let most = std::fs::read_to_string(lamp.join("max_brightness"));
    most.map_or_else(|_| "1".to_owned(), |text| text.trim().to_owned())
}

fn write(path: &Path, text: &str) -> Result<(), LedsError> {
    let written = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source: io::Error| LedsError::Io {
        path: path.to_path_buf(),
        action: "switch it",
        source,
    })
}

impl Leds for SysfsLeds {
    fn describe(&self) -> String {
        let lamps = self.lamps.clone().into_array().into_iter().flatten();
        let names: Vec<String> = lamps.map(|lamp| lamp.display().to_string()).collect();
        format!("LEDs {}", names.join(", "))
    }

    fn show(&mut self, state: LedState, _: Duration) -> Result<(), LedsError> {
        let there = Lamps {
            green: self.lamps.green.is_some(),
            amber: self.lamps.amber.is_some(),
            red: self.lamps.red.is_some(),
        };
        let wanted = lights(there, state).into_array();
        let shown = [&mut self.shown.green, &mut self.shown.amber, &mut self.shown.red];
        let lamps = [&self.lamps.green, &self.lamps.amber, &self.lamps.red];
        let mut failed = Ok(());
        for ((lamp, shown), light) in lamps.into_iter().zip(shown).zip(wanted) {
            let Some(lamp) = lamp.as_ref().filter(|_| *shown != Some(light)) else {
                continue;
            };
            match switch(lamp, light) {
                Ok(()) => *shown = Some(light),
                // The other lamps are switched nevertheless.
                Err(error) => failed = Err(error),
            }
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder like the kernel's with these lamps.
    fn class(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for name in names {
            let folder = root.path().join(name);
            fs::create_dir(&folder).expect("a folder");
            for (file, text) in [
                ("brightness", "0"),
                ("max_brightness", "255\n"),
                ("trigger", "[none] timer"),
                ("delay_on", "500"),
                ("delay_off", "500"),
            ] {
                fs::write(folder.join(file), text).expect("written");
            }
        }
        root
    }

    fn names(green: &str, red: &str) -> Lamps<Option<String>> {
        Lamps {
            green: Some(green.to_owned()),
            amber: None,
            red: Some(red.to_owned()),
        }
    }

    #[test]
    fn lamps_are_switched_in_the_kernels_words() {
        let root = class(&["scanside:green", "scanside:red"]);
        let mut leds = SysfsLeds::new(root.path(), &names("scanside:green", "scanside:red"));
        let says = |lamp: &str, file: &str| fs::read_to_string(root.path().join(lamp).join(file)).expect("a file");
        leds.show(LedState::Ready, Duration::ZERO).expect("shown");
        assert_eq!(says("scanside:green", "trigger"), "none");
        assert_eq!(says("scanside:green", "brightness"), "255");
        assert_eq!(says("scanside:red", "brightness"), "0");
        leds.show(LedState::Fault, Duration::ZERO).expect("shown");
        assert_eq!(says("scanside:green", "brightness"), "0");
        assert_eq!(says("scanside:red", "trigger"), "timer");
        assert_eq!(
            [says("scanside:red", "delay_on"), says("scanside:red", "delay_off")],
            ["1000", "1000"]
        );
        assert!(leds.describe().contains("scanside:red"));
    }

    #[test]
    fn a_lamp_is_written_only_when_it_changes() {
        let root = class(&["a", "b"]);
        let mut leds = SysfsLeds::new(root.path(), &names("a", "b"));
        leds.show(LedState::Ready, Duration::ZERO).expect("shown");
        let brightness = root.path().join("a/brightness");
        fs::write(&brightness, "touched").expect("written");
        leds.show(LedState::Ready, Duration::from_secs(1)).expect("shown");
        assert_eq!(fs::read_to_string(&brightness).expect("a file"), "touched");
        leds.show(LedState::Off, Duration::from_secs(2)).expect("shown");
        assert_eq!(fs::read_to_string(&brightness).expect("a file"), "0");
    }

    #[test]
    fn a_lamp_that_is_not_there_is_named_and_one_that_fails_is_tried_again() {
        let root = class(&["a", "b"]);
        let mut leds = SysfsLeds::new(root.path(), &names("a", "c"));
        for _ in 0..2 {
            let error = leds.show(LedState::Ready, Duration::ZERO).unwrap_err().to_string();
            assert!(error.contains("/c/") && error.contains("/sys/class/leds"), "{error}");
        }
        let mut leds = SysfsLeds::new(root.path(), &names("a", "b"));
        let trigger = root.path().join("b/trigger");
        fs::remove_file(&trigger).expect("removed");
        fs::create_dir(&trigger).expect("a folder");
        assert!(leds.show(LedState::Ready, Duration::ZERO).is_err());
        assert_eq!(
            fs::read_to_string(root.path().join("a/brightness")).expect("a file"),
            "255"
        );
        fs::remove_dir(&trigger).expect("removed");
        fs::write(&trigger, "").expect("written");
        leds.show(LedState::Ready, Duration::ZERO).expect("shown");
        assert_eq!(fs::read_to_string(trigger).expect("a file"), "none");
    }

    /// A lamp that no hardware hangs on, by the kernel's module uleds.
    #[test]
    fn a_lamp_of_the_kernel_shines_and_blinks() {
        let name = "scanside-test-lamp";
        let mut device = match OpenOptions::new().read(true).write(true).open("/dev/uleds") {
            Ok(device) => device,
            Err(error) => {
                eprintln!("skipped: no /dev/uleds ({error}); load the module uleds and run as root");
                return;
            }
        };
        // struct uleds_user_dev: a name of 64 bytes and the greatest brightness.
        let mut user = [0u8; 68];
        user[..name.len()].copy_from_slice(name.as_bytes());
        user[64..].copy_from_slice(&255i32.to_ne_bytes());
        device.write_all(&user).expect("a lamp");
        let root = Path::new(SYSFS);
        let says = |file: &str| fs::read_to_string(root.join(name).join(file)).expect("a file");
        let green = Lamps {
            green: Some(name.to_owned()),
            ..Lamps::default()
        };
        let mut leds = SysfsLeds::new(root, &green);
        leds.show(LedState::Ready, Duration::ZERO).expect("shown");
        assert_eq!(says("brightness").trim(), "255");
        leds.show(LedState::Busy, Duration::ZERO).expect("shown");
        if says("trigger").contains("timer") {
            assert!(says("trigger").contains("[timer]"), "{}", says("trigger"));
            assert_eq!(
                [says("delay_on"), says("delay_off")].map(|text| text.trim().to_owned()),
                ["1000", "1000"]
            );
        }
        leds.show(LedState::Off, Duration::ZERO).expect("shown");
        assert_eq!(says("brightness").trim(), "0");
    }

    #[test]
    fn without_the_timer_a_lamp_shines() {
        let root = class(&["a", "b"]);
        let mut leds = SysfsLeds::new(root.path(), &names("a", "b"));
        fs::remove_file(root.path().join("a/trigger")).expect("removed");
        leds.show(LedState::Busy, Duration::ZERO).expect("shown");
        assert_eq!(
            fs::read_to_string(root.path().join("a/brightness")).expect("a file"),
            "255"
        );
    }
}
