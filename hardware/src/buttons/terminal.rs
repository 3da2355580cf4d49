//! The keys of a terminal stand in for buttons on a desk.
//!
//! A terminal tells no key's release. A capital letter stands for the long press of its key.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcsetattr};

use super::evdev::readable;
use super::{Buttons, ButtonsError, Length, Press};

/// What the terminal sends for keys that are no letters (ECMA-48 cursor keys, in both of their forms).
const NAMED: [(&str, &[&[u8]], char); 7] = [
    ("UP", &[b"\x1b[A", b"\x1bOA"], '↑'),
    ("DOWN", &[b"\x1b[B", b"\x1bOB"], '↓'),
    ("RIGHT", &[b"\x1b[C", b"\x1bOC"], '→'),
    ("LEFT", &[b"\x1b[D", b"\x1bOD"], '←'),
    ("ENTER", &[b"\r", b"\n"], '\n'),
    ("SPACE", &[b" "], ' '),
    ("TAB", &[b"\t"], '\t'),
];

/// A key by its name: a lower-case letter, a digit, or `UP`, `DOWN`, `LEFT`, `RIGHT`, `ENTER`, `SPACE`, `TAB`.
#[must_use]
pub fn terminal_key(name: &str) -> Option<char> {
    let mut letters = name.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if letter.is_ascii_lowercase() || letter.is_ascii_digit() => Some(letter),
        _ => NAMED.iter().find(|(known, ..)| *known == name).map(|(.., key)| *key),
    }
}

/// Keys of a terminal. While they are in use it neither shows what is typed nor waits for a line's end; Ctrl-C works.
pub struct TerminalButtons {
    terminal: File,
    before: Termios,
    keys: Vec<char>,
    hung_up: bool,
}

impl TerminalButtons {
    /// Takes the keys of a terminal, which is usually the program's standard input.
    ///
    /// # Errors
    /// [`ButtonsError::NoTerminal`], [`ButtonsError::Io`].
    pub fn open(terminal: OwnedFd, keys: Vec<char>) -> Result<Self, ButtonsError> {
        if !isatty(&terminal) {
            return Err(ButtonsError::NoTerminal("standard input".to_owned()));
        }
        let failed = |error: rustix::io::Errno| ButtonsError::Io {
            device: "terminal".to_owned(),
            action: "set it up",
            source: error.into(),
        };
        let before = tcgetattr(&terminal).map_err(failed)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 0;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &quiet).map_err(failed)?;
        Ok(Self {
            terminal: File::from(terminal),
            before,
            keys,
            hung_up: false,
        })
    }

    fn presses(&self, typed: &[u8]) -> Vec<Press> {
        let pressed = |key: char, length| {
            let button = self.keys.iter().position(|known| *known == key)?;
            Some(Press { button, length })
        };
        let mut presses = Vec::new();
        let mut rest = typed;
        while let Some(first) = rest.first() {
            let named = NAMED
                .iter()
                .flat_map(|(_, codes, key)| codes.iter().map(move |code| (*code, *key)))
                .find(|(code, _)| rest.starts_with(code));
            let (length, press) = match named {
                Some((code, key)) => (code.len(), pressed(key, Length::Short)),
                None => {
                    let key = char::from(first.to_ascii_lowercase());
                    let long = first.is_ascii_uppercase();
                    (1, pressed(key, if long { Length::Long } else { Length::Short }))
                }
            };
            presses.extend(press);
            rest = &rest[length..];
        }
        presses
    }
}

impl Buttons for TerminalButtons {
    fn describe(&self) -> String {
        "keys of the terminal".to_owned()
    }

    fn poll(&mut self, timeout: Duration) -> Result<Vec<Press>, ButtonsError> {
        if self.hung_up {
            std::thread::sleep(timeout);
            return Ok(Vec::new());
        }
        let mut typed = [0; 64];
        let read = readable(&self.terminal, timeout).and_then(|ready| match ready {
            true => self.terminal.read(&mut typed).and_then(|count| match count {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                count => Ok(count),
            }),
            false => Ok(0),
        });
        match read {
            Ok(count) => Ok(self.presses(&typed[..count])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
            Err(source) => {
                self.hung_up = true;
                Err(ButtonsError::Lost {
                    device: "terminal".to_owned(),
                    source,
                })
            }
        }
    }
}

impl Drop for TerminalButtons {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal.as_fd(), OptionalActions::Now, &self.before);
    }
}

impl std::fmt::Debug for TerminalButtons {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TerminalButtons")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// A terminal, and the end at which somebody types.
    fn terminal() -> (File, OwnedFd) {
        let typing = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&typing).expect("granted");
        unlockpt(&typing).expect("unlocked");
        let path = ptsname(&typing, Vec::new()).expect("a name");
        let path = path.to_str().expect("a path").to_owned();
        let terminal = File::options().read(true).write(true).open(path).expect("open");
        (File::from(typing), terminal.into())
    }

    fn poll(buttons: &mut TerminalButtons) -> Vec<(usize, Length)> {
        let told = buttons.poll(Duration::from_secs(5)).expect("keys");
        told.into_iter().map(|press| (press.button, press.length)).collect()
    }

    #[test]
    fn keys_are_presses_and_capitals_long_ones() {
        let (mut typing, terminal) = terminal();
        let keys = ["RIGHT", "LEFT", "a", "ENTER"].map(|name| terminal_key(name).expect("a key"));
        let mut buttons = TerminalButtons::open(terminal, keys.to_vec()).expect("a terminal");
        for (typed, expected) in [
            (&b"\x1b[C"[..], vec![(0, Length::Short)]),
            (b"\x1bOD\x1b[C", vec![(1, Length::Short), (0, Length::Short)]),
            (b"aqA", vec![(2, Length::Short), (2, Length::Long)]),
            (b"\r", vec![(3, Length::Short)]),
        ] {
            typing.write_all(typed).expect("typed");
            assert_eq!(poll(&mut buttons), expected, "{typed:?}");
        }
        assert_eq!(buttons.poll(Duration::ZERO).expect("nothing"), []);
    }

    #[test]
    fn the_terminal_is_as_it_was_afterwards() {
        let (_typing, terminal) = terminal();
        let kept = terminal.try_clone().expect("the same terminal");
        let modes = |fd: &OwnedFd| tcgetattr(fd).expect("modes").local_modes;
        let before = modes(&kept);
        let buttons = TerminalButtons::open(terminal, vec!['a']).expect("a terminal");
        assert!(!modes(&kept).contains(LocalModes::ECHO) && modes(&kept).contains(LocalModes::ISIG));
        drop(buttons);
        assert_eq!(modes(&kept), before);
    }

    #[test]
    fn a_terminal_that_hangs_up_is_told_once() {
        let (typing, terminal) = terminal();
        let mut buttons = TerminalButtons::open(terminal, vec!['a']).expect("a terminal");
        drop(typing);
        let error = buttons.poll(Duration::from_secs(5)).unwrap_err().to_string();
        assert!(error.contains("went away"), "{error}");
        assert_eq!(buttons.poll(Duration::ZERO).expect("nothing"), []);
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        let file = File::open("/dev/null").expect("a file");
        let error = TerminalButtons::open(file.into(), vec!['a']).unwrap_err().to_string();
        assert!(error.contains("no terminal"), "{error}");
        assert_eq!((terminal_key("A"), terminal_key("F1")), (None, None));
    }
}
