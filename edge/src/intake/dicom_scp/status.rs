//! Status codes of answers (PS3.7 Annex C, PS3.4 Table B.2-1).

/// What a sender is told of one of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    /// The object is safe, or the echo is heard.
    Success = 0x0000,
    /// The appliance failed: another try may help.
    ProcessingFailure = 0x0110,
    /// The SOP Instance UID is none.
    InvalidSopInstance = 0x0117,
    /// The SOP class is not the presentation context's, or none that this service has.
    SopClassNotSupported = 0x0122,
    /// The operation is none of C-ECHO, C-STORE, C-CANCEL.
    UnrecognizedOperation = 0x0211,
    /// Disk or queue is full: another try later will help.
    OutOfResources = 0xA700,
    /// The object is larger than this appliance accepts.
    ObjectTooLarge = 0xA701,
    /// The data set has another SOP class than the command.
    ClassMismatch = 0xA900,
    /// The data set is missing, cannot be read, or does not say what it is.
    CannotUnderstand = 0xC000,
    /// The data set has another SOP Instance UID than the command.
    InstanceMismatch = 0xC001,
}

impl Status {
    /// The value of Status (0000,0900).
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conformance_statement_names_every_code() {
        let statement = include_str!("../../../../docs/dicom-conformance.md");
        for status in [
            Status::Success,
            Status::ProcessingFailure,
            Status::InvalidSopInstance,
            Status::SopClassNotSupported,
            Status::UnrecognizedOperation,
            Status::OutOfResources,
            Status::ObjectTooLarge,
            Status::ClassMismatch,
            Status::CannotUnderstand,
            Status::InstanceMismatch,
        ] {
            let code = format!("| {:04X} |", status.code());
            assert!(statement.contains(&code), "{status:?} {code}");
        }
    }
}
