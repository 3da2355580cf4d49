//! Which bundles may be stored: decided from the signed front alone, before a slot is touched.

use bundle::container::{Front, VerifiedFront};
use bundle::manifest::HardwareRequirement;
use bundle::mcuboot::{PROTECTED_BYTES, TRAILER_BYTES};
use bundle::{BundleError, Policy, TrustedKeys};
use hardware::slots::{
    Context, Examined, Gatekeeper, ImageFacts, MAX_FRONT_BYTES, MAX_TAIL_BYTES, Plan, Refusal, RefusalCode,
};

use crate::appliance::Appliance;

/// Bytes that are asked for next while the front is not whole: a front of 64 KiB comes in few questions.
const STEP_BYTES: usize = 1024;

/// The appliance's gatekeeper.
#[derive(Debug)]
pub struct BundleGate {
    keys: TrustedKeys,
    policy: Policy,
    appliance: Appliance,
}

impl BundleGate {
    /// Accepts what is signed by `keys`, keeps to `policy` and runs on `appliance`. The policy's security counter is a
    /// floor below the device's own.
    #[must_use]
    pub fn new(keys: TrustedKeys, policy: Policy, appliance: Appliance) -> Self {
        Self {
            keys,
            policy,
            appliance,
        }
    }

    fn judge(&self, context: &Context<'_>, front: Front) -> Result<Plan, Refusal> {
        let policy = Policy {
            lowest_security_counter: self.policy.lowest_security_counter.max(context.lowest_counter),
            ..self.policy.clone()
        };
        let front = front.verify(&self.keys, &policy).map_err(|e| refusal(&e))?;
        check_role(&front, context.role)?;
        self.check_hardware(&front.manifest.hardware)?;
        if context.upgrade {
            check_newer(&front, context.active)?;
        }
        Ok(plan(&front))
    }

    fn check_hardware(&self, wanted: &HardwareRequirement) -> Result<(), Refusal> {
        self.appliance
            .check(wanted)
            .map_err(|e| Refusal::new(RefusalCode::Hardware, e.to_string()))
    }
}

impl Gatekeeper for BundleGate {
    fn examine(&self, context: &Context<'_>, beginning: &[u8]) -> Examined {
        match Front::read(beginning) {
            Ok(front) => match self.judge(context, front) {
                Ok(plan) => Examined::Accepted(plan),
                Err(refusal) => Examined::Refused(refusal),
            },
            // What is here makes sense so far, and there is more of it.
            Err(BundleError::Truncated { .. }) if (beginning.len() as u64) < context.total => Examined::NeedMore {
                at_least: wanted_next(beginning.len(), context.total),
            },
            Err(error) => Examined::Refused(refusal(&error)),
        }
    }

    fn longest(&self) -> u64 {
        let around = (MAX_FRONT_BYTES + MAX_TAIL_BYTES) as u64;
        self.policy.max_total_bytes.saturating_add(around)
    }
}

/// A step further, but not behind the end of the file.
fn wanted_next(seen: usize, total: u64) -> usize {
    let step = seen.saturating_add(STEP_BYTES);
    usize::try_from(total).map_or(step, |total| step.min(total))
}

fn check_role(front: &VerifiedFront, wanted: &str) -> Result<(), Refusal> {
    let found = &front.manifest.role;
    if found == wanted {
        return Ok(());
    }
    let message =
        format!("the bundle is for the role {found}, these slots are for {wanted}; choose the other image number");
    Err(Refusal::new(RefusalCode::Role, message))
}

fn check_newer(front: &VerifiedFront, active: Option<&ImageFacts>) -> Result<(), Refusal> {
    let version = front.manifest.version;
    let running = active.and_then(|facts| facts.version.parse().ok());
    match running {
        Some(running) if version <= running => {
            let message = format!("version {version} is not newer than the active {running}");
            Err(Refusal::new(RefusalCode::NotNewer, message))
        }
        _ => Ok(()),
    }
}

fn plan(front: &VerifiedFront) -> Plan {
    let total = front.file_bytes();
    Plan {
        front_bytes: front.payload_offset,
        block_bytes: front.blocks.block_bytes(),
        checksums: front.blocks.checksums().to_vec(),
        blocks_end: front.payload_offset + front.blocks.payload_bytes(),
        // MCUboot's digest covers everything but the area that it stands in.
        hashed_bytes: total - (TRAILER_BYTES - PROTECTED_BYTES) as u64,
        total,
        facts: ImageFacts {
            name: front.manifest.name.clone(),
            version: front.manifest.version.to_string(),
            security_counter: front.manifest.security_counter,
        },
    }
}

/// The class of a bundle's fault, with its message.
#[must_use]
pub fn refusal(error: &BundleError) -> Refusal {
    let code = match error {
        BundleError::Signature(_) | BundleError::Unsigned => RefusalCode::Signature,
        BundleError::SecurityCounter { .. } => RefusalCode::SecurityCounter,
        BundleError::TooLarge { .. } | BundleError::HeaderLength { .. } | BundleError::SignatureLength { .. } => {
            RefusalCode::TooLarge
        }
        BundleError::Block(_)
        | BundleError::FileDigest { .. }
        | BundleError::FileLength { .. }
        | BundleError::Decompress { .. }
        | BundleError::ImageDigest { .. } => RefusalCode::Digest,
        BundleError::Read { .. } | BundleError::Write(_) => RefusalCode::Device,
        _ => RefusalCode::Format,
    };
    Refusal::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use bundle::sign::{self, NewKeys};
    use bundle::{Manifest, example};

    use super::*;

    fn packed(keys: &NewKeys, change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
        let mut manifest = example::manifest();
        change(&mut manifest);
        let secret = sign::parse_secret(&keys.secret_file).unwrap();
        let mut file = Vec::new();
        bundle::container::write(&manifest, &example::files(), &secret, &mut file).unwrap();
        file
    }

    fn gate(keys: &NewKeys) -> BundleGate {
        let trusted = TrustedKeys::new(vec![keys.public.clone()]);
        BundleGate::new(trusted, Policy::default(), Appliance::here(&[]))
    }

    /// Asks as the slots do, with more bytes each time.
    fn ask(gate: &BundleGate, file: &[u8], change: impl FnOnce(&mut Context<'_>)) -> (usize, Examined) {
        let role = example::manifest().role;
        let mut context = Context {
            image: 0,
            role: &role,
            total: file.len() as u64,
            lowest_counter: 0,
            upgrade: false,
            active: None,
        };
        change(&mut context);
        let mut seen = 1;
        loop {
            match gate.examine(&context, &file[..seen]) {
                Examined::NeedMore { at_least } => {
                    assert!(at_least > seen && at_least <= file.len(), "{at_least} behind {seen}");
                    seen = at_least;
                }
                judged => return (seen, judged),
            }
        }
    }

    fn refused(judged: Examined) -> Refusal {
        match judged {
            Examined::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_front_gives_the_plan_of_the_file() {
        let keys = sign::generate(None).unwrap();
        let file = packed(&keys, |_| ());
        let (seen, judged) = ask(&gate(&keys), &file, |_| ());
        let Examined::Accepted(plan) = judged else {
            panic!("{judged:?}")
        };
        assert!(seen as u64 >= plan.front_bytes && (seen as u64) < plan.front_bytes + STEP_BYTES as u64 + 1);
        assert_eq!(plan.total, file.len() as u64);
        assert_eq!(plan.facts.version, example::manifest().version.to_string());
        let blocks = &file[plan.front_bytes as usize..plan.blocks_end as usize];
        let checksums: Vec<u32> = blocks.chunks(plan.block_bytes).map(bundle::blocks::crc32c).collect();
        assert_eq!(checksums, plan.checksums);
        let checked = bundle::container::verify(
            file.as_slice(),
            &TrustedKeys::new(vec![keys.public]),
            &Policy::default(),
        );
        use sha2::{Digest, Sha256};
        let hash: [u8; 32] = Sha256::digest(&file[..plan.hashed_bytes as usize]).into();
        assert_eq!(hash, checked.unwrap().image_digest);
    }

    #[test]
    fn each_reason_has_its_class() {
        let keys = sign::generate(None).unwrap();
        let file = packed(&keys, |m| m.security_counter = 4);
        let trusting = gate(&keys);
        let code = |judged| refused(judged).code;
        let strangers = gate(&sign::generate(None).unwrap());
        assert_eq!(code(ask(&strangers, &file, |_| ()).1), RefusalCode::Signature);
        assert_eq!(
            code(ask(&trusting, &file, |c| c.role = "chest-ct").1),
            RefusalCode::Role
        );
        assert_eq!(
            code(ask(&trusting, &file, |c| c.lowest_counter = 5).1),
            RefusalCode::SecurityCounter
        );
        assert_eq!(
            code(ask(&trusting, b"no bundle at all, but a text", |_| ()).1),
            RefusalCode::Format
        );
        let other = packed(&keys, |m| m.hardware.architectures = vec!["sparc".to_owned()]);
        assert_eq!(code(ask(&trusting, &other, |_| ()).1), RefusalCode::Hardware);
        let same = ImageFacts {
            version: example::manifest().version.to_string(),
            ..ImageFacts::default()
        };
        let upgrade = |c: &mut Context<'_>| {
            c.upgrade = true;
        };
        assert!(matches!(ask(&trusting, &file, upgrade).1, Examined::Accepted(_)));
        let context = Context {
            image: 0,
            role: &example::manifest().role,
            total: file.len() as u64,
            lowest_counter: 0,
            upgrade: true,
            active: Some(&same),
        };
        assert_eq!(code(trusting.examine(&context, &file)), RefusalCode::NotNewer);
    }

    #[test]
    fn no_flipped_bit_of_the_front_is_accepted() {
        let keys = sign::generate(None).unwrap();
        let file = packed(&keys, |_| ());
        let gate = gate(&keys);
        let Examined::Accepted(plan) = ask(&gate, &file, |_| ()).1 else {
            panic!("the file itself is good")
        };
        for byte in 0..plan.front_bytes as usize {
            let mut damaged = file.clone();
            damaged[byte] ^= 1 << (byte % 8);
            let judged = gate_once(&gate, &damaged);
            assert!(!matches!(judged, Examined::Accepted(_)), "byte {byte}");
        }
    }

    fn gate_once(gate: &BundleGate, file: &[u8]) -> Examined {
        let role = example::manifest().role;
        let context = Context {
            image: 0,
            role: &role,
            total: file.len() as u64,
            lowest_counter: 0,
            upgrade: false,
            active: None,
        };
        gate.examine(&context, file)
    }
}
