//! Why a request was refused: one code, which SMP's two ways of writing errors are derived from, and words.

use super::message::group;

/// The longest message that an answer carries, in bytes of UTF-8.
pub const MESSAGE_BYTES: usize = 256;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal.
    pub code: Code,
    /// For people: what was refused, and why. May be empty.
    pub message: String,
}

impl Refusal {
    /// A refusal with words.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The message, cut to [`MESSAGE_BYTES`] between two letters.
    #[must_use]
    pub fn short_message(&self) -> &str {
        let mut end = self.message.len().min(MESSAGE_BYTES);
        while !self.message.is_char_boundary(end) {
            end -= 1;
        }
        &self.message[..end]
    }
}

/// Kinds of refusals. The first twelve are SMP's own; then those of the groups; then those of bundles, which
/// [`Code::name`] also gives to the user group's preflight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// Something failed on the device.
    Unknown,
    /// No memory or no room on the storage.
    NoSpace,
    /// A field is missing or has an impossible value.
    Invalid,
    /// It took too long.
    Timeout,
    /// There is no such thing.
    NotFound,
    /// Not now: the device's state does not allow it.
    BadState,
    /// The answer would be too long.
    TooLong,
    /// The group or the command does not exist here.
    NotSupported,
    /// Damaged data.
    Corrupt,
    /// Another command is at work.
    Busy,
    /// Not allowed.
    Denied,
    /// A later version of SMP than this server's.
    VersionTooNew,

    /// OS: a letter of the information's format that does not exist.
    InvalidFormat,
    /// OS: the clock was never set.
    ClockNotSet,
    /// OS: the clock refuses the time.
    ClockRefused,

    /// Image: there is no image in the slot.
    NoImage,
    /// Image: no such slot.
    InvalidSlot,
    /// Image: `off` is missing.
    NoOffset,
    /// Image: `len` is missing.
    NoLength,
    /// Image: too short for an image header.
    ShortImage,
    /// Image: not an image.
    NotAnImage,
    /// Image: `hash` has the wrong length or names no image.
    InvalidHash,
    /// Image: with `upgrade`, the version must be higher than the running one.
    NotNewer,
    /// Image: another one is already pending.
    AlreadyPending,
    /// Image: does not fit into a slot.
    ImageTooLarge,
    /// Image: more data than `len` announced.
    DataOverrun,
    /// Image: it may not be confirmed.
    ConfirmationDenied,
    /// Image: the active one cannot be tested.
    TestOfActive,

    /// Files: no such name can exist here.
    InvalidName,
    /// Files: no file of this name.
    FileNotFound,
    /// Files: it is a folder.
    IsFolder,
    /// Files: it cannot be read.
    FileUnreadable,
    /// Files: the offset lies behind the end.
    OffsetBehindEnd,
    /// Files: no such kind of checksum.
    NoSuchChecksum,
    /// Files: nothing can be written.
    ReadOnly,
    /// Files: it is empty.
    FileEmpty,

    /// Statistics: no such set of counters.
    NoSuchStatistics,

    /// Bundle: unsigned, or signed by a key that is not trusted.
    Signature,
    /// Bundle: not one, of another format version, or not as the format demands.
    Format,
    /// Bundle: of another role than the slots it was sent to.
    Role,
    /// Bundle: its security counter is below the device's.
    Downgrade,
    /// Bundle: the device is not what it demands.
    Hardware,
    /// Bundle: no room for it.
    Space,
    /// Delta: its base is not what the device has.
    WrongBase,
}

impl Code {
    /// SMP's general error (`mcumgr_err_t`).
    #[must_use]
    pub fn rc(self) -> u8 {
        match self {
            Self::Unknown | Self::FileUnreadable | Self::ClockRefused => 1,
            Self::NoSpace | Self::Space | Self::ImageTooLarge => 2,
            Self::Invalid
            | Self::InvalidFormat
            | Self::InvalidSlot
            | Self::NoOffset
            | Self::NoLength
            | Self::ShortImage
            | Self::NotAnImage
            | Self::InvalidHash
            | Self::DataOverrun
            | Self::InvalidName
            | Self::IsFolder
            | Self::OffsetBehindEnd
            | Self::NoSuchChecksum
            | Self::Role => 3,
            Self::Timeout => 4,
            Self::NotFound | Self::NoImage | Self::FileNotFound | Self::FileEmpty | Self::NoSuchStatistics => 5,
            Self::BadState
            | Self::ClockNotSet
            | Self::NotNewer
            | Self::AlreadyPending
            | Self::TestOfActive
            | Self::WrongBase => 6,
            Self::TooLong => 7,
            Self::NotSupported => 8,
            Self::Corrupt | Self::Format => 9,
            Self::Busy => 10,
            Self::Denied
            | Self::ConfirmationDenied
            | Self::ReadOnly
            | Self::Signature
            | Self::Downgrade
            | Self::Hardware => 11,
            Self::VersionTooNew => 13,
        }
    }

    /// The group's own error of SMP version 2, where it has one.
    #[must_use]
    pub fn of_group(self, number: u16) -> Option<u8> {
        match number {
            group::OS => self.of_os(),
            group::IMAGE => self.of_image(),
            group::STATISTICS => (self == Self::NoSuchStatistics).then_some(2),
            group::FILES => self.of_files(),
            _ => None,
        }
    }

    /// Zephyr's `os_mgmt_err_code_t`.
    fn of_os(self) -> Option<u8> {
        match self {
            Self::InvalidFormat => Some(2),
            Self::ClockNotSet => Some(4),
            Self::ClockRefused => Some(5),
            _ => None,
        }
    }

    /// Zephyr's `img_mgmt_err_code_t`.
    fn of_image(self) -> Option<u8> {
        match self {
            Self::NoImage => Some(3),
            Self::InvalidSlot => Some(14),
            Self::NoOffset => Some(20),
            Self::NoLength => Some(21),
            Self::ShortImage => Some(22),
            Self::NotAnImage => Some(23),
            Self::InvalidHash => Some(24),
            Self::NotNewer => Some(27),
            Self::AlreadyPending => Some(28),
            Self::ImageTooLarge => Some(30),
            Self::DataOverrun => Some(31),
            Self::ConfirmationDenied => Some(32),
            Self::TestOfActive => Some(33),
            _ => None,
        }
    }

    /// Zephyr's `fs_mgmt_err_code_t`.
    fn of_files(self) -> Option<u8> {
        match self {
            Self::InvalidName => Some(2),
            Self::FileNotFound => Some(3),
            Self::IsFolder => Some(4),
            Self::FileUnreadable => Some(7),
            Self::OffsetBehindEnd => Some(12),
            Self::NoSuchChecksum => Some(13),
            Self::ReadOnly => Some(15),
            Self::FileEmpty => Some(16),
            _ => None,
        }
    }

    /// A stable name for programs: "signature", "role".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NoSpace | Self::Space => "space",
            Self::Invalid => "invalid",
            Self::Timeout => "timeout",
            Self::NotFound => "not-found",
            Self::BadState => "bad-state",
            Self::TooLong => "too-long",
            Self::NotSupported => "not-supported",
            Self::Corrupt => "corrupt",
            Self::Busy => "busy",
            Self::Denied => "denied",
            Self::VersionTooNew => "version-too-new",
            Self::InvalidFormat => "invalid-format",
            Self::ClockNotSet => "clock-not-set",
            Self::ClockRefused => "clock-refused",
            Self::NoImage => "no-image",
            Self::InvalidSlot => "invalid-slot",
            Self::NoOffset => "no-offset",
            Self::NoLength => "no-length",
            Self::ShortImage => "short-image",
            Self::NotAnImage => "not-an-image",
            Self::InvalidHash => "invalid-hash",
            Self::NotNewer => "not-newer",
            Self::AlreadyPending => "already-pending",
            Self::ImageTooLarge => "image-too-large",
            Self::DataOverrun => "data-overrun",
            Self::ConfirmationDenied => "confirmation-denied",
            Self::TestOfActive => "test-of-active",
            Self::InvalidName => "invalid-name",
            Self::FileNotFound => "file-not-found",
            Self::IsFolder => "is-folder",
            Self::FileUnreadable => "file-unreadable",
            Self::OffsetBehindEnd => "offset-behind-end",
            Self::NoSuchChecksum => "no-such-checksum",
            Self::ReadOnly => "read-only",
            Self::FileEmpty => "file-empty",
            Self::NoSuchStatistics => "no-such-statistics",
            Self::Signature => "signature",
            Self::Format => "format",
            Self::Role => "role",
            Self::Downgrade => "downgrade",
            Self::Hardware => "hardware",
            Self::WrongBase => "wrong-base",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_letters() {
        let refusal = Refusal::new(Code::Unknown, "ä".repeat(200));
        assert_eq!(refusal.short_message(), "ä".repeat(128));
        let odd = Refusal::new(Code::Unknown, format!("a{}", "ä".repeat(200)));
        assert_eq!(odd.short_message().len(), 255);
    }
}
