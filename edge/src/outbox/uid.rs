//! Unique identifiers that follow from what they name: whoever builds an object again gives it the same one, and an
//! archive sees the same object.

use sha2::{Digest, Sha256};

/// A UID from a UUID (PS3.5 B.2), which is of version 8 (RFC 9562 5.8): the beginning of a SHA-256 over the parts.
#[must_use]
pub fn derived(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // With their lengths, so that no two lists of parts run into each other.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    let mut number = [0; 16];
    number.copy_from_slice(&digest.finalize()[..16]);
    number[6] = 0x80 | (number[6] & 0x0F);
    number[8] = 0x80 | (number[8] & 0x3F);
    format!("2.25.{}", u128::from_be_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_follows_from_its_parts_and_is_a_valid_one() {
        let uid = derived(&["secondary capture", "1.2.3", "0412"]);
        assert_eq!(uid, derived(&["secondary capture", "1.2.3", "0412"]));
        let others = [
            derived(&["structured report", "1.2.3", "0412"]),
            derived(&["secondary capture", "1.2.30", "412"]),
            derived(&["secondary capture", "1.2.3", "0412", ""]),
        ];
        assert!(!others.contains(&uid) && others[0] != others[1]);
        let number = uid.strip_prefix("2.25.").expect("the root of UUIDs");
        let uuid = number.parse::<u128>().expect("one number");
        assert!(uid.len() <= 64 && !number.starts_with('0'));
        assert_eq!((uuid >> 76 & 0xF, uuid >> 62 & 0b11), (8, 0b10), "version and variant");
    }
}
