//! Findings: of an image, and with it of its case, in one transaction with the image's new state and with what is owed
//! to the outbox.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde_json::json;

use super::audit::{self, Event};
use super::series::{self, Judgement, Member};
use super::{Store, StoreError, millis, outbox};
use crate::decision::DecisionKind;
use crate::finding::{Finding, LabelProbability};

/// What was found in one frame of an image that waits.
#[derive(Debug, Clone, Copy)]
pub struct Examined<'a> {
    /// Number of the image.
    pub image: i64,
    /// The frame, from 0.
    pub frame: u32,
    /// How many frames are to be examined; the image is done with the last one.
    pub frames: u32,
    /// What was found.
    pub finding: &'a Finding,
}

impl Store {
    /// Stores a finding. Gives whether it was new: an image that is done already keeps its results. It is on the medium
    /// after the next [`make_durable`](Self::make_durable).
    ///
    /// # Errors
    /// [`StoreError`]; then nothing has changed.
    pub fn store_result(&self, examined: Examined<'_>, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let stored = self.change_lazily(|transaction| self.insert_result(transaction, examined, now))?;
        // Whoever examines it knows by now when it arrived.
        super::lock(&self.arrived).remove(&examined.image);
        Ok(stored)
    }

    fn insert_result(
        &self,
        transaction: &Transaction<'_>,
        examined: Examined<'_>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let Examined {
            image,
            frame,
            frames,
            finding,
        } = examined;
        let sql = "SELECT case_id, kind, key FROM images JOIN cases ON cases.id = case_id \
                   WHERE images.id = ? AND state = 'waiting'";
        let found = transaction
            .prepare_cached(sql)?
            .query_row([image], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                ))
            })
            .optional()?;
        let Some((case, kind, key)) = found else {
            return Ok(false);
        };
        if !insert_finding(transaction, image, frame, finding, now)? {
            return Ok(false);
        }
        let done: u32 = transaction
            .prepare_cached("SELECT count(*) FROM results WHERE image_id = ?")?
            .query_row([image], |row| row.get(0))?;
        if done >= frames {
            let sql = "UPDATE images SET state = 'done', finished = ?, frames = ?, problem = NULL WHERE id = ?";
            transaction
                .prepare_cached(sql)?
                .execute(params![millis(now), frames, image])?;
        }
        let number = refresh_case(transaction, case, now, Some(&self.config))?;
        if done >= frames && kind != "series" {
            outbox::owe(transaction, case, Some(image), &self.owed, now)?;
        }
        let detail = json!({
            "image": key,
            "frame": frame,
            "decision": finding.decision.kind.text(),
            "model": finding.model.digest,
        });
        audit::append(transaction, now, Event::Result, &number, &detail)?;
        Ok(true)
    }

    /// Says how long an image took from its last byte to the display.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn set_latency(&self, image: i64, milliseconds: f64) -> Result<(), StoreError> {
        self.change_lazily(|transaction| {
            let sql = "UPDATE images SET latency_ms = ?2 WHERE id = ?1 RETURNING case_id";
            let case = transaction
                .prepare_cached(sql)?
                .query_row(params![image, milliseconds], |row| row.get::<_, i64>(0))
                .optional()?;
            let sql = "UPDATE cases SET latency_ms = ?2 WHERE id = ?1";
            transaction.prepare_cached(sql)?.execute(params![case, milliseconds])?;
            Ok(())
        })
    }

    /// Closes the series for which nothing came for a while: their objects are now owed to the outbox. Gives how many.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn settle(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let quiet = i64::try_from(self.config.series_quiet().as_millis()).unwrap_or(i64::MAX);
        let before = millis(now).saturating_sub(quiet);
        let sql = "SELECT id, number FROM cases WHERE settled IS NULL AND received <= ? AND kind = 'series' AND NOT EXISTS \
                   (SELECT 1 FROM images WHERE case_id = cases.id AND state = 'waiting')";
        let due: Vec<(i64, String)> = {
            let reader = self.reading();
            let mut statement = reader.prepare_cached(sql)?;
            let rows = statement.query_map([before], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        let mut settled = 0;
        for (case, number) in due {
            settled +=
                usize::from(self.change(|transaction| self.settle_case(transaction, case, &number, before, now))?);
        }
        Ok(settled)
    }

    fn settle_case(
        &self,
        transaction: &Transaction<'_>,
        case: i64,
        number: &str,
        before: i64,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        // An image may have come since the case was looked up.
        let sql = "UPDATE cases SET settled = ?2, revision = revision + 1, filed = 0 WHERE id = ?1 AND settled IS NULL AND received <= ?3 \
                   RETURNING decision IS NOT NULL";
        let has_result = transaction
            .query_row(sql, params![case, millis(now), before], |row| row.get::<_, bool>(0))
            .optional()?;
        let Some(has_result) = has_result else { return Ok(false) };
        if has_result {
            outbox::owe(transaction, case, None, &self.owed, now)?;
        }
        audit::append(transaction, now, Event::CaseSettled, number, &json!({}))?;
        Ok(true)
    }
}

fn insert_finding(
    transaction: &Transaction<'_>,
    image: i64,
    frame: u32,
    finding: &Finding,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let suspect = most_suspicious(finding);
    let label = finding.decision.label.as_deref();
    let named = finding
        .probabilities
        .iter()
        .find(|p| Some(p.label.as_str()) == label)
        .or(suspect);
    let sql = "INSERT INTO results (image_id, frame, time, decision, label, label_name, code, probability, suspicion, model, \
               role, finding) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let text = serde_json::to_string(finding).map_err(|e| StoreError::Senseless {
        what: "finding",
        found: e.to_string(),
    })?;
    let inserted = transaction.prepare_cached(sql)?.execute(params![
        image,
        frame,
        millis(now),
        finding.decision.kind.text(),
        label,
        named.map(|p| p.name.as_str()),
        finding.decision.reasons.first().map(|reason| reason.code.as_str()),
        named.map(|p| p.probability),
        suspect.and_then(suspicion),
        format!("{} {}", finding.model.name, finding.model.version),
        finding.model.role,
        text,
    ])?;
    Ok(inserted == 1)
}

/// The label whose probability is the highest share of its operating point.
fn most_suspicious(finding: &Finding) -> Option<&LabelProbability> {
    let findings = finding.probabilities.iter().filter(|p| p.operating_point.is_some());
    findings.max_by(|a, b| suspicion(a).unwrap_or(0.0).total_cmp(&suspicion(b).unwrap_or(0.0)))
}

fn suspicion(probability: &LabelProbability) -> Option<f32> {
    let point = probability.operating_point?;
    Some(probability.probability / point.max(f32::MIN_POSITIVE))
}

/// Brings the case up to date with its images; gives its number. `config` judges a series.
pub(super) fn refresh_case(
    transaction: &Transaction<'_>,
    case: i64,
    now: DateTime<Utc>,
    config: Option<&super::config::StoreConfig>,
) -> Result<String, StoreError> {
    let sql = "SELECT kind, number, EXISTS (SELECT 1 FROM images WHERE case_id = cases.id AND state = 'waiting') \
               FROM cases WHERE id = ?";
    let (kind, number, waits): (String, String, bool) = transaction
        .prepare_cached(sql)?
        .query_row([case], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let settled = (kind != "series" && !waits).then(|| millis(now));
    let sql = "UPDATE cases SET changed = ?2, revision = revision + 1, settled = coalesce(settled, ?3), filed = 0 WHERE id = ?1";
    transaction
        .prepare_cached(sql)?
        .execute(params![case, millis(now), settled])?;
    // Without a new result the judgement stays.
    if let Some(config) = config {
        let members = members(transaction, case)?;
        let judgement = match kind.as_str() {
            "series" => series::judge_series(&members, config),
            _ => series::judge_study(&members),
        };
        if let Some(judgement) = judgement {
            write_judgement(transaction, case, &judgement)?;
        }
    }
    Ok(number)
}

/// Whether a judgement (`?2`, `?3`, of image `?8`, frame `?9`) is another one than the case has: whoever has seen that one has
/// not seen this.
const OTHER: &str = "decision IS NOT ?2 OR (?2 = 'flagged' AND label IS NOT ?3) \
    OR (kind <> 'series' AND (worst_image IS NOT ?8 OR worst_frame IS NOT ?9))";

fn write_judgement(transaction: &Transaction<'_>, case: i64, judgement: &Judgement) -> Result<(), StoreError> {
    let Judgement { decision, code, worst } = judgement;
    let sql = format!(
        "UPDATE cases SET decision = ?2, label = ?3, label_name = ?4, code = ?5, probability = ?6, suspicion = ?7, \
               worst_image = ?8, worst_frame = ?9, acknowledged = iif(?10 AND ({OTHER}), NULL, acknowledged), (model, role, age_years) = \
               (SELECT model, role, coalesce(age_years, json_extract(finding, '$.source.age_years')) \
               FROM results WHERE image_id = ?8 AND frame = ?9) WHERE id = ?1"
    );
    transaction.prepare_cached(&sql)?.execute(params![
        case,
        decision.text(),
        worst.label,
        worst.label_name,
        code,
        worst.probability,
        worst.suspicion,
        worst.image,
        worst.frame,
        decision.needs_eyes(),
    ])?;
    Ok(())
}

/// The results of a case in the order in which its images came.
pub(super) fn members(connection: &rusqlite::Connection, case: i64) -> Result<Vec<Member>, StoreError> {
    let sql = "SELECT image_id, frame, decision, label, label_name, code, probability, suspicion FROM results \
               JOIN images ON images.id = image_id WHERE case_id = ? ORDER BY image_id, frame";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([case])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        members.push(member(row)?);
    }
    Ok(members)
}

fn member(row: &Row<'_>) -> Result<Member, StoreError> {
    Ok(Member {
        image: row.get(0)?,
        frame: row.get(1)?,
        decision: decision(&row.get::<_, String>(2)?)?,
        label: row.get(3)?,
        label_name: row.get(4)?,
        code: row.get(5)?,
        probability: row.get(6)?,
        suspicion: row.get(7)?,
    })
}

/// A decision that stands in the database.
pub(super) fn decision(text: &str) -> Result<DecisionKind, StoreError> {
    DecisionKind::from_text(text).ok_or_else(|| StoreError::Senseless {
        what: "decision",
        found: text.to_owned(),
    })
}
