//! `ports`.

use std::path::Path;

use hardware::smp::Framing;
use hardware::smp::ports::{FoundPort, available};
use serde_json::{Value, json};

use super::Context;
use crate::choose::{Fit, fit};
use crate::exit::Failure;
use crate::session::likely_framing;

pub fn run(context: &Context<'_>) -> Result<(), Failure> {
    let ports = available();
    let text = match ports.as_slice() {
        [] => "no serial ports; plug the cable in, and check that your user may use serial ports".to_owned(),
        ports => ports.iter().map(line).collect::<Vec<_>>().join("\n"),
    };
    let value: Vec<Value> = ports.iter().map(object).collect();
    context.result("ports", json!({ "ports": value }), &text)
}

fn framing(port: &FoundPort) -> &'static str {
    match likely_framing(Path::new(&port.path)) {
        Framing::Raw => "raw",
        Framing::Console => "console",
    }
}

fn fits(port: &FoundPort) -> &'static str {
    match fit(port) {
        Fit::Yes => "fits",
        Fit::Perhaps => "may fit",
        Fit::No => "",
    }
}

fn line(port: &FoundPort) -> String {
    let usb = port.usb.as_ref().map_or("built in".to_owned(), |usb| {
        let names = [&usb.manufacturer, &usb.product, &usb.serial];
        let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
        format!("USB {:04x}:{:04x} {}", usb.vendor, usb.product_id, names.join(", "))
    });
    let line = format!("{:<16} {:<8} {:<8} {usb}", port.path, fits(port), framing(port));
    line.trim_end().to_owned()
}

fn object(port: &FoundPort) -> Value {
    let usb = port.usb.as_ref().map(|usb| {
        json!({
            "vendor": usb.vendor,
            "product_id": usb.product_id,
            "manufacturer": usb.manufacturer,
            "product": usb.product,
            "serial": usb.serial,
        })
    });
    json!({ "port": port.path, "fits": fits(port), "framing": framing(port), "usb": usb })
}
