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

/// Where a line may end: at white space, but not at a no-break space.
fn breaks(letter: char) -> bool {
    letter.is_whitespace() && !['\u{a0}', '\u{202f}'].contains(&letter)
}

/// The text in at most `lines` lines of `width` pixels, broken between words; a word that is too long, and what does
/// not fit the last line, end in an ellipsis.
pub fn wrap(face: &Face, text: &str, width: u32, lines: usize) -> Vec<String> {
    let mut wrapped: Vec<String> = Vec::new();
    let mut words = text.split(breaks).filter(|word| !word.is_empty()).peekable();
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

/// A place for a list of sentences, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Width of a line.
    pub width: u32,
    /// Height of all lines.
    pub height: i32,
    /// Between two sentences.
    pub gap: i32,
}

/// The sentences of a list that have room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Each sentence in lines.
    pub sentences: Vec<Vec<String>>,
    /// How many more there are.
    pub left_out: usize,
    /// Whether the first one alone is too long for the room, and therefore cut.
    pub cut: bool,
}

/// The first sentences that have room, each whole; with `tell`, a line is left to say how many more there are, and the
/// first sentence is there in any case.
pub fn whole(face: &Face, sentences: &[String], room: Room, tell: bool) -> Whole {
    let line = face.line_height() as i32;
    let wrapped: Vec<_> = sentences
        .iter()
        .map(|sentence| wrap(face, sentence, room.width, usize::MAX))
        .collect();
    let fits = |count: &usize| {
        let lines: usize = wrapped[..*count].iter().map(Vec::len).sum();
        let more = if tell && *count < wrapped.len() {
            room.gap + line
        } else {
            0
        };
        lines as i32 * line + (*count as i32 - 1) * room.gap + more <= room.height
    };
    let count = (1..=wrapped.len()).rev().find(fits);
    if count.is_none() && tell && !sentences.is_empty() {
        let lines = (room.height / line).max(0) as usize;
        let first = wrap(face, &sentences[0], room.width, lines);
        return Whole {
            cut: first != wrapped[0],
            sentences: vec![first],
            left_out: sentences.len() - 1,
        };
    }
    let count = count.unwrap_or(0);
    Whole {
        left_out: wrapped.len() - count,
        sentences: wrapped.into_iter().take(count).collect(),
        cut: false,
    }
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
    fn a_line_never_ends_at_a_no_break_space() {
        let face = Fonts::noto_sans().face(Weight::Regular, 14);
        let text = "Renvoyez l'image\u{a0}: elle n'est pas arrivée\u{202f}!";
        for width in 60..300 {
            let lines = wrap(&face, text, width, 99);
            assert!(
                lines.iter().all(|line| !line.starts_with([':', '!'])),
                "{width}: {lines:?}"
            );
        }
        assert!(wrap(&face, text, 150, 99).len() > 1);
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

    #[test]
    fn a_list_holds_whole_sentences_and_counts_the_rest() {
        let face = Fonts::noto_sans().face(Weight::Regular, 14);
        let line = face.line_height() as i32;
        let list = ["One.", SENTENCE, "Three."].map(str::to_owned);
        let lines = wrap(&face, SENTENCE, 160, 9).len() as i32;
        let fitted = |height: i32, tell: bool| {
            let room = Room {
                width: 160,
                height,
                gap: 3,
            };
            let fitted = whole(&face, &list, room, tell);
            let height = |sentences: &[Vec<String>]| sentences.iter().map(Vec::len).sum::<usize>() as i32 * line;
            assert!(height(&fitted.sentences) <= room.height.max(0));
            for (lines, sentence) in fitted.sentences.iter().zip(&list) {
                assert!(fitted.cut || lines.join(" ") == *sentence, "{lines:?}");
            }
            (fitted.sentences.len(), fitted.left_out, fitted.cut)
        };
        let all = (2 + lines) * line + 2 * 3;
        assert_eq!(fitted(all, true), (3, 0, false));
        // The line that says "1 more" takes the place of the third.
        assert_eq!(fitted(all - 1, true), (1, 2, false));
        assert_eq!(fitted(all - 1, false), (2, 1, false));
        assert_eq!(fitted(2 * line + 3, true), (1, 2, false));
        assert_eq!(fitted(line, true), (1, 2, false), "without room even for that line");
        assert_eq!(fitted(line - 1, true), (1, 2, true));
        assert_eq!(fitted(line - 1, false), (0, 3, false));
        assert_eq!(fitted(-5, true), (1, 2, true));
    }
}
