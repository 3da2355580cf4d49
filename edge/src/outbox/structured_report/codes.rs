//! Coded entries: what is said in codes that every reader knows, and in private ones where there are none.
//!
//! SNOMED CT codes are those that PS3.16 uses, or of the Global Patient Set. Every label of a model that is not in
//! [`FINDINGS`] becomes a private code with the label's id and name.

use std::borrow::Cow;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use crate::decision::DecisionKind;
use crate::outbox::dataset::{limited, put};

/// Designator of the private codes (PS3.16 8.2: "99" is for private schemes).
pub const PRIVATE: &str = "99SCANSIDE";
/// Longest code that Code Value (0008,0100) holds; a longer one stands in Long Code Value (0008,0119).
const SHORT_CODE: usize = 16;

/// A coded entry (PS3.3 8.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The code.
    pub value: Cow<'static, str>,
    /// Designator of its scheme.
    pub scheme: &'static str,
    /// What it means, in at most 64 characters.
    pub meaning: Cow<'static, str>,
}

impl Code {
    const fn known(value: &'static str, scheme: &'static str, meaning: &'static str) -> Self {
        Self {
            value: Cow::Borrowed(value),
            scheme,
            meaning: Cow::Borrowed(meaning),
        }
    }

    /// A code of this product.
    #[must_use]
    pub fn private(value: &str, meaning: &str) -> Self {
        Self {
            value: Cow::Owned(limited(value, 64)),
            scheme: PRIVATE,
            meaning: Cow::Owned(limited(meaning, 64)),
        }
    }

    /// The item of a code sequence.
    #[must_use]
    pub fn item(&self) -> InMemDicomObject {
        let mut item = InMemDicomObject::new_empty();
        if self.value.len() <= SHORT_CODE {
            put(&mut item, tags::CODE_VALUE, VR::SH, &self.value);
        } else {
            put(&mut item, tags::LONG_CODE_VALUE, VR::UC, &self.value);
        }
        put(&mut item, tags::CODING_SCHEME_DESIGNATOR, VR::SH, self.scheme);
        put(&mut item, tags::CODE_MEANING, VR::LO, &self.meaning);
        item
    }
}

/// A code of PS3.16 Annex D.
pub const fn dcm(value: &'static str, meaning: &'static str) -> Code {
    Code::known(value, "DCM", meaning)
}

/// A code of SNOMED CT.
pub const fn sct(value: &'static str, meaning: &'static str) -> Code {
    Code::known(value, "SCT", meaning)
}

/// A name of this product.
pub const fn own(value: &'static str, meaning: &'static str) -> Code {
    Code::known(value, PRIVATE, meaning)
}

/// Percent (UCUM).
pub const PERCENT: Code = Code::known("%", "UCUM", "Percent");
/// A number without unit (UCUM).
pub const NO_UNIT: Code = Code::known("1", "UCUM", "no units");
/// Pixels (UCUM).
pub const PIXELS: Code = Code::known("{pixels}", "UCUM", "Pixels");
/// The language of the reports (RFC 5646).
pub const ENGLISH: Code = Code::known("en", "RFC5646", "English");
/// Name of the decision.
pub const DECISION: Code = own("decision", "Triage decision");
/// Name of a reason of the decision; its codes are those of `docs/finding.schema.json`.
pub const REASON: Code = own("reason", "Reason of the decision");
/// Name of what the prediction set holds.
pub const NOT_RULED_OUT: Code = own("not-ruled-out", "Not ruled out");
/// Name of the threshold from which a label is flagged.
pub const OPERATING_POINT: Code = own("operating-point", "Operating point");
/// Name of the distance to the training images.
pub const NOVELTY: Code = own("novelty", "Distance to the training images");
/// Name of the limit of that distance.
pub const NOVELTY_LIMIT: Code = own("novelty-limit", "Limit of the distance");
/// What the label without a finding says.
pub const NO_FINDING: Code = own("no-finding", "No finding");

/// Labels by their ids (with underscores), and what they are called by everybody.
pub static FINDINGS: [(&[&str], Code); 20] = [
    (&["covid19", "covid_19", "covid"], sct("840539006", "COVID-19")),
    (&["viral_pneumonia"], sct("75570004", "Viral pneumonia")),
    (&["bacterial_pneumonia"], sct("53084003", "Bacterial pneumonia")),
    (&["pneumonia"], sct("233604007", "Pneumonia")),
    (&["tuberculosis"], sct("154283005", "Pulmonary tuberculosis")),
    (&["consolidation"], sct("95436008", "Lung consolidation")),
    (
        &["ground_glass", "ground_glass_opacity"],
        dcm("112120", "Ground glass opacity"),
    ),
    (&["opacity", "lung_opacity"], dcm("112001", "Opacity")),
    (&["infiltrate", "infiltration"], dcm("112121", "Infiltrate")),
    (&["nodule", "lung_nodule"], sct("27925004", "Nodule")),
    (&["mass", "lung_mass"], sct("4147007", "Mass")),
    (&["pneumothorax"], sct("36118008", "Pneumothorax")),
    (&["effusion", "pleural_effusion"], sct("60046008", "Pleural effusion")),
    (&["atelectasis"], sct("46621007", "Atelectasis")),
    (&["cardiomegaly"], sct("8186001", "Cardiomegaly")),
    (
        &["edema", "oedema", "pulmonary_edema"],
        sct("19242006", "Pulmonary edema"),
    ),
    (&["emphysema"], sct("87433001", "Pulmonary emphysema")),
    (&["fibrosis"], sct("51615001", "Fibrosis of lung")),
    (&["pulmonary_embolism"], sct("59282003", "Pulmonary embolism")),
    (&["adenocarcinoma"], sct("254626006", "Adenocarcinoma of lung")),
];

/// The code of a label that is a finding.
#[must_use]
pub fn finding(id: &str, name: &str) -> Code {
    let plain = id.to_ascii_lowercase().replace('-', "_");
    let known = FINDINGS.iter().find(|(ids, _)| ids.contains(&plain.as_str()));
    known.map_or_else(|| Code::private(id, name), |(_, code)| code.clone())
}

/// The code of a kind of decision.
#[must_use]
pub fn decision(kind: DecisionKind) -> Code {
    match kind {
        DecisionKind::Flagged => own("flagged", "Flagged"),
        DecisionKind::NoFindingFlagged => own("not-flagged", "No finding flagged"),
        DecisionKind::Uncertain => own("uncertain", "Uncertain"),
        DecisionKind::NotReadable => own("not-readable", "Not readable"),
    }
}

/// The code of a reason: the same text as on the screen and in JSON.
#[must_use]
pub fn reason(code: &str) -> Code {
    let mut meaning = code.replace('-', " ");
    if let Some(first) = meaning.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Code::private(code, &meaning)
}

/// The modality of an image (CID 29), if it is one that is taken in.
#[must_use]
pub fn modality(modality: &str) -> Option<Code> {
    Some(match modality {
        "CR" => dcm("CR", "Computed Radiography"),
        "DX" => dcm("DX", "Digital Radiography"),
        "CT" => dcm("CT", "Computed Tomography"),
        "RG" => dcm("RG", "Radiographic imaging"),
        "OT" => dcm("OT", "Other Modality"),
        _ => return None,
    })
}

/// The part of the body (CID 4031), if it is one that models are made for.
#[must_use]
pub fn body_part(body_part: &str) -> Option<Code> {
    Some(match body_part {
        "CHEST" | "THORAX" => sct("816094009", "Chest"),
        "LUNG" => sct("39607008", "Lung"),
        _ => return None,
    })
}

/// The procedure that an image of a modality and body part is the result of (CID 100 and others).
#[must_use]
pub fn procedure(modality: &str, body_part: &str) -> Code {
    let chest = matches!(body_part, "CHEST" | "THORAX" | "LUNG");
    match (modality, chest) {
        ("CT", true) => sct("169069000", "CT of chest"),
        ("CT", false) => Code::known("25045-6", "LN", "CT unspecified body region"),
        ("CR" | "DX" | "RG", true) => sct("399208008", "Plain chest X-ray"),
        ("CR" | "DX" | "RG", false) => Code::known("43468-8", "LN", "XR unspecified body region"),
        _ => sct("363679005", "Imaging procedure"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_labels_have_standard_codes_and_others_their_own() {
        assert_eq!(finding("covid19", "COVID-19 pattern"), sct("840539006", "COVID-19"));
        assert_eq!(finding("Viral-Pneumonia", "x").value, "75570004");
        let own = finding("scoliosis", "Scoliosis, thoracic");
        assert_eq!((own.scheme, own.value.as_ref()), (PRIVATE, "scoliosis"));
        assert_eq!(own.meaning, "Scoliosis, thoracic");
    }

    #[test]
    fn every_label_stands_once_in_the_table() {
        let mut ids: Vec<_> = FINDINGS.iter().flat_map(|(ids, _)| ids.iter()).collect();
        let mut values: Vec<_> = FINDINGS.iter().map(|(_, code)| &code.value).collect();
        let counts = (ids.len(), values.len());
        ids.sort_unstable();
        ids.dedup();
        values.sort_unstable();
        values.dedup();
        assert_eq!((ids.len(), values.len()), counts);
    }

    #[test]
    fn a_long_code_stands_in_its_own_element() {
        let short = reason("blurred").item();
        assert_eq!(short.get(tags::CODE_VALUE).unwrap().to_str().unwrap(), "blurred");
        let long = reason("conformal-set-ambiguous").item();
        assert!(long.get(tags::CODE_VALUE).is_none());
        assert_eq!(
            long.get(tags::LONG_CODE_VALUE).unwrap().to_str().unwrap(),
            "conformal-set-ambiguous"
        );
        assert_eq!(
            long.get(tags::CODE_MEANING).unwrap().to_str().unwrap(),
            "Conformal set ambiguous"
        );
    }
}
