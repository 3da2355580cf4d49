//! Colours: a calm dark ground for a dim room, one accent for each kind of result.
//!
//! Red stands for a fault of the device and for nothing else (the habit of IEC 60601-1-8); what a colour means is also
//! said by a shape and by words.

use embedded_graphics::pixelcolor::Rgb888;

use super::ResultState;

/// Behind everything.
pub const GROUND: Rgb888 = Rgb888::new(0x0A, 0x0D, 0x13);
/// Behind the status line.
pub const STATUS_GROUND: Rgb888 = Rgb888::new(0x14, 0x1B, 0x26);
/// Behind an image that does not fill its panel.
pub const PANEL_GROUND: Rgb888 = Rgb888::new(0x05, 0x07, 0x0A);
/// Frames of the panels.
pub const FRAME: Rgb888 = Rgb888::new(0x2C, 0x35, 0x42);
/// The part of a bar that is not filled.
pub const TRACK: Rgb888 = Rgb888::new(0x1E, 0x26, 0x31);
/// A bar that the banner does not speak of.
pub const QUIET_BAR: Rgb888 = Rgb888::new(0x76, 0x83, 0x91);
/// What is read first.
pub const TEXT: Rgb888 = Rgb888::new(0xEE, 0xF2, 0xF7);
/// What is read second.
pub const MUTED: Rgb888 = Rgb888::new(0x9B, 0xA7, 0xB6);
/// The product's name.
pub const BRAND: Rgb888 = Rgb888::new(0x56, 0xC8, 0xE8);
/// The device works.
pub const HEALTHY: Rgb888 = Rgb888::new(0x5F, 0xD3, 0x8D);
/// Something was taken back or is missing; the device works.
pub const SETBACK: Rgb888 = Rgb888::new(0xFF, 0xBF, 0x3C);
/// The device does not work.
pub const FAULT: Rgb888 = Rgb888::new(0xFF, 0x5A, 0x4F);

/// Behind the chosen case of a list.
pub const CHOSEN: Rgb888 = Rgb888::new(0x1C, 0x2A, 0x3C);

/// The accent of a kind of result.
pub const fn accent(state: ResultState) -> Rgb888 {
    match state {
        ResultState::Flagged => Rgb888::new(0xFF, 0xBF, 0x3C),
        ResultState::NoFindingFlagged => Rgb888::new(0x93, 0xB5, 0xD1),
        ResultState::Uncertain => Rgb888::new(0xB8, 0x9D, 0xFF),
        ResultState::NotReadable => Rgb888::new(0xF4, 0xF6, 0xF9),
        ResultState::NoModel => Rgb888::new(0xB9, 0xC2, 0xCC),
    }
}

/// Share of the accent in the banner's ground, of 255.
pub const BANNER_TINT: u8 = 38;

#[cfg(test)]
pub(super) mod tests {
    use embedded_graphics::pixelcolor::RgbColor;

    use super::*;
    use crate::text::style::mix;

    /// WCAG 2.2 relative luminance.
    pub(in crate::screens) fn luminance(colour: Rgb888) -> f64 {
        let linear = [colour.r(), colour.g(), colour.b()].map(|component| {
            let value = f64::from(component) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    pub(in crate::screens) fn contrast(a: Rgb888, b: Rgb888) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    const STATES: [ResultState; 5] = ResultState::ALL;

    #[test]
    fn text_is_readable_on_every_ground() {
        let banners = STATES.map(|state| mix(GROUND, accent(state), BANNER_TINT));
        for ground in [GROUND, STATUS_GROUND, PANEL_GROUND, CHOSEN].into_iter().chain(banners) {
            for ink in [TEXT, MUTED] {
                assert!(
                    contrast(ink, ground) >= 4.5,
                    "{ink:?} on {ground:?}: {:.1}",
                    contrast(ink, ground)
                );
            }
        }
        for (state, banner) in STATES.into_iter().zip(banners) {
            assert!(contrast(accent(state), banner) >= 4.5, "{state:?}");
        }
    }

    #[test]
    fn no_result_is_red() {
        for state in STATES {
            let colour = accent(state);
            let alarming = colour.r() > 180 && colour.g() < 110 && colour.b() < 110;
            assert!(!alarming, "{state:?} {colour:?}");
        }
    }
}
