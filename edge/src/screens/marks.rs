//! Small signs beside words: seen, sent, too warm, thresholds of this site.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::painter::{Ink, Painter};
use super::shapes::{self, segment};
use super::{ApplianceMarks, CaseMarks, HeatMark, OutboxMark, palette};
use crate::controls::Verdict;
use crate::text::words::Words;

/// A drawn sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// An eye: somebody has seen it.
    Eye,
    /// Two bars: a clinician found the same.
    Equal,
    /// Two bars, struck through.
    Unequal,
    /// An arrow that reached the bar above it.
    Arrived,
    /// An arrow in a tray.
    Tray,
    /// A thermometer.
    Thermometer,
    /// A bar with a tick, as the operating points are drawn.
    Threshold,
}

/// A sign with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub sign: Sign,
    /// In words.
    pub long: String,
    /// What must not be left out: a number, or nothing.
    pub short: String,
    /// Whether it asks for something.
    pub urges: bool,
}

fn outbox(mark: OutboxMark, words: &Words) -> Mark {
    let (sign, long, short) = match mark {
        OutboxMark::Sent => (Sign::Arrived, words.status.sent.to_owned(), String::new()),
        OutboxMark::Waiting => (Sign::Tray, words.status.waiting.to_owned(), String::new()),
        OutboxMark::Unsent(results) => (Sign::Tray, (words.status.unsent)(results), results.to_string()),
    };
    Mark {
        sign,
        long,
        short,
        urges: matches!(mark, OutboxMark::Unsent(_)),
    }
}

fn heat(mark: HeatMark, words: &Words) -> Mark {
    let degrees = format!("{} °C", mark.celsius);
    Mark {
        sign: Sign::Thermometer,
        long: if mark.slowed {
            (words.status.slowed)(mark.celsius)
        } else {
            degrees.clone()
        },
        short: degrees,
        urges: mark.slowed,
    }
}

impl ApplianceMarks {
    /// The marks of the status line, the most important last: it stands beside the state.
    pub fn marks(&self, words: &Words) -> Vec<Mark> {
        let site = self.site_thresholds.then(|| Mark {
            sign: Sign::Threshold,
            long: words.status.site.to_owned(),
            short: String::new(),
            urges: false,
        });
        let outbox = self.outbox.map(|mark| outbox(mark, words));
        let heat = self.heat.map(|mark| heat(mark, words));
        site.into_iter().chain(outbox).chain(heat).collect()
    }
}

impl CaseMarks {
    /// The marks of a case.
    pub fn marks(&self, words: &Words) -> Vec<Mark> {
        let mark = |sign, long: &str| Mark {
            sign,
            long: long.to_owned(),
            short: String::new(),
            urges: false,
        };
        let status = &words.status;
        let verdict = self.verdict.map(|verdict| match verdict {
            Verdict::Agree => mark(Sign::Equal, status.agreed),
            Verdict::Disagree => mark(Sign::Unequal, status.disagreed),
        });
        // A verdict says that somebody has seen it.
        let seen = (self.acknowledged && verdict.is_none()).then(|| mark(Sign::Eye, status.acknowledged));
        let outbox = self.outbox.map(|mark| outbox(mark, words));
        seen.into_iter().chain(verdict).chain(outbox).collect()
    }
}

impl Mark {
    fn text(&self, in_words: bool) -> &str {
        if in_words { &self.long } else { &self.short }
    }
}

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Width of a mark in pixels.
    pub fn mark_width(&self, mark: &Mark, ink: Ink, in_words: bool) -> i32 {
        let text = mark.text(in_words);
        let words = if text.is_empty() {
            0
        } else {
            space(ink) + self.width(text, ink)
        };
        side(ink) + words
    }

    /// Draws a mark from `x` to the right; returns where it ended.
    pub fn mark(&mut self, mark: &Mark, x: i32, middle: i32, ink: Ink, in_words: bool) -> Result<i32, D::Error> {
        let ink = if mark.urges { ink.coloured(palette::TEXT) } else { ink };
        let side = side(ink);
        let area = Rectangle::new(Point::new(x, middle - side / 2), Size::new(side as u32, side as u32));
        self.sign(mark.sign, area, ink)?;
        let text = mark.text(in_words);
        if text.is_empty() {
            return Ok(x + side);
        }
        let left = x + side + space(ink);
        self.write(text, left, middle, self.width(text, ink), ink)
    }

    /// Marks from a corner, in words where one line holds them; with `lines` in as many lines as that takes. Returns the
    /// height.
    pub fn marks(&mut self, marks: &[Mark], at: Point, room: i32, ink: Ink, lines: bool) -> Result<i32, D::Error> {
        let line = side(ink) + space(ink);
        let gap = space(ink) * 2;
        let widths: Vec<i32> = marks.iter().map(|mark| self.mark_width(mark, ink, true)).collect();
        let one_line: i32 = widths.iter().map(|width| width + gap).sum();
        let in_words = one_line - gap <= room || lines && widths.iter().all(|width| *width <= room);
        let (mut x, mut y) = (at.x, at.y);
        for mark in marks {
            let width = self.mark_width(mark, ink, in_words);
            if x > at.x && x + width > at.x + room {
                (x, y) = (at.x, y + line);
            }
            x = self.mark(mark, x, y + line / 2, ink, in_words)? + gap;
        }
        Ok(if marks.is_empty() { 0 } else { y + line - at.y })
    }

    fn sign(&mut self, sign: Sign, area: Rectangle, ink: Ink) -> Result<(), D::Error> {
        let half = area.size.width as f32 / 2.0;
        let stroke = (half / 4.0).max(1.2);
        shapes::signed_distance(self.target, area, ink.colour, ink.ground, |x, y| {
            shape(sign, x / half, y / half) * half - stroke / 2.0
        })
    }
}

/// Height and width of a sign beside text.
fn side(ink: Ink) -> i32 {
    (ink.size as f32 * 0.95).round() as i32
}

/// Between a sign and its words.
fn space(ink: Ink) -> i32 {
    (ink.size as i32 / 3).max(3)
}

/// Distance to the middle of a sign's strokes in a square from -1 to 1.
fn shape(sign: Sign, x: f32, y: f32) -> f32 {
    // From a point down or up to another one.
    let line = |x0: f32, y0: f32, x1: f32, y1: f32| {
        let (dx, dy) = (x1 - x0, y1 - y0);
        let along = (((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
        (x - x0 - along * dx).hypot(y - y0 - along * dy)
    };
    let arrow = |top: f32, bottom: f32| {
        let head = line(-0.4, top + 0.42, 0.0, top).min(line(0.4, top + 0.42, 0.0, top));
        line(0.0, top, 0.0, bottom).min(head)
    };
    match sign {
        Sign::Eye => {
            // Two arcs through both corners, and the pupil.
            let (sagitta, half) = (0.55f32, 0.9f32);
            let radius = (half * half + sagitta * sagitta) / (2.0 * sagitta);
            let centre = radius - sagitta;
            let lens = (x.hypot(y - centre) - radius).max(x.hypot(y + centre) - radius);
            lens.abs().min((x.hypot(y) - 0.22).max(0.0))
        }
        Sign::Equal => segment(x, y - 0.3, 0.7).min(segment(x, y + 0.3, 0.7)),
        Sign::Unequal => {
            let bars = segment(x, y - 0.3, 0.7).min(segment(x, y + 0.3, 0.7));
            bars.min(line(-0.45, 0.8, 0.45, -0.8))
        }
        Sign::Arrived => arrow(-0.45, 0.85).min(segment(x, y + 0.85, 0.75)),
        Sign::Tray => {
            let sides = line(-0.8, 0.35, -0.8, 0.85).min(line(0.8, 0.35, 0.8, 0.85));
            arrow(-0.85, 0.45).min(sides).min(segment(x, y - 0.85, 0.8))
        }
        Sign::Thermometer => {
            let tube = line(0.0, -0.65, 0.0, 0.35) - 0.22;
            let bulb = x.hypot(y - 0.52) - 0.4;
            tube.min(bulb).abs().min((x.hypot(y - 0.52) - 0.12).max(0.0))
        }
        Sign::Threshold => segment(x, y, 0.85).min(line(0.3, -0.75, 0.3, 0.75)),
    }
}

#[cfg(test)]
mod tests {
    use hardware::display::Canvas;

    use super::*;
    use crate::screens::painter::Lettering;
    use crate::text::words::Language;

    #[test]
    fn signs_differ_and_stay_in_their_area() {
        let lettering = Lettering::new(Language::English);
        let signs = [
            Sign::Eye,
            Sign::Equal,
            Sign::Unequal,
            Sign::Arrived,
            Sign::Tray,
            Sign::Thermometer,
            Sign::Threshold,
        ];
        let area = Rectangle::new(Point::new(10, 10), Size::new(24, 24));
        let drawn = signs.map(|sign| {
            let mut canvas = Canvas::new(Size::new(44, 44));
            canvas.clean();
            let Ok(()) = lettering
                .on(&mut canvas)
                .sign(sign, area, Ink::text(24).on(Rgb888::new(0, 0, 0)));
            for dirty in canvas.dirty() {
                assert_eq!(dirty.intersection(&area), *dirty, "{sign:?}");
            }
            canvas.rgb().to_vec()
        });
        for (index, one) in drawn.iter().enumerate() {
            for other in &drawn[index + 1..] {
                let differing = one.iter().zip(other).filter(|(a, b)| a.abs_diff(**b) > 128).count();
                assert!(differing / 3 > 25, "{index}: {differing}");
            }
        }
    }

    #[test]
    fn a_verdict_takes_the_place_of_seen_and_numbers_are_never_left_out() {
        let words = Language::English.words();
        let marks = CaseMarks {
            acknowledged: true,
            verdict: Some(Verdict::Disagree),
            outbox: Some(OutboxMark::Unsent(3)),
        };
        let marks = marks.marks(words);
        assert_eq!(
            marks.iter().map(|mark| mark.sign).collect::<Vec<_>>(),
            [Sign::Unequal, Sign::Tray]
        );
        assert_eq!((marks[1].text(false), marks[1].text(true)), ("3", "3 unsent"));
        assert_eq!(CaseMarks::default().marks(words), []);
    }
}
