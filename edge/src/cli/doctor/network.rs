//! What the appliance has to do with others: the port that scanners send to, and the archive.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use super::check::Check;
use crate::exit::Exit;
use crate::intake::dicom_scp::config::DicomConfig;
use crate::outbox::sender::{self, Archive};

const PORT: &str = "DICOM port";
/// How long the own service has for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The port can be listened on, or the service listens there.
pub fn dicom(config: &DicomConfig) -> Check {
    let address = config.address;
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(
            PORT,
            format!("{address} is free for the service, which does not listen there now"),
        ),
        Err(error) if error.kind() == ErrorKind::AddrInUse => in_use(config),
        Err(error) => {
            let found = format!(
                "{address} cannot be listened on: {error}; check appliance.dicom.address, and that the network is up"
            );
            Check::problem(PORT, Exit::Device, found)
        }
    }
}

/// Whoever listens there should answer as the service does.
fn in_use(config: &DicomConfig) -> Check {
    let own = Archive {
        address: config.address.to_string(),
        called_ae: config.ae_title.clone(),
        calling_ae: config.calling.first().cloned().unwrap_or_default(),
        connect: PATIENCE,
        answer: PATIENCE,
        max_pdu_bytes: 16_384,
    };
    let address = config.address;
    match sender::echo(&own) {
        Ok(()) => Check::ok(
            PORT,
            format!("{address} is served, and answers C-ECHO as {}", config.ae_title),
        ),
        Err(_) if !config.peers.is_empty() => {
            let found = format!(
                "{address} is in use; that it is by the service cannot be asked, because of appliance.dicom.peers"
            );
            Check::ok(PORT, found)
        }
        Err(error) => {
            let found = format!(
                "{address} is in use, but not as {}: {error}; `ss -ltnp` shows by which program",
                config.ae_title
            );
            Check::problem(PORT, Exit::Device, found)
        }
    }
}

/// The archive answers and knows this appliance.
pub fn archive(archive: &Archive) -> Check {
    let answers = sender::echo(archive);
    let found = answers.map(|()| format!("{archive} answers {} (C-ECHO)", archive.calling_ae));
    Check::device("archive", found.map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(address: &str, more: &str) -> DicomConfig {
        toml::from_str(&format!("address = \"{address}\"\ncalling = [\"A\"]\n{more}")).unwrap()
    }

    #[test]
    fn a_port_is_free_or_not_this_machines_or_in_use_by_another_program() {
        let free = dicom(&config("127.0.0.1:0", ""));
        assert_eq!(free.exit(), Exit::Done, "{}", free.line());
        // TEST-NET-1 (RFC 5737): no machine has it.
        let strange = dicom(&config("192.0.2.1:11112", ""));
        assert_eq!(strange.exit(), Exit::Device, "{}", strange.line());
        assert!(strange.line().contains("appliance.dicom.address"), "{}", strange.line());
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap().to_string();
        // It hangs up on whoever comes.
        std::thread::spawn(move || other.incoming().for_each(drop));
        let taken = dicom(&config(&address, ""));
        assert_eq!(taken.exit(), Exit::Device, "{}", taken.line());
        assert!(
            taken.line().contains("is in use, but not as SCANSIDE"),
            "{}",
            taken.line()
        );
        let unasked = dicom(&config(&address, "peers = [\"192.0.2.7\"]"));
        assert_eq!(unasked.exit(), Exit::Done, "{}", unasked.line());
    }
}
