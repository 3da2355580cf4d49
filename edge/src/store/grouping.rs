//! Which images are one case: those of a study, of a series of slices, or one by itself; and of one patient only.
//!
//! A device that gives two patients' images one UID must not bring one's result to the other: images that name different
//! patients are different cases, whatever their UIDs say. An image that names nobody belongs to the case of its study or
//! series that there is.

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::StoreError;
use crate::intake::facts::Facts;

/// Modalities whose images are slices: their cases are series.
const SLICED: [&str; 4] = ["CT", "MR", "PT", "NM"];

/// What an image has in common with others of its case.
#[derive(Debug)]
pub(super) struct Group {
    /// `study`, `series` or `single`.
    pub kind: &'static str,
    /// The study's or series' UID with its kind, or the image's own key.
    common: String,
    /// Stands for the patient, if the image names one; of no use without the UID.
    patient: Option<String>,
}

impl Group {
    /// Of an image with the key `key`.
    pub fn of(facts: &Facts, key: &str) -> Self {
        let modality = facts.modality.as_deref();
        let is_slice = modality.is_some_and(|modality| SLICED.contains(&modality));
        let (kind, common) = match (&facts.series_uid, &facts.study_uid) {
            (Some(series), _) if is_slice => ("series", format!("series:{series}")),
            (_, Some(study)) if !is_slice => ("study", format!("study:{study}")),
            _ => ("single", format!("file:{key}")),
        };
        let patient = patient(facts).map(|patient| digest(&common, &patient));
        Self { kind, common, patient }
    }

    /// What a new case of such images is called.
    pub fn name(&self) -> String {
        match &self.patient {
            Some(patient) => format!("{}:{patient}", self.common),
            None => self.common.clone(),
        }
    }

    /// Whether an image of a case of this name may be the same image: of the same study or series, and not of another
    /// patient.
    pub fn may_be(&self, name: &str) -> bool {
        name == self.common || name == self.name() || (self.patient.is_none() && self.is_in(name))
    }

    fn is_in(&self, name: &str) -> bool {
        name.strip_prefix(&self.common)
            .is_some_and(|rest| rest.starts_with(':'))
    }

    /// The case that the image belongs to, if it is there: its row, and what it is called.
    pub fn find(&self, connection: &Connection) -> Result<Option<(i64, String)>, StoreError> {
        // Images that name nobody go to the first of the study; the end of the range is the sign after the colon.
        let (sql, from, to) = match &self.patient {
            Some(_) => ("grouping IN (?1, ?2)", self.name(), self.common.clone()),
            None => (
                "grouping = rtrim(?1, ':') OR (grouping >= ?1 AND grouping < ?2)",
                format!("{}:", self.common),
                format!("{};", self.common),
            ),
        };
        let sql = format!("SELECT id, grouping FROM cases WHERE {sql} ORDER BY id LIMIT 1");
        let found = connection
            .prepare_cached(&sql)?
            .query_row(params![from, to], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(found)
    }

    /// What the found case is called from now on: it has a patient once an image names one.
    pub fn completed(&self, found: &str) -> String {
        match found == self.common {
            true => self.name(),
            false => found.to_owned(),
        }
    }
}

/// The identifier, or the name where there is none, as it was written: capitals, spaces and empty parts do not make
/// another person.
fn patient(facts: &Facts) -> Option<String> {
    let plain = |text: &Option<String>| {
        let text = text.as_deref()?.trim_matches(['^', ' ']).to_uppercase();
        let words: Vec<&str> = text.split(['^', ' ']).filter(|word| !word.is_empty()).collect();
        Some(words.join(" ")).filter(|text| !text.is_empty())
    };
    plain(&facts.patient_id).or_else(|| plain(&facts.patient_name))
}

fn digest(common: &str, patient: &str) -> String {
    let digest = Sha256::digest(format!("{common}\n{patient}"));
    bundle::container::hexadecimal(&digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(study: &str, id: Option<&str>, name: Option<&str>) -> Group {
        let mut facts = Facts::default();
        facts.study_uid = Some(study.to_owned());
        facts.patient_id = id.map(str::to_owned);
        facts.patient_name = name.map(str::to_owned);
        Group::of(&facts, "1.2.3")
    }

    #[test]
    fn a_patient_is_the_same_however_it_is_written_and_unknown_beyond_the_study() {
        let same = [
            group("1.1", Some("0042"), Some("DOE^JANE")),
            group("1.1", Some(" 0042 "), None),
        ];
        assert_eq!(same[0].name(), same[1].name());
        let named = [
            group("1.1", None, Some("Doe^Jane^^^")),
            group("1.1", Some(""), Some("DOE^JANE")),
        ];
        assert_eq!(named[0].name(), named[1].name());
        let patient = |group: &Group| group.patient.clone().unwrap();
        assert_ne!(
            patient(&group("1.1", Some("42"), None)),
            patient(&group("1.2", Some("42"), None))
        );
        assert_eq!(group("1.1", None, None).name(), "study:1.1");
    }

    #[test]
    fn a_case_without_a_patient_gets_one() {
        let named = group("1.1", Some("42"), None);
        assert_eq!(named.completed("study:1.1"), named.name());
        let nobody = group("1.1", None, None);
        assert_eq!(nobody.completed(&named.name()), named.name());
    }
}
