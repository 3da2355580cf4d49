//! Stored cases: as results, as rows of a list, as news.

use bundle::Manifest;
use chrono::{DateTime, Local, Utc};

use super::{decided, name_of, state};
use crate::controls::Verdict;
use crate::decision::DecisionKind;
use crate::finding::ImageSource;
use crate::screens::{CaseMarks, CaseRow, Edges, News, OutboxMark, ResultState, ResultView};
use crate::store::cases::{CaseRecord, Summary};
use crate::store::images::GivenUp;
use crate::store::verdicts::Opinion;
use crate::text::words::Words;

/// A case as a row of a list. The manifest is that of the model that made its result, where it is here; `sends` is
/// whether results go to an archive; `now` says whether the day must be named.
#[must_use]
pub fn case_row(
    case: &CaseRecord,
    manifest: Option<&Manifest>,
    words: &Words,
    sends: bool,
    now: DateTime<Utc>,
) -> CaseRow {
    let headline = case_headline(case, manifest, words);
    let short = case
        .summary
        .as_ref()
        .and_then(|summary| flagged_label(summary, manifest, words));
    CaseRow {
        state: case_state(case),
        short: short.unwrap_or_else(|| headline.clone()),
        headline,
        case_id: case.number.clone(),
        patient: case.patient.words(),
        time: case_time(case.changed, now),
        marks: case_marks(case, sends),
    }
}

/// Whose image it is, before what is known of it: "H. M. · …042 · PA · 54 y · DX".
#[must_use]
pub fn of_patient(case: &CaseRecord, details: &str) -> String {
    let parts = [case.patient.words(), details.to_owned()];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" · ")
}

/// What kind of result a case has.
#[must_use]
pub fn case_state(case: &CaseRecord) -> ResultState {
    match &case.summary {
        Some(summary) => state(summary.decision),
        None if case.images.failed > 0 => ResultState::NotReadable,
        None => ResultState::NoModel,
    }
}

/// What a case amounts to, in words.
#[must_use]
pub fn case_headline(case: &CaseRecord, manifest: Option<&Manifest>, words: &Words) -> String {
    match &case.summary {
        Some(summary) => {
            let label = flagged_label(summary, manifest, words);
            decided(summary.decision, label.as_deref(), words)
        }
        None if case.images.failed > 0 => words.results.not_readable.to_owned(),
        None => words.results.no_model.to_owned(),
    }
}

fn flagged_label(summary: &Summary, manifest: Option<&Manifest>, words: &Words) -> Option<String> {
    let id = summary
        .label
        .as_deref()
        .filter(|_| summary.decision == DecisionKind::Flagged)?;
    Some(name_of(id, summary.label_name.as_deref(), manifest, words))
}

/// What people did with a case, and where its result is.
#[must_use]
pub fn case_marks(case: &CaseRecord, sends: bool) -> CaseMarks {
    let outbox = match case.unsent {
        0 => OutboxMark::Sent,
        _ => OutboxMark::Waiting,
    };
    CaseMarks {
        acknowledged: case.acknowledged.is_some(),
        verdict: case.opinion.map(|opinion| match opinion {
            Opinion::Agree => Verdict::Agree,
            Opinion::Disagree => Verdict::Disagree,
        }),
        outbox: (sends && case.summary.is_some()).then_some(outbox),
    }
}

/// Why a case has no result that can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// An image of it was given up.
    GivenUp(GivenUp),
    /// It has a result, and the model that made it is not known any more.
    Model,
    /// Nothing of it is there.
    Everything,
}

impl Lack {
    fn reason(self, words: &Words) -> Option<&'static str> {
        let results = &words.results;
        match self {
            Self::GivenUp(GivenUp::EndedTheService) => Some(results.ended_the_service),
            Self::GivenUp(GivenUp::ModelFailed) => Some(results.model_failed),
            Self::GivenUp(GivenUp::FileGone) => Some(results.file_gone),
            Self::Model => Some(results.model_gone),
            Self::Everything => None,
        }
    }

    fn steps(self, words: &Words) -> Vec<String> {
        let again = (self == Self::GivenUp(GivenUp::FileGone)).then_some(words.steps.file);
        again
            .into_iter()
            .chain([words.steps.clinician])
            .map(str::to_owned)
            .collect()
    }
}

/// A case without a result that can be shown.
#[must_use]
pub fn without_result_view(
    case: &CaseRecord,
    source: &ImageSource,
    lack: Lack,
    words: &'static Words,
) -> ResultView<'static> {
    ResultView {
        state: ResultState::NotReadable,
        headline: words.results.not_readable.to_owned(),
        next_step: words.steps.clinician.to_owned(),
        code: None,
        image: None,
        heatmap: None,
        series: None,
        bars: Vec::new(),
        reasons: lack.reason(words).into_iter().map(str::to_owned).collect(),
        what_to_do: lack.steps(words),
        case_id: case.number.clone(),
        case_time: String::new(),
        case_details: super::case_details(source, words),
        position: None,
        marks: CaseMarks::default(),
        site_thresholds: None,
        source: super::file_name(&source.file),
        edges: Edges::default(),
    }
}

/// The announcement of a result that came while another one is looked at.
#[must_use]
pub fn news(row: &CaseRow, words: &Words) -> News {
    News {
        state: row.state,
        words: vec![
            (words.results.new_result)(&row.headline, &row.case_id),
            (words.results.new_case)(&row.case_id),
            (words.results.new_number)(&row.case_id),
        ],
    }
}

/// A time of day, with the day where that is another one than `now`'s.
#[must_use]
pub fn case_time(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let (time, now) = (time.with_timezone(&Local), now.with_timezone(&Local));
    let form = if time.date_naive() == now.date_naive() {
        "%H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    time.format(form).to_string()
}

#[cfg(test)]
mod tests {
    use bundle::example;

    use super::*;
    use crate::store::cases::{CaseKind, ImageCounts};
    use crate::store::privacy::{Person, Privacy};
    use crate::text::words::Language;

    fn case(decision: Option<DecisionKind>) -> CaseRecord {
        let time = DateTime::from_timestamp(1_770_000_000, 0).unwrap();
        CaseRecord {
            id: 1,
            number: "260202-0001".to_owned(),
            kind: CaseKind::Study,
            opened: time,
            received: time,
            changed: time,
            patient: Person::default(),
            sex: None,
            age_years: None,
            modality: None,
            body_part: None,
            study_uid: None,
            series_uid: None,
            images: ImageCounts::default(),
            summary: decision.map(|decision| Summary {
                decision,
                label: Some("covid19".to_owned()),
                label_name: Some("COVID-19 pattern".to_owned()),
                code: None,
                probability: Some(0.8),
                suspicion: Some(1.6),
                worst_image: 1,
                worst_frame: 0,
                model: "chest 1.0.0".to_owned(),
                role: "chest-xray".to_owned(),
            }),
            latency_ms: None,
            acknowledged: None,
            opinion: None,
            settled: None,
            unsent: 0,
        }
    }

    #[test]
    fn a_row_and_a_result_say_whose_they_are_as_far_as_the_level_lets_it_in() {
        let with = |level: Privacy| {
            let mut case = case(Some(DecisionKind::Flagged));
            case.patient = level.person(Some("Meier^Anna"), Some("PATIENT-0815"), None);
            (row(&case, Language::English).patient, of_patient(&case, "PA · 54 y"))
        };
        let owned = |row: &str, result: &str| (row.to_owned(), result.to_owned());
        assert_eq!(
            with(Privacy::Full),
            owned("Anna Meier · PATIENT-0815", "Anna Meier · PATIENT-0815 · PA · 54 y")
        );
        assert_eq!(
            with(Privacy::Initials),
            owned("A. M. · …815", "A. M. · …815 · PA · 54 y")
        );
        assert_eq!(with(Privacy::None), owned("", "PA · 54 y"));
    }

    fn row(case: &CaseRecord, language: Language) -> CaseRow {
        case_row(case, Some(&example::manifest()), language.words(), true, case.changed)
    }

    #[test]
    fn a_row_speaks_the_screens_language() {
        let flagged = case(Some(DecisionKind::Flagged));
        let said = Language::ALL.map(|language| row(&flagged, language).headline);
        let expected = [
            "Flagged: COVID-19 pattern",
            "Signalé\u{a0}: Aspect de COVID-19",
            "Señalado: Patrón de COVID-19",
        ];
        assert_eq!(said, expected);
        assert_eq!(row(&flagged, Language::English).short, "COVID-19 pattern");
    }

    #[test]
    fn only_a_flag_names_a_label() {
        let clear = row(&case(Some(DecisionKind::NoFindingFlagged)), Language::English);
        assert_eq!(
            (clear.headline.as_str(), clear.short.as_str()),
            ("No finding flagged", "No finding flagged")
        );
        let mut without = case(None);
        assert_eq!(row(&without, Language::English).state, ResultState::NoModel);
        without.images.failed = 1;
        assert_eq!(row(&without, Language::English).state, ResultState::NotReadable);
    }

    #[test]
    fn marks_say_what_people_did_and_what_is_unsent() {
        let mut judged = case(Some(DecisionKind::Flagged));
        assert_eq!(case_marks(&judged, false), CaseMarks::default());
        assert_eq!(case_marks(&judged, true).outbox, Some(OutboxMark::Sent));
        judged.unsent = 2;
        judged.opinion = Some(Opinion::Disagree);
        judged.acknowledged = Some(judged.changed);
        let marks = case_marks(&judged, true);
        assert_eq!(marks.outbox, Some(OutboxMark::Waiting));
        assert!(marks.acknowledged && marks.verdict == Some(Verdict::Disagree));
    }

    #[test]
    fn news_come_in_less_and_less_room() {
        let news = news(
            &row(&case(Some(DecisionKind::Flagged)), Language::English),
            Language::English.words(),
        );
        assert_eq!(news.words[0], "New: Flagged: COVID-19 pattern · case 260202-0001");
        assert!(news.words.windows(2).all(|pair| pair[0].len() > pair[1].len()));
    }

    #[test]
    fn another_day_is_named() {
        let time = case(None).changed;
        assert_eq!(case_time(time, time).len(), 5);
        assert_eq!(case_time(time, time + chrono::TimeDelta::days(2)).len(), 16);
    }
}
