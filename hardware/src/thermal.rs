//! How warm the machine is, and whether its processor is slowed for it: the kernel's thermal zones and cooling devices
//! (`Documentation/ABI/testing/sysfs-class-thermal`).

use std::fs;
use std::path::Path;

/// Where the kernel shows them.
pub const SYSFS: &str = "/sys/class/thermal";
/// Temperatures that a working sensor can have, in thousandths of a degree Celsius; a broken one says -274,000 or
/// 255,000.
const PLAUSIBLE: std::ops::RangeInclusive<i64> = -55_000..=175_000;
/// Kinds of cooling devices that make the machine slower instead of making wind.
const SLOWING: [&str; 6] = ["processor", "cpufreq", "cpu-freq", "devfreq", "intel_powerclamp", "cpu"];

/// What the sensors say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Thermal {
    /// The warmest zone in degrees Celsius; absent where the machine has no sensor.
    pub celsius: Option<f32>,
    /// Kind of that zone: `cpu-thermal`.
    pub zone: String,
    /// Whether a cooling device slows the processor or the accelerator.
    pub throttled: bool,
    /// How far the zone is below the first trip point at which something is done about the heat, in degrees; absent
    /// where the zone names none.
    pub margin: Option<f32>,
    /// How far the zone that is nearest to it is below the temperature at which the machine switches itself off, in
    /// degrees; absent where no zone names one.
    pub to_critical: Option<f32>,
}

/// Reads zones and cooling devices below `root` ([`SYSFS`], or a folder like it). What cannot be read is left out: a
/// machine without sensors has none.
#[must_use]
pub fn read(root: &Path) -> Thermal {
    let Ok(entries) = fs::read_dir(root) else {
        return Thermal::default();
    };
    let mut thermal = Thermal::default();
    let mut hottest = None;
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with("thermal_zone") {
            let Some(zone) = zone(&path) else { continue };
            let nearest = [thermal.to_critical, zone.to_critical.map(degrees)];
            thermal.to_critical = nearest.into_iter().flatten().reduce(f32::min);
            if hottest.is_some_and(|most| zone.temperature <= most) {
                continue;
            }
            hottest = Some(zone.temperature);
            thermal.celsius = Some(degrees(zone.temperature));
            (thermal.zone, thermal.margin) = (zone.kind, zone.margin.map(degrees));
        } else if name.starts_with("cooling_device") {
            thermal.throttled |= slows(&path);
        }
    }
    thermal
}

/// A zone, in thousandths of a degree.
struct Zone {
    temperature: i64,
    kind: String,
    /// To the first trip point that acts.
    margin: Option<i64>,
    to_critical: Option<i64>,
}

fn zone(path: &Path) -> Option<Zone> {
    let temperature = number(&path.join("temp")).filter(|value| PLAUSIBLE.contains(value))?;
    let trips: Vec<(String, i64)> = (0..).map_while(|index| trip(path, index)).collect();
    // An active trip point only starts a fan; zero and below stand for a trip point that is not set.
    let first = |kinds: &[&str]| {
        let of_kind = trips
            .iter()
            .filter(|(kind, at)| kinds.contains(&kind.as_str()) && *at > 0);
        of_kind.map(|(_, at)| at - temperature).min()
    };
    Some(Zone {
        temperature,
        kind: text(&path.join("type")).unwrap_or_default(),
        margin: first(&["passive", "hot", "critical"]),
        to_critical: first(&["critical"]),
    })
}

/// Kind and temperature of a trip point of a zone; `None` where there are no more.
fn trip(zone: &Path, index: usize) -> Option<(String, i64)> {
    let kind = text(&zone.join(format!("trip_point_{index}_type")))?;
    let temperature = number(&zone.join(format!("trip_point_{index}_temp")));
    Some((kind, temperature.unwrap_or_default()))
}

fn slows(path: &Path) -> bool {
    let kind = text(&path.join("type")).unwrap_or_default().to_lowercase();
    let slowing = SLOWING.iter().any(|known| kind.contains(known)) && !kind.contains("fan");
    slowing && number(&path.join("cur_state")).is_some_and(|state| state > 0)
}

fn degrees(thousandths: i64) -> f32 {
    thousandths as f32 / 1e3
}

fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn number(path: &Path) -> Option<i64> {
    text(path)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(entries: &[(&str, &[(&str, &str)])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (name, files) in entries {
            let folder = root.path().join(name);
            fs::create_dir(&folder).expect("a folder");
            for (file, text) in *files {
                fs::write(folder.join(file), format!("{text}\n")).expect("written");
            }
        }
        root
    }

    #[test]
    fn the_warmest_zone_counts_and_broken_sensors_do_not() {
        let root = machine(&[
            ("thermal_zone0", &[("type", "gpu-thermal"), ("temp", "48500")]),
            (
                "thermal_zone1",
                &[
                    ("type", "cpu-thermal"),
                    ("temp", "61250"),
                    ("trip_point_0_type", "active"),
                    ("trip_point_0_temp", "50000"),
                    ("trip_point_1_type", "passive"),
                    ("trip_point_1_temp", "80000"),
                    ("trip_point_2_type", "critical"),
                    ("trip_point_2_temp", "100000"),
                ],
            ),
            (
                "thermal_zone5",
                &[
                    ("type", "board"),
                    ("temp", "52000"),
                    ("trip_point_0_type", "critical"),
                    ("trip_point_0_temp", "85000"),
                ],
            ),
            ("thermal_zone2", &[("type", "modem"), ("temp", "-274000")]),
            ("thermal_zone3", &[("type", "battery"), ("temp", "255000")]),
            ("thermal_zone4", &[("type", "nothing")]),
        ]);
        let thermal = read(root.path());
        assert_eq!(
            thermal,
            Thermal {
                celsius: Some(61.25),
                zone: "cpu-thermal".to_owned(),
                throttled: false,
                margin: Some(18.75),
                to_critical: Some(33.0),
            }
        );
    }

    #[test]
    fn a_slowed_processor_is_throttled_and_a_turning_fan_is_not() {
        let cooled = |kind, state| {
            let root = machine(&[("cooling_device0", &[("type", kind), ("cur_state", state)])]);
            read(root.path()).throttled
        };
        for kind in ["Processor", "cpufreq-cpu0", "thermal-cpufreq-0", "thermal-devfreq-0"] {
            assert!(cooled(kind, "1") && !cooled(kind, "0"), "{kind}");
        }
        for kind in ["pwm-fan", "Fan", "cpu-fan", "LCD"] {
            assert!(!cooled(kind, "3"), "{kind}");
        }
    }

    #[test]
    fn a_machine_without_sensors_has_none() {
        assert_eq!(read(Path::new("/no/such/folder")), Thermal::default());
        assert_eq!(read(machine(&[]).path()), Thermal::default());
    }
}
