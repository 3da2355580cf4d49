//! The result in a window on a virtual desktop (Xvfb): the pixels of `--screen`, page after page, until it is closed.
//!
//! Needs the feature `window` (SDL2), Xvfb, ImageMagick and xdotool; `cargo xtask test` runs it where SDL2 is found.

mod support;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use image::{DynamicImage, RgbImage};
use support::{Place, code, place, program, stderr};

/// Looks at the desktop before a picture that does not come is a failure.
const LOOKS: usize = 300;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// A desktop of 1024 x 768 in 24 bits that nobody sees; ends with the test.
struct Desktop {
    server: Child,
    display: String,
}

impl Drop for Desktop {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Whether the programs are there, or a line that says what to install. In CI they must be.
fn present() -> bool {
    let names = ["Xvfb", "import", "xdotool"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |name: &&str| std::env::split_paths(&path).any(|folder| folder.join(name).exists());
    let absent: Vec<&str> = names.into_iter().filter(|name| !found(name)).collect();
    if !absent.is_empty() {
        let message = format!("{} is absent; apt install xvfb imagemagick xdotool", absent.join(", "));
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{message}");
        eprintln!("skipped: {message}");
    }
    absent.is_empty()
}

impl Desktop {
    fn start() -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut number = String::new();
        let mut says = BufReader::new(server.stdout.take().unwrap());
        says.read_line(&mut number).unwrap();
        let display = format!(":{}", number.trim());
        Self { server, display }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        let output = command.args(arguments).env("DISPLAY", &self.display).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What stands in the window, from a picture of the whole desktop.
    fn look(&self, window: &str, picture: &Path) -> RgbImage {
        self.run("import", &["-window", "root", picture.to_str().unwrap()]);
        let desktop = image::open(picture).unwrap().to_rgb8();
        let place = self.run("xdotool", &["getwindowgeometry", "--shell", window]);
        let number = |name: &str| {
            let line = place.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.parse::<u32>().unwrap()
        };
        let [x, y, width, height] = ["X=", "Y=", "WIDTH=", "HEIGHT="].map(number);
        image::imageops::crop_imm(&desktop, x, y, width, height).to_image()
    }

    /// Looks until the window shows the picture in `file`.
    fn shows(&self, window: &str, file: &Path) {
        let picture = file.with_extension("desktop.png");
        let same = |wanted: DynamicImage| wanted.to_rgb8() == self.look(window, &picture);
        let seen = (0..LOOKS).any(|_| {
            // The program may not have come to this image yet.
            let written = image::open(file);
            thread::sleep(BETWEEN_LOOKS);
            written.is_ok_and(same)
        });
        assert!(
            seen,
            "the window never showed {}; see {}",
            file.display(),
            picture.display()
        );
    }

    /// Presses a key over the window.
    fn press(&self, window: &str, key: &str) {
        self.run("xdotool", &["mousemove", "--window", window, "20", "20", "key", key]);
    }
}

fn triage(place: &Place, desktop: &Desktop, arguments: &[&OsStr]) -> Child {
    let mut command = program();
    command.arg("triage").args(arguments).arg("--window");
    command.arg("--bundle").arg(place.path("finding.scanside"));
    command.arg("--key").arg(place.path("site.pub"));
    command.env("DISPLAY", &desktop.display).env_remove("WAYLAND_DISPLAY");
    command.env("SDL_VIDEODRIVER", "x11");
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The window of the program, once it is there. SDL opens others for a moment, and xdotool stumbles over them.
fn window(desktop: &Desktop) -> String {
    let search = || {
        let mut command = Command::new("xdotool");
        command.args(["search", "--onlyvisible", "--name", "^Scanside$"]);
        let output = command.env("DISPLAY", &desktop.display).output().unwrap();
        thread::sleep(BETWEEN_LOOKS);
        let found = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Some(found).filter(|_| output.status.success())
    };
    (0..LOOKS).find_map(|_| search()).expect("a window")
}

#[test]
fn the_window_shows_the_pixels_of_the_screen_until_it_is_closed() {
    let Some(place) = place().filter(|_| present()) else {
        return;
    };
    let desktop = Desktop::start();
    let screen = place.out("window").join("screen.png");
    let (chest, option) = (place.path("chest.png"), "--screen".as_ref());
    let child = triage(place, &desktop, &[chest.as_os_str(), option, screen.as_os_str()]);
    let window = window(&desktop);
    desktop.shows(&window, &screen);
    desktop.press(&window, "Escape");
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output)), (0, String::new()));
}

#[test]
fn a_key_turns_to_the_next_page_and_the_next_image() {
    let Some(place) = place().filter(|_| present()) else {
        return;
    };
    let desktop = Desktop::start();
    let out = place.out("pages");
    let black = place.path("black.png");
    image::GrayImage::new(64, 64).save(&black).unwrap();
    let (chest, screen) = (place.path("chest.png"), out.join("s.png"));
    let options: [&OsStr; 4] = [
        "--screen-size".as_ref(),
        "320x240".as_ref(),
        "--screen".as_ref(),
        screen.as_ref(),
    ];
    let files = [black.as_os_str(), chest.as_os_str()];
    let child = triage(place, &desktop, &[&files[..], &options[..]].concat());
    let window = window(&desktop);
    let page = |name: &str| -> PathBuf { out.join(name) };
    desktop.shows(&window, &page("s-black.png"));
    desktop.press(&window, "space");
    desktop.shows(&window, &page("s-black-page2.png"));
    desktop.press(&window, "space");
    desktop.shows(&window, &page("s-chest.png"));
    desktop.press(&window, "Escape");
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output)), (0, String::new()));
}

#[test]
fn a_desktop_that_is_not_there_is_a_device_error() {
    let Some(place) = place() else { return };
    for (display, reason) in [("", "no desktop"), (":65000", ":65000")] {
        let mut command = program();
        command.arg("triage").arg(place.path("chest.png")).arg("--window");
        command.arg("--bundle").arg(place.path("finding.scanside"));
        command.arg("--key").arg(place.path("site.pub"));
        command
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("SDL_VIDEODRIVER")
            .env("DISPLAY", display);
        let output = command.output().unwrap();
        assert_eq!(code(&output), 5, "{}", stderr(&output));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
}
