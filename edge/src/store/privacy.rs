//! How much of a patient the store knows. What a level leaves out is never written, not even for a moment.

use serde::{Deserialize, Serialize};

/// What of a patient's name and identifiers is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Privacy {
    /// Name, identifier, accession number and the names of files.
    Full,
    /// Initials, and the last characters of the identifier: enough to see that it is the person in the room.
    #[default]
    Initials,
    /// Neither.
    None,
}

/// Who a patient is, as far as the privacy level lets it in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Person {
    /// Name or initials, as people write them: "Hans Müller", "H. M."
    pub name: Option<String>,
    /// Identifier, or its end: "…042".
    pub id: Option<String>,
    /// Accession number of the request.
    pub accession: Option<String>,
}

impl Person {
    /// Name and identifier, as far as they are known: "H. M. · …042". Empty for nobody.
    #[must_use]
    pub fn words(&self) -> String {
        let parts: Vec<&str> = [&self.name, &self.id]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        parts.join(" · ")
    }
}

/// Characters at the end of an identifier that initials are kept with; of a shorter one than twice that, none.
const ID_CHARACTERS: usize = 3;

impl Privacy {
    /// What is kept of a DICOM Patient's Name (PS3.5 6.2.1: family^given^middle^prefix^suffix), Patient ID and Accession
    /// Number.
    #[must_use]
    pub fn person(self, name: Option<&str>, id: Option<&str>, accession: Option<&str>) -> Person {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        match self {
            Self::Full => Person {
                name: name.and_then(written),
                id: owned(id),
                accession: owned(accession),
            },
            Self::Initials => Person {
                name: name.and_then(initials),
                id: id.and_then(end),
                accession: None,
            },
            Self::None => Person::default(),
        }
    }

    /// The name of a file, which often is a patient's.
    #[must_use]
    pub fn file_name(self, name: &str) -> Option<String> {
        (self == Self::Full).then(|| name.to_owned())
    }
}

/// Family, given and middle name of the first of the component groups (alphabetic, ideographic, phonetic).
fn parts(name: &str) -> Vec<&str> {
    let group = name.split('=').find(|group| !group.trim_matches(['^', ' ']).is_empty());
    let parts = group.unwrap_or_default().split('^').take(3).map(str::trim);
    parts.collect()
}

/// "Hans Peter Müller"; a name without carets stays as it is.
fn written(name: &str) -> Option<String> {
    let parts = parts(name);
    let (family, given) = parts.split_first()?;
    let words: Vec<&str> = given
        .iter()
        .chain([family])
        .copied()
        .filter(|part| !part.is_empty())
        .collect();
    Some(words.join(" ")).filter(|name| !name.is_empty())
}

/// "H. P. M."
fn initials(name: &str) -> Option<String> {
    let written = written(name)?;
    let initial = |word: &str| {
        let first = word.chars().find(|c| c.is_alphabetic())?;
        Some(format!("{}.", first.to_uppercase()))
    };
    let initials: Vec<String> = written.split_whitespace().filter_map(initial).collect();
    Some(initials.join(" ")).filter(|initials| !initials.is_empty())
}

fn end(id: &str) -> Option<String> {
    let characters: Vec<char> = id.trim().chars().collect();
    let hidden = characters.len().checked_sub(ID_CHARACTERS)?;
    (hidden >= ID_CHARACTERS).then(|| format!("…{}", characters[hidden..].iter().collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(level: Privacy, name: &str, id: &str) -> (Option<String>, Option<String>) {
        let person = level.person(Some(name), Some(id), Some("A1"));
        assert_eq!(person.accession.is_some(), level == Privacy::Full);
        (person.name, person.id)
    }

    #[test]
    fn a_level_keeps_what_it_says() {
        let some = |name: &str, id: &str| (Some(name.to_owned()), Some(id.to_owned()));
        let (name, id) = ("Müller^Hans^Peter^Dr.", "PAT-00042");
        assert_eq!(person(Privacy::Full, name, id), some("Hans Peter Müller", id));
        assert_eq!(person(Privacy::Initials, name, id), some("H. P. M.", "…042"));
        assert_eq!(person(Privacy::None, name, id), (None, None));
    }

    #[test]
    fn names_of_all_kinds_have_initials_or_none() {
        let initials = |name: &str| person(Privacy::Initials, name, "1").0;
        assert_eq!(initials("de la Cruz^ana").as_deref(), Some("A. D. L. C."));
        assert_eq!(
            initials("Yamada^Tarou=山田^太郎=やまだ^たろう").as_deref(),
            Some("T. Y.")
        );
        assert_eq!(initials("=山田^太郎").as_deref(), Some("太. 山."));
        assert_eq!(initials("Hans Müller").as_deref(), Some("H. M."));
        for nobody in ["", "^^^", "=", " ", "123^456"] {
            assert_eq!(initials(nobody), None, "{nobody:?}");
        }
    }

    #[test]
    fn a_short_identifier_is_not_given_away_by_its_end() {
        let end = |id: &str| person(Privacy::Initials, "A", id).1;
        assert_eq!(end("12345"), None);
        assert_eq!(end(""), None);
        assert_eq!(end("123456").as_deref(), Some("…456"));
    }
}
