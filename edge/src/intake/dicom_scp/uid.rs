//! Unique identifiers as they come over the line (PS3.5 section 9).

use sha2::{Digest, Sha256};

/// Longest UID, in characters.
const LONGEST: usize = 64;

/// Digits in dotted components. Leading zeros are forgiven: scanners that write them exist.
pub(super) fn is_well_formed(uid: &str) -> bool {
    let component = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    uid.len() <= LONGEST && uid.split('.').all(component)
}

/// Without the padding that UIDs come with: zero bytes, and spaces of those who know no better.
pub(super) fn trimmed(uid: &str) -> &str {
    uid.trim_matches(|c: char| c == '\0' || c == ' ')
}

/// Stands for a UID in logs: equal UIDs look equal, and lead to no patient.
pub(super) fn pseudonym(uid: &str) -> String {
    let digest = Sha256::digest(uid.as_bytes());
    digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_digits_and_single_dots() {
        for good in ["1", "1.2.840.10008.1.1", "2.25.0", "1.02.3"] {
            assert!(is_well_formed(good), "{good}");
        }
        let long = "1".repeat(65);
        for bad in [
            "",
            ".",
            "1..2",
            "1.2.",
            ".1",
            "../../etc/passwd",
            "1.2/3",
            "1.2\n",
            "1.a",
            &long,
        ] {
            assert!(!is_well_formed(bad), "{bad}");
        }
        assert_eq!(trimmed("1.2.3\0"), "1.2.3");
    }

    #[test]
    fn a_pseudonym_keeps_nothing_of_the_uid() {
        assert_eq!(pseudonym("1.2.3"), pseudonym("1.2.3"));
        assert_ne!(pseudonym("1.2.3"), pseudonym("1.2.4"));
        assert_eq!(pseudonym("1.2.3").len(), 8);
    }
}
