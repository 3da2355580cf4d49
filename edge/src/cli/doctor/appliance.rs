//! What the appliance keeps, and what it is: the store, the disk, the clock, the heat.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use hardware::clock::{Clock, Origin};
use hardware::slots::Folder;
use hardware::slots::storage::free_bytes;
use hardware::thermal::{self, Thermal};

use super::check::Check;
use crate::cli::run::NOT_BEFORE;
use crate::daemon::config::ApplianceConfig;
use crate::exit::Exit;
use crate::store::open_reader;

const MEGABYTE: u64 = 1_000_000;

/// The database can be read, and its pages fit together.
pub fn store(config: &ApplianceConfig) -> Check {
    const WHAT: &str = "store";
    let state = config.state.display();
    let damaged = |said: &str| {
        let found = format!(
            "the database in {state} is damaged ({said}); keep a copy, then restart the service, which puts it aside when it \
             meets the damage and takes over what it can"
        );
        Check::problem(WHAT, Exit::Unverified, found)
    };
    let checked = open_reader(&config.state).and_then(|database| {
        let sql = "PRAGMA integrity_check(1)";
        Ok(database.query_row(sql, [], |row| row.get::<_, String>(0))?)
    });
    match checked {
        Ok(said) if said == "ok" => Check::ok(WHAT, format!("the database in {state} is sound")),
        Ok(said) => damaged(&said),
        Err(error) if error.is_damaged() => damaged(&error.to_string()),
        Err(error) => {
            let found = format!("the cases in {state}: {error}; has the service run with this config yet?");
            Check::problem(WHAT, Exit::Failed, found)
        }
    }
}

/// As much is free as the config reserves.
pub fn space(config: &ApplianceConfig) -> Check {
    const WHAT: &str = "space";
    let (state, reserve) = (config.state.display(), config.store.reserve_bytes());
    match free_bytes(&config.state) {
        Ok(free) if free >= reserve => {
            let (free, reserve) = (free / MEGABYTE, reserve / MEGABYTE);
            Check::ok(WHAT, format!("{free} MB are free at {state}; {reserve} MB stay free"))
        }
        Ok(free) => {
            let (free, reserve) = (free / MEGABYTE, reserve / MEGABYTE);
            let found = format!(
                "{free} MB are free at {state}, less than appliance.store.reserve_megabytes ({reserve}), so that no image is \
                 taken in once no case may go; make room, or lower max_megabytes"
            );
            Check::problem(WHAT, Exit::Failed, found)
        }
        Err(error) => Check::problem(WHAT, Exit::Failed, format!("{state}: {error}; start the service once")),
    }
}

/// The time is known, also after the machine was off.
pub fn clock(config: &ApplianceConfig) -> Check {
    const WHAT: &str = "clock";
    let folder = match Folder::open_to_read(config.monotonic()) {
        Ok(folder) => folder,
        Err(error) => {
            let found = format!("{}: {error}; start the service once", config.monotonic().display());
            return Check::problem(WHAT, Exit::Failed, found);
        }
    };
    let clock = Clock::open(Arc::new(folder), NOT_BEFORE);
    let time: DateTime<Utc> = DateTime::UNIX_EPOCH + clock.now();
    let time = time.format("%Y-%m-%d %H:%M UTC");
    match clock.origin() {
        Origin::Set | Origin::System => Check::ok(WHAT, time.to_string()),
        Origin::LastSeen => {
            let found = format!(
                "{time} or later: this machine's own clock is not to be believed, so the time that it was off is missing; set \
                 it after each start with `scanside-flash time --set`, or give it a battery"
            );
            Check::problem(WHAT, Exit::Failed, found)
        }
    }
}

/// The machine is not slowed for heat. One without a sensor cannot tell.
pub fn heat(sysfs: &Path) -> Check {
    const WHAT: &str = "temperature";
    let Thermal {
        celsius,
        zone,
        throttled,
        ..
    } = thermal::read(sysfs);
    match celsius {
        None => Check::ok(
            WHAT,
            "this machine has no sensor that can be read, so nothing is told of heat",
        ),
        Some(celsius) if throttled => {
            let found =
                format!("{celsius:.0} °C ({zone}), and the machine works more slowly for it; free its air vents");
            Check::problem(WHAT, Exit::Device, found)
        }
        Some(celsius) => Check::ok(WHAT, format!("{celsius:.0} °C ({zone})")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(state: &Path, more: &str) -> ApplianceConfig {
        toml::from_str(&format!("state = {state:?}\n{more}")).unwrap()
    }

    #[test]
    fn an_appliance_that_never_ran_has_neither_store_nor_clock() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder.path().join("state"), "");
        for check in [store(&config), space(&config), clock(&config)] {
            assert_eq!(check.exit(), Exit::Failed, "{}", check.line());
            assert!(check.line().contains("PROBLEM"), "{}", check.line());
        }
    }

    #[test]
    fn a_disk_with_less_than_the_reserve_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_bytes(folder.path()).unwrap() / MEGABYTE;
        let reserve = |megabytes: u64| {
            let more = format!("[store]\nreserve_megabytes = {megabytes}");
            space(&config(folder.path(), &more)).exit()
        };
        assert_eq!([reserve(1), reserve(free * 2 + 1_000)], [Exit::Done, Exit::Failed]);
    }

    #[test]
    fn a_machine_that_is_slowed_for_heat_is_told() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(heat(root.path()).exit(), Exit::Done, "no sensor is no problem");
        let write = |folder: &str, file: &str, text: &str| {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join(file), text).unwrap();
        };
        write("thermal_zone0", "temp", "61000");
        write("thermal_zone0", "type", "cpu-thermal");
        assert!(heat(root.path()).line().contains("ok: 61 °C (cpu-thermal)"));
        write("cooling_device0", "type", "cpufreq-cpu0");
        write("cooling_device0", "cur_state", "2");
        assert_eq!(heat(root.path()).exit(), Exit::Device);
    }
}
