//! Lamps on the lines of a GPIO chip. They blink by the time of each call.

use std::path::PathBuf;
use std::time::Duration;

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

/// Lamps that are GPIO lines; dark until the first state.
pub struct GpioLeds {
    lamps: GpioLamps,
    request: Request,
    shown: Lamps<Option<bool>>,
}

impl GpioLeds {
    /// Takes the lines.
    ///
    /// # Errors
    /// [`LedsError::Gpio`] if the chip does not exist, a line is none of its own, or something else holds one.
    pub fn open(lamps: GpioLamps) -> Result<Self, LedsError> {
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
        let request = builder.request().map_err(|error| failed(&lamps, &error))?;
        Ok(Self {
            lamps,
            request,
            shown: Lamps::default(),
        })
    }
}

fn failed(lamps: &GpioLamps, error: &gpiocdev::Error) -> LedsError {
    LedsError::Gpio {
        chip: lamps.chip.clone(),
        reason: error.to_string().trim_end_matches('.').to_owned(),
    }
}

impl Leds for GpioLeds {
    fn describe(&self) -> String {
        let lines = self.lamps.lines.into_array().into_iter().flatten();
        let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
        format!("LEDs on {}, lines {}", self.lamps.chip.display(), lines.join(", "))
    }

    fn show(&mut self, state: LedState, now: Duration) -> Result<(), LedsError> {
        let lines = self.lamps.lines;
        let there = Lamps {
            green: lines.green.is_some(),
            amber: lines.amber.is_some(),
            red: lines.red.is_some(),
        };
        let wanted = lights(there, state).into_array();
        let shown = [&mut self.shown.green, &mut self.shown.amber, &mut self.shown.red];
        for ((line, shown), light) in lines.into_array().into_iter().zip(shown).zip(wanted) {
            let on = light.is_on(now);
            let Some(line) = line.filter(|_| *shown != Some(on)) else {
                continue;
            };
            let value = if on { Value::Active } else { Value::Inactive };
            let switched = self.request.set_value(line, value);
            switched.map_err(|error| failed(&self.lamps, &error))?;
            *shown = Some(on);
        }
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
        let error = GpioLeds::open(lamps).unwrap_err().to_string();
        assert!(
            error.contains("no-such-gpiochip") && error.contains("gpioinfo"),
            "{error}"
        );
    }
}
