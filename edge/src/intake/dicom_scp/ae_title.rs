//! Application entity titles (PS3.5 section 6.2, VR AE).

/// Longest AE title, in characters.
const LONGEST: usize = 16;

/// Whether a title can be compared with what senders call themselves: leading and trailing spaces do not count there.
///
/// # Errors
/// The rest of a sentence that begins with the key.
pub(super) fn check(title: &str) -> Result<(), String> {
    let character = |byte: u8| (0x20..0x7F).contains(&byte) && byte != b'\\';
    let fits = (1..=LONGEST).contains(&title.len()) && title.trim() == title && title.bytes().all(character);
    if fits {
        return Ok(());
    }
    Err(format!(
        "\"{title}\" is no AE title; give 1 to {LONGEST} characters of ASCII without backslash, and no space at either end"
    ))
}

/// A title from outside as a log may hold it.
pub(super) fn shown(title: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    title.chars().take(LONGEST).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_short_and_plain() {
        for good in ["A", "CR_ROOM_1", "SIXTEEN LETTERS!"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "A ", " A", "SEVENTEEN_LETTERS", "A\\B", "A\tB", "RÖNTGEN"] {
            assert!(check(bad).unwrap_err().contains("1 to 16"), "{bad}");
        }
    }

    #[test]
    fn no_title_commands_a_terminal() {
        assert_eq!(shown("\u{1b}[2JCR"), "?[2JCR");
        assert_eq!(shown(&"x".repeat(1000)).len(), 16);
    }
}
