//! Whether an image is one that the model may be asked about.
//!
//! What an image does not say cannot be checked: it is reported as unknown, and does not make a result uncertain. A
//! PNG says nothing at all.

use bundle::manifest::IntendedUse;
use imaging::ImageMeta;
use serde::{Deserialize, Serialize};

use crate::codes::{Code, Reason};
use crate::presentation::reasons;
use crate::text::words::Language;

/// What the check of an image against the intended use gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseCheck {
    /// Why the image is outside; empty if nothing is known to be.
    pub outside: Vec<Reason>,
    /// What the image does not say: `modality`, `body-part`, `view`, `age`.
    pub unknown: Vec<String>,
}

/// Checks modality, body part, view and age.
#[must_use]
pub fn check(meta: &ImageMeta, intended: &IntendedUse) -> UseCheck {
    let mut check = UseCheck::default();
    let texts = [
        (
            "modality",
            Code::OutsideIntendedUseModality,
            &meta.modality,
            &intended.modalities,
        ),
        (
            "body-part",
            Code::OutsideIntendedUseBodyPart,
            &meta.body_part,
            &intended.body_parts,
        ),
        ("view", Code::OutsideIntendedUseView, &meta.view, &intended.views),
    ];
    for (what, code, found, allowed) in texts {
        check_text(&mut check, what, code, found.as_deref(), allowed);
    }
    if let Some(range) = intended.age_years {
        match meta.age_years {
            None => check.unknown.push("age".to_owned()),
            Some(age) if range.contains(age) => {}
            Some(age) => check.outside.push(Reason::new(
                Code::OutsideIntendedUseAge,
                reasons::age(age, range, Language::English.words()),
            )),
        }
    }
    check
}

fn check_text(check: &mut UseCheck, what: &str, code: Code, found: Option<&str>, allowed: &[String]) {
    if allowed.is_empty() {
        return;
    }
    let Some(found) = found.map(str::trim).filter(|f| !f.is_empty()) else {
        check.unknown.push(what.to_owned());
        return;
    };
    if allowed.iter().any(|a| a.trim().eq_ignore_ascii_case(found)) {
        return;
    }
    let message = reasons::outside(code, found, allowed, Language::English.words());
    check.outside.push(Reason::new(code, message));
}

#[cfg(test)]
mod tests {
    use bundle::manifest::AgeRange;

    use super::*;

    fn adults() -> IntendedUse {
        IntendedUse {
            modalities: vec!["CR".into(), "DX".into()],
            body_parts: vec!["CHEST".into()],
            views: vec!["PA".into()],
            age_years: Some(AgeRange { min: 18.0, max: 120.0 }),
            statement: "adults".into(),
        }
    }

    fn chest() -> ImageMeta {
        ImageMeta {
            modality: Some("DX".into()),
            body_part: Some("chest ".into()),
            view: Some("PA".into()),
            age_years: Some(54.0),
            ..ImageMeta::default()
        }
    }

    fn codes(meta: &ImageMeta) -> Vec<String> {
        check(meta, &adults()).outside.into_iter().map(|r| r.code).collect()
    }

    #[test]
    fn an_adults_chest_is_inside() {
        assert_eq!(check(&chest(), &adults()), UseCheck::default());
    }

    #[test]
    fn each_deviation_has_its_code() {
        let with = |change: fn(&mut ImageMeta)| {
            let mut meta = chest();
            change(&mut meta);
            codes(&meta)
        };
        assert_eq!(
            with(|m| m.modality = Some("CT".into())),
            ["outside-intended-use-modality"]
        );
        assert_eq!(
            with(|m| m.body_part = Some("KNEE".into())),
            ["outside-intended-use-body-part"]
        );
        assert_eq!(with(|m| m.view = Some("LL".into())), ["outside-intended-use-view"]);
        assert_eq!(with(|m| m.age_years = Some(4.0)), ["outside-intended-use-age"]);
        let reason = &check(
            &ImageMeta {
                age_years: Some(0.5),
                ..chest()
            },
            &adults(),
        )
        .outside[0];
        assert_eq!(
            reason.message,
            "The patient is 6 months old; the model is for 18 to 120 years."
        );
    }

    #[test]
    fn what_is_not_said_is_unknown_and_not_outside() {
        let check = check(&ImageMeta::default(), &adults());
        assert!(check.outside.is_empty());
        assert_eq!(check.unknown, ["modality", "body-part", "view", "age"]);
    }

    #[test]
    fn an_open_use_asks_nothing() {
        let open = IntendedUse {
            modalities: vec![],
            body_parts: vec![],
            views: vec![],
            age_years: None,
            statement: "any".into(),
        };
        assert_eq!(super::check(&ImageMeta::default(), &open), UseCheck::default());
    }
}
