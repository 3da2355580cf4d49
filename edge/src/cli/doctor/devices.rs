//! Display, buttons, lights and the serial port: that they are there and this user may open them. The service may hold them, so
//! nothing is taken from it.

use std::fs;
use std::path::{Path, PathBuf};

use hardware::display::{Display, FramebufferDisplay};
use hardware::leds::SYSFS;
use hardware::smp::port::matches;
use rustix::fs::{Access, access};

use super::check::Check;
use super::model::DisplayReport;
use crate::controls::config::{ControlsKind, LedsKind};
use crate::controls::{ControlsConfig, LedsConfig};
use crate::daemon::config::{DisplayKind, SerialConfig};

/// Where the kernel names input devices.
const INPUTS: &str = "/sys/class/input";

/// A framebuffer, as the report of a bundle tells it.
pub fn framebuffer(path: &Path) -> DisplayReport {
    match open_framebuffer(path) {
        Ok(display) => DisplayReport { display, problem: None },
        Err(problem) => DisplayReport {
            display: path.display().to_string(),
            problem: Some(problem),
        },
    }
}

/// The same as a check.
pub fn framebuffer_check(path: &Path) -> Check {
    Check::device("display", open_framebuffer(path))
}

fn open_framebuffer(path: &Path) -> Result<String, String> {
    let opened = FramebufferDisplay::open(path);
    opened
        .map(|display| display.describe())
        .map_err(|error| error.to_string())
}

/// Where results are shown.
pub fn display(kind: &DisplayKind) -> Check {
    match kind {
        DisplayKind::None => Check::ok("display", "none is configured: nothing is shown"),
        DisplayKind::Framebuffer { device } => framebuffer_check(device),
        DisplayKind::Png { path, .. } => {
            let folder = path.parent().unwrap_or(path);
            let found = usable(folder, Access::WRITE_OK | Access::EXEC_OK).map(|()| kind.to_string());
            Check::device("display", found)
        }
    }
}

/// The buttons.
pub fn controls(config: &ControlsConfig) -> Check {
    let found = match config.kind {
        ControlsKind::Terminal => Ok("keys of the terminal that the service is started in".to_owned()),
        ControlsKind::Gpio => device(config.chip.as_deref().unwrap_or(Path::new(""))),
        ControlsKind::Evdev => {
            let name = config.device.as_deref().unwrap_or_default();
            let path = match Path::new(name).is_absolute() {
                true => Ok(PathBuf::from(name)),
                false => input(Path::new(INPUTS), name),
            };
            path.and_then(|path| usable(&path, Access::READ_OK).map(|()| path.display().to_string()))
        }
    };
    Check::device("controls", found)
}

/// The input device with a name of the kernel's.
fn input(class: &Path, name: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let mut events = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("event"));
    let named = events.find(|entry| {
        let found = fs::read_to_string(entry.path().join("device/name"));
        found.is_ok_and(|found| found.trim_end() == name)
    });
    let path = named.map(|entry| Path::new("/dev/input").join(entry.file_name()));
    path.ok_or_else(|| format!("no input device is called {name}; `evtest` lists those that there are, by name"))
}

/// The lights.
pub fn leds(config: &LedsConfig) -> Check {
    let found = match config.kind {
        LedsKind::Gpio => device(config.chip.as_deref().unwrap_or(Path::new(""))),
        LedsKind::Sysfs => lamps(config),
    };
    Check::device("lights", found)
}

fn lamps(config: &LedsConfig) -> Result<String, String> {
    let names: Vec<&String> = [&config.green, &config.amber, &config.red]
        .into_iter()
        .flatten()
        .collect();
    for name in &names {
        usable(&Path::new(SYSFS).join(name).join("brightness"), Access::WRITE_OK)?;
    }
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    Ok(format!("{} in {SYSFS}", names.join(", ")))
}

/// The engineer's line.
pub fn serial(config: &SerialConfig) -> Check {
    let found = match (config.port.starts_with("pty:"), matches(&config.port).first()) {
        (true, _) => Ok(format!("{}, a line on a desk", config.port)),
        (false, Some(path)) => device(path),
        (false, None) => Err(format!(
            "there is no {}; check appliance.serial.port, and that the gadget is made or the adapter plugged in",
            config.port
        )),
    };
    Check::device("serial line", found)
}

/// A device that is read and written.
fn device(path: &Path) -> Result<String, String> {
    usable(path, Access::READ_OK | Access::WRITE_OK).map(|()| path.display().to_string())
}

/// Whether this user may do so.
fn usable(path: &Path, how: Access) -> Result<(), String> {
    access(path, how).map_err(|error| {
        format!(
            "{}: {error}; check that it is there, and that the user of the service is in its group",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn devices_that_are_not_there_are_problems_that_name_them() {
        let controls_of = |text: &str| controls(&toml::from_str(text).unwrap());
        let leds_of = |text: &str| leds(&toml::from_str(text).unwrap());
        let missing = [
            (controls_of("kind = \"gpio\"\nchip = \"/dev/no-chip\""), "/dev/no-chip"),
            (
                controls_of("kind = \"evdev\"\ndevice = \"no such keypad\""),
                "no such keypad",
            ),
            (
                controls_of("kind = \"evdev\"\ndevice = \"/dev/input/none\""),
                "/dev/input/none",
            ),
            (leds_of("kind = \"sysfs\"\nred = \"no-lamp\""), "no-lamp"),
            (
                leds_of("kind = \"gpio\"\nchip = \"/dev/no-chip\"\nred = \"5\""),
                "/dev/no-chip",
            ),
            (
                serial(&toml::from_str("port = \"/dev/no-port*\"").unwrap()),
                "/dev/no-port*",
            ),
            (framebuffer_check(Path::new("/dev/no-screen")), "/dev/no-screen"),
        ];
        for (check, name) in missing {
            assert_eq!(check.exit(), Exit::Device, "{}", check.line());
            assert!(check.line().contains(name), "{}", check.line());
        }
        let there = [
            controls_of("kind = \"terminal\""),
            serial(&toml::from_str("port = \"pty:/tmp/line\"").unwrap()),
            display(&DisplayKind::None),
        ];
        assert!(there.iter().all(|check| check.exit() == Exit::Done), "{there:?}");
    }

    #[test]
    fn an_input_device_is_found_by_its_name() {
        let class = tempfile::tempdir().unwrap();
        for (event, name) in [("event0", "Power Button\n"), ("event3", "gpio-keys\n")] {
            fs::create_dir_all(class.path().join(event).join("device")).unwrap();
            fs::write(class.path().join(event).join("device/name"), name).unwrap();
        }
        assert_eq!(
            input(class.path(), "gpio-keys").unwrap(),
            Path::new("/dev/input/event3")
        );
        assert!(input(class.path(), "gpio").is_err());
    }

    #[test]
    fn a_picture_needs_a_folder_that_may_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let png = |path: PathBuf| DisplayKind::Png {
            path,
            width: 800,
            height: 480,
        };
        assert_eq!(display(&png(folder.path().join("screen.png"))).exit(), Exit::Done);
        let nowhere = display(&png(folder.path().join("nowhere/screen.png")));
        assert_eq!(nowhere.exit(), Exit::Device, "{}", nowhere.line());
    }
}
