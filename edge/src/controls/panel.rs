//! The configured buttons.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use hardware::buttons::{
    Buttons, ButtonsError, EvdevButtons, GpioButtons, GpioWiring, Length, Press, TerminalButtons, Wired,
};

use super::Action;
use super::config::{ControlsConfig, ControlsKind, Meaning};

/// Buttons whose presses are actions.
pub struct Panel {
    buttons: Box<dyn Buttons>,
    meanings: Vec<[Option<Action>; 2]>,
}

/// Why there are no buttons.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PanelError {
    /// A value of the config cannot be.
    #[error("appliance.{0}")]
    Config(String),
    /// The buttons cannot be read.
    #[error(transparent)]
    Buttons(#[from] ButtonsError),
}

impl Panel {
    /// The buttons that a config names. A device that is not there is told by [`poll`](Self::poll), and looked for.
    ///
    /// # Errors
    /// [`PanelError::Config`]; of a terminal [`PanelError::Buttons`].
    pub fn open(config: &ControlsConfig) -> Result<Self, PanelError> {
        config.check().map_err(PanelError::Config)?;
        match config.kind {
            ControlsKind::Evdev => {
                let (keys, meanings) = split(config.keys())?;
                let device = config.device.as_deref().unwrap_or_default();
                let buttons = EvdevButtons::new(device, &keys, config.timing());
                Ok(Self::new(Box::new(buttons), meanings))
            }
            ControlsKind::Gpio => {
                let (lines, meanings) = split(config.lines())?;
                let wiring = GpioWiring {
                    chip: config.chip.clone().unwrap_or_default(),
                    active_low: config.active_low,
                    lines,
                };
                let buttons = GpioButtons::new(wiring, config.timing());
                Ok(Self::new(Box::new(buttons), meanings))
            }
            ControlsKind::Terminal => {
                let (keys, meanings) = split(config.terminal_keys())?;
                let keys = keys.into_iter().map(|key| key.wire).collect();
                let terminal = io::stdin().as_fd().try_clone_to_owned();
                let terminal =
                    terminal.map_err(|error| ButtonsError::NoTerminal(format!("standard input ({error})")))?;
                let buttons = TerminalButtons::open(terminal, keys)?;
                Ok(Self::new(Box::new(buttons), meanings))
            }
        }
    }

    /// Buttons with what the short and the long press of each mean.
    #[must_use]
    pub fn new(buttons: Box<dyn Buttons>, meanings: Vec<[Option<Action>; 2]>) -> Self {
        Self { buttons, meanings }
    }

    /// What the buttons are and where.
    #[must_use]
    pub fn describe(&self) -> String {
        self.buttons.describe()
    }

    /// The actions that have a button, in the order in which the screens name them.
    #[must_use]
    pub fn actions(&self) -> Vec<Action> {
        let has = |action: &Action| self.meanings.as_flattened().contains(&Some(*action));
        Action::ALL.into_iter().filter(has).collect()
    }

    /// What was pressed since the last call, the oldest first; waits up to `timeout`. For a thread of its own.
    ///
    /// # Errors
    /// The buttons'. They go on working, or are looked for, with the next call.
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<Action>, ButtonsError> {
        let presses = self.buttons.poll(timeout)?;
        let meaning = |press: &Press| {
            let [short, long] = *self.meanings.get(press.button)?;
            match press.length {
                Length::Short => short,
                Length::Long => long,
            }
        };
        Ok(presses.iter().filter_map(meaning).collect())
    }
}

impl std::fmt::Debug for Panel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Panel")
            .field("buttons", &self.describe())
            .field("meanings", &self.meanings)
            .finish()
    }
}

type Split<W> = (Vec<Wired<W>>, Vec<[Option<Action>; 2]>);

fn split<W: Copy>(meanings: Result<Vec<Meaning<W>>, String>) -> Result<Split<W>, PanelError> {
    let meanings = meanings.map_err(PanelError::Config)?;
    let both = meanings
        .iter()
        .map(|meaning| (meaning.wired(), [meaning.short, meaning.long]));
    Ok(both.unzip())
}

#[cfg(test)]
mod tests {
    use hardware::buttons::SimulatedButtons;

    use super::*;

    #[test]
    fn presses_are_actions_and_meaningless_ones_are_none() {
        let (buttons, hand) = SimulatedButtons::new();
        let meanings = vec![[Some(Action::Next), None], [Some(Action::Previous), Some(Action::List)]];
        let mut panel = Panel::new(Box::new(buttons), meanings);
        assert_eq!(panel.actions(), [Action::Previous, Action::Next, Action::List]);
        for (button, length) in [
            (0, Length::Short),
            (0, Length::Long),
            (1, Length::Long),
            (1, Length::Short),
            (7, Length::Short),
        ] {
            hand.press(button, length);
        }
        let actions = panel.poll(Duration::ZERO).expect("actions");
        assert_eq!(actions, [Action::Next, Action::List, Action::Previous]);
    }

    #[test]
    fn buttons_that_are_not_there_are_told_with_what_to_do() {
        let open = |text: &str| {
            let config: ControlsConfig = toml::from_str(text).expect("a config");
            match Panel::open(&config) {
                Ok(mut panel) => panel.poll(Duration::ZERO).unwrap_err().to_string(),
                Err(error) => error.to_string(),
            }
        };
        let evdev = open("kind = \"evdev\"\ndevice = \"/dev/input/no-event\"");
        assert!(evdev.contains("/dev/input/no-event"), "{evdev}");
        let gpio = open("kind = \"gpio\"\nchip = \"/dev/no-chip\"\n[buttons]\nnext = \"17\"");
        assert!(gpio.contains("/dev/no-chip"), "{gpio}");
        let wrong = open("kind = \"gpio\"\nchip = \"/dev/no-chip\"");
        assert!(wrong.starts_with("appliance.controls.buttons"), "{wrong}");
    }
}
