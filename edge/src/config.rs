//! The appliance's config file (TOML). Every key may be left out; the command line goes before it.

use std::fs;
use std::path::{Path, PathBuf};

use onnx::runtime::Provider;
use serde::Deserialize;

use crate::daemon::config::ApplianceConfig;

/// Threads that a config may ask for.
const MAX_THREADS: usize = 256;

/// What the config says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the public keys whose bundles are accepted.
    pub trusted_keys: Option<PathBuf>,
    /// Bundles with a lower security counter are refused.
    pub lowest_security_counter: u32,
    /// The ONNX Runtime library, or its folder.
    pub onnxruntime: Option<PathBuf>,
    /// Threads of one inference; 0 takes one a core.
    pub threads: Option<usize>,
    /// Execution providers in order of preference.
    pub providers: Vec<Provider>,
    /// What only `run` looks at.
    pub appliance: Option<ApplianceConfig>,
}

/// Why a config was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("config {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key is unknown or its value is not allowed.
    #[error("config {path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key, its place and what is allowed.
        reason: String,
    },
}

impl Config {
    /// Reads a config file.
    ///
    /// # Errors
    /// [`ConfigError`] with file, key and what is allowed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Self::parse(&text).map_err(|reason| ConfigError::Invalid {
            path: path.to_path_buf(),
            reason,
        })
    }

    /// Reads a config file that has a section `[appliance]`.
    ///
    /// # Errors
    /// [`ConfigError`]; a file without the section too.
    pub fn load_appliance(path: &Path) -> Result<(Self, ApplianceConfig), ConfigError> {
        let mut config = Self::load(path)?;
        match config.appliance.take() {
            Some(appliance) => Ok((config, appliance)),
            None => Err(ConfigError::Invalid {
                path: path.to_path_buf(),
                reason: "[appliance] is missing; give it at least `state`, a folder".to_owned(),
            }),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| refused(text, &error))?;
        match config.threads {
            Some(threads) if threads > MAX_THREADS => {
                return Err(format!("threads is {threads}; use 0 (one a core) to {MAX_THREADS}"));
            }
            _ => {}
        }
        if let Some(appliance) = &config.appliance {
            appliance.check().map_err(|reason| format!("appliance.{reason}"))?;
        }
        Ok(config)
    }
}

/// A number that is too large for every key but a security counter.
const TOO_LARGE: &str = "4294967295";

/// Why a text is no config. A number that its key's type cannot hold, such as a negative one, is refused as one that is too
/// large: with the key and what is allowed.
fn refused(text: &str, error: &toml::de::Error) -> String {
    let number = error.span().filter(|span| {
        let found = text.get(span.clone());
        found.is_some_and(|found| found != TOO_LARGE && found.replace('_', "").parse::<f64>().is_ok())
    });
    let Some(span) = number else {
        return error.to_string();
    };
    let (found, line) = (&text[span.clone()], text[..span.start].lines().count());
    let mut probe = text.to_owned();
    probe.replace_range(span.clone(), TOO_LARGE);
    match Config::parse(&probe) {
        Err(reason) if reason.contains(TOO_LARGE) => format!("line {line}: {}", reason.replace(TOO_LARGE, found)),
        Err(_) => error.to_string(),
        Ok(_) => format!("{}; give 0 to {TOO_LARGE}", error.to_string().trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_config_and_a_full_one_are_read() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        let config = Config::parse(
            "trusted_keys = \"/etc/scanside/keys\"\nlowest_security_counter = 3\nthreads = 2\n\
             providers = [\"tensorrt\", \"cpu\"]\nonnxruntime = \"/opt/ort\"",
        )
        .unwrap();
        assert_eq!(config.providers, [Provider::TensorRt, Provider::Cpu]);
        assert_eq!((config.threads, config.lowest_security_counter), (Some(2), 3));
    }

    /// The config in the manual, with the keys that stand there as comments.
    fn documented() -> String {
        let manual = include_str!("../../docs/appliance.md");
        let block = manual
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let block = block.expect("a config in docs/appliance.md");
        let lines = block.lines().map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(char::is_alphabetic) => key,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The keys of a section, as the refusal of another one lists them.
    fn keys(section: &str) -> Vec<String> {
        let refusal = Config::parse(&format!("{section}\nno_such_key = 1")).unwrap_err();
        let listed = refusal.split("expected").nth(1).expect("the keys");
        listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_manual_names_every_key() {
        let text = documented();
        Config::parse(&text).unwrap();
        for section in [
            "",
            "[appliance]",
            "[appliance.serial]",
            "[appliance.display]\nkind = \"none\"",
            "[appliance.controls]",
            "[appliance.leds]",
            "[appliance.intake]",
            "[appliance.dicom]",
            "[appliance.outbox]",
            "[appliance.outbox.archive]",
            "[appliance.media]",
            "[appliance.store]",
            "[appliance.update]",
        ] {
            for key in keys(section) {
                // What belongs to another kind of device stands behind "# ".
                let plain = |line: &&str| {
                    line.strip_prefix("# ")
                        .unwrap_or(line)
                        .starts_with(&format!("{key} = "))
                };
                let line = |line: &&str| plain(line) || line.contains(&format!("{key}]"));
                let heading = |line: &&str| line.starts_with(&format!("[appliance.{key}"));
                assert!(
                    text.lines().any(|l| line(&l) || heading(&l)),
                    "{section} {key} is missing in docs/appliance.md"
                );
            }
        }
    }

    /// Keys with a number, and what they may be.
    const NUMBERS: [(&str, &str); 21] = [
        ("store]\nkeep_days", "store.keep_days is -1; give 1 to 36500"),
        ("store]\nmax_megabytes", "store.max_megabytes is -1; give 64 to"),
        ("store]\nreserve_megabytes", "store.reserve_megabytes is -1; give 1 to"),
        ("store]\nqueue", "store.queue is -1; give 1 to 100000"),
        (
            "store]\nseries_quiet_seconds",
            "store.series_quiet_seconds is -1; give 1 to 3600",
        ),
        ("store]\nseries_slices", "store.series_slices is -1; give 1 to 100"),
        ("update]\ntrial_inferences", "update.trial_inferences is -1; give 1 to"),
        ("serial]\nport = \"/dev/x\"\nbaud", "serial.baud is -1; give 1200 to"),
        (
            "intake]\nfolder = \"/in\"\nquiet_seconds",
            "intake.quiet_seconds is -1; give 0 to 3600",
        ),
        (
            "controls]\nkind = \"terminal\"\nbounce_ms",
            "controls.bounce_ms is -1; give 0 to 200",
        ),
        (
            "controls]\nkind = \"terminal\"\nlong_press_ms",
            "controls.long_press_ms is -1; give 300 to",
        ),
        (
            "controls]\nkind = \"terminal\"\nreturn_seconds",
            "controls.return_seconds is -1; give 5 to",
        ),
        (
            "controls]\nkind = \"terminal\"\nrest_seconds",
            "controls.rest_seconds is -1; give 5 to",
        ),
        (
            "outbox]\njson = \"/out\"\nretry_first_seconds",
            "outbox.retry_first_seconds is -1; give 1 to",
        ),
        (
            "outbox]\njson = \"/out\"\nretry_longest_seconds",
            "outbox.retry_longest_seconds is -1; give",
        ),
        (
            "dicom]\naddress = \"127.0.0.1:104\"\ncalling = [\"A\"]\nassociations",
            "dicom.associations is -1; give 1 to",
        ),
        (
            "dicom]\naddress = \"127.0.0.1:104\"\ncalling = [\"A\"]\npdu_bytes",
            "dicom.pdu_bytes is -1; give 4096",
        ),
        (
            "dicom]\naddress = \"127.0.0.1:104\"\ncalling = [\"A\"]\nobject_mib",
            "dicom.object_mib is -1; give 1 to",
        ),
        (
            "outbox.archive]\naddress = \"a:104\"\nae_title = \"A\"\nconnect_seconds",
            "archive.connect_seconds is -1; give 1",
        ),
        (
            "outbox.archive]\naddress = \"a:104\"\nae_title = \"A\"\nanswer_seconds",
            "archive.answer_seconds is -1; give 1",
        ),
        (
            "display]\nkind = \"png\"\npath = \"/x\"\nheight = 480\nwidth",
            "display is -1 x 480; sides are 160 to 4096",
        ),
    ];

    #[test]
    fn a_number_below_zero_is_refused_with_key_line_and_range() {
        for (section, allowed) in NUMBERS {
            let text = format!("[appliance]\nstate = \"/s\"\n[appliance.{section} = -1\n");
            let line = text.lines().count();
            let refusal = Config::parse(&text).unwrap_err();
            assert!(refusal.contains(allowed), "{section}: {refusal}");
            assert!(
                refusal.starts_with(&format!("line {line}: appliance.")),
                "{section}: {refusal}"
            );
        }
    }

    #[test]
    fn a_refusal_names_file_key_and_what_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.toml");
        let refusal = |text: &str| {
            fs::write(&path, text).unwrap();
            Config::load(&path).unwrap_err().to_string()
        };
        let message = refusal("trusted_key = \"x\"");
        assert!(
            message.contains("edge.toml") && message.contains("trusted_key"),
            "{message}"
        );
        assert!(
            message.contains("expected one of") && message.contains("trusted_keys"),
            "{message}"
        );
        let message = refusal("providers = [\"gpu\"]");
        assert!(message.contains("gpu") && message.contains("cuda"), "{message}");
        assert!(refusal("threads = 1000").contains("threads is 1000; use 0"));
        let message = refusal("threads = -1");
        assert!(
            message.contains("line 1: threads is -1; use 0 (one a core) to 256"),
            "{message}"
        );
        let message = refusal("lowest_security_counter = -1");
        assert!(
            message.contains("lowest_security_counter") && message.contains("give 0 to 4294967295"),
            "{message}"
        );
        let message = refusal("threads = \"two\"");
        assert!(message.contains("threads") && message.contains("string"), "{message}");
        let absent = Config::load(&folder.path().join("none.toml")).unwrap_err().to_string();
        assert!(absent.contains("none.toml"), "{absent}");
    }
}
