//! The command line: one file for each kind of verb.

mod doctor;
mod files;
mod inspect;
mod ports;
mod shell;
mod slots;
mod status;
mod time;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hardware::smp::Framing;
use hardware::smp::port::{FlowControl, PortOptions};

use crate::choose;
use crate::exit::{Exit, Failure};
use crate::report::{Reporter, Style};
use crate::session::{Reach, Session};

/// Flashes models onto Scanside appliances over a serial line.
///
/// An upload that was interrupted goes on where it stood when the same command is run again. Nothing that goes wrong
/// on the line can take the running model away.
#[derive(Debug, Parser)]
#[command(name = "scanside-flash", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed on this computer, 2 usage, 3 bundle or request refused,\n\
    4 verification failed (signature, digest, self-test), 5 device or line."
)]
pub struct Cli {
    #[command(flatten)]
    line: LineArgs,
    /// Tell everything as JSON, one object a line, on the standard output
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    /// Tell nothing but results that were asked for, and errors
    #[arg(long, global = true, conflicts_with = "json", help_heading = "Output")]
    quiet: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct LineArgs {
    /// Serial port, or a pattern such as '/dev/serial/by-id/*Scanside*' [default: the only one that fits]
    #[arg(long, global = true, value_name = "PORT", help_heading = "Line")]
    port: Option<String>,
    /// Bits per second; a USB gadget ignores it
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 115_200,
        help_heading = "Line"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1200..=12_000_000))]
    baud: u32,
    /// How messages stand on the line
    #[arg(
        long,
        global = true,
        value_name = "FRAMING",
        default_value = "auto",
        help_heading = "Line"
    )]
    framing: FramingArg,
    /// Flow control of the port
    #[arg(
        long,
        global = true,
        value_name = "KIND",
        default_value = "none",
        help_heading = "Line"
    )]
    flow_control: FlowArg,
    /// Seconds to wait for a device or a port that went away
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = 30,
        help_heading = "Line"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FramingArg {
    /// Raw on USB, console on a UART; console where raw is too noisy
    Auto,
    /// Without checksums: for USB and short cables
    Raw,
    /// Lines of text with checksums
    Console,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FlowArg {
    /// None
    None,
    /// RTS and CTS
    Hardware,
    /// XON and XOFF; not with raw framing
    Software,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List serial ports, and which of them fit
    Ports,
    /// Show who the device is, what is in its slots and what is going on
    Status,
    /// Show what is in a bundle, after checking its signature; needs no device
    Inspect(inspect::InspectArgs),
    /// Ask the device whether it would take a bundle, without sending it
    Preflight(upload::PreflightArgs),
    /// Send a bundle to the device's inactive slot, and on request use it
    Upload(upload::UploadArgs),
    /// Put an image that is on the device on trial
    Test(slots::TestArgs),
    /// Keep the image that is on trial, or use another one for good
    Confirm(slots::ConfirmArgs),
    /// Return to the confirmed image: end a trial, or withdraw a pending one
    Revert(slots::RevertArgs),
    /// Empty the inactive slot
    Erase(slots::EraseArgs),
    /// List or fetch the device's logs
    Logs(files::FilesArgs),
    /// List or fetch results
    Results(files::FilesArgs),
    /// Check line and device, and fetch the device's own report
    Doctor(doctor::DoctorArgs),
    /// Show or set the device's clock
    Time(time::TimeArgs),
    /// Restart the device's service in an orderly way
    Reset(time::ResetArgs),
    /// Write the completions of a shell to the standard output
    Completions(shell::CompletionsArgs),
    /// Write the manual pages into a folder
    Man(shell::ManArgs),
}

/// Carries the command line out; prints a failure once and gives the exit code.
#[must_use]
pub fn run(cli: &Cli) -> Exit {
    let style = match (cli.json, cli.quiet) {
        (true, _) => Style::Json,
        (false, true) => Style::Quiet,
        (false, false) => Style::Text,
    };
    let reporter = Arc::new(Reporter::new(style));
    let context = Context {
        line: &cli.line,
        reporter: &reporter,
    };
    match cli.verb.run(&context) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            reporter.failure(&failure);
            failure.exit
        }
    }
}

impl Verb {
    fn run(&self, context: &Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Ports => ports::run(context),
            Self::Status => status::run(context),
            Self::Inspect(args) => inspect::run(context, args),
            Self::Preflight(args) => upload::preflight(context, args),
            Self::Upload(args) => upload::run(context, args),
            Self::Test(args) => slots::test(context, args),
            Self::Confirm(args) => slots::confirm(context, args),
            Self::Revert(args) => slots::revert(context, args),
            Self::Erase(args) => slots::erase(context, args),
            Self::Logs(args) => files::run(context, args, "logs/"),
            Self::Results(args) => files::run(context, args, "results/"),
            Self::Doctor(args) => doctor::run(context, args),
            Self::Time(args) => time::run(context, args),
            Self::Reset(args) => time::reset(context, args),
            Self::Completions(args) => shell::completions(args),
            Self::Man(args) => shell::man(context, args),
        }
    }
}

/// What every verb has.
struct Context<'a> {
    line: &'a LineArgs,
    reporter: &'a Arc<Reporter>,
}

impl Context<'_> {
    /// Opens the line to the device.
    fn session(&self) -> Result<Session, Failure> {
        Session::open(self.line.reach()?, self.reporter)
    }

    /// Tells a result.
    fn result(&self, event: &str, value: serde_json::Value, text: &str) -> Result<(), Failure> {
        self.reporter
            .result(event, value, text)
            .map_err(|error| output_failed(&error))
    }

    /// Tells that something was done, unless nobody wants to know.
    fn done(&self, event: &str, value: serde_json::Value, text: &str) -> Result<(), Failure> {
        self.reporter
            .done(event, value, text)
            .map_err(|error| output_failed(&error))
    }
}

fn output_failed(error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("standard output: {error}"),
        "check where the output goes",
    )
}

impl LineArgs {
    fn reach(&self) -> Result<Reach, Failure> {
        let framing = match self.framing {
            FramingArg::Auto => None,
            FramingArg::Raw => Some(Framing::Raw),
            FramingArg::Console => Some(Framing::Console),
        };
        let flow_control = match (self.flow_control, framing) {
            (FlowArg::Software, Some(Framing::Raw)) => {
                return Err(Failure::usage(
                    "raw framing cannot go with XON and XOFF: its bytes may be these",
                    "give --framing console, or another --flow-control",
                ));
            }
            (FlowArg::None, _) => FlowControl::None,
            (FlowArg::Hardware, _) => FlowControl::Hardware,
            (FlowArg::Software, _) => FlowControl::Software,
        };
        let framing = if flow_control == FlowControl::Software {
            Some(Framing::Console)
        } else {
            framing
        };
        let path = match &self.port {
            Some(port) => port.clone(),
            None => choose::only_port()?,
        };
        let mut port = PortOptions::new(path);
        port.baud = self.baud;
        port.flow_control = flow_control;
        Ok(Reach {
            port,
            framing,
            patience: Duration::from_secs(self.patience),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn raw_and_xon_exclude_each_other() {
        let reach = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().line.reach();
        let refused = reach("f --port x --framing raw --flow-control software status").unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        let reach = reach("f --port x --flow-control software status --baud 921600").unwrap();
        assert_eq!((reach.framing, reach.port.baud), (Some(Framing::Console), 921_600));
    }
}
