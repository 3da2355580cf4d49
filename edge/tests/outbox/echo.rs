//! `outbox echo`: whether an archive of others is there and knows this appliance, as a person asks.

use std::fs;
use std::process::Output;
use std::sync::PoisonError;

use serde_json::Value;

use crate::archives::ONE_AT_A_TIME;
use crate::peers;
use crate::peers::servers::{free_port, storescp};
use crate::support::{code, program, stderr, stdout};

/// What the program says of an archive on this port.
fn echo(folder: &tempfile::TempDir, archive: &str, options: &[&str]) -> Output {
    let config = folder.path().join("edge.toml");
    let state = folder.path().join("state");
    fs::write(&config, format!("[appliance]\nstate = {state:?}\n{archive}")).unwrap();
    let mut command = program();
    command.args(["outbox", "echo", "--config"]).arg(config).args(options);
    command.output().unwrap()
}

fn section(port: u16) -> String {
    format!(
        "[appliance.outbox]\nae_title = \"WARD_3\"\n\
         [appliance.outbox.archive]\naddress = \"127.0.0.1:{port}\"\nae_title = \"ARCHIVE\"\n"
    )
}

#[test]
fn an_archive_that_answers_is_told() {
    if peers::dcmtk("storescp").is_none() {
        return;
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let server = storescp(free_port(), &folder.path().join("store"), &[]);
    let said = echo(&folder, &section(server.port), &[]);
    assert_eq!(code(&said), 0, "{}", stderr(&said));
    let expected = format!("archive ARCHIVE at 127.0.0.1:{} answers WARD_3", server.port);
    assert!(stdout(&said).contains(&expected), "{}", stdout(&said));
    assert!(server.log().contains("Received Echo Request"), "{}", server.log());
    let said = echo(&folder, &section(server.port), &["--json"]);
    let report: Value = serde_json::from_str(&stdout(&said)).unwrap();
    assert_eq!((code(&said), &report["answers"]), (0, &Value::Bool(true)), "{report}");
    assert!(
        !folder.path().join("state").exists(),
        "nothing of the appliance is needed"
    );
}

#[test]
fn an_archive_that_does_not_answer_is_told_with_what_to_check() {
    if peers::dcmtk("storescp").is_none() {
        return;
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let said = echo(&folder, &section(port), &[]);
    assert_eq!(code(&said), 5, "{}", stdout(&said));
    assert!(stderr(&said).contains("cannot be reached"), "{}", stderr(&said));
    let _refusing = storescp(port, &folder.path().join("store"), &["--refuse"]);
    let said = echo(&folder, &section(port), &["--json"]);
    let report: Value = serde_json::from_str(&stdout(&said)).unwrap();
    assert_eq!((code(&said), &report["answers"]), (5, &Value::Bool(false)), "{report}");
    let problem = report["problem"].as_str().unwrap();
    assert!(
        problem.contains("refused the association") && problem.contains("WARD_3"),
        "{problem}"
    );
}

#[test]
fn an_archive_that_takes_no_echo_is_told_so() {
    if peers::dcmtk("storescp").is_none() {
        return;
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let profile = "[[TransferSyntaxes]]\n[Plain]\nTransferSyntax1 = LittleEndianExplicit\n\
                   [[PresentationContexts]]\n[Pictures]\n\
                   PresentationContext1 = SecondaryCaptureImageStorage\\Plain\n\
                   [[Profiles]]\n[PicturesOnly]\nPresentationContexts = Pictures\n";
    let path = folder.path().join("storescp.cfg");
    fs::write(&path, profile).unwrap();
    let options = ["-xf", path.to_str().unwrap(), "PicturesOnly"];
    let server = storescp(free_port(), &folder.path().join("store"), &options);
    let said = echo(&folder, &section(server.port), &[]);
    assert_eq!(code(&said), 5, "{}", stdout(&said));
    assert!(
        stderr(&said).contains("does not accept verification"),
        "{}",
        stderr(&said)
    );
}

#[test]
fn without_an_archive_there_is_nobody_to_ask() {
    let folder = tempfile::tempdir().unwrap();
    let said = echo(&folder, "", &[]);
    assert_eq!(code(&said), 2, "{}", stdout(&said));
    assert!(
        stderr(&said).contains("[appliance.outbox.archive] is missing"),
        "{}",
        stderr(&said)
    );
}
