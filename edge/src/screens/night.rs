//! Dimmed screens for a dark room: darker and warmer, with the contrast of words kept.

use std::sync::LazyLock;

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::primitives::Rectangle;

/// Brightest value of red, green and blue. Blue light keeps the eye from adapting to the dark.
const BRIGHTEST: [f32; 3] = [208.0, 186.0, 150.0];
/// Below 1: quiet words lose less than bright ones, so that they stay readable.
const GAMMA: f32 = 0.8;
/// Values up to here are grounds, which lose more.
const GROUNDS: f32 = 48.0;
const GROUND_SHARE: f32 = 0.5;
/// Pictures are large and mostly bright: they give most of the light, and lose most.
const PICTURE_SHARE: f32 = 0.7;

type Tables = [[u8; 256]; 3];

static DRAWN: LazyLock<Tables> = LazyLock::new(|| {
    BRIGHTEST.map(|brightest| {
        std::array::from_fn(|value| {
            let value = value as f32;
            let lifted = brightest * (value / 255.0).powf(GAMMA);
            let blend = ((value - GROUNDS) / GROUNDS).clamp(0.0, 1.0);
            (value * GROUND_SHARE * (1.0 - blend) + lifted * blend).round() as u8
        })
    })
});

/// Even shares, so that grey values keep their distances.
static PICTURES: LazyLock<Tables> = LazyLock::new(|| {
    BRIGHTEST.map(|brightest| {
        let share = PICTURE_SHARE * brightest / BRIGHTEST[0];
        std::array::from_fn(|value| (value as f32 * share).round() as u8)
    })
});

fn by(tables: &Tables, colour: Rgb888) -> Rgb888 {
    Rgb888::new(
        tables[0][colour.r() as usize],
        tables[1][colour.g() as usize],
        tables[2][colour.b() as usize],
    )
}

/// A colour as it is at night.
#[must_use]
pub fn dimmed(colour: Rgb888) -> Rgb888 {
    by(&DRAWN, colour)
}

/// A target that shows everything as it is at night; screens draw on it as on any other. What comes as a block of
/// pixels (`fill_contiguous`) is taken for a picture.
#[derive(Debug)]
pub struct Dimmed<'a, D> {
    target: &'a mut D,
}

impl<'a, D> Dimmed<'a, D> {
    /// On another target.
    pub fn new(target: &'a mut D) -> Self {
        Self { target }
    }
}

impl<D: OriginDimensions> OriginDimensions for Dimmed<'_, D> {
    fn size(&self) -> Size {
        self.target.size()
    }
}

impl<D: DrawTarget<Color = Rgb888> + OriginDimensions> DrawTarget for Dimmed<'_, D> {
    type Color = Rgb888;
    type Error = D::Error;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), D::Error>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        let pixels = pixels.into_iter().map(|Pixel(at, colour)| Pixel(at, dimmed(colour)));
        self.target.draw_iter(pixels)
    }

    fn fill_contiguous<I>(&mut self, area: &Rectangle, colours: I) -> Result<(), D::Error>
    where
        I: IntoIterator<Item = Rgb888>,
    {
        let colours = colours.into_iter().map(|colour| by(&PICTURES, colour));
        self.target.fill_contiguous(area, colours)
    }

    fn fill_solid(&mut self, area: &Rectangle, colour: Rgb888) -> Result<(), D::Error> {
        self.target.fill_solid(area, dimmed(colour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screens::palette::tests::{contrast, luminance};
    use crate::screens::{ResultState, palette};
    use crate::text::style::mix;

    #[test]
    fn words_stay_readable_at_night() {
        let banners = ResultState::ALL.map(|state| mix(palette::GROUND, palette::accent(state), palette::BANNER_TINT));
        let grounds = [
            palette::GROUND,
            palette::STATUS_GROUND,
            palette::PANEL_GROUND,
            palette::CHOSEN,
        ];
        for ground in grounds.into_iter().chain(banners) {
            for ink in [palette::TEXT, palette::MUTED] {
                let ratio = contrast(dimmed(ink), dimmed(ground));
                assert!(ratio >= 4.5, "{ink:?} on {ground:?}: {ratio:.2}");
            }
        }
        for (state, banner) in ResultState::ALL.into_iter().zip(banners) {
            let ratio = contrast(dimmed(palette::accent(state)), dimmed(banner));
            assert!(ratio >= 4.5, "{state:?}: {ratio:.2}");
        }
        assert!(contrast(dimmed(palette::FAULT), dimmed(palette::GROUND)) >= 4.5);
    }

    #[test]
    fn night_is_darker_and_less_blue() {
        let white = dimmed(Rgb888::WHITE);
        assert!(luminance(white) < 0.55 && white.b() < white.g() && white.g() < white.r());
        assert!(luminance(dimmed(palette::GROUND)) < luminance(palette::GROUND));
        for value in 1..=255u8 {
            let [one, before] = [value, value - 1].map(|value| dimmed(Rgb888::new(value, value, value)));
            assert!(
                one.r() >= before.r() && one.g() >= before.g() && one.b() >= before.b(),
                "{value}"
            );
            assert!(one.r() <= value, "{value}: {one:?}");
            let picture = by(&PICTURES, Rgb888::new(value, value, value));
            assert!(
                f32::from(picture.r()) <= f32::from(value) * 0.71 + 0.5,
                "{value}: {picture:?}"
            );
        }
    }

    #[test]
    fn red_stays_the_colour_of_faults_alone() {
        let fault = dimmed(palette::FAULT);
        assert!(fault.r() > 180 && fault.g() < 90 && fault.b() < 90, "{fault:?}");
        for state in ResultState::ALL {
            let colour = dimmed(palette::accent(state));
            assert!(colour.g() > 90, "{state:?}: {colour:?}");
        }
    }
}
