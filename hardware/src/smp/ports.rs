//! Which serial ports this computer has.

use std::path::Path;

use serialport::{SerialPortType, available_ports};

/// A serial port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundPort {
    /// What to open.
    pub path: String,
    /// What hangs on it, if it hangs on USB.
    pub usb: Option<Usb>,
}

/// What a USB device says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usb {
    /// Number of its vendor.
    pub vendor: u16,
    /// Number of the product.
    pub product_id: u16,
    /// Name of its manufacturer.
    pub manufacturer: Option<String>,
    /// Name of the product.
    pub product: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
}

/// The serial ports of this computer, those on USB first; none where the system cannot tell.
#[must_use]
pub fn available() -> Vec<FoundPort> {
    // Without this folder the library panics.
    if cfg!(target_os = "linux") && !Path::new("/sys/class/tty").is_dir() {
        return Vec::new();
    }
    let found = available_ports().unwrap_or_default();
    let mut ports: Vec<FoundPort> = found.into_iter().map(port).collect();
    ports.sort_by(|a, b| (a.usb.is_none(), &a.path).cmp(&(b.usb.is_none(), &b.path)));
    ports
}

fn port(found: serialport::SerialPortInfo) -> FoundPort {
    let usb = match found.port_type {
        SerialPortType::UsbPort(usb) => Some(Usb {
            vendor: usb.vid,
            product_id: usb.pid,
            manufacturer: usb.manufacturer,
            product: usb.product,
            serial: usb.serial_number,
        }),
        _ => None,
    };
    FoundPort {
        path: found.port_name,
        usb,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_on_usb_come_first() {
        let ports = available();
        let built_in = ports.iter().position(|port| port.usb.is_none()).unwrap_or(ports.len());
        assert!(ports[built_in..].iter().all(|port| port.usb.is_none()));
    }
}
