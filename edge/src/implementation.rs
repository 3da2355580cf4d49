//! How this program calls itself in DICOM: in associations (PS3.7 D.3.3.2) and in files (PS3.10 section 7.1).

/// Implementation Class UID: the same for all versions (derived from a UUID, PS3.5 B.2).
pub const CLASS_UID: &str = "2.25.239049327922232999860302169064906830620";

/// Implementation Version Name: 1 to 16 characters.
pub const VERSION_NAME: &str = concat!("SCANSIDE_", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_fit_their_fields() {
        assert!(CLASS_UID.len() <= 64 && CLASS_UID.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()));
        assert!((1..=16).contains(&VERSION_NAME.len()), "{VERSION_NAME}");
    }
}
