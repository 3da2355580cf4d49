//! What a whole series, or a whole study, amounts to.
//!
//! A study is as its worst radiograph: flagged before uncertain before no finding flagged before not readable, so a
//! repeated exposure makes up for one that could not be read.
//!
//! A series has hundreds of slices, and a model that errs in one of twenty would flag each series by its worst slice
//! alone. So the worst few count together, by their suspicion: the highest probability of a finding as a share of its
//! operating point, where 1 is flagged. The series is flagged if they reach 1 on average and most of them are flagged;
//! uncertain if they reach it and most are not, or if more than half of all slices gave no opinion.

use super::config::StoreConfig;
use crate::codes::FEW_SLICES;
use crate::decision::DecisionKind;

/// The result of one image, or of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Number of the image.
    pub image: i64,
    /// Its frame, from 0.
    pub frame: u32,
    /// What the appliance said.
    pub decision: DecisionKind,
    /// Id of the flagged label, or of the one that would be.
    pub label: Option<String>,
    /// What a screen says.
    pub label_name: Option<String>,
    /// The first reason's code.
    pub code: Option<String>,
    /// Probability of the most suspicious label, 0..1.
    pub probability: Option<f32>,
    /// That probability as a share of its operating point.
    pub suspicion: Option<f32>,
}

/// What a case amounts to.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What the appliance says of the case.
    pub decision: DecisionKind,
    /// The code of an uncertain or unreadable case.
    pub code: Option<String>,
    /// The member that stands for it.
    pub worst: Member,
}

/// Judges a study; `None` without a result.
#[must_use]
pub fn judge_study(members: &[Member]) -> Option<Judgement> {
    // Of equals the last one: an image that was repeated comes later.
    let worst = members.iter().max_by(|a, b| {
        rank(a.decision)
            .cmp(&rank(b.decision))
            .then(suspicion(a).total_cmp(&suspicion(b)))
    })?;
    Some(Judgement {
        decision: worst.decision,
        code: worst.code.clone(),
        worst: worst.clone(),
    })
}

/// Which of two images of a study tells more about it.
#[must_use]
pub(super) fn rank(decision: DecisionKind) -> u8 {
    match decision {
        DecisionKind::Flagged => 3,
        DecisionKind::Uncertain => 2,
        DecisionKind::NoFindingFlagged => 1,
        DecisionKind::NotReadable => 0,
    }
}

/// Judges a series; `None` without a result.
#[must_use]
pub fn judge_series(members: &[Member], config: &StoreConfig) -> Option<Judgement> {
    let worst = worst(members, config.series_slices as usize);
    let first = (*worst.first()?).clone();
    let mean = worst.iter().map(|member| suspicion(member)).sum::<f32>() / worst.len() as f32;
    let of = |kind: DecisionKind, among: &[&Member]| among.iter().filter(|m| m.decision == kind).count();
    let everybody: Vec<&Member> = members.iter().collect();
    let unread = of(DecisionKind::NotReadable, &everybody);
    let without_opinion = unread + of(DecisionKind::Uncertain, &everybody);
    let reached = mean >= 1.0;
    let mostly_flagged = of(DecisionKind::Flagged, &worst) * 2 > worst.len();
    let (decision, code) = match (reached, mostly_flagged) {
        _ if unread == members.len() => (DecisionKind::NotReadable, first.code.clone()),
        (true, true) => (DecisionKind::Flagged, None),
        (true, false) => (DecisionKind::Uncertain, first_code(&worst)),
        _ if without_opinion * 2 > members.len() => (DecisionKind::Uncertain, Some(FEW_SLICES.to_owned())),
        (false, _) => (DecisionKind::NoFindingFlagged, None),
    };
    Some(Judgement {
        decision,
        code,
        worst: first,
    })
}

/// The `count` most suspicious members, the most suspicious first.
#[must_use]
pub fn worst(members: &[Member], count: usize) -> Vec<&Member> {
    let mut worst: Vec<&Member> = members.iter().collect();
    worst.sort_by(|a, b| suspicion(b).total_cmp(&suspicion(a)));
    worst.truncate(count);
    worst
}

/// What could not be assessed is not suspicious.
fn suspicion(member: &Member) -> f32 {
    member.suspicion.filter(|value| value.is_finite()).unwrap_or(0.0)
}

fn first_code(members: &[&Member]) -> Option<String> {
    members.iter().find_map(|member| member.code.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(image: i64, decision: DecisionKind, suspicion: f32) -> Member {
        Member {
            image,
            frame: 0,
            decision,
            label: None,
            label_name: None,
            code: (decision == DecisionKind::Uncertain).then(|| "not-confident".to_owned()),
            probability: Some(suspicion / 2.0),
            suspicion: (decision != DecisionKind::NotReadable).then_some(suspicion),
        }
    }

    fn series(flagged: usize, uncertain: usize, clear: usize, unread: usize) -> Judgement {
        let mut members = Vec::new();
        for (count, kind, suspicion) in [
            (flagged, DecisionKind::Flagged, 1.5),
            (uncertain, DecisionKind::Uncertain, 1.2),
            (clear, DecisionKind::NoFindingFlagged, 0.2),
            (unread, DecisionKind::NotReadable, 0.0),
        ] {
            for _ in 0..count {
                members.push(member(members.len() as i64, kind, suspicion));
            }
        }
        judge_series(&members, &StoreConfig::default()).unwrap()
    }

    #[test]
    fn one_slice_does_not_flag_a_series_and_three_do() {
        assert_eq!(series(1, 0, 200, 0).decision, DecisionKind::NoFindingFlagged);
        let flagged = series(3, 0, 200, 0);
        assert_eq!((flagged.decision, flagged.code), (DecisionKind::Flagged, None));
        assert_eq!(flagged.worst.suspicion, Some(1.5));
        assert_eq!(series(1, 0, 0, 0).decision, DecisionKind::Flagged, "a series of one");
    }

    #[test]
    fn doubt_about_the_worst_slices_or_most_slices_is_doubt_about_the_series() {
        let doubt = series(1, 2, 200, 0);
        assert_eq!(doubt.decision, DecisionKind::Uncertain);
        assert_eq!(doubt.code.as_deref(), Some("not-confident"));
        let few = series(0, 0, 40, 60);
        assert_eq!(
            (few.decision, few.code.as_deref()),
            (DecisionKind::Uncertain, Some(FEW_SLICES))
        );
        assert_eq!(series(0, 0, 60, 40).decision, DecisionKind::NoFindingFlagged);
        assert_eq!(series(0, 0, 0, 5).decision, DecisionKind::NotReadable);
        assert_eq!(
            series(3, 0, 0, 200).decision,
            DecisionKind::Flagged,
            "what was seen counts"
        );
    }

    #[test]
    fn a_study_is_as_its_worst_image_but_a_repeat_makes_up_for_an_unreadable_one() {
        let judged = |kinds: &[(DecisionKind, f32)]| {
            let members: Vec<_> = (0..).zip(kinds).map(|(n, (kind, s))| member(n, *kind, *s)).collect();
            judge_study(&members).map(|judged| (judged.decision, judged.worst.image))
        };
        use DecisionKind::{Flagged, NoFindingFlagged, NotReadable, Uncertain};
        assert_eq!(judged(&[]), None);
        assert_eq!(
            judged(&[(NotReadable, 0.0), (NoFindingFlagged, 0.1)]),
            Some((NoFindingFlagged, 1))
        );
        assert_eq!(
            judged(&[(Flagged, 1.1), (Uncertain, 2.0), (Flagged, 1.3)]),
            Some((Flagged, 2))
        );
        assert_eq!(
            judged(&[(NotReadable, 0.0), (NotReadable, 0.0)]),
            Some((NotReadable, 1))
        );
    }
}
