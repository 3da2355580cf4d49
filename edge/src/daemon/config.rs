//! What `run` takes from the config file.

mod display;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hardware::slots::is_role_name;
use serde::Deserialize;

pub use display::{DisplayConfig, DisplayKind};

use super::places;
use crate::controls::{ControlsConfig, LedsConfig};
use crate::intake::dicom_scp::config::DicomConfig;
use crate::intake::folder::Finished;
use crate::intake::media::{MediaConfig, is_pattern_at_its_end};
use crate::outbox::config::OutboxConfig;
use crate::store::config::StoreConfig;
use crate::store::folders::Folders;

/// The sections of the config that only `run` looks at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplianceConfig {
    /// Folder that the service keeps everything in: slots, counter, clock, results, logs.
    pub state: PathBuf,
    /// Roles, each with its pair of slots; SMP's image n is the n-th.
    #[serde(default = "default_roles")]
    pub roles: Vec<String>,
    /// The serial line; without it no model can be flashed.
    pub serial: Option<SerialConfig>,
    /// Where results are shown.
    #[serde(default)]
    pub display: DisplayConfig,
    /// What people press; without it the screens show what is new.
    pub controls: Option<ControlsConfig>,
    /// What shines.
    pub leds: Option<LedsConfig>,
    /// The watched folder.
    pub intake: Option<IntakeConfig>,
    /// The DICOM port.
    pub dicom: Option<DicomConfig>,
    /// What leaves the appliance.
    pub outbox: Option<OutboxConfig>,
    /// Removable media.
    pub media: Option<MediaConfig>,
    /// What is kept, how long, and how much of a patient.
    #[serde(default)]
    pub store: StoreConfig,
    /// How a new model is confirmed.
    #[serde(default)]
    pub update: UpdateConfig,
}

/// The serial line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialConfig {
    /// Device or pattern: `/dev/ttyGS0`, `/dev/ttyTHS*`; or `pty:LINK` for a desk without a cable.
    pub port: String,
    /// Bits per second; a USB gadget ignores it.
    #[serde(default = "default_baud")]
    pub baud: u32,
    /// Whether RTS and CTS are wired.
    #[serde(default)]
    pub hardware_flow_control: bool,
}

/// The watched folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntakeConfig {
    /// The folder.
    pub folder: PathBuf,
    /// A file is whole when it has not changed for so long.
    #[serde(default = "default_quiet")]
    quiet_seconds: u32,
    /// What becomes of a file when it is finished.
    #[serde(default)]
    pub finished: Finished,
}

/// How a new model is confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateConfig {
    /// After so many results of the model on trial it is confirmed without an engineer; absent: never.
    pub trial_inferences: Option<u32>,
}

fn default_roles() -> Vec<String> {
    vec!["chest-xray".to_owned()]
}

/// What engineers' tools begin with.
fn default_baud() -> u32 {
    115_200
}

fn default_quiet() -> u32 {
    2
}

impl IntakeConfig {
    fn check(&self) -> Result<(), String> {
        if !QUIET.contains(&self.quiet_seconds) {
            return Err(format!(
                "intake.quiet_seconds is {}; give {} to {}",
                self.quiet_seconds,
                QUIET.start(),
                QUIET.end()
            ));
        }
        check_absolute("intake.folder", &self.folder, "/var/lib/scanside/inbox")
    }

    /// The quiet time.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        Duration::from_secs(self.quiet_seconds.into())
    }
}

impl SerialConfig {
    fn check(&self) -> Result<(), String> {
        if !BAUD.contains(&self.baud) {
            return Err(format!(
                "serial.baud is {}; give {} to {}",
                self.baud,
                BAUD.start(),
                BAUD.end()
            ));
        }
        let path = Path::new(self.port.strip_prefix("pty:").unwrap_or(&self.port));
        if path.is_absolute() && is_pattern_at_its_end(path) {
            return Ok(());
        }
        Err(format!(
            "serial.port is \"{}\"; give the absolute path of a device such as /dev/ttyGS0, whose last part may hold * and ?, \
             or pty:/tmp/line for a desk",
            self.port
        ))
    }
}

impl UpdateConfig {
    fn check(&self) -> Result<(), String> {
        match self.trial_inferences {
            Some(results) if !TRIAL.contains(&results) => Err(format!(
                "update.trial_inferences is {results}; give {} to {}, or leave it out for an engineer to confirm",
                TRIAL.start(),
                TRIAL.end()
            )),
            _ => Ok(()),
        }
    }
}

impl ApplianceConfig {
    /// The folders that the config names, by key.
    #[must_use]
    pub fn named_folders(&self) -> Vec<(&'static str, &Path)> {
        let mut folders = vec![("appliance.state", self.state.as_path())];
        folders.extend(
            self.intake
                .iter()
                .map(|intake| ("appliance.intake.folder", intake.folder.as_path())),
        );
        folders
    }

    /// The database and the folders of the store.
    #[must_use]
    pub fn folders(&self) -> Folders {
        Folders::of(&self.state)
    }

    /// The folder of slots; nothing else lies in it.
    #[must_use]
    pub fn slots(&self) -> PathBuf {
        self.state.join("slots")
    }

    /// The folder of what must never go back, apart from the slots: security counters and the clock.
    #[must_use]
    pub fn monotonic(&self) -> PathBuf {
        self.state.join("monotonic")
    }

    /// The folder in which deltas arrive.
    #[must_use]
    pub fn deltas(&self) -> PathBuf {
        self.state.join("deltas")
    }

    /// The folder of results.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.state.join("results")
    }

    /// The folder of logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.folders().logs()
    }

    /// The folder of site calibrations.
    #[must_use]
    pub fn calibration(&self) -> PathBuf {
        self.state.join("calibration")
    }

    /// The folder that tells which model serves each role.
    #[must_use]
    pub fn serving(&self) -> PathBuf {
        self.state.join("serving")
    }

    /// The last report of the self-test.
    #[must_use]
    pub fn doctor(&self) -> PathBuf {
        self.state.join("doctor.json")
    }

    /// The first value that cannot be: key, value and what is allowed.
    ///
    /// # Errors
    /// A sentence for the person who wrote the file.
    pub fn check(&self) -> Result<(), String> {
        if self.roles.is_empty() || self.roles.len() > MAX_ROLES {
            return Err(format!("roles has {} entries; give 1 to {MAX_ROLES}", self.roles.len()));
        }
        self.check_roles()?;
        if let Some(serial) = &self.serial {
            serial.check()?;
        }
        if let Some(outbox) = &self.outbox {
            outbox.check().map_err(|reason| format!("outbox.{reason}"))?;
        }
        if let Some(dicom) = &self.dicom {
            dicom.check().map_err(|reason| format!("dicom.{reason}"))?;
        }
        if let Some(controls) = &self.controls {
            controls.check()?;
        }
        if let Some(leds) = &self.leds {
            leds.check()?;
        }
        if let Some(intake) = &self.intake {
            intake.check()?;
        }
        if let Some(media) = &self.media {
            media.check()?;
        }
        self.store.check()?;
        self.display.check()?;
        self.update.check()?;
        check_absolute("state", &self.state, "/var/lib/scanside")?;
        places::check(self)
    }

    /// A role's name is part of the names of files.
    fn check_roles(&self) -> Result<(), String> {
        for (index, role) in self.roles.iter().enumerate() {
            if !is_role_name(role) {
                return Err(format!(
                    "roles has '{role}'; give 1 to 48 lower-case letters, digits, '-' and '_', such as chest-xray"
                ));
            }
            if self.roles[..index].contains(role) {
                return Err(format!("roles has '{role}' twice; give each role once"));
            }
        }
        Ok(())
    }
}

const MAX_ROLES: usize = 8;
const BAUD: std::ops::RangeInclusive<u32> = 1_200..=12_000_000;
const QUIET: std::ops::RangeInclusive<u32> = 0..=3_600;
const TRIAL: std::ops::RangeInclusive<u32> = 1..=1_000_000;

/// A service's working folder is nobody's intention.
fn check_absolute(key: &str, path: &Path, such_as: &str) -> Result<(), String> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(format!(
        "{key} is \"{}\"; give an absolute path such as {such_as}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::words::Language;

    fn parse(text: &str) -> Result<ApplianceConfig, String> {
        let config: ApplianceConfig = toml::from_str(text).map_err(|e| e.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn a_state_folder_is_enough() {
        let config = parse("state = \"/var/lib/scanside\"").unwrap();
        assert_eq!(config.roles, ["chest-xray"]);
        assert_eq!((config.display.size(), config.update.trial_inferences), (None, None));
        assert_eq!(config.slots(), Path::new("/var/lib/scanside/slots"));
    }

    #[test]
    fn a_full_section_is_read() {
        let config = parse(
            "state = \"/s\"\nroles = [\"chest-xray\", \"chest-ct\"]\n[serial]\nport = \"/dev/ttyGS*\"\n\
             [display]\nkind = \"png\"\npath = \"/run/screen.png\"\nwidth = 800\nheight = 480\nlanguage = \"fr\"\n\
             [controls]\nkind = \"terminal\"\n[leds]\nkind = \"sysfs\"\ngreen = \"scanside:green\"\n\
             [intake]\nfolder = \"/in\"\n[update]\ntrial_inferences = 20",
        )
        .unwrap();
        assert_eq!(config.serial.unwrap().baud, 115_200);
        assert_eq!(config.display.language, Language::French);
        assert!(config.controls.is_some() && config.leds.is_some());
        assert_eq!(config.intake.unwrap().quiet(), Duration::from_secs(2));
        assert_eq!(config.update.trial_inferences, Some(20));
    }

    #[test]
    fn a_refusal_says_what_is_allowed() {
        let refusal = |text: &str| parse(text).unwrap_err();
        assert!(refusal("state = \"here\"").contains("absolute"));
        assert!(refusal("state = \"/s\"\n[store]\nqueue = 0").contains("store.queue is 0; give 1 to"));
        assert!(refusal("state = \"/s\"\n[intake]\nfolder = \"in\"").contains("intake.folder is \"in\""));
        let quiet = "state = \"/s\"\n[intake]\nfolder = \"/in\"\nquiet_seconds = 4000";
        assert!(refusal(quiet).contains("0 to 3600"));
        assert!(refusal("state = \"/s\"\n[media]\nmounts = \"usb\"").contains("media.mounts"));
        assert!(refusal("state = \"/s\"\nroles = []").contains("1 to 8"));
        assert!(refusal("state = \"/s\"\nroles = [\"Chest X-ray\"]").contains("'Chest X-ray'; give 1 to 48"));
        assert!(refusal("state = \"/s\"\nroles = [\"ct\", \"ct\"]").contains("'ct' twice"));
        assert!(refusal("state = \"/s\"\n[intake]\nfolder = \"/s\"").contains("keeps for itself"));
        assert!(refusal("state = \"/s\"\n[serial]\nport = \"x\"\nbaud = 1").contains("1200 to"));
        for port in ["", "ttyS0", "/dev/*/ttyS0", "pty:line"] {
            let line = format!("state = \"/s\"\n[serial]\nport = \"{port}\"");
            assert!(refusal(&line).contains("serial.port is"), "{port}");
        }
        let trial = "state = \"/s\"\n[update]\ntrial_inferences = 0";
        assert!(refusal(trial).contains("update.trial_inferences is 0; give 1 to 1000000"));
        let mounts = "state = \"/s\"\n[media]\nmounts = \"/media/*/*\"";
        assert!(refusal(mounts).contains("media.mounts is \"/media/*/*\""));
        let device = "state = \"/s\"\n[display]\nkind = \"framebuffer\"\ndevice = \"fb0\"";
        assert!(refusal(device).contains("display.device is \"fb0\"; give an absolute path such as /dev/fb0"));
        let path = "state = \"/s\"\n[display]\nkind = \"png\"\npath = \"x\"\nwidth = 800\nheight = 480";
        assert!(refusal(path).contains("display.path is \"x\""));
        let picture = "state = \"/s\"\n[display]\nkind = \"png\"\npath = \"/x\"\nwidth = 1\nheight = 480";
        assert!(refusal(picture).contains("160 to 4096"));
        assert!(refusal("state = \"/s\"\n[display]\nkind = \"vga\"").contains("framebuffer"));
        assert!(refusal("state = \"/s\"\n[display]\nkind = \"png\"\npath = \"/x\"").contains("width and height"));
        assert!(refusal("state = \"/s\"\n[display]\nkind = \"none\"\nlanguage = \"de\"").contains("`es`"));
        let night = "state = \"/s\"\n[display]\nkind = \"none\"\nnight = { from = \"25:00\", until = \"06:00\" }";
        assert!(refusal(night).contains("00:00 to 23:59"));
        let night = night.replace("25:00", "06:00");
        let same = refusal(&night);
        assert!(
            same.contains("display.night is from 06:00 until 06:00") && same.contains("00:00 to 23:59"),
            "{same}"
        );
        assert!(refusal("state = \"/s\"\n[controls]\nkind = \"evdev\"").contains("controls.device"));
        assert!(refusal("state = \"/s\"\n[leds]\nkind = \"sysfs\"").contains("green, amber or red"));
    }
}
