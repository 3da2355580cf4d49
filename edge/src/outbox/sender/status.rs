//! What an archive's status means for an object.

use super::Delivery;
use super::message::Answer;

/// What a status of C-STORE means (PS3.4 B.2.3, PS3.7 C).
#[must_use]
pub fn judge(answer: &Answer) -> Delivery {
    let said = words(answer.status);
    match answer.status {
        0x0000 => Delivery::Sent { remark: None },
        // An answer was lost, and the object is there already.
        0x0111 => Delivery::Sent { remark: Some(said) },
        0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => Delivery::Sent { remark: Some(said) },
        0x0110 | 0xA700..=0xA7FF => Delivery::Later { reason: said },
        _ => Delivery::Refused { reason: said },
    }
}

/// A status as people read it. What an archive comments on it is its own words, in which patients may be named: it stands in
/// the archive's log, and in none of ours.
#[must_use]
pub fn words(status: u16) -> String {
    let meaning = match status {
        0x0000 => "success",
        0x0110 => "processing failure",
        0x0111 => "it has the object already",
        0x0117 => "invalid SOP instance",
        0x0122 => "storage class not supported",
        0x0124 => "not authorised",
        0xA700..=0xA7FF => "out of resources",
        0xA900..=0xA9FF => "the data set does not match its storage class",
        0xB000 => "stored, with elements coerced",
        0xB006 => "stored, with elements discarded",
        0xB007 => "stored, though the data set does not match its storage class",
        0xB001..=0xBFFF => "stored, with a warning",
        0xC000..=0xCFFF => "it cannot understand the object",
        _ => "refused",
    };
    format!("status {status:04X}, {meaning}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_sent_refused_or_for_later() {
        let judged = |status| judge(&Answer { message: 1, status });
        assert_eq!(judged(0), Delivery::Sent { remark: None });
        for status in [0xB000, 0xB006, 0xB007, 0xB123, 0x0111, 0x0107] {
            let Delivery::Sent { remark: Some(remark) } = judged(status) else {
                panic!("{status:04X}")
            };
            assert!(remark.contains(&format!("{status:04X}, ")), "{remark}");
        }
        for status in [0xA700, 0xA701, 0x0110] {
            assert!(matches!(judged(status), Delivery::Later { .. }), "{status:04X}");
        }
        for status in [0xA900, 0xC000, 0x0122, 0x0124, 0xFE00, 0x1234] {
            assert!(matches!(judged(status), Delivery::Refused { .. }), "{status:04X}");
        }
    }
}
