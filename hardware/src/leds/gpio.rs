//! Lamps on the lines of a GPIO chip. They blink by the time of each call.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use gpiocdev::Request;
use gpiocdev::line::Value;

use super::{Lamps, LedState, Leds, LedsError, lights};

/// How the lamps are wired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioLamps {
    /// The chip: `/dev/gpiochip0`.
    pub chip: PathBuf,
    /// Whether a lamp shines when its line is connected to ground.
    pub active_low: bool,
    /// The offsets of the lines on the chip.
    pub lines: Lamps<Option<u32>>,
}

/// How often lines that cannot be had are asked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Lamps that are GPIO lines; dark until the first state.
pub struct GpioLeds {
    lamps: GpioLamps,
    request: Option<Request>,
    /// When they could not be had last, and why.
    missed: Option<(Instant, String)>,
    shown: Lamps<Option<bool>>,
}

impl GpioLeds {
    /// Lines that the first state takes, or a later one once the chip is there.
    #[must_use]
    pub fn new(lamps: GpioLamps) -> Self {
        Self {
            lamps,
            request: None,
            missed: None,
            shown: Lamps::default(),
        }
    }

    /// The lines, taken now if they were not before.
    fn lines(&mut self) -> Result<Request, LedsError> {
        if let Some(request) = self.request.take() {
            return Ok(request);
        }
        if let Some((at, reason)) = &self.missed
            && at.elapsed() < LOOK_AGAIN
        {
            return Err(self.failed(reason));
        }
        let taken = take(&self.lamps).map_err(|error| self.miss(&error));
        self.shown = Lamps::default();
        taken
    }

    fn miss(&mut self, error: &gpiocdev::Error) -> LedsError {
        let reason = error.to_string().trim_end_matches('.').to_owned();
        let error = self.failed(&reason);
        self.missed = Some((Instant::now(), reason));
        error
    }

    fn failed(&self, reason: &str) -> LedsError {
        LedsError::Gpio {
            chip: self.lamps.chip.clone(),
            reason: reason.to_owned(),
        }
    }
}

fn take(lamps: &GpioLamps) -> Result<Request, gpiocdev::Error> {
    let offsets: Vec<u32> = lamps.lines.into_array().into_iter().flatten().collect();
    let mut builder = Request::builder();
    builder
        .on_chip(&lamps.chip)
        .with_consumer("scanside")
        .with_lines(&offsets)
        .as_output(Value::Inactive);
    if lamps.active_low {
        builder.as_active_low();
    }
    builder.request()
}

impl Leds for GpioLeds {
    fn describe(&self) -> String {
        let lines = self.lamps.lines.into_array().into_iter().flatten();
        let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
        format!("LEDs on {}, lines {}", self.lamps.chip.display(), lines.join(", "))
    }

    fn show(&mut self, state: LedState, now: Duration) -> Result<(), LedsError> {
        let request = self.lines()?;
        let lines = self.lamps.lines;
        let there = Lamps {
            green: lines.green.is_some(),
            amber: lines.amber.is_some(),
            red: lines.red.is_some(),
        };
        let wanted = lights(there, state).into_array();
        let shown = [&mut self.shown.green, &mut self.shown.amber, &mut self.shown.red];
        let mut switched = Ok(());
        for ((line, shown), light) in lines.into_array().into_iter().zip(shown).zip(wanted) {
            let on = light.is_on(now);
            let Some(line) = line.filter(|_| *shown != Some(on)) else {
                continue;
            };
            let value = if on { Value::Active } else { Value::Inactive };
            switched = request.set_value(line, value);
            if switched.is_err() {
                break;
            }
            *shown = Some(on);
        }
        switched.map_err(|error| self.miss(&error))?;
        self.request = Some(request);
        Ok(())
    }
}

impl std::fmt::Debug for GpioLeds {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("GpioLeds")
            .field("lamps", &self.lamps)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_that_is_not_there_is_named_with_what_to_check() {
        let lamps = GpioLamps {
            chip: "/dev/no-such-gpiochip".into(),
            active_low: false,
            lines: Lamps {
                green: Some(5),
                ..Lamps::default()
            },
        };
        let mut leds = GpioLeds::new(lamps);
        for _ in 0..2 {
            let error = leds.show(LedState::Ready, Duration::ZERO).unwrap_err().to_string();
            assert!(
                error.contains("no-such-gpiochip") && error.contains("gpioinfo"),
                "{error}"
            );
        }
    }
}
