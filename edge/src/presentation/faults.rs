//! What fails, and what helps.

use std::error::Error;
use std::io;

use crate::intake::watch_folder::WatchError;
use crate::screens::{Edges, FaultView};
use crate::store::StoreError;
use crate::text::words::Words;

/// Kinds of faults: each has its sentence and its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The library that runs models is missing.
    NoRuntime,
    /// The model does not run, or gives what cannot be.
    ModelFails,
    /// No room is left.
    StorageFull,
    /// The storage cannot be read or written.
    StorageFails,
    /// The port or folder that images come from cannot be opened.
    IntakeFails,
    /// Too warm to work.
    TooHot,
    /// A part of the service does not get on.
    Hangs,
    /// Anything else.
    Other,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::NoRuntime,
        Self::ModelFails,
        Self::StorageFull,
        Self::StorageFails,
        Self::IntakeFails,
        Self::TooHot,
        Self::Hangs,
        Self::Other,
    ];

    /// The kind of an error that keeps the service from beginning, by the first of its causes that has one.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |error| (*error).source());
        causes.find_map(Self::of_cause).unwrap_or(Self::Other)
    }

    fn of_cause(cause: &(dyn Error + 'static)) -> Option<Self> {
        if cause.is::<WatchError>() {
            return Some(Self::IntakeFails);
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return Some(if error.is_full() {
                Self::StorageFull
            } else {
                Self::StorageFails
            });
        }
        match cause.downcast_ref::<io::Error>()?.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Self::StorageFull),
            io::ErrorKind::ReadOnlyFilesystem => Some(Self::StorageFails),
            _ => None,
        }
    }

    /// What failed, in one sentence.
    #[must_use]
    pub fn what(self, words: &Words) -> &'static str {
        let faults = &words.faults;
        match self {
            Self::NoRuntime => faults.no_runtime,
            Self::ModelFails => faults.model_fails,
            Self::StorageFull => faults.storage_full,
            Self::StorageFails => faults.storage_fails,
            Self::IntakeFails => faults.intake_fails,
            Self::TooHot => faults.too_hot,
            Self::Hangs => faults.hangs,
            Self::Other => faults.other,
        }
    }

    /// What helps, the first thing first. Work goes on without the appliance in any case.
    #[must_use]
    pub fn steps(self, words: &Words) -> Vec<&'static str> {
        let faults = &words.faults;
        let first: &[&str] = match self {
            Self::NoRuntime => &[faults.call_engineer],
            Self::StorageFull => &[faults.make_room],
            Self::IntakeFails => &[faults.check_cable, faults.call_engineer],
            Self::TooHot => &[faults.cool_down],
            Self::ModelFails | Self::StorageFails | Self::Hangs | Self::Other => {
                &[faults.restart, faults.call_engineer]
            }
        };
        first.iter().chain(&[faults.read_as_always]).copied().collect()
    }
}

/// The screen of a fault; `since` is when it began, `detail` what an engineer wants to know.
#[must_use]
pub fn fault_view(kind: FaultKind, since: &str, detail: &str, words: &Words, edges: Edges) -> FaultView {
    FaultView {
        headline: words.faults.headline.to_owned(),
        what: kind.what(words).to_owned(),
        steps: kind.steps(words).into_iter().map(str::to_owned).collect(),
        since: (words.faults.since)(since),
        assurance: words.faults.nothing_lost.to_owned(),
        detail: detail.to_owned(),
        edges: Edges {
            faulty: true,
            status: words.status.fault.to_owned(),
            ..edges
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::words::Language;

    #[test]
    fn an_error_is_of_the_kind_of_its_first_cause_that_has_one() {
        let read_only = || io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        let inner: Box<dyn Error + Send + Sync> = Box::new(StoreError::File {
            path: "/state".into(),
            action: "write",
            source: io::ErrorKind::StorageFull.into(),
        });
        let wrapped = anyhow::Error::new(read_only())
            .context("folder /state")
            .context("the service");
        assert_eq!(FaultKind::of(wrapped.as_ref()), FaultKind::StorageFails);
        assert_eq!(FaultKind::of(&*inner), FaultKind::StorageFull);
        assert_eq!(FaultKind::of(&io::Error::other("a thread")), FaultKind::Other);
    }

    #[test]
    fn every_fault_says_what_helps_and_that_work_goes_on() {
        for language in Language::ALL {
            let words = language.words();
            for kind in FaultKind::ALL {
                let view = fault_view(kind, "14:32", "", words, Edges::default());
                assert!(view.edges.faulty && !view.what.is_empty());
                assert!((2..=3).contains(&view.steps.len()), "{kind:?}");
                assert!(
                    view.steps.iter().any(|step| step == words.faults.read_as_always),
                    "{kind:?}"
                );
            }
        }
    }
}
