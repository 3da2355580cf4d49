//! What is agreed when an association begins (PS3.8 sections 7.1.1 and 9.3.2 to 9.3.4, PS3.7 Annex D.3).

use std::collections::{BTreeMap, BTreeSet};

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AssociationAC, AssociationRJ, AssociationRJResult,
    AssociationRJServiceProviderASCEReason, AssociationRJServiceProviderPresentationReason,
    AssociationRJServiceUserReason, AssociationRJSource, AssociationRQ, PresentationContextProposed,
    PresentationContextResult, PresentationContextResultReason, UserVariableItem,
};

use super::config::DicomConfig;
use super::{ae_title, sop_classes, uid};
use crate::implementation;

/// An answer of at most so many bytes is one PDU for every sender that keeps to the standard's habits.
const SMALLEST_PEER_PDU: u32 = 512;
/// Transfer syntaxes that a line of the log names.
const SHOWN_SYNTAXES: usize = 4;

/// Why there is no association.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Version 1 of the protocol is not among the sender's.
    #[error("the sender does not speak version 1 of the protocol")]
    ProtocolVersion,
    /// Not DICOM's application context.
    #[error("the sender asks for another application context than DICOM's")]
    ApplicationContext,
    /// Another AE title was called.
    #[error(
        "\"{called}\" was called by \"{calling}\"; this is \"{own}\": correct the sender's settings or appliance.dicom.ae_title"
    )]
    CalledAe {
        /// Who was called.
        called: String,
        /// Who called.
        calling: String,
        /// Who is here.
        own: String,
    },
    /// The sender is not on the list.
    #[error("\"{0}\" may not send; if it should, add it to appliance.dicom.calling")]
    CallingAe(String),
    /// As many associations as may be.
    #[error("{0} associations are open, which is the limit")]
    Full(usize),
    /// A request that contradicts the standard.
    #[error("the association request is malformed: {0}")]
    Malformed(&'static str),
}

/// What the peer hears.
pub(super) enum Answer {
    /// A-ASSOCIATE-RJ
    Reject(AssociationRJ),
    /// A-ABORT
    Abort(AbortRQServiceProviderReason),
}

impl Refused {
    /// What the peer hears (PS3.8 tables 9-21 and 9-26).
    pub(super) fn answer(&self) -> Answer {
        use AssociationRJResult::{Permanent, Transient};
        let user = AssociationRJSource::ServiceUser;
        let (result, source) = match self {
            Self::ProtocolVersion => {
                let reason = AssociationRJServiceProviderASCEReason::ProtocolVersionNotSupported;
                (Permanent, AssociationRJSource::ServiceProviderASCE(reason))
            }
            Self::ApplicationContext => {
                let reason = AssociationRJServiceUserReason::ApplicationContextNameNotSupported;
                (Permanent, user(reason))
            }
            Self::CalledAe { .. } => (
                Permanent,
                user(AssociationRJServiceUserReason::CalledAETitleNotRecognized),
            ),
            Self::CallingAe(_) => (
                Permanent,
                user(AssociationRJServiceUserReason::CallingAETitleNotRecognized),
            ),
            Self::Full(_) => {
                let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
                (Transient, AssociationRJSource::ServiceProviderPresentation(reason))
            }
            Self::Malformed(_) => return Answer::Abort(AbortRQServiceProviderReason::InvalidPduParameter),
        };
        Answer::Reject(AssociationRJ { result, source })
    }
}

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) id: u8,
    pub(super) abstract_syntax: String,
    pub(super) transfer_syntax: &'static str,
}

/// What was agreed.
#[derive(Debug)]
pub(super) struct Agreement {
    /// What the peer hears.
    pub(super) answer: AssociationAC,
    /// The accepted presentation contexts; there may be none.
    pub(super) contexts: Vec<Context>,
    /// What the peer offers of a class that is served, but only in transfer syntaxes that are not read.
    pub(super) unread: Vec<Unread>,
    pub(super) calling: String,
}

/// A class whose objects cannot be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) abstract_syntax: String,
    pub(super) transfer_syntaxes: BTreeSet<String>,
}

/// Judges a request. Contexts of unknown classes or with unknown transfer syntaxes are refused one by one.
pub(super) fn negotiate(request: AssociationRQ, config: &DicomConfig) -> Result<Agreement, Refused> {
    if request.protocol_version & 1 == 0 {
        return Err(Refused::ProtocolVersion);
    }
    if uid::trimmed(&request.application_context_name) != uids::DICOM_APPLICATION_CONTEXT {
        return Err(Refused::ApplicationContext);
    }
    check_titles(&request, config)?;
    check_contexts(&request.presentation_contexts)?;
    check_peer_pdu(&request.user_variables)?;
    let judged: Vec<Judged> = request.presentation_contexts.iter().map(judge).collect();
    let results = judged.iter().map(|judged| judged.result.clone()).collect();
    let answer = AssociationAC {
        protocol_version: 1,
        application_context_name: uids::DICOM_APPLICATION_CONTEXT.to_owned(),
        called_ae_title: request.called_ae_title,
        calling_ae_title: request.calling_ae_title.clone(),
        presentation_contexts: results,
        user_variables: vec![
            UserVariableItem::MaxLength(config.limits().pdu_bytes),
            UserVariableItem::ImplementationClassUID(implementation::CLASS_UID.to_owned()),
            UserVariableItem::ImplementationVersionName(implementation::VERSION_NAME.to_owned()),
        ],
    };
    Ok(Agreement {
        answer,
        unread: unread(&request.presentation_contexts, &judged),
        contexts: judged.into_iter().filter_map(|judged| judged.context).collect(),
        calling: request.calling_ae_title,
    })
}

fn check_titles(request: &AssociationRQ, config: &DicomConfig) -> Result<(), Refused> {
    let calling = || ae_title::shown(&request.calling_ae_title);
    if request.called_ae_title != config.ae_title {
        return Err(Refused::CalledAe {
            called: ae_title::shown(&request.called_ae_title),
            calling: calling(),
            own: config.ae_title.clone(),
        });
    }
    if !config.calling.contains(&request.calling_ae_title) {
        return Err(Refused::CallingAe(calling()));
    }
    Ok(())
}

fn check_contexts(proposed: &[PresentationContextProposed]) -> Result<(), Refused> {
    if proposed.is_empty() {
        return Err(Refused::Malformed("no presentation context"));
    }
    let mut seen = BTreeSet::new();
    if proposed
        .iter()
        .all(|context| context.id % 2 == 1 && seen.insert(context.id))
    {
        return Ok(());
    }
    Err(Refused::Malformed(
        "the ids of presentation contexts are not odd and different",
    ))
}

/// Our answers are never split, so a peer must take one whole.
fn check_peer_pdu(variables: &[UserVariableItem]) -> Result<(), Refused> {
    let too_small = |item: &UserVariableItem| matches!(item, UserVariableItem::MaxLength(1..SMALLEST_PEER_PDU));
    if variables.iter().any(too_small) {
        return Err(Refused::Malformed("the sender takes no PDU of 512 bytes"));
    }
    Ok(())
}

/// The classes that are served and of which no context was accepted.
fn unread(proposed: &[PresentationContextProposed], judged: &[Judged]) -> Vec<Unread> {
    let class = |context: &PresentationContextProposed| uid::trimmed(&context.abstract_syntax).to_owned();
    let accepted: BTreeSet<String> = proposed
        .iter()
        .zip(judged)
        .filter_map(|(proposed, judged)| judged.context.as_ref().map(|_| class(proposed)))
        .collect();
    let mut unread: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for context in proposed {
        let class = class(context);
        if sop_classes::transfer_syntaxes(&class).is_some() && !accepted.contains(&class) {
            let syntaxes = context.transfer_syntaxes.iter().map(|syntax| uid::trimmed(syntax));
            let plain = syntaxes.filter(|syntax| uid::is_well_formed(syntax)).map(str::to_owned);
            unread.entry(class).or_default().extend(plain.take(SHOWN_SYNTAXES));
        }
    }
    let unread = unread.into_iter().map(|(abstract_syntax, transfer_syntaxes)| Unread {
        abstract_syntax,
        transfer_syntaxes,
    });
    unread.collect()
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let syntaxes: Vec<&str> = self.transfer_syntaxes.iter().map(String::as_str).collect();
        write!(
            f,
            "{} is offered only in {}, which is not read; let the sender offer uncompressed or JPEG lossless",
            self.abstract_syntax,
            if syntaxes.is_empty() {
                "no transfer syntax".to_owned()
            } else {
                syntaxes.join(", ")
            }
        )
    }
}

struct Judged {
    result: PresentationContextResult,
    context: Option<Context>,
}

/// Takes the first transfer syntax that can be decoded: senders put first what they have.
fn judge(proposed: &PresentationContextProposed) -> Judged {
    use PresentationContextResultReason::{AbstractSyntaxNotSupported, Acceptance, TransferSyntaxesNotSupported};
    let abstract_syntax = uid::trimmed(&proposed.abstract_syntax);
    let known = sop_classes::transfer_syntaxes(abstract_syntax);
    let mut offered = proposed.transfer_syntaxes.iter().map(|syntax| uid::trimmed(syntax));
    let chosen = known
        .as_ref()
        .and_then(|known| offered.find_map(|offered| known.iter().find(|&&syntax| syntax == offered)));
    let reason = match (&known, chosen) {
        (None, _) => AbstractSyntaxNotSupported,
        (Some(_), None) => TransferSyntaxesNotSupported,
        (Some(_), Some(_)) => Acceptance,
    };
    Judged {
        result: PresentationContextResult {
            id: proposed.id,
            reason,
            // Of a refused context nobody looks at it, but it must be there.
            transfer_syntax: chosen.copied().unwrap_or(uids::IMPLICIT_VR_LITTLE_ENDIAN).to_owned(),
        },
        context: chosen.map(|transfer_syntax| Context {
            id: proposed.id,
            abstract_syntax: abstract_syntax.to_owned(),
            transfer_syntax,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> DicomConfig {
        toml::from_str("address = \"127.0.0.1:104\"\ncalling = [\"CR1\", \"CT1\"]").unwrap()
    }

    fn proposed(id: u8, abstract_syntax: &str, transfer_syntaxes: &[&str]) -> PresentationContextProposed {
        PresentationContextProposed {
            id,
            abstract_syntax: abstract_syntax.to_owned(),
            transfer_syntaxes: transfer_syntaxes.iter().map(|uid| (*uid).to_owned()).collect(),
        }
    }

    fn request() -> AssociationRQ {
        AssociationRQ {
            protocol_version: 1,
            calling_ae_title: "CT1".to_owned(),
            called_ae_title: "SCANSIDE".to_owned(),
            application_context_name: "1.2.840.10008.3.1.1.1\0".to_owned(),
            presentation_contexts: vec![proposed(1, uids::CT_IMAGE_STORAGE, &[uids::JPEG2000])],
            user_variables: vec![UserVariableItem::MaxLength(16384)],
        }
    }

    fn refused(change: impl FnOnce(&mut AssociationRQ)) -> Refused {
        let mut request = request();
        change(&mut request);
        negotiate(request, &config()).unwrap_err()
    }

    /// Result, source, reason as they stand in the PDU.
    fn codes(refused: &Refused) -> [u8; 3] {
        let Answer::Reject(rejection) = refused.answer() else {
            panic!("{refused}")
        };
        let mut bytes = Vec::new();
        dicom_ul::pdu::write_pdu(&mut bytes, &rejection.into()).unwrap();
        [bytes[7], bytes[8], bytes[9]]
    }

    #[test]
    fn each_rejection_has_the_standards_codes() {
        assert_eq!(codes(&refused(|r| r.protocol_version = 2)), [1, 2, 2]);
        assert_eq!(
            codes(&refused(|r| r.application_context_name = "1.2".to_owned())),
            [1, 1, 2]
        );
        assert_eq!(codes(&refused(|r| r.calling_ae_title = "CT2".to_owned())), [1, 1, 3]);
        assert_eq!(
            codes(&refused(|r| r.called_ae_title = "scanside".to_owned())),
            [1, 1, 7]
        );
        assert_eq!(codes(&Refused::Full(8)), [2, 3, 2]);
        let message = refused(|r| r.calling_ae_title = "EVIL\u{1b}[2J".to_owned()).to_string();
        assert!(
            message.contains("EVIL?[2J") && message.contains("appliance.dicom.calling"),
            "{message}"
        );
    }

    #[test]
    fn a_malformed_request_is_aborted() {
        let contexts = |ids: &[u8]| ids.iter().map(|&id| proposed(id, "1.2", &["1.2"])).collect();
        for ids in [&[][..], &[2], &[1, 1]] {
            let refused = refused(|r| r.presentation_contexts = contexts(ids));
            assert!(matches!(refused.answer(), Answer::Abort(_)), "{refused}");
        }
        let tiny = refused(|r| r.user_variables = vec![UserVariableItem::MaxLength(100)]);
        assert!(matches!(tiny, Refused::Malformed(_)));
        let mut unlimited = request();
        unlimited.user_variables = vec![UserVariableItem::MaxLength(0)];
        assert!(negotiate(unlimited, &config()).is_ok());
    }

    #[test]
    fn a_class_that_cannot_be_sent_is_told_with_what_was_offered() {
        let mut request = request();
        request.presentation_contexts = vec![
            proposed(1, uids::CT_IMAGE_STORAGE, &[uids::MPEG2MPML, "1.2\nevil"]),
            proposed(3, uids::CT_IMAGE_STORAGE, &[uids::HTJ2K]),
            proposed(5, uids::MR_IMAGE_STORAGE, &[uids::HTJ2K]),
        ];
        let agreement = negotiate(request, &config()).unwrap();
        let told: Vec<String> = agreement.unread.iter().map(ToString::to_string).collect();
        let [told] = told.as_slice() else { panic!("{told:?}") };
        let expected = [uids::CT_IMAGE_STORAGE, uids::MPEG2MPML, uids::HTJ2K, "JPEG lossless"];
        assert!(expected.iter().all(|part| told.contains(part)), "{told}");
        assert!(!told.contains("evil") && !told.contains('\n'), "{told}");
    }

    #[test]
    fn contexts_are_judged_one_by_one() {
        use PresentationContextResultReason::{AbstractSyntaxNotSupported, Acceptance, TransferSyntaxesNotSupported};
        let mut request = request();
        request.presentation_contexts = vec![
            proposed(1, uids::VERIFICATION, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]),
            proposed(
                3,
                uids::CT_IMAGE_STORAGE,
                &[uids::MPEG2MPML, "1.2.840.10008.1.2.4.70\0"],
            ),
            proposed(5, uids::CT_IMAGE_STORAGE, &[uids::HTJ2K]),
            proposed(7, uids::MR_IMAGE_STORAGE, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]),
            proposed(9, uids::VERIFICATION, &[uids::JPEG2000]),
            proposed(11, uids::CT_IMAGE_STORAGE, &[]),
        ];
        let agreement = negotiate(request, &config()).unwrap();
        let results: Vec<_> = agreement
            .answer
            .presentation_contexts
            .iter()
            .map(|c| (c.id, c.reason.clone()))
            .collect();
        let refused = TransferSyntaxesNotSupported;
        assert_eq!(
            results,
            [
                (1, Acceptance),
                (3, Acceptance),
                (5, refused.clone()),
                (7, AbstractSyntaxNotSupported),
                (9, refused.clone()),
                (11, refused)
            ]
        );
        let ids: Vec<_> = agreement.contexts.iter().map(|context| context.id).collect();
        assert_eq!(ids, [1, 3]);
        assert_eq!(agreement.unread, [], "each class has a context");
        assert_eq!(agreement.contexts[1].transfer_syntax, uids::JPEG_LOSSLESS_SV1);
    }
}
