//! `triage`: images in, results out.

use std::io::Write;
use std::path::PathBuf;
use std::thread;

use anyhow::Result;
use bundle::cli::answer;
use chrono::{Local, Utc};
use clap::Args;
use embedded_graphics::geometry::Size;
use imaging::decode::Limits;

use super::collisions::{self, Named};
use super::output::{DisplayChoice, Displays, Names, write_output, write_picture};
use super::{ModelArgs, Settings, model_failed, report, result_text};
use crate::examination::{Decoded, Examination, Examiner, Request};
use crate::exit::{Exit, Failure};
use crate::finding::Finding;
use crate::presentation::{heatmap_picture, result_view};
use crate::screens::ResultView;
use crate::text::words::Language;

/// Sides of a screen that can be drawn, in pixels.
const SCREEN_SIDES: std::ops::RangeInclusive<u32> = 160..=4096;

/// Arguments of `triage`.
#[derive(Debug, Args)]
pub struct TriageArgs {
    /// Images: DICOM, PNG, JPEG or TIFF
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Frame of a multi-frame image, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    frame: usize,
    /// Print one line of JSON for each image
    #[arg(long)]
    json: bool,
    /// Write the result as JSON; with several images the name gets each file's stem
    #[arg(long, value_name = "FILE.json")]
    json_out: Option<PathBuf>,
    /// Write the result screen as PNG; with several images the name gets each file's stem. What has no room on a small
    /// screen is on further pages, FILE-page2.png
    #[arg(long, value_name = "FILE.png", value_parser = png)]
    screen: Option<PathBuf>,
    /// Size of the result screen and the window in pixels
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "800x480", value_parser = screen_size)]
    screen_size: Size,
    /// Write the image under its heatmap as PNG; with several images the name gets each file's stem
    #[arg(long, value_name = "FILE.png", value_parser = png)]
    heatmap: Option<PathBuf>,
    /// Show each result in a window: a key or a click goes on to its next page and the next image, Escape ends it
    #[arg(long)]
    #[cfg_attr(not(feature = "window"), arg(hide = true))]
    window: bool,
    /// Show the result on a Linux framebuffer, such as /dev/fb0
    #[arg(long, value_name = "DEVICE")]
    framebuffer: Option<PathBuf>,
}

/// Carries the verb out. The worst exit code of the images counts, and the others are still done.
///
/// # Errors
/// What concerns all images: config, keys, bundle, library, displays.
pub fn run(args: &TriageArgs) -> Result<Exit> {
    let names = Names::new(&args.files);
    collisions::check(&args.inputs(), &args.outputs(&names))?;
    let settings = args.model.settings()?;
    let mut displays = Displays::open(DisplayChoice {
        framebuffer: args.framebuffer.as_deref(),
        window: args.window.then_some(args.screen_size),
    })?;
    let (mut examiner, mut first) = load_and_decode(args, &settings)?;
    let mut worst = Exit::Done;
    for index in 0..args.files.len() {
        let exit = triage_file(args, index, first.take(), &mut examiner, &mut displays, &names)?;
        worst = worst.max(exit);
    }
    Ok(worst)
}

/// Loads the model; the first image is decoded meanwhile, because who starts the program waits for that one.
fn load_and_decode(args: &TriageArgs, settings: &Settings) -> Result<(Examiner, Option<Decoded>)> {
    let limits = Limits::default();
    let (loaded, first) = thread::scope(|scope| {
        let first = scope.spawn(|| Some(Decoded::read(args.files.first()?, args.frame, &limits)));
        // A thread that failed is no loss: the image is then decoded when its turn comes.
        (settings.load(false), first.join().unwrap_or_default())
    });
    let loaded = loaded?;
    Ok((Examiner::new(loaded.model, loaded.engine, limits), first))
}

impl TriageArgs {
    /// The files that are read.
    fn inputs(&self) -> Vec<Named> {
        let mut files = self.model.files();
        files.extend(self.files.iter().map(|path| Named::new("image", path)));
        files
    }

    /// The files that will be written.
    fn outputs(&self, names: &Names) -> Vec<Named> {
        let options = [
            ("--json-out", &self.json_out),
            ("--screen", &self.screen),
            ("--heatmap", &self.heatmap),
        ];
        let chosen = options.iter().filter_map(|(what, out)| Some((*what, out.as_ref()?)));
        let of = |(what, out): (&'static str, &PathBuf)| -> Vec<Named> {
            (0..self.files.len())
                .map(|index| Named::new(what, names.of(out, index)))
                .collect()
        };
        chosen.flat_map(of).collect()
    }
}

fn triage_file(
    args: &TriageArgs,
    index: usize,
    decoded: Option<Decoded>,
    examiner: &mut Examiner,
    displays: &mut Displays,
    names: &Names,
) -> Result<Exit> {
    let now = Utc::now();
    let request = Request {
        path: &args.files[index],
        frame: args.frame,
        case_id: &format!("{:04}", index + 1),
        time: now,
    };
    let examination = match decoded {
        Some(decoded) => examiner.judge(request, decoded),
        None => examiner.examine(request),
    };
    let mut examination = examination.map_err(model_failed)?;
    let mut worst = Exit::Done;
    if let Some(refused) = examination.refused.take() {
        worst = worst.max(report(&refused.into()));
    }
    let clock = now.with_timezone(&Local).format("%H:%M").to_string();
    let view = result_view(
        &examination,
        examiner.model().manifest(),
        Language::English.words(),
        &clock,
    );
    let outputs: [Result<(), Failure>; 4] = [
        print(args, &examination.finding, &view),
        write_json(args, index, &examination.finding, names),
        show(args, index, &view, displays, names),
        write_heatmap(args, index, &examination, examiner, names),
    ];
    for output in outputs {
        if let Err(failure) = output {
            worst = worst.max(report(&failure.into()));
        }
    }
    Ok(worst)
}

fn print(args: &TriageArgs, finding: &Finding, view: &ResultView<'_>) -> Result<(), Failure> {
    let text = if args.json {
        to_json(finding, false)?
    } else {
        result_text::describe(finding, view)
    };
    let mut out = answer();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|e| Failure::new(Exit::Failed, format!("cannot write to standard output: {e}")))
}

fn write_json(args: &TriageArgs, index: usize, finding: &Finding, names: &Names) -> Result<(), Failure> {
    let Some(out) = &args.json_out else {
        return Ok(());
    };
    let text = to_json(finding, true)? + "\n";
    write_output(&names.of(out, index), text.as_bytes())
}

fn to_json(finding: &Finding, pretty: bool) -> Result<String, Failure> {
    let text = if pretty {
        serde_json::to_string_pretty(finding)
    } else {
        serde_json::to_string(finding)
    };
    text.map_err(|e| Failure::new(Exit::Failed, format!("cannot write the result as JSON: {e}")))
}

fn show(
    args: &TriageArgs,
    index: usize,
    view: &ResultView<'_>,
    displays: &mut Displays,
    names: &Names,
) -> Result<(), Failure> {
    let last = index + 1 == args.files.len();
    // The file comes first: a window stays until somebody has looked at it.
    let written = match &args.screen {
        Some(out) => displays.write_screen(view, &names.of(out, index), args.screen_size),
        None => Ok(()),
    };
    written.and(displays.show(view, last))
}

fn write_heatmap(
    args: &TriageArgs,
    index: usize,
    examination: &Examination,
    examiner: &Examiner,
    names: &Names,
) -> Result<(), Failure> {
    let Some(out) = &args.heatmap else {
        return Ok(());
    };
    match heatmap_picture(examination, examiner.model().manifest()) {
        Some(picture) => write_picture(&names.of(out, index), &picture),
        // An image that was not assessed has no heatmap; its result says so.
        None => Ok(()),
    }
}

/// A file that is written as PNG, whatever its name says; so the name must say it too. A device may have any name.
fn png(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let ends_so = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
    let device = path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
    match ends_so || device {
        true => Ok(path),
        false => Err("it is written as PNG: give a name that ends in .png".to_owned()),
    }
}

fn screen_size(text: &str) -> Result<Size, String> {
    let wanted = format!(
        "give WIDTHxHEIGHT with sides from {} to {}",
        SCREEN_SIDES.start(),
        SCREEN_SIDES.end()
    );
    let (width, height) = text.split_once('x').ok_or(&wanted)?;
    let side = |text: &str| text.parse().ok().filter(|side| SCREEN_SIDES.contains(side));
    match (side(width), side(height)) {
        (Some(width), Some(height)) => Ok(Size::new(width, height)),
        _ => Err(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_the_name_of_its_format() {
        for good in ["a.png", "b/A.PNG", "/dev/null"] {
            assert_eq!(png(good), Ok(PathBuf::from(good)));
        }
        for bad in ["a.jpg", "a", "png", "a.png.txt"] {
            assert!(png(bad).unwrap_err().contains(".png"), "{bad}");
        }
    }

    #[test]
    fn a_screen_size_has_two_plausible_sides() {
        assert_eq!(screen_size("320x240"), Ok(Size::new(320, 240)));
        for text in ["", "320", "320x", "0x0", "99999x480", "320 x 240", "-1x4"] {
            assert!(screen_size(text).unwrap_err().contains("WIDTHxHEIGHT"), "{text}");
        }
    }
}
