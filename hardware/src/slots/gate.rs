//! Who decides whether an image is acceptable, and what is then known about its bytes.

use super::error::{Refusal, RefusalCode};
use super::record::ImageFacts;

/// Longest front in bytes: a header of 64 KiB, its signature, and what stands around them.
pub const MAX_FRONT_BYTES: usize = 68 * 1024;
/// Largest block in bytes.
pub const MAX_BLOCK_BYTES: usize = 64 * 1024;
/// Longest tail behind the blocks in bytes.
pub const MAX_TAIL_BYTES: usize = 4 * 1024;
/// Longest name or version of an image that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 200;

/// What the gatekeeper is told about an image besides its first bytes.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Number of the role.
    pub image: u32,
    /// Name of the role.
    pub role: &'a str,
    /// Length of the whole file in bytes, as the client says.
    pub total: u64,
    /// The lowest security counter that is acceptable.
    pub lowest_counter: u32,
    /// Only a newer version than the active one is wanted.
    pub upgrade: bool,
    /// The active image.
    pub active: Option<&'a ImageFacts>,
}

/// Decides from the beginning of a file whether an image is acceptable. Nothing is written before it is accepted.
pub trait Gatekeeper: Send + Sync {
    /// Looks at the first bytes of a file, more of them each time, starting with one.
    fn examine(&self, context: &Context<'_>, beginning: &[u8]) -> Examined;

    /// The longest file that it accepts, in bytes.
    fn longest(&self) -> u64;
}

/// What the gatekeeper says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examined {
    /// It cannot say yet.
    NeedMore {
        /// Number of bytes from the beginning that it wants to see next, at most [`MAX_FRONT_BYTES`].
        at_least: usize,
    },
    /// The front is whole, its signature is trusted, and the image may be stored.
    Accepted(Plan),
    /// It will not be stored.
    Refused(Refusal),
}

/// Where what lies in an accepted file.
///
/// ```text
/// 0 ... front_bytes ... blocks_end ... hashed_bytes ... total
/// | front | blocks        | tail                        |
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Length of the front, which the signature vouches for; 1 to [`MAX_FRONT_BYTES`].
    pub front_bytes: u64,
    /// Length of each block but the last; 1 to [`MAX_BLOCK_BYTES`].
    pub block_bytes: usize,
    /// CRC-32C of each block.
    pub checksums: Vec<u32>,
    /// Where the last block ends.
    pub blocks_end: u64,
    /// The image's hash is the SHA-256 of this many bytes from the beginning, `blocks_end` to `total`.
    pub hashed_bytes: u64,
    /// Length of the file; at most [`MAX_TAIL_BYTES`] lie behind the blocks.
    pub total: u64,
    /// What is shown of it.
    pub facts: ImageFacts,
}

impl Plan {
    /// Refuses a plan that contradicts itself, what was asked, or the limits.
    pub(super) fn check(&self, context: &Context<'_>, seen: usize) -> Result<(), Refusal> {
        let blocks = self.blocks_end.saturating_sub(self.front_bytes);
        let consistent = self.front_bytes >= 1
            && self.front_bytes <= seen.min(MAX_FRONT_BYTES) as u64
            && self.front_bytes <= self.blocks_end
            && self.blocks_end <= self.hashed_bytes
            && self.hashed_bytes <= self.total
            && self.total - self.blocks_end <= MAX_TAIL_BYTES as u64
            && (1..=MAX_BLOCK_BYTES).contains(&self.block_bytes)
            && self.checksums.len() as u64 == blocks.div_ceil(self.block_bytes as u64)
            && self.facts.name.len() <= MAX_TEXT_BYTES
            && self.facts.version.len() <= MAX_TEXT_BYTES;
        if !consistent {
            return Err(Refusal::new(
                RefusalCode::Format,
                "the lengths in the image's front contradict each other",
            ));
        }
        if self.total != context.total {
            let message = format!(
                "the image is {} bytes long, {} were announced",
                self.total, context.total
            );
            return Err(Refusal::new(RefusalCode::Format, message));
        }
        let (found, lowest) = (self.facts.security_counter, context.lowest_counter);
        if found < lowest {
            let message =
                format!("the security counter {found} is below {lowest}, the highest that was confirmed here");
            return Err(Refusal::new(RefusalCode::SecurityCounter, message));
        }
        Ok(())
    }

    /// Offset of a block; of the tail, if `block` is the number of blocks.
    pub(super) fn block_start(&self, block: usize) -> u64 {
        let start = (block as u64).saturating_mul(self.block_bytes as u64);
        self.front_bytes.saturating_add(start).min(self.blocks_end)
    }

    /// Length of a block in bytes.
    pub(super) fn block_length(&self, block: usize) -> usize {
        (self.block_start(block + 1) - self.block_start(block)) as usize
    }

    pub(super) fn tail_bytes(&self) -> usize {
        (self.total - self.blocks_end) as usize
    }
}

/// Asks the gatekeeper about a growing beginning, which `grow` lengthens to the wanted number of bytes; it gives false
/// if there are no more yet.
///
/// Gives the plan with the beginning whole, or `None` if more bytes must come first.
pub(super) fn examine<E: From<Refusal>>(
    gatekeeper: &dyn Gatekeeper,
    context: &Context<'_>,
    beginning: &mut Vec<u8>,
    mut wanted: usize,
    mut grow: impl FnMut(&mut Vec<u8>, usize) -> Result<bool, E>,
) -> Result<Asked, E> {
    loop {
        if !grow(beginning, wanted)? {
            return Ok(Asked::Wants(wanted));
        }
        match gatekeeper.examine(context, beginning) {
            Examined::Accepted(plan) => {
                plan.check(context, beginning.len())?;
                return Ok(Asked::Accepted(plan));
            }
            Examined::Refused(refusal) => return Err(refusal.into()),
            Examined::NeedMore { at_least } => wanted = more(beginning.len(), at_least, context.total)?,
        }
    }
}

pub(super) enum Asked {
    /// That many bytes from the beginning are wanted.
    Wants(usize),
    Accepted(Plan),
}

fn more(seen: usize, at_least: usize, total: u64) -> Result<usize, Refusal> {
    if at_least as u64 > total {
        let message = format!("the file ends within its front: {at_least} bytes are needed and {total} were announced");
        return Err(Refusal::new(RefusalCode::Format, message));
    }
    if at_least > MAX_FRONT_BYTES {
        let message = format!("the front is longer than {MAX_FRONT_BYTES} bytes");
        return Err(Refusal::new(RefusalCode::TooLarge, message));
    }
    if at_least <= seen {
        return Err(Refusal::new(RefusalCode::Format, "the image's front makes no sense"));
    }
    Ok(at_least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: Context<'_> = Context {
        image: 0,
        role: "chest",
        total: 1000,
        lowest_counter: 3,
        upgrade: false,
        active: None,
    };

    fn plan() -> Plan {
        Plan {
            front_bytes: 100,
            block_bytes: 256,
            checksums: vec![0; 4],
            blocks_end: 948,
            hashed_bytes: 960,
            total: 1000,
            facts: ImageFacts {
                security_counter: 3,
                ..ImageFacts::default()
            },
        }
    }

    #[test]
    fn blocks_lie_between_front_and_tail() {
        let plan = plan();
        assert_eq!(plan.check(&CONTEXT, 100), Ok(()));
        assert_eq!([0, 1, 3, 4, 5].map(|n| plan.block_start(n)), [100, 356, 868, 948, 948]);
        assert_eq!([0, 2, 3, 4].map(|n| plan.block_length(n)), [256, 256, 80, 0]);
        assert_eq!(plan.tail_bytes(), 52);
    }

    #[test]
    fn a_plan_that_contradicts_itself_is_refused() {
        let changes: &[fn(&mut Plan)] = &[
            |p| p.front_bytes = 0,
            |p| p.front_bytes = 101,
            |p| p.block_bytes = 0,
            |p| p.block_bytes = MAX_BLOCK_BYTES + 1,
            |p| p.checksums.truncate(3),
            |p| p.checksums.push(0),
            |p| p.blocks_end = 99,
            |p| p.blocks_end = u64::MAX,
            |p| p.hashed_bytes = 947,
            |p| p.hashed_bytes = 1001,
            |p| p.total = 1001,
            |p| p.total = u64::MAX,
            |p| p.facts.security_counter = 2,
            |p| p.facts.name = "x".repeat(201),
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut plan = plan();
            change(&mut plan);
            assert!(plan.check(&CONTEXT, 100).is_err(), "change {n}");
        }
    }

    #[test]
    fn a_gatekeeper_cannot_ask_for_ever_or_for_too_much() {
        assert_eq!(more(1, 48, 1000), Ok(48));
        assert_eq!(more(48, 48, 1000).unwrap_err().code, RefusalCode::Format);
        assert_eq!(more(48, 1001, 1000).unwrap_err().code, RefusalCode::Format);
        assert_eq!(
            more(48, MAX_FRONT_BYTES + 1, 1 << 30).unwrap_err().code,
            RefusalCode::TooLarge
        );
    }
}
