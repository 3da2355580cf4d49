//! Buttons that a test presses.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::{Buttons, ButtonsError, Length, Press};

/// Buttons without hardware.
#[derive(Debug)]
pub struct SimulatedButtons {
    presses: Receiver<Press>,
}

/// What presses them.
#[derive(Debug, Clone)]
pub struct Hand {
    presses: Sender<Press>,
}

impl SimulatedButtons {
    /// Buttons with the hand that presses them.
    #[must_use]
    pub fn new() -> (Self, Hand) {
        let (sender, receiver) = channel();
        (Self { presses: receiver }, Hand { presses: sender })
    }
}

impl Hand {
    /// Presses a button; nobody notices if the buttons are gone.
    pub fn press(&self, button: usize, length: Length) {
        let _ = self.presses.send(Press { button, length });
    }
}

impl Buttons for SimulatedButtons {
    fn describe(&self) -> String {
        "simulated buttons".to_owned()
    }

    fn poll(&mut self, timeout: Duration) -> Result<Vec<Press>, ButtonsError> {
        let first = self.presses.recv_timeout(timeout).ok();
        Ok(first.into_iter().chain(self.presses.try_iter()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presses_come_in_order_and_once() {
        let (mut buttons, hand) = SimulatedButtons::new();
        assert_eq!(buttons.poll(Duration::ZERO).unwrap(), []);
        hand.press(1, Length::Short);
        hand.clone().press(0, Length::Long);
        let told = buttons.poll(Duration::ZERO).unwrap();
        assert_eq!(told.iter().map(|press| press.button).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(buttons.poll(Duration::ZERO).unwrap(), []);
    }
}
