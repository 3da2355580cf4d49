//! Which port, if the engineer names none: the only one that fits. No byte is sent to find out, for nobody knows what
//! else hangs on a serial port.

use hardware::smp::ports::{FoundPort, available};

use crate::exit::Failure;

/// How well a port fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Built in, or something else: taken only if named.
    No,
    /// A USB serial adapter: perhaps.
    Perhaps,
    /// It calls itself Scanside, or is a Linux computer as a USB serial gadget.
    Yes,
}

/// USB vendor and product of Linux's serial gadgets: g_serial as CDC ACM and as plain serial, composite gadgets.
const GADGETS: &[(u16, u16)] = &[(0x0525, 0xa4a7), (0x0525, 0xa4a6), (0x1d6b, 0x0104)];

/// How well a port fits.
#[must_use]
pub fn fit(port: &FoundPort) -> Fit {
    let Some(usb) = &port.usb else {
        return Fit::No;
    };
    let words = [&usb.manufacturer, &usb.product].map(|text| text.as_deref().unwrap_or_default().to_lowercase());
    if words.iter().any(|text| text.contains("scanside")) || GADGETS.contains(&(usb.vendor, usb.product_id)) {
        return Fit::Yes;
    }
    Fit::Perhaps
}

/// The only port that fits.
///
/// # Errors
/// None does, or several do.
pub fn only_port() -> Result<String, Failure> {
    only(&available())
}

fn only(ports: &[FoundPort]) -> Result<String, Failure> {
    let advice = "name it: --port PORT; `scanside-flash ports` lists them all";
    for wanted in [Fit::Yes, Fit::Perhaps] {
        let fitting: Vec<&str> = ports
            .iter()
            .filter(|port| fit(port) == wanted)
            .map(|port| port.path.as_str())
            .collect();
        match fitting.as_slice() {
            [] => {}
            [one] => return Ok((*one).to_owned()),
            several => {
                return Err(Failure::usage(
                    format!("several ports fit: {}", several.join(", ")),
                    advice,
                ));
            }
        }
    }
    Err(Failure::usage(
        "no port was named, and no USB serial port is plugged in",
        advice,
    ))
}

#[cfg(test)]
mod tests {
    use hardware::smp::ports::Usb;

    use super::*;

    fn usb(path: &str, vendor: u16, product_id: u16, product: &str) -> FoundPort {
        FoundPort {
            path: path.to_owned(),
            usb: Some(Usb {
                vendor,
                product_id,
                product: Some(product.to_owned()),
                ..Usb::default()
            }),
        }
    }

    #[test]
    fn the_only_one_that_fits_best_is_taken() {
        let built_in = FoundPort {
            path: "/dev/ttyS0".to_owned(),
            usb: None,
        };
        let adapter = usb("/dev/ttyUSB0", 0x0403, 0x6001, "FT232R");
        let gadget = usb("/dev/ttyACM0", 0x0525, 0xa4a7, "Gadget Serial");
        let named = usb("/dev/ttyACM1", 0x1209, 1, "Scanside appliance");
        assert!(only(&[]).is_err() && only(std::slice::from_ref(&built_in)).is_err());
        assert_eq!(only(&[built_in.clone(), adapter.clone()]).unwrap(), "/dev/ttyUSB0");
        assert_eq!(
            only(&[built_in, adapter.clone(), gadget.clone()]).unwrap(),
            "/dev/ttyACM0"
        );
        assert_eq!(only(&[adapter.clone(), named.clone()]).unwrap(), "/dev/ttyACM1");
        let several = only(&[gadget, named]).unwrap_err();
        assert!(
            several.message.contains("/dev/ttyACM0, /dev/ttyACM1"),
            "{}",
            several.message
        );
        let other = usb("/dev/ttyUSB1", 0x0403, 0x6001, "FT232R");
        assert!(only(&[adapter, other]).is_err());
    }
}
