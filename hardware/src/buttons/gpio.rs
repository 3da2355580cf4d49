//! Buttons on the lines of a GPIO chip.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use gpiocdev::Request;
use gpiocdev::line::{Bias, EdgeDetection, EdgeKind};

use super::connection::Connection;
use super::contacts::{Edge, Timing};
use super::evdev::readable;
use super::{Buttons, ButtonsError, Press, Wired};

/// Edges that are taken from the kernel in one go; more are taken in the next.
const EVENTS_AT_ONCE: usize = 16;

/// How the buttons are wired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioWiring {
    /// The chip: `/dev/gpiochip0`.
    pub chip: PathBuf,
    /// Whether a pressed button connects its line to ground.
    pub active_low: bool,
    /// The offsets of the lines on the chip.
    pub lines: Vec<Wired<u32>>,
}

/// Buttons that are GPIO lines. The chip's own resistor holds an open line at rest, where the chip has one.
pub struct GpioButtons {
    wiring: GpioWiring,
    connection: Connection<Request>,
}

impl GpioButtons {
    /// Lines that the first poll takes, or a later one once the chip is there.
    #[must_use]
    pub fn new(wiring: GpioWiring, timing: Timing) -> Self {
        Self {
            connection: Connection::new(&wiring.lines, timing),
            wiring,
        }
    }
}

fn find(wiring: &GpioWiring) -> Result<Request, ButtonsError> {
    let bias = if wiring.active_low {
        Bias::PullUp
    } else {
        Bias::PullDown
    };
    // A chip without resistors refuses to be asked for one; then there is one outside, or the line would float.
    let request = request(wiring, Some(bias)).or_else(|_| request(wiring, None));
    request.map_err(|error| ButtonsError::Gpio {
        device: wiring.chip.display().to_string(),
        reason: error.to_string().trim_end_matches('.').to_owned(),
    })
}

fn request(wiring: &GpioWiring, bias: Option<Bias>) -> Result<Request, gpiocdev::Error> {
    let offsets: Vec<u32> = wiring.lines.iter().map(|line| line.wire).collect();
    let mut builder = Request::builder();
    builder
        .on_chip(&wiring.chip)
        .with_consumer("scanside")
        .with_lines(&offsets)
        .as_input()
        .with_bias(bias)
        .with_edge_detection(EdgeDetection::BothEdges);
    if wiring.active_low {
        builder.as_active_low();
    }
    builder.request()
}

/// The edges that the lines have within a time.
fn edges(request: &Request, wiring: &GpioWiring, time: Duration) -> io::Result<Vec<Edge>> {
    if !readable(request, time)? {
        return Ok(Vec::new());
    }
    let mut edges = Vec::new();
    // `Request::read_edge_event` reads several events at once and keeps the first alone (gpiocdev 0.8 without uAPI v1).
    let mut events = request.new_edge_event_buffer(EVENTS_AT_ONCE);
    while !events.is_empty() || readable(request, Duration::ZERO)? {
        let event = events.read_event().map_err(io::Error::other)?;
        let button = wiring.lines.iter().position(|line| line.wire == event.offset);
        edges.extend(button.map(|button| Edge {
            button,
            down: event.kind == EdgeKind::Rising,
        }));
    }
    Ok(edges)
}

impl Buttons for GpioButtons {
    fn describe(&self) -> String {
        let lines: Vec<String> = self.wiring.lines.iter().map(|line| line.wire.to_string()).collect();
        format!("GPIO {}, lines {}", self.wiring.chip.display(), lines.join(", "))
    }

    fn poll(&mut self, timeout: Duration) -> Result<Vec<Press>, ButtonsError> {
        let wiring = &self.wiring;
        let edges = |request: &mut Request, time| edges(request, wiring, time);
        let device = wiring.chip.display().to_string();
        self.connection.poll(&device, timeout, || find(wiring), edges)
    }
}

impl std::fmt::Debug for GpioButtons {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("GpioButtons")
            .field("wiring", &self.wiring)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_that_is_not_there_is_named_with_what_to_check() {
        let wiring = GpioWiring {
            chip: "/dev/no-such-gpiochip".into(),
            active_low: true,
            lines: vec![Wired {
                wire: 17,
                has_long: false,
            }],
        };
        let mut buttons = GpioButtons::new(wiring, Timing::default());
        let error = buttons.poll(Duration::ZERO).unwrap_err().to_string();
        assert!(
            error.contains("no-such-gpiochip") && error.contains("gpioinfo"),
            "{error}"
        );
    }
}
