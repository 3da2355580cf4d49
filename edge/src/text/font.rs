//! Faces of Noto Sans: metrics, and glyphs rasterised once for each quarter of a pixel.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use ab_glyph::{Font, FontRef, GlyphId, Point, PxScale, PxScaleFont, ScaleFont, point};

/// Positions within a pixel at which a glyph is rasterised, so that letters keep their distances.
const STEPS_PER_PIXEL: f32 = 4.0;

/// Stroke weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weight {
    /// For what is read second.
    Regular,
    /// For what is read first.
    Bold,
}

/// All faces in use; one for each weight and size, made when first asked for.
pub struct Fonts {
    regular: FontRef<'static>,
    bold: FontRef<'static>,
    faces: RefCell<HashMap<(Weight, u32), Rc<Face>>>,
}

impl Fonts {
    /// The compiled-in Noto Sans (SIL Open Font License 1.1), with the letters of English, French and Spanish.
    pub fn noto_sans() -> Self {
        let parse = |bytes| FontRef::try_from_slice(bytes).expect("the compiled-in font is a valid TrueType file");
        Self {
            regular: parse(notosans::REGULAR_TTF),
            bold: parse(notosans::BOLD_TTF),
            faces: RefCell::default(),
        }
    }

    /// The face of `weight` whose em is `size` pixels.
    pub fn face(&self, weight: Weight, size: u32) -> Rc<Face> {
        let mut faces = self.faces.borrow_mut();
        let face = faces.entry((weight, size)).or_insert_with(|| {
            let font = match weight {
                Weight::Regular => &self.regular,
                Weight::Bold => &self.bold,
            };
            Rc::new(Face::new(font.clone(), size))
        });
        Rc::clone(face)
    }
}

impl std::fmt::Debug for Fonts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Fonts")
            .field("faces", &self.faces.borrow().len())
            .finish_non_exhaustive()
    }
}

/// One weight at one size.
pub struct Face {
    font: PxScaleFont<FontRef<'static>>,
    size: u32,
    cap_height: f32,
    glyphs: RefCell<HashMap<(GlyphId, u8), Rc<Coverage>>>,
}

/// How much of each pixel a glyph covers, 0..=255, row-major.
pub(super) struct Coverage {
    /// First column, relative to the pen's whole pixel.
    pub left: i32,
    /// First row, relative to the baseline, downwards.
    pub top: i32,
    pub width: usize,
    pub values: Vec<u8>,
}

/// A glyph of a line and the distance of its origin from the line's, in pixels.
#[derive(Clone, Copy)]
struct Placed {
    id: GlyphId,
    x: f32,
}

impl Face {
    fn new(font: FontRef<'static>, size: u32) -> Self {
        // PxScale counts from ascender to descender, a designer's size is the em.
        let em = font.units_per_em().unwrap_or_else(|| font.height_unscaled());
        let scale = PxScale::from(size as f32 * font.height_unscaled() / em);
        let font = font.into_scaled(scale);
        let capital = font.outline_glyph(font.scaled_glyph('H'));
        let cap_height = capital.map_or(size as f32 * 0.7, |outline| -outline.px_bounds().min.y);
        Self {
            font,
            size,
            cap_height,
            glyphs: RefCell::default(),
        }
    }

    /// Size of the em in pixels.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Rows above the baseline.
    pub fn ascent(&self) -> i32 {
        self.font.ascent().ceil() as i32
    }

    /// Rows below the baseline.
    pub fn descent(&self) -> i32 {
        (-self.font.descent()).ceil() as i32
    }

    /// Distance of two baselines in running text.
    pub fn line_height(&self) -> u32 {
        (self.size as f32 * 1.35).round() as u32
    }

    /// Height of a capital letter in pixels.
    pub fn cap_height(&self) -> f32 {
        self.cap_height
    }

    /// Advance width of a line in pixels, rounded up.
    pub fn width(&self, text: &str) -> u32 {
        let (_, end) = self.place(text);
        end.ceil() as u32
    }

    /// Whether the font draws every character itself, not as an empty box.
    pub fn has_letters(&self, text: &str) -> bool {
        text.chars().all(|letter| self.font.glyph_id(letter).0 != 0)
    }

    /// Glyphs with kerning, and the line's advance width.
    fn place(&self, text: &str) -> (Vec<Placed>, f32) {
        let mut placed = Vec::with_capacity(text.len());
        let (mut x, mut previous) = (0.0, None);
        for letter in text.chars() {
            let id = self.font.glyph_id(letter);
            if let Some(previous) = previous {
                x += self.font.kern(previous, id);
            }
            placed.push(Placed { id, x });
            x += self.font.h_advance(id);
            previous = Some(id);
        }
        (placed, x)
    }

    /// Calls `paint(x, y, coverage)` for every covered pixel of a line; x from the line's start, y from its baseline
    /// downwards. Returns the advance width.
    pub(super) fn trace(&self, text: &str, mut paint: impl FnMut(i32, i32, u8)) -> f32 {
        let (placed, end) = self.place(text);
        for Placed { id, x } in placed {
            let steps = (x * STEPS_PER_PIXEL).round() as i32;
            let (whole, step) = (
                steps.div_euclid(STEPS_PER_PIXEL as i32),
                steps.rem_euclid(STEPS_PER_PIXEL as i32),
            );
            let glyph = self.glyph(id, step as u8);
            if glyph.width == 0 {
                continue;
            }
            for (y, row) in (glyph.top..).zip(glyph.values.chunks_exact(glyph.width)) {
                for (x, &coverage) in (whole + glyph.left..).zip(row) {
                    if coverage > 0 {
                        paint(x, y, coverage);
                    }
                }
            }
        }
        end
    }

    fn glyph(&self, id: GlyphId, step: u8) -> Rc<Coverage> {
        let mut glyphs = self.glyphs.borrow_mut();
        let glyph = glyphs.entry((id, step)).or_insert_with(|| {
            let at = point(f32::from(step) / STEPS_PER_PIXEL, 0.0);
            Rc::new(self.rasterise(id, at))
        });
        Rc::clone(glyph)
    }

    fn rasterise(&self, id: GlyphId, at: Point) -> Coverage {
        let glyph = id.with_scale_and_position(self.font.scale(), at);
        let Some(outline) = self.font.outline_glyph(glyph) else {
            return Coverage {
                left: 0,
                top: 0,
                width: 0,
                values: Vec::new(),
            };
        };
        let bounds = outline.px_bounds();
        let width = bounds.width() as usize;
        let mut values = vec![0; width * bounds.height() as usize];
        outline.draw(|x, y, coverage| {
            if let Some(value) = values.get_mut(y as usize * width + x as usize) {
                *value = (coverage.clamp(0.0, 1.0) * 255.0).round() as u8;
            }
        });
        Coverage {
            left: bounds.min.x as i32,
            top: bounds.min.y as i32,
            width,
            values,
        }
    }
}

impl std::fmt::Debug for Face {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Face")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_all_languages_are_there() {
        let fonts = Fonts::noto_sans();
        let letters = "ABCXYZabcxyz0123456789 %·-–—…!?×<>()/:'’\"«»&+,.;\
                       àâæçéèêëîïôœùûüÿÀÂÆÇÉÈÊËÎÏÔŒÙÛÜŸáéíñóúü¿¡ÁÉÍÑÓÚÜäöüßÄÖÜ";
        for weight in [Weight::Regular, Weight::Bold] {
            let face = fonts.face(weight, 15);
            for letter in letters.chars() {
                assert!(face.has_letters(&letter.to_string()), "{weight:?} lacks {letter}");
            }
            assert!(!face.has_letters("漢"), "the test can fail");
        }
    }

    #[test]
    fn width_grows_with_size_and_weight() {
        let fonts = Fonts::noto_sans();
        let width = |weight, size| fonts.face(weight, size).width("Flagged: COVID-19 pattern");
        assert!(width(Weight::Regular, 15) < width(Weight::Bold, 15));
        let ratio = f64::from(width(Weight::Regular, 30)) / f64::from(width(Weight::Regular, 15));
        assert!((ratio - 2.0).abs() < 0.02, "{ratio}");
        assert_eq!(fonts.face(Weight::Regular, 15).width(""), 0);
    }

    #[test]
    fn digits_share_one_width() {
        let face = Fonts::noto_sans().face(Weight::Bold, 17);
        let widths: Vec<u32> = ('0'..='9').map(|digit| face.width(&digit.to_string())).collect();
        assert!(
            widths.iter().all(|width| *width == widths[0]),
            "columns of numbers stay aligned: {widths:?}"
        );
    }

    #[test]
    fn ink_of_a_capital_stands_on_the_baseline() {
        let face = Fonts::noto_sans().face(Weight::Bold, 40);
        let (mut top, mut bottom, mut most) = (0, i32::MIN, 0);
        face.trace("H", |_, y, coverage| {
            (top, bottom, most) = (top.min(y), bottom.max(y), most.max(coverage));
        });
        assert_eq!(bottom, -1);
        assert!((-top as f32 - face.cap_height()).abs() <= 1.0);
        assert_eq!(most, 255);
        assert!(face.ascent() > -top && face.descent() > 0);
    }

    #[test]
    fn faces_are_made_once() {
        let fonts = Fonts::noto_sans();
        assert!(Rc::ptr_eq(&fonts.face(Weight::Bold, 12), &fonts.face(Weight::Bold, 12)));
    }
}
