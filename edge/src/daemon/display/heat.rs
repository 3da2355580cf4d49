//! When it is so warm that people should know, and when too warm to work. Each begins at one temperature and ends at a
//! lower one, so that nothing on the screen flickers.

use hardware::thermal::Thermal;

use crate::screens::HeatMark;

/// So near to the temperature at which the machine does something about the heat, in degrees, it is worth a mark.
const WARM: f32 = 5.0;
/// So far from it the mark goes.
const WARM_NO_MORE: f32 = 8.0;
/// So near to the temperature at which the machine switches itself off, in degrees, it must rest.
const HOT: f32 = 5.0;
/// So far from it work goes on.
const HOT_NO_MORE: f32 = 12.0;
/// Where the machine does not say when it switches itself off: in degrees Celsius.
const CRITICAL: f32 = 105.0;
/// One reading may be wrong.
const READINGS: u32 = 2;

/// How warm it is.
#[derive(Debug, Default)]
pub struct Heat {
    thermal: Thermal,
    is_warm: bool,
    is_hot: bool,
    /// Readings in a row that were hot.
    hot_readings: u32,
}

impl Heat {
    /// Takes a reading; to be called every few seconds.
    pub fn read(&mut self, thermal: Thermal) {
        let warm = if self.is_warm { WARM_NO_MORE } else { WARM };
        let is_near = thermal.margin.is_some_and(|margin| margin <= warm);
        self.is_warm = thermal.celsius.is_some() && (thermal.throttled || is_near);

        let hot = if self.is_hot { HOT_NO_MORE } else { HOT };
        let reads_hot = to_critical(&thermal).is_some_and(|margin| margin <= hot);
        self.hot_readings = if reads_hot {
            self.hot_readings.saturating_add(1)
        } else {
            0
        };
        self.is_hot = self.hot_readings >= READINGS;
        self.thermal = thermal;
    }

    /// What the status line shows; absent while it is no matter.
    #[must_use]
    pub fn mark(&self) -> Option<HeatMark> {
        let celsius = self.thermal.celsius.filter(|_| self.is_warm || self.is_hot)?;
        Some(HeatMark {
            celsius: celsius.round() as i32,
            slowed: self.thermal.throttled,
        })
    }

    /// Why it must rest, if it must.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let celsius = self.thermal.celsius.filter(|_| self.is_hot)?;
        let left = to_critical(&self.thermal)?;
        let zone = &self.thermal.zone;
        Some(format!(
            "{zone} is at {celsius:.0} °C; the machine switches itself off {left:.0} degrees above that; images wait until \
             it has cooled by {:.0}",
            (HOT_NO_MORE - left).max(1.0)
        ))
    }
}

fn to_critical(thermal: &Thermal) -> Option<f32> {
    let assumed = || Some(CRITICAL - thermal.celsius?);
    thermal.to_critical.or_else(assumed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thermal(celsius: f32) -> Thermal {
        Thermal {
            celsius: Some(celsius),
            zone: "cpu-thermal".to_owned(),
            throttled: false,
            margin: Some(80.0 - celsius),
            to_critical: Some(100.0 - celsius),
        }
    }

    #[test]
    fn the_mark_comes_near_the_first_trip_point_and_goes_lower_down() {
        let mut heat = Heat::default();
        let mut marked = |celsius| {
            heat.read(thermal(celsius));
            heat.mark().map(|mark| mark.celsius)
        };
        let found = [50.0, 74.0, 75.4, 73.0, 71.6, 75.0, 72.5].map(&mut marked);
        assert_eq!(found, [None, None, Some(75), Some(73), None, Some(75), Some(73)]);
        heat.read(Thermal {
            throttled: true,
            ..thermal(50.0)
        });
        let slowed = HeatMark {
            celsius: 50,
            slowed: true,
        };
        assert_eq!(heat.mark(), Some(slowed));
        heat.read(Thermal {
            throttled: true,
            ..Thermal::default()
        });
        assert_eq!(heat.mark(), None, "no sensor, nothing to tell");
    }

    #[test]
    fn it_rests_after_two_hot_readings_until_it_has_cooled() {
        let mut heat = Heat::default();
        let mut rests = |celsius| {
            heat.read(thermal(celsius));
            heat.fault().is_some()
        };
        assert_eq!(
            [94.0, 96.0, 94.0].map(&mut rests),
            [false; 3],
            "one reading may be wrong"
        );
        assert_eq!([95.5, 95.5, 93.0, 88.5].map(&mut rests), [false, true, true, true]);
        assert_eq!([87.9, 94.0].map(&mut rests), [false; 2]);
        for _ in 0..2 {
            heat.read(thermal(97.0));
        }
        let told = heat.fault().unwrap();
        assert!(
            told.contains("cpu-thermal is at 97 °C") && told.contains("by 9"),
            "{told}"
        );
        heat.read(Thermal::default());
        assert_eq!(heat.fault(), None, "a sensor that went away says nothing");
    }

    #[test]
    fn a_machine_that_names_no_limit_has_one_nevertheless() {
        let mut heat = Heat::default();
        for _ in 0..2 {
            heat.read(Thermal {
                to_critical: None,
                margin: None,
                ..thermal(101.0)
            });
        }
        assert!(heat.fault().is_some());
    }
}
