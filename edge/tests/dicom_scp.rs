//! The DICOM port against dcmtk's senders: what they push is kept byte by byte, and what is not wanted is refused with
//! the standard's reason.

mod dicom;
mod peers;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dicom::{Port, converted, data_set, files, goldens, said, shared_data};
use peers::servers::{Server, free_port};
use scanside_edge::implementation;
use scanside_edge::intake::arrival::Origin;
use scanside_edge::intake::dicom_scp::sop_classes::{STORAGE, VERIFICATION};

const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";

/// The part of its folder that the reference receives into.
const RECEIVED: &str = "received";

/// dcmtk's own receiver, which keeps what it receives bit by bit.
struct Reference {
    port: u16,
    folder: tempfile::TempDir,
    _server: Server,
}

impl Reference {
    /// With `first` as the transfer syntax that it likes best.
    fn start(first: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new(peers::dcmtk("storescp").expect("asked for before"));
        let profile = tempfile::NamedTempFile::new().unwrap();
        fs::write(&profile, every_context(first)).unwrap();
        command.args(["--bit-preserving", "--max-pdu", "131072", "--config-file"]);
        command.arg(profile.path()).args(["Every", "--output-directory"]);
        let received = folder.path().join(RECEIVED);
        fs::create_dir(&received).unwrap();
        command.arg(received).arg(port.to_string());
        Self {
            port,
            _server: Server::start(command, port, &folder.path().join("log")),
            folder,
        }
    }

    /// The data set that it received last, and no more.
    fn take(&self) -> Vec<u8> {
        let [file] = files(&self.folder.path().join(RECEIVED)).try_into().expect("one file");
        let bytes = data_set(&file);
        fs::remove_file(file).unwrap();
        bytes
    }
}

/// What we accept, in the words of dcmtk's asconfig.txt: its `--accept-all` leaves out JPEG process 14. storescp chooses
/// in its own order, we in the sender's, where implicit VR is the last.
fn every_context(first: &'static str) -> String {
    let ends = [first, IMPLICIT_LITTLE];
    let others = imaging::decode::transfer_syntaxes().filter(|uid| !ends.contains(uid));
    let last = [IMPLICIT_LITTLE].into_iter().filter(|uid| *uid != first);
    let syntaxes = [first].into_iter().chain(others).chain(last).enumerate();
    let syntaxes = syntaxes.map(|(number, uid)| format!("TransferSyntax{} = {uid}\n", number + 1));
    let classes = STORAGE.iter().chain([&VERIFICATION]).enumerate();
    let classes = classes.map(|(number, uid)| format!("PresentationContext{} = {uid}\\Every\n", number + 1));
    format!(
        "[[TransferSyntaxes]]\n[Every]\n{}[[PresentationContexts]]\n[Every]\n{}[[Profiles]]\n[Every]\nPresentationContexts = Every\n",
        syntaxes.collect::<String>(),
        classes.collect::<String>()
    )
}

/// Sends each file by itself to both receivers (so that each negotiation is about that file), and compares what they hold.
/// The reference takes `first` where it may choose.
fn push_and_compare(sender: &str, options: &[&str], first: &'static str, sent: &[PathBuf]) -> Port {
    let port = Port::open("");
    let reference = Reference::start(first);
    let mut kept = 0;
    for file in sent {
        let output = port.dcmtk(sender, options, std::slice::from_ref(file));
        assert!(
            output.status.success(),
            "{}: {} {}",
            file.display(),
            said(&output),
            port.last_problem()
        );
        let mut command = Command::new(sender);
        command
            .args(options)
            .args(["127.0.0.1", &reference.port.to_string()])
            .arg(file);
        assert!(command.output().unwrap().status.success());
        let wanted = reference.take();
        let arrivals = port.shelf.arrivals();
        // An object that was pushed before is known, and kept as it came first.
        if arrivals.len() > kept {
            kept = arrivals.len();
            let arrival = arrivals.last().unwrap();
            assert!(
                data_set(&arrival.path) == wanted,
                "{} differs from what storescp received",
                file.display()
            );
            assert_eq!(arrival.known.bytes.unwrap(), fs::metadata(&arrival.path).unwrap().len());
            let source = Origin::Dicom {
                calling_ae: "TEST_SCU".to_owned(),
                peer: "127.0.0.1".to_owned(),
            };
            assert_eq!(arrival.origin, source);
        }
    }
    let figures = port.figures();
    assert_eq!(figures.objects, sent.len() as u64);
    assert_eq!((figures.failed, figures.rejected, figures.last_problem), (0, 0, None));
    port
}

/// dcmdump reads every file that was stored, and finds our name and the object's in its meta information.
fn check_with_dcmdump(port: &Port) {
    for arrival in port.shelf.arrivals() {
        let output = Command::new("dcmdump")
            .args(["--quiet", "-Un"])
            .arg(&arrival.path)
            .output()
            .unwrap();
        let text = said(&output);
        assert!(output.status.success(), "{text}");
        let meta: Vec<&str> = text.lines().filter(|line| line.starts_with("(0002,")).collect();
        let has = |tag: &str, value: &str| {
            let wanted = format!("[{value}]");
            assert!(
                meta.iter().any(|line| line.starts_with(tag) && line.contains(&wanted)),
                "{tag} {value}: {meta:?}"
            );
        };
        let known = arrival.known;
        has("(0002,0002)", &known.sop_class_uid.unwrap());
        has("(0002,0003)", &known.sop_instance_uid.unwrap());
        has("(0002,0010)", &known.transfer_syntax_uid.unwrap());
        has("(0002,0012)", implementation::CLASS_UID);
        has("(0002,0013)", implementation::VERSION_NAME);
        has("(0002,0016)", "TEST_SCU");
    }
}

/// Copies of the goldens, each with an instance of its own, and one of JPEG Baseline that calls itself JPEG Extended, which
/// holds for every such stream.
fn distinct_goldens(folder: &Path) -> Vec<PathBuf> {
    for golden in goldens() {
        fs::copy(&golden, folder.join(golden.file_name().unwrap())).unwrap();
    }
    let mut extended = fs::read(folder.join("lossy_jpeg_q95.dcm")).unwrap();
    let baseline = b"1.2.840.10008.1.2.4.50";
    let at = extended
        .windows(baseline.len())
        .position(|bytes| bytes == baseline)
        .unwrap();
    extended[at + baseline.len() - 1] = b'1';
    fs::write(folder.join("extended.dcm"), extended).unwrap();
    let copies = files(folder);
    let modified = Command::new("dcmodify")
        .args(["--no-backup", "-gin"])
        .args(&copies)
        .output()
        .unwrap();
    assert!(modified.status.success(), "{}", said(&modified));
    copies
}

#[test]
fn every_transfer_syntax_that_is_decoded_is_kept_as_it_was_sent() {
    if peers::dcmtk("echoscu").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sent = distinct_goldens(folder.path());
    let named = |beginning: &str| -> Vec<PathBuf> {
        let is = |file: &&PathBuf| file.file_name().unwrap().to_str().unwrap().starts_with(beginning);
        sent.iter().filter(is).cloned().collect()
    };
    // Without decompression, and yet dcmsend proposes uncompressed images in explicit little endian first.
    let ports = [
        push_and_compare("dcmsend", &["--decompress-never"], EXPLICIT_LITTLE, &sent),
        push_and_compare("storescu", &["--propose-big"], EXPLICIT_BIG, &named("big_")),
        push_and_compare(
            "storescu",
            &["--propose-implicit"],
            IMPLICIT_LITTLE,
            &named("implicit_"),
        ),
    ];
    ports.iter().for_each(check_with_dcmdump);
    let arrivals = ports.iter().flat_map(|port| port.shelf.arrivals());
    let syntaxes: BTreeSet<String> = arrivals
        .filter_map(|arrival| arrival.known.transfer_syntax_uid)
        .collect();
    assert_eq!(
        syntaxes,
        imaging::decode::transfer_syntaxes().map(str::to_owned).collect()
    );
}

#[test]
fn dcmsend_and_storescu_push_all_development_images() {
    let (Some(_), Some(data)) = (peers::dcmtk("echoscu"), shared_data()) else {
        return;
    };
    let mut sent = files(&data.join("dicom"));
    // Nobody can send what does not say which object it is.
    sent.retain(|file| !file.to_string_lossy().contains("Headless"));
    assert!(sent.len() > 20, "{}", sent.len());
    check_with_dcmdump(&push_and_compare(
        "dcmsend",
        &["--read-file", "--decompress-never"],
        EXPLICIT_LITTLE,
        &sent,
    ));
    let little: Vec<_> = sent
        .iter()
        .filter(|file| file.to_string_lossy().contains("lungpetct"))
        .cloned()
        .collect();
    push_and_compare("storescu", &[], EXPLICIT_LITTLE, &little);
}

#[test]
fn x_rays_converted_by_img2dcm_arrive_with_modality_and_body_part() {
    let (Some(_), Some(data)) = (peers::dcmtk("echoscu"), shared_data()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let jpegs: Vec<_> = files(&data.join("xray")).into_iter().step_by(100).collect();
    let sent = converted(&jpegs, folder.path());
    let port = push_and_compare("dcmsend", &["--decompress-never"], EXPLICIT_LITTLE, &sent);
    let limits = imaging::Limits::default();
    for arrival in port.shelf.arrivals() {
        let source = imaging::decode::decode_path(&arrival.path, &limits);
        // Some of the JPEGs have three channels, which DICOM says and the display will.
        let Ok(source) = source else { continue };
        let meta = source.meta();
        assert_eq!(
            (meta.modality.as_deref(), meta.body_part.as_deref()),
            (Some("CR"), Some("CHEST"))
        );
    }
}

#[test]
fn one_association_carries_many_objects_and_a_second_push_is_known() {
    if peers::dcmtk("echoscu").is_none() {
        return;
    }
    let port = Port::open("");
    let folder = tempfile::tempdir().unwrap();
    let mut sent = distinct_goldens(folder.path());
    sent.retain(|file| file.to_string_lossy().contains("explicit_"));
    let push = || {
        let output = port.dcmtk("dcmsend", &[], &sent);
        assert!(output.status.success(), "{}", said(&output));
    };
    push();
    assert_eq!((port.figures().associations, port.figures().repeated), (1, 0));
    let first = port.shelf.files();
    push();
    let figures = port.figures();
    assert_eq!(
        (figures.objects, figures.repeated),
        (2 * sent.len() as u64, sent.len() as u64)
    );
    assert_eq!(port.shelf.files(), first, "nothing is kept twice");
    port.wait_for("the end of the associations", |figures| figures.open == 0);
}

#[test]
fn echoscu_hears_the_port_and_who_is_not_known_hears_why_not() {
    if peers::dcmtk("echoscu").is_none() {
        return;
    }
    let port = Port::open("");
    let output = port.dcmtk("echoscu", &["--verbose"], &[]);
    assert!(
        output.status.success() && said(&output).contains("Echo Response (Success)"),
        "{}",
        said(&output)
    );
    for (option, name, reason, told) in [
        (
            "-aec",
            "ANY-SCP",
            "Called AE Title Not Recognized",
            "appliance.dicom.ae_title",
        ),
        (
            "-aet",
            "STRANGER",
            "Calling AE Title Not Recognized",
            "appliance.dicom.calling",
        ),
    ] {
        let output = port.dcmtk("echoscu", &[option, name], &[]);
        assert!(
            !output.status.success() && said(&output).contains(reason),
            "{}",
            said(&output)
        );
        assert!(
            said(&output).contains("Result: Rejected Permanent, Source: Service User"),
            "{}",
            said(&output)
        );
        let problem = port.last_problem();
        assert!(problem.contains(name) && problem.contains(told), "{problem}");
    }
    assert_eq!(port.figures().rejected, 2);
}

#[test]
fn what_is_not_decoded_is_refused_in_negotiation() {
    if peers::dcmtk("echoscu").is_none() {
        return;
    }
    let port = Port::open("");
    let golden = goldens()
        .into_iter()
        .find(|file| file.ends_with("explicit_16_12_u.dcm"))
        .unwrap();
    for (option, shown) in [
        ("--propose-mpeg2", "MPEG2"),
        ("--propose-mpeg4", "MPEG4"),
        ("--propose-hevc", "HEVC"),
    ] {
        let options = ["--debug", "--required", option];
        let output = port.dcmtk("storescu", &options, std::slice::from_ref(&golden));
        let text = said(&output);
        assert!(text.contains("Transfer Syntaxes Not Supported"), "{shown}: {text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let magnetic = folder.path().join("mr.dcm");
    fs::copy(&golden, &magnetic).unwrap();
    let class = "SOPClassUID=1.2.840.10008.5.1.4.1.1.4";
    let modified = Command::new("dcmodify")
        .args(["--no-backup", "-m", class])
        .arg(&magnetic)
        .output()
        .unwrap();
    assert!(modified.status.success(), "{}", said(&modified));
    let output = port.dcmtk("storescu", &["--debug", "--required"], &[magnetic]);
    assert!(
        said(&output).contains("Abstract Syntax Not Supported"),
        "{}",
        said(&output)
    );
    assert!(port.shelf.arrivals().is_empty());
}
