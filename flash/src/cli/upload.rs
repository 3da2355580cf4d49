//! `upload` and `preflight`.

use std::path::{Path, PathBuf};

use bundle::cli::TrustArgs;
use bundle::container::hexadecimal;
use clap::Args;
use hardware::smp::Framing;
use indicatif::HumanDuration;
use mcumgr_toolkit::commands::image::ImageState;
use serde_json::json;

use super::Context;
use super::slots::{RestartArgs, put_to_use};
use super::status::{object, words};
use crate::artifact::Artifact;
use crate::bases::{Kept, Places};
use crate::difference::{self, Choice, Difference, Whole};
use crate::exit::Failure;
use crate::follow::{self, Received, Subject};
use crate::parcel::Parcel;
use crate::refusal;
use crate::scanside;
use crate::session::Session;
use crate::upload::{self, NotSent, Sent};

/// Bytes of a preflight's request beside the piece of the bundle.
const PREFLIGHT_OVERHEAD: usize = 80;
/// The longest piece of a preflight, in bytes. A request that fills the device's buffer does not get through often
/// enough where one byte in 10,000 is wrong.
const PREFLIGHT_BYTES: usize = 1024;
/// How often a device may ask for a piece of a preflight again: a header of 64 KiB has 64 of them, and on a line on which one
/// byte in 10,000 is wrong every tenth is damaged.
const PREFLIGHT_AGAIN: u32 = 100;

/// The bundle and where it goes.
#[derive(Debug, Args)]
struct BundleArgs {
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Number of the image whose slot it goes to [default: that of the bundle's role]
    #[arg(long, value_name = "N")]
    image: Option<u32>,
    #[command(flatten)]
    trust: TrustArgs,
}

/// Arguments of `preflight`.
#[derive(Debug, Args)]
pub struct PreflightArgs {
    #[command(flatten)]
    bundle: BundleArgs,
}

/// Arguments of `upload`.
#[derive(Debug, Args)]
pub struct UploadArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Send the whole bundle, also where a difference to one on the device would do
    #[arg(long, conflicts_with_all = ["base", "bases"])]
    full: bool,
    /// The file of the bundle that serves on the device, to send the difference to it
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// A folder of bundles that may hold it; looked at before the folder of BUNDLE and copies of what was sent before
    #[arg(long, value_name = "FOLDER")]
    bases: Option<PathBuf>,
    /// Neither keep a copy of what was sent for later differences, nor look for one among such copies
    #[arg(long)]
    no_cache: bool,
    /// Then put it on trial: the device restarts, tests itself, and returns to the model before unless you confirm
    #[arg(long, conflicts_with = "confirm")]
    test: bool,
    /// Then use it for good: as --test, and confirmed once its self-test has passed
    #[arg(long)]
    confirm: bool,
    #[command(flatten)]
    restart: RestartArgs,
}

impl UploadArgs {
    /// Where copies of what was sent are kept, if they are.
    fn kept(&self) -> Option<Kept> {
        if self.no_cache { None } else { Kept::of_user() }
    }

    /// Where the bundle that serves on the device is looked for.
    fn places(&self) -> Places {
        let beside = self.bundle.bundle.parent().unwrap_or(Path::new(""));
        let beside = if beside.as_os_str().is_empty() {
            Path::new(".")
        } else {
            beside
        };
        let mut folders: Vec<PathBuf> = self.bases.iter().cloned().collect();
        folders.push(beside.to_owned());
        folders.extend(self.kept().map(|kept| kept.folder().to_owned()));
        Places {
            file: self.base.clone(),
            folders,
        }
    }
}

/// A bundle, and its place on the device.
struct Delivery {
    session: Session,
    artifact: Artifact,
    subject: Subject,
}

impl Delivery {
    fn new(context: &Context<'_>, args: &BundleArgs) -> Result<Self, Failure> {
        // What is wrong with the file is told before a port is opened.
        let artifact = Artifact::open(&args.bundle, &args.trust)?;
        let session = context.session()?;
        let image = match args.image {
            Some(image) => image,
            None => session.image_of(&artifact.manifest.role)?,
        };
        let hash = artifact.hash;
        Ok(Self {
            session,
            artifact,
            subject: Subject { image, hash },
        })
    }

    /// What the device has of it, before anything is sent. An image that is neither bootable nor being read back is
    /// damaged: it is as good as absent.
    fn on_device(&self) -> Result<Option<ImageState>, Failure> {
        // In this order: the reading back may end in between.
        let status = self.session.status()?;
        let states = self.session.states()?;
        let reads = status.is_none_or(|status| status.activity(self.subject.image, "verifying").is_some());
        let state = self.subject.find(&states);
        Ok(state.filter(|state| state.bootable || reads).cloned())
    }

    /// Asks whether the device would take it; gives false if the device does not know the question.
    fn preflight(&mut self) -> Result<bool, Failure> {
        if self.session.identity.is_none() {
            return Ok(false);
        }
        self.session.reporter.stage("preflight", "would the device take it?");
        let room = self
            .session
            .buffer_bytes
            .saturating_sub(PREFLIGHT_OVERHEAD)
            .clamp(128, PREFLIGHT_BYTES);
        let mut offset = 0;
        let (mut again, mut refused) = (0, 0);
        loop {
            let rest = usize::try_from(self.artifact.bytes.saturating_sub(offset)).unwrap_or(room);
            let mut data = vec![0; room.min(rest)];
            self.artifact.read(offset, &mut data)?;
            let total = self.artifact.bytes;
            let question = scanside::preflight(self.subject.image, offset, total, &data);
            let verdict = self
                .session
                .insist("cannot ask whether the device would take the bundle", |client| {
                    client.raw_command(&question)
                })?;
            match (verdict.verdict.as_str(), verdict.off) {
                ("accepted", _) => return Ok(true),
                ("more", Some(next)) if next > offset && next < total => offset = next,
                // The piece was damaged, or the device has another beginning of it.
                ("more", next) if again < PREFLIGHT_AGAIN => {
                    again += 1;
                    offset = next.filter(|next| *next < total).unwrap_or(offset);
                }
                // A device that does not know the checksum judges a damaged piece as it arrived.
                ("refused", _) if self.doubtful() && refused < 2 => {
                    refused += 1;
                    offset = 0;
                }
                ("refused", _) => return Err(refusal::of_verdict(&verdict.code, &verdict.reason)),
                // A word that noise made of another one.
                _ if self.doubtful() && again < PREFLIGHT_AGAIN => again += 1,
                (other, _) => {
                    let message = format!("the device's verdict is not understood: {other}");
                    return Err(Failure::device(
                        message,
                        "update scanside-flash or the device's software",
                    ));
                }
            }
        }
    }

    /// Whether noise may have made the verdict.
    fn doubtful(&self) -> bool {
        self.session.line.lock().framing() == Framing::Raw
    }
}

pub fn preflight(context: &Context<'_>, args: &PreflightArgs) -> Result<(), Failure> {
    let mut delivery = Delivery::new(context, &args.bundle)?;
    if delivery.session.identity.is_none() {
        let message = "this device does not know the question: it knows SMP, but not Scanside's commands";
        return Err(Failure::device(
            message,
            "upload the bundle; the device refuses what it does not take",
        ));
    }
    delivery.preflight()?;
    let text = format!("the device would take {}", delivery.artifact.title());
    context.done("accepted", described(&delivery), &text)
}

pub fn run(context: &Context<'_>, args: &UploadArgs) -> Result<(), Failure> {
    if !args.test && !args.confirm && args.restart.asked() {
        let message = "--wait and --no-reset belong to --test or --confirm: a plain upload restarts nothing";
        return Err(Failure::usage(message, "add --test or --confirm"));
    }
    let mut delivery = Delivery::new(context, &args.bundle)?;
    match delivery.on_device()? {
        Some(state) => {
            let text = format!("nothing to send, the device has it: it {}", words(&state));
            context.done(
                "present",
                json!({ "hash": hexadecimal(&delivery.artifact.hash), "state": object(&state) }),
                &text,
            )?;
        }
        None => send(context, &mut delivery, args)?,
    }
    follow::until_bootable(&delivery.session, delivery.subject)?;
    keep(args, &mut delivery);
    if args.test || args.confirm {
        return put_to_use(context, &delivery.session, delivery.subject, args.confirm, args.restart);
    }
    let digits = delivery.artifact.short_hash();
    let text =
        format!("stored and checked as {digits}; try it with `scanside-flash test`, the running model is untouched");
    context.done("stored", described(&delivery), &text)
}

/// Sends the bundle, as a difference where that takes fewer bytes, and waits until the device has it whole.
fn send(context: &Context<'_>, delivery: &mut Delivery, args: &UploadArgs) -> Result<(), Failure> {
    let accepted = delivery.preflight()?;
    let choice = match args.full {
        true => Choice::Whole(Whole::Asked),
        false => difference::choose(
            &delivery.session,
            &mut delivery.artifact,
            delivery.subject,
            &args.places(),
        )?,
    };
    delivery.session.reporter.choice(&choice);
    if let Choice::Difference { difference, .. } = &choice {
        match send_difference(context, delivery, difference)? {
            Received::Bootable => return Ok(()),
            Received::NotKept(failure) => {
                let choice = Choice::Whole(Whole::Failed(failure.message));
                delivery.session.reporter.choice(&choice);
            }
        }
    }
    let parcel = Parcel::Whole(&mut delivery.artifact);
    let sent = upload::upload(&delivery.session, parcel, delivery.subject.image, accepted)?;
    tell_sent(context, delivery, &sent, None)?;
    follow::until_bootable(&delivery.session, delivery.subject)
}

/// Sends a difference. That the device makes nothing of it is no failure: the whole bundle is left.
fn send_difference(context: &Context<'_>, delivery: &Delivery, difference: &Difference) -> Result<Received, Failure> {
    let parcel = Parcel::Difference(difference);
    let sent = match upload::upload(&delivery.session, parcel, delivery.subject.image, false) {
        Ok(sent) => sent,
        Err(NotSent::NotTaken(failure)) => return Ok(Received::NotKept(failure)),
        Err(NotSent::Failed(failure)) => return Err(failure),
    };
    tell_sent(context, delivery, &sent, Some(difference))?;
    follow::until_received(&delivery.session, delivery.subject)
}

fn tell_sent(
    context: &Context<'_>,
    delivery: &Delivery,
    sent: &Sent,
    difference: Option<&Difference>,
) -> Result<(), Failure> {
    let mut value = described(delivery);
    let kind = if difference.is_some() { "delta" } else { "whole" };
    let bytes = difference.map_or(delivery.artifact.bytes, |difference| difference.bytes.len() as u64);
    let more = [
        ("as", json!(kind)),
        ("sent_bytes", json!(bytes)),
        ("resumed_at", json!(sent.resumed_at)),
        ("line_bytes", json!(sent.line_bytes)),
        ("faults", json!(sent.faults)),
        ("seconds", json!(sent.time.as_secs_f64())),
        ("framing", json!(framing(sent.framing))),
    ];
    if let Some(fields) = value.as_object_mut() {
        fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
    }
    context.done("sent", value, &told(bytes, sent))
}

/// Keeps a copy, so that the next bundle can go as a difference to this one.
fn keep(args: &UploadArgs, delivery: &mut Delivery) {
    let kept = args.kept().map(|kept| kept.keep(&mut delivery.artifact));
    if let Some(Err(failure)) = kept {
        let text = format!("no copy is kept for later differences: {}", failure.message);
        delivery.session.reporter.remark(&text);
    }
}

fn framing(framing: Framing) -> &'static str {
    match framing {
        Framing::Raw => "raw",
        Framing::Console => "console",
    }
}

fn told(bytes: u64, sent: &Sent) -> String {
    let resumed = match sent.resumed_at {
        0 => String::new(),
        at => format!(", going on from byte {at}"),
    };
    let faults = match sent.faults {
        0 => String::new(),
        faults => format!(", {faults} messages lost or damaged on the way"),
    };
    let time = HumanDuration(sent.time);
    format!(
        "sent {bytes} bytes in {time} ({} framing){resumed}{faults}",
        framing(sent.framing)
    )
}

fn described(delivery: &Delivery) -> serde_json::Value {
    let artifact = &delivery.artifact;
    json!({
        "bundle": artifact.path(),
        "name": artifact.manifest.name,
        "version": artifact.version(),
        "role": artifact.manifest.role,
        "security_counter": artifact.manifest.security_counter,
        "signature_checked_here": artifact.verified_by.is_some(),
        "image": delivery.subject.image,
        "hash": hexadecimal(&artifact.hash),
        "bytes": artifact.bytes,
    })
}
