//! Content items of a structured report (PS3.3 C.17.3).

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::codes::Code;
use crate::outbox::dataset::{ascii, put, put_items};

/// How an item relates to the one above it (PS3.3 C.17.3.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// CONTAINS
    Contains,
    /// HAS OBS CONTEXT
    ObservationContext,
    /// HAS ACQ CONTEXT
    AcquisitionContext,
    /// HAS CONCEPT MOD
    ConceptModifier,
    /// HAS PROPERTIES
    Properties,
}

impl Relation {
    const fn text(self) -> &'static str {
        match self {
            Self::Contains => "CONTAINS",
            Self::ObservationContext => "HAS OBS CONTEXT",
            Self::AcquisitionContext => "HAS ACQ CONTEXT",
            Self::ConceptModifier => "HAS CONCEPT MOD",
            Self::Properties => "HAS PROPERTIES",
        }
    }
}

/// An object that a report refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// SOP Class UID.
    pub class: String,
    /// SOP Instance UID.
    pub instance: String,
    /// Series Instance UID.
    pub series: String,
    /// The frame, from 1, where only that is meant.
    pub frame: Option<usize>,
}

impl Reference {
    /// The item of a sequence that refers to an object (PS3.3 table 10-11), with the frame or without.
    #[must_use]
    pub fn item(&self, with_frame: bool) -> InMemDicomObject {
        let mut item = InMemDicomObject::new_empty();
        put(&mut item, tags::REFERENCED_SOP_CLASS_UID, VR::UI, &self.class);
        put(&mut item, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &self.instance);
        if let Some(frame) = self.frame.filter(|_| with_frame) {
            put(&mut item, tags::REFERENCED_FRAME_NUMBER, VR::IS, &frame.to_string());
        }
        item
    }
}

/// A content item without its value.
fn item(relation: Option<Relation>, kind: &str, name: &Code) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    if let Some(relation) = relation {
        put(&mut item, tags::RELATIONSHIP_TYPE, VR::CS, relation.text());
    }
    put(&mut item, tags::VALUE_TYPE, VR::CS, kind);
    put_items(&mut item, tags::CONCEPT_NAME_CODE_SEQUENCE, vec![name.item()]);
    item
}

/// The item with items below it.
#[must_use]
pub fn with(mut item: InMemDicomObject, below: Vec<InMemDicomObject>) -> InMemDicomObject {
    if !below.is_empty() {
        put_items(&mut item, tags::CONTENT_SEQUENCE, below);
    }
    item
}

/// A heading; of the root without a relation. `template` is its Template Identifier in DCMR (PS3.16).
#[must_use]
pub fn container(
    relation: Option<Relation>,
    name: &Code,
    template: Option<&str>,
    below: Vec<InMemDicomObject>,
) -> InMemDicomObject {
    let mut item = item(relation, "CONTAINER", name);
    put(&mut item, tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
    if let Some(template) = template {
        let mut of = InMemDicomObject::new_empty();
        put(&mut of, tags::MAPPING_RESOURCE, VR::CS, "DCMR");
        put(&mut of, tags::TEMPLATE_IDENTIFIER, VR::CS, template);
        put_items(&mut item, tags::CONTENT_TEMPLATE_SEQUENCE, vec![of]);
    }
    with(item, below)
}

/// A coded value.
#[must_use]
pub fn code(relation: Relation, name: &Code, value: &Code) -> InMemDicomObject {
    code_item(relation, name, value.item())
}

/// A coded value whose item is there already.
#[must_use]
pub fn code_item(relation: Relation, name: &Code, value: InMemDicomObject) -> InMemDicomObject {
    let mut item = item(Some(relation), "CODE", name);
    put_items(&mut item, tags::CONCEPT_CODE_SEQUENCE, vec![value]);
    item
}

/// Words.
#[must_use]
pub fn text(relation: Relation, name: &Code, words: &str) -> InMemDicomObject {
    let mut item = item(Some(relation), "TEXT", name);
    // A backslash is a character here, and parts nothing.
    put(&mut item, tags::TEXT_VALUE, VR::UT, &ascii(words));
    item
}

/// A unique identifier.
#[must_use]
pub fn uid_reference(relation: Relation, name: &Code, uid: &str) -> InMemDicomObject {
    let mut item = item(Some(relation), "UIDREF", name);
    put(&mut item, tags::UID, VR::UI, uid);
    item
}

/// A number with its unit.
#[must_use]
pub fn number(relation: Relation, name: &Code, value: f64, unit: &Code) -> InMemDicomObject {
    let mut measured = InMemDicomObject::new_empty();
    put(&mut measured, tags::NUMERIC_VALUE, VR::DS, &decimal(value));
    put_items(&mut measured, tags::MEASUREMENT_UNITS_CODE_SEQUENCE, vec![unit.item()]);
    let mut item = item(Some(relation), "NUM", name);
    put_items(&mut item, tags::MEASURED_VALUE_SEQUENCE, vec![measured]);
    item
}

/// An image. A name is not asked for everywhere, but readers look for one.
#[must_use]
pub fn image(relation: Relation, name: &Code, reference: &Reference) -> InMemDicomObject {
    let mut item = item(Some(relation), "IMAGE", name);
    put_items(&mut item, tags::REFERENCED_SOP_SEQUENCE, vec![reference.item(true)]);
    item
}

/// A number in at most 16 characters (DS, PS3.5 table 6.2-1), with four places after the point where they fit.
fn decimal(value: f64) -> String {
    let places = format!("{value:.4}");
    if places.len() <= 16 {
        let short = places.trim_end_matches('0').trim_end_matches('.');
        return if short == "-0" {
            "0".to_owned()
        } else {
            short.to_owned()
        };
    }
    format!("{value:.6e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_representation() {
        let cases = [
            (83.12341, "83.1234"),
            (100.0, "100"),
            (0.00001, "0"),
            (-0.00001, "0"),
            (-1.5, "-1.5"),
            (1e-3, "0.001"),
            (f64::from(f32::MAX), "3.402823e38"),
        ];
        for (value, text) in cases {
            assert_eq!(decimal(value), text);
            assert!(decimal(-value).len() <= 16, "{value}");
        }
    }
}
