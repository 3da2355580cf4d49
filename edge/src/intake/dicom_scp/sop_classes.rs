//! What the appliance is a provider of.

use dicom_dictionary_std::uids;

/// Verification: C-ECHO.
pub const VERIFICATION: &str = uids::VERIFICATION;

/// The storage classes: those whose images can be grey ones that `imaging` decodes.
pub const STORAGE: [&str; 8] = [
    uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::CT_IMAGE_STORAGE,
    uids::ENHANCED_CT_IMAGE_STORAGE,
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE,
];

/// The transfer syntaxes in which a class is accepted; `None` for a class that is not.
pub(super) fn transfer_syntaxes(abstract_syntax: &str) -> Option<Vec<&'static str>> {
    match abstract_syntax {
        // Nothing is encoded in them: an echo has no data set.
        VERIFICATION => Some(vec![uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN]),
        class if STORAGE.contains(&class) => Some(imaging::decode::transfer_syntaxes().collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conformance_statement_names_every_class_and_syntax() {
        let statement = include_str!("../../../../docs/dicom-conformance.md");
        let named = |uid: &str| statement.contains(&format!("| {uid} |"));
        for class in STORAGE.into_iter().chain([VERIFICATION]) {
            assert!(named(class), "{class}");
            for syntax in transfer_syntaxes(class).unwrap() {
                assert!(named(syntax), "{syntax}");
            }
        }
        let listed = |uid: &str| transfer_syntaxes(STORAGE[0]).unwrap().contains(&uid);
        let storage = statement
            .split("### Storage transfer syntaxes")
            .nth(1)
            .expect("the table");
        let table = storage.split("\n#").next().expect("its section");
        let cells = table
            .split('|')
            .map(str::trim)
            .filter(|cell| cell.starts_with("1.2.840"));
        assert!(
            cells.clone().count() == 13 && cells.into_iter().all(listed),
            "no syntax too many"
        );
    }
}
