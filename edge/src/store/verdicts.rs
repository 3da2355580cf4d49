//! What people said to results: that they have seen a case, and whether they agree.

use chrono::{DateTime, Utc};
use rusqlite::params;
use serde::Serialize;
use serde_json::json;

use super::audit::{self, Event};
use super::{Store, StoreError, cases, millis};

/// Whether an opinion is on what its case says today: the case may have got further images since.
pub(super) const HOLDS: &str = "(verdicts.decision IS cases.decision \
    AND (cases.decision <> 'flagged' OR verdicts.label IS cases.label) \
    AND (cases.kind = 'series' OR (verdicts.image_id, verdicts.frame) = (worst_image, worst_frame)))";

/// What a person thinks of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Opinion {
    /// It is right.
    Agree,
    /// It is wrong.
    Disagree,
}

impl Opinion {
    /// The stable text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::Disagree => "disagree",
        }
    }

    /// The opinion with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Agree, Self::Disagree]
            .into_iter()
            .find(|opinion| opinion.text() == text)
    }
}

impl Store {
    /// A person agrees or disagrees with the result of a case. The last word counts, and only on the result that it was said
    /// to; every word is kept.
    ///
    /// # Errors
    /// [`StoreError::NoSuchCase`].
    pub fn give_opinion(&self, case_number: &str, opinion: Opinion, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.change(|transaction| {
            let case = cases::id_of(transaction, case_number)?;
            let sql = "INSERT INTO verdicts (case_id, image_id, frame, verdict, time, decision, label) \
                       SELECT id, worst_image, worst_frame, ?2, ?3, decision, label FROM cases WHERE id = ?1";
            transaction.execute(sql, params![case, opinion.text(), millis(now)])?;
            acknowledge(transaction, case, now)?;
            let detail = json!({ "verdict": opinion.text() });
            audit::append(transaction, now, Event::Verdict, case_number, &detail)
        })
    }

    /// A person has seen a case. The first time counts, until the case comes to another result that somebody has to see.
    ///
    /// # Errors
    /// [`StoreError::NoSuchCase`].
    pub fn acknowledge(&self, case_number: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.change(|transaction| {
            let case = cases::id_of(transaction, case_number)?;
            if acknowledge(transaction, case, now)? {
                audit::append(transaction, now, Event::CaseAcknowledged, case_number, &json!({}))?;
            }
            Ok(())
        })
    }
}

fn acknowledge(transaction: &rusqlite::Transaction<'_>, case: i64, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let sql = "UPDATE cases SET acknowledged = ?2 WHERE id = ?1 AND acknowledged IS NULL";
    Ok(transaction.execute(sql, params![case, millis(now)])? == 1)
}
