//! Keys of a Linux input device: gpio-keys, a USB keypad, a foot switch.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use evdev::{Device, EventSummary, KeyCode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::connection::Connection;
use super::contacts::{Edge, Timing};
use super::{Buttons, ButtonsError, Press, Wired};

/// The kernel's value of a key that is held and repeats.
const REPEATED: i32 = 2;

/// The code of a key by its name in the kernel's `input-event-codes.h`: `KEY_RIGHT`, `BTN_0`.
#[must_use]
pub fn key_code(name: &str) -> Option<u16> {
    KeyCode::from_str(name).ok().map(|key| key.0)
}

/// Buttons that are keys of an input device. While it is open nothing else gets its keys, so that a button types
/// nothing into a console.
pub struct EvdevButtons {
    wanted: Wanted,
    connection: Connection<Device>,
}

/// Which device, with which keys.
#[derive(Debug)]
struct Wanted {
    device: String,
    keys: Vec<u16>,
}

impl EvdevButtons {
    /// An input device by path (`/dev/input/by-path/...`) or by the name that the kernel gives it (`gpio-keys`). It is
    /// opened by the first poll, or whenever it is there.
    #[must_use]
    pub fn new(device: &str, keys: &[Wired<u16>], timing: Timing) -> Self {
        Self {
            connection: Connection::new(keys, timing),
            wanted: Wanted {
                device: device.to_owned(),
                keys: keys.iter().map(|key| key.wire).collect(),
            },
        }
    }
}

impl Wanted {
    fn find(&self) -> Result<Device, ButtonsError> {
        let failed = |action| {
            move |source| ButtonsError::Io {
                device: self.device.clone(),
                action,
                source,
            }
        };
        let mut device = if Path::new(&self.device).is_absolute() {
            Device::open(&self.device).map_err(failed("open"))?
        } else {
            by_name(&self.device)?
        };
        self.check_keys(&device)?;
        device.grab().map_err(failed("take its keys alone"))?;
        device.set_nonblocking(true).map_err(failed("set it up"))?;
        Ok(device)
    }

    fn check_keys(&self, device: &Device) -> Result<(), ButtonsError> {
        let has = |code: u16| {
            device
                .supported_keys()
                .is_some_and(|keys| keys.contains(KeyCode::new(code)))
        };
        let lacking: Vec<_> = self.keys.iter().filter(|code| !has(**code)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        Err(ButtonsError::NoSuchKey {
            device: self.device.clone(),
            keys: lacking
                .into_iter()
                .map(|code| format!("{:?}", KeyCode::new(*code)))
                .collect(),
        })
    }
}

fn by_name(name: &str) -> Result<Device, ButtonsError> {
    let mut devices: Vec<_> = evdev::enumerate().collect();
    devices.sort_by(|a, b| a.0.cmp(&b.0));
    let found = devices
        .iter()
        .map(|(path, device)| format!("{} ({})", device.name().unwrap_or("no name"), path.display()))
        .collect();
    let named = devices.into_iter().find(|(_, device)| device.name() == Some(name));
    named
        .map(|(_, device)| device)
        .ok_or_else(|| ButtonsError::NoSuchDevice {
            device: name.to_owned(),
            found,
        })
}

/// The edges that a device has within a time.
fn edges(device: &mut Device, keys: &[u16], time: Duration) -> io::Result<Vec<Edge>> {
    if !readable(&device.as_fd(), time)? {
        return Ok(Vec::new());
    }
    let events = match device.fetch_events() {
        Ok(events) => events,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut edges = Vec::new();
    for event in events {
        if let EventSummary::Key(_, key, value) = event.destructure()
            && value != REPEATED
        {
            let buttons = (0..).zip(keys).filter(|(_, code)| **code == key.0);
            edges.extend(buttons.map(|(button, _)| Edge {
                button,
                down: value != 0,
            }));
        }
    }
    Ok(edges)
}

/// Waits until there is something to read; a signal ends the wait early.
pub(super) fn readable(source: &impl AsFd, time: Duration) -> io::Result<bool> {
    let time = Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    let mut waiting = [PollFd::new(source, PollFlags::IN)];
    match poll(&mut waiting, Some(&time)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Buttons for EvdevButtons {
    fn describe(&self) -> String {
        let device = &self.wanted.device;
        match self.connection.source().and_then(Device::name) {
            Some(name) if name != device => format!("input device {device} ({name})"),
            _ => format!("input device {device}"),
        }
    }

    fn poll(&mut self, timeout: Duration) -> Result<Vec<Press>, ButtonsError> {
        let wanted = &self.wanted;
        let edges = |device: &mut Device, time| edges(device, &wanted.keys, time);
        self.connection.poll(&wanted.device, timeout, || wanted.find(), edges)
    }
}

impl std::fmt::Debug for EvdevButtons {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EvdevButtons")
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_kernels_names() {
        assert_eq!(key_code("KEY_RIGHT"), Some(106));
        assert_eq!(key_code("BTN_0"), Some(256));
        assert_eq!((key_code("RIGHT"), key_code("")), (None, None));
    }

    #[test]
    fn a_device_that_is_not_there_is_named_with_what_to_check() {
        let keys = [Wired {
            wire: 106,
            has_long: false,
        }];
        let refusal = |device| {
            EvdevButtons::new(device, &keys, Timing::default())
                .poll(Duration::ZERO)
                .unwrap_err()
                .to_string()
        };
        let path = refusal("/dev/input/no-such-event");
        assert!(
            path.contains("/dev/input/no-such-event") && path.contains("check the device"),
            "{path}"
        );
        let name = refusal("no such keypad");
        assert!(name.contains("no such keypad") && name.contains("there"), "{name}");
    }
}
