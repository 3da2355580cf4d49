//! Folders that the config names, against those that the service keeps for itself: what lies in those is its own, and what is
//! no part of it goes.

use std::path::{Component, Path, PathBuf};

use super::config::ApplianceConfig;
use crate::intake::watch_folder::{DONE, REFUSED};

/// The first folder that lies where it must not: key, folder and what is allowed.
///
/// # Errors
/// A sentence for the person who wrote the file.
pub fn check(config: &ApplianceConfig) -> Result<(), String> {
    let watched = config
        .intake
        .as_ref()
        .map(|intake| ("intake.folder", intake.folder.as_path()));
    let json = config.outbox.as_ref().and_then(|outbox| outbox.json.as_deref());
    let json = json.map(|folder| ("outbox.json", folder));
    for (key, folder) in watched.into_iter().chain(json) {
        if let Some(own) = own_folder(config, folder) {
            return Err(format!(
                "{key} is {}, which the service keeps for itself ({}); give a folder of its own, such as {}",
                folder.display(),
                own.display(),
                config
                    .state
                    .join(if key == "outbox.json" { "outgoing" } else { "inbox" })
                    .display()
            ));
        }
    }
    let (Some((_, watched)), Some((_, json))) = (watched, json) else {
        return Ok(());
    };
    let takes = [watched.to_path_buf(), watched.join(DONE), watched.join(REFUSED)];
    if takes.iter().any(|folder| plain(folder) == plain(json)) {
        return Err(format!(
            "outbox.json is {}, where intake.folder would take results for images; give another folder",
            json.display()
        ));
    }
    Ok(())
}

/// The folder of the service's own that a folder is, or lies in.
fn own_folder(config: &ApplianceConfig, folder: &Path) -> Option<PathBuf> {
    let folder = plain(folder);
    let stores = config.folders();
    let own = [
        config.slots(),
        config.monotonic(),
        config.deltas(),
        config.results(),
        config.logs(),
        config.calibration(),
        config.serving(),
        stores.incoming().to_path_buf(),
        stores.images(),
        stores.pictures(),
        stores.outbox(),
    ];
    let state = plain(&config.state);
    if folder == state {
        return Some(state);
    }
    own.into_iter().find(|own| folder.starts_with(plain(own)))
}

/// A path without detours. Links are taken as they stand: the folders may not be there yet.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(watched: &str, json: &str) -> Result<(), String> {
        let text = format!("state = \"/s\"\n[intake]\nfolder = \"{watched}\"\n[outbox]\njson = \"{json}\"\n");
        check(&toml::from_str(&text).unwrap())
    }

    #[test]
    fn folders_of_their_own_are_good() {
        checked("/s/inbox", "/s/outgoing").unwrap();
        checked("/srv/in", "/srv/in/results").unwrap();
        checked("/slots", "/s-results").unwrap();
    }

    #[test]
    fn the_services_own_folders_are_refused() {
        for (watched, json, key) in [
            ("/s", "/out", "intake.folder"),
            ("/s/images", "/out", "intake.folder"),
            ("/in/../s/./incoming/here", "/out", "intake.folder"),
            ("/in", "/s/results", "outbox.json"),
            ("/in", "/s/outbox", "outbox.json"),
        ] {
            let refusal = checked(watched, json).unwrap_err();
            assert!(refusal.starts_with(key) && refusal.contains("such as /s/"), "{refusal}");
        }
        for json in ["/in", "/in/done/"] {
            assert!(checked("/in", json).unwrap_err().contains("results for images"));
        }
    }
}
