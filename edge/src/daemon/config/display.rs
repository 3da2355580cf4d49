//! `[appliance.display]`: where results are shown, and how.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use embedded_graphics::geometry::Size;
use serde::Deserialize;

use super::check_absolute;
use crate::controls::NightHours;
use crate::text::words::Language;

/// Sides of a picture in pixels.
const SIDES: RangeInclusive<u32> = 160..=4096;

/// Where results are shown, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "DisplayTable")]
pub struct DisplayConfig {
    /// Where.
    pub kind: DisplayKind,
    /// What the screens speak.
    pub language: Language,
    /// When the screens are dimmed; absent: only by the button.
    pub night: Option<NightHours>,
}

/// Where results are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DisplayKind {
    /// Nowhere.
    #[default]
    None,
    /// A Linux framebuffer.
    Framebuffer {
        /// The device.
        device: PathBuf,
    },
    /// A PNG file that is replaced with each change.
    Png {
        /// The file.
        path: PathBuf,
        /// Width in pixels, 160 to 4096.
        width: u32,
        /// Height in pixels, 160 to 4096.
        height: u32,
    },
}

impl std::fmt::Display for DisplayKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Framebuffer { device } => write!(f, "framebuffer {}", device.display()),
            Self::Png { path, width, height } => write!(f, "PNG file {}, {width} x {height}", path.display()),
        }
    }
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DisplayTable {
    kind: KindName,
    device: Option<PathBuf>,
    path: Option<PathBuf>,
    width: Option<u32>,
    height: Option<u32>,
    #[serde(default)]
    language: Language,
    night: Option<NightHours>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindName {
    None,
    Framebuffer,
    Png,
}

impl TryFrom<DisplayTable> for DisplayConfig {
    type Error = String;

    fn try_from(table: DisplayTable) -> Result<Self, String> {
        let DisplayTable {
            kind,
            device,
            path,
            width,
            height,
            ..
        } = table;
        let kind = match (kind, device, path, width, height) {
            (KindName::None, None, None, None, None) => DisplayKind::None,
            (KindName::Framebuffer, Some(device), None, None, None) => DisplayKind::Framebuffer { device },
            (KindName::Png, None, Some(path), Some(width), Some(height)) => DisplayKind::Png { path, width, height },
            (KindName::None, ..) => return Err("kind \"none\" takes no device and no path".to_owned()),
            (KindName::Framebuffer, ..) => return Err("kind \"framebuffer\" takes device alone".to_owned()),
            (KindName::Png, ..) => return Err("kind \"png\" takes path, width and height".to_owned()),
        };
        Ok(Self {
            kind,
            language: table.language,
            night: table.night,
        })
    }
}

impl DisplayConfig {
    /// The first value that cannot be: key, value and what is allowed.
    ///
    /// # Errors
    /// A sentence for the person who wrote the file; its key is below `appliance`.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(night) = &self.night {
            night.check().map_err(|reason| format!("display.night {reason}"))?;
        }
        match &self.kind {
            DisplayKind::None => Ok(()),
            DisplayKind::Framebuffer { device } => check_absolute("display.device", device, "/dev/fb0"),
            DisplayKind::Png { width, height, .. } if ![*width, *height].iter().all(|side| SIDES.contains(side)) => {
                Err(format!(
                    "display is {width} x {height}; sides are {} to {} pixels",
                    SIDES.start(),
                    SIDES.end()
                ))
            }
            DisplayKind::Png { path, .. } => check_absolute("display.path", path, "/run/scanside/screen.png"),
        }
    }

    /// Whether results are shown nowhere.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.kind == DisplayKind::None
    }

    /// The size that is configured; a framebuffer knows its own.
    #[must_use]
    pub fn size(&self) -> Option<Size> {
        match self.kind {
            DisplayKind::Png { width, height, .. } => Some(Size::new(width, height)),
            DisplayKind::None | DisplayKind::Framebuffer { .. } => None,
        }
    }
}
