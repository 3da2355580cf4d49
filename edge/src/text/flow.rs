//! Text cut or wrapped to a measured width.

use std::borrow::Cow;

use super::Face;

const ELLIPSIS: char = '…';

/// The text if it fits `width` pixels, else its beginning and an ellipsis.
pub fn ellipsize<'t>(face: &Face, text: &'t str, width: u32) -> Cow<'t, str> {
    if face.width(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut cut = text.to_owned();
    while cut.pop().is_some() {
        let kept = cut.trim_end().len();
        cut.truncate(kept);
        cut.push(ELLIPSIS);
        if face.width(&cut) <= width {
            return Cow::Owned(cut);
        }
        cut.pop();
    }
    Cow::Borrowed("")
}

/// The text in at most `lines` lines of `width` pixels, broken between words; a word that is too long, and what does
/// not fit the last line, end in an ellipsis.
pub fn wrap(face: &Face, text: &str, width: u32, lines: usize) -> Vec<String> {
    let mut wrapped: Vec<String> = Vec::new();
    let mut words = text.split_whitespace().peekable();
    while words.peek().is_some() && wrapped.len() < lines {
        let mut line = String::new();
        let last = wrapped.len() + 1 == lines;
        while let Some(word) = words.peek() {
            let longer = if line.is_empty() {
                (*word).to_owned()
            } else {
                format!("{line} {word}")
            };
            // The last line takes everything and is cut below.
            if !line.is_empty() && !last && face.width(&longer) > width {
                break;
            }
            line = longer;
            words.next();
        }
        wrapped.push(ellipsize(face, &line, width).into_owned());
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Fonts, Weight};

    const SENTENCE: &str = "Have a clinician read this image first. Isolate as your protocol says.";

    #[test]
    fn short_text_is_left_alone_and_long_text_is_cut() {
        let face = Fonts::noto_sans().face(Weight::Regular, 14);
        assert_eq!(ellipsize(&face, "COVID-19", 200), "COVID-19");
        for width in [0, 3, 10, 40, 90, 200] {
            let cut = ellipsize(&face, SENTENCE, width);
            assert!(face.width(&cut) <= width, "{cut} in {width}");
            assert!(
                cut.is_empty() || cut.ends_with(ELLIPSIS) && !cut.ends_with(" …"),
                "{cut}"
            );
        }
    }

    #[test]
    fn wrapped_lines_hold_every_word_in_order() {
        let face = Fonts::noto_sans().face(Weight::Regular, 14);
        let lines = wrap(&face, SENTENCE, 160, 9);
        assert!(lines.len() > 2);
        assert!(lines.iter().all(|line| face.width(line) <= 160));
        assert_eq!(lines.join(" "), SENTENCE);
    }

    #[test]
    fn too_few_lines_end_in_an_ellipsis() {
        let face = Fonts::noto_sans().face(Weight::Regular, 14);
        let lines = wrap(&face, SENTENCE, 160, 2);
        assert_eq!(lines.len(), 2);
        assert!(
            lines[1].ends_with(ELLIPSIS) && face.width(&lines[1]) <= 160,
            "{lines:?}"
        );
        assert_eq!(wrap(&face, SENTENCE, 160, 0), Vec::<String>::new());
        let word = wrap(&face, "Pneumonoultramicroscopicsilicovolcanoconiosis is long", 100, 3);
        assert!(word[0].ends_with(ELLIPSIS) && face.width(&word[0]) <= 100, "{word:?}");
    }
}
