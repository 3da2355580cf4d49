//! The structured report, as other programs read it.

use std::process::Command;

use dicom_dictionary_std::tags;
use imaging::Limits;
use scanside_edge::decision::DecisionKind;
use scanside_edge::outbox::{self, Case, CaseImage, Kind};

use crate::cases::{self, ALL, Examined, device, each_kind, examine};
use crate::peers::{self, printed, script};
use crate::support::{Says, place};

#[test]
fn dsrdump_shows_the_report() {
    let Some(cases) = each_kind() else { return };
    if !peers::program("dsrdump", "dcmtk") {
        return;
    }
    let folder = place().unwrap().out("outbox-dsr");
    let text = |examined: &Examined| {
        let file = examined.file(Kind::StructuredReport, &folder);
        printed(Command::new("dsrdump").args(["+Pc", "+Pt", "+Pl"]).arg(file))
    };
    let flagged = text(&cases[0]);
    println!("{flagged}");
    let wanted = [
        "Comprehensive 3D SR",
        "(126000,DCM,\"Imaging Measurement Report\")",
        "TID 1500 (DCMR)",
        "(121071,DCM,\"Finding\")=(840539006,SCT,\"COVID-19\")",
        "(decision,99SCANSIDE,\"Triage decision\")=(flagged,99SCANSIDE,\"Flagged\")",
        "(111012,DCM,\"Certainty of Finding\")",
        "(75570004,SCT,\"Viral pneumonia\")",
        "(no-finding,99SCANSIDE,\"No finding\")",
        "(111001,DCM,\"Algorithm Name\")=\"example-triage\"",
        "bundle sha256:",
        "(399208008,SCT,\"Plain chest X-ray\")",
        "(121012,DCM,\"Device Observer UID\")=\"2.25.",
        "Triage aid - not a diagnosis",
        "Verification Flag   : UNVERIFIED",
    ];
    for wanted in wanted {
        assert!(flagged.contains(wanted), "{wanted} is missing in\n{flagged}");
    }
    let none = text(&cases[1]);
    assert!(
        none.contains("\"Finding\")=(not-flagged,99SCANSIDE,\"No finding flagged\")"),
        "{none}"
    );
    assert!(!none.to_lowercase().contains("normal"), "{none}");
    let uncertain = text(&cases[2]);
    let reason = "(reason,99SCANSIDE,\"Reason of the decision\")=(outside-intended-use-age,99SCANSIDE,";
    assert!(uncertain.contains(reason), "{uncertain}");
    assert!(
        uncertain.contains("4 years old") && !uncertain.contains("\"Finding\")=(840539006"),
        "{uncertain}"
    );
    let unreadable = text(&cases[3]);
    assert!(unreadable.contains("=(under-exposed,99SCANSIDE,"), "{unreadable}");
    assert!(!unreadable.contains("Certainty of Finding"), "{unreadable}");
}

#[test]
fn highdicom_reads_the_measurement_report() {
    let Some(cases) = each_kind() else { return };
    if !peers::python("highdicom") {
        return;
    }
    let folder = place().unwrap().out("outbox-highdicom");
    for examined in &cases {
        let file = examined.file(Kind::StructuredReport, &folder);
        let capture = examined.file(Kind::SecondaryCapture, &folder);
        let read = printed(
            script("outbox/measurement_report.py")
                .arg(&file)
                .arg(&examined.path)
                .arg(&capture),
        );
        let read: serde_json::Value = serde_json::from_str(&read).unwrap();
        let finding = &examined.examination.finding;
        let groups = read["groups"].as_array().unwrap();
        assert_eq!(groups.len(), 1);
        let group = &groups[0];
        let found = match examined.kind() {
            DecisionKind::Flagged => "840539006",
            DecisionKind::NoFindingFlagged => "not-flagged",
            DecisionKind::Uncertain => "uncertain",
            DecisionKind::NotReadable => "not-readable",
        };
        assert_eq!(group["finding"], found, "{}", examined.name);
        let certainties = group["certainties"].as_array().unwrap();
        assert_eq!(certainties.len(), finding.probabilities.len());
        let codes = ["no-finding", "840539006", "75570004"];
        assert_eq!(cases::labels(), ["normal", "covid19", "viral_pneumonia"]);
        for ((read, ours), code) in certainties.iter().zip(&finding.probabilities).zip(codes) {
            assert_eq!(read["label"], code);
            assert_eq!(read["unit"], "%");
            let percent = read["value"].as_f64().unwrap();
            assert!(
                (percent - f64::from(ours.probability) * 100.0).abs() < 1e-3,
                "{read} {ours:?}"
            );
            assert_eq!(read["operating_point"].is_null(), ours.operating_point.is_none());
        }
        let reasons: Vec<_> = finding
            .decision
            .reasons
            .iter()
            .map(|r| r.code.as_str().into())
            .collect();
        assert_eq!(group["reasons"], serde_json::Value::Array(reasons));
        assert_eq!(read["observer"]["manufacturer"], "Scanside");
        assert_eq!(read["observer"]["uid"].as_str().unwrap(), device().uid());
        assert_eq!(group["of_image"], true);
    }
}

#[test]
fn a_case_of_several_images_has_a_group_for_each() {
    let Some(place) = place() else { return };
    if !peers::python("highdicom") {
        return;
    }
    let mut second = cases::radiograph("054Y", 0.9);
    let uid = b"1.2.826.0.1.3680043.8.498.1\0";
    // It stands in the file meta group, too.
    while let Some(at) = second.windows(uid.len()).position(|part| part == uid) {
        second[at + uid.len() - 2] = b'9';
    }
    let paths = [
        place.write("outbox-first.dcm", &cases::radiograph("054Y", 1.0)),
        place.write("outbox-second.dcm", &second),
    ];
    let examined: Vec<_> = paths.iter().map(|path| examine("one", path, Says::Finding)).collect();
    let images = [0, 1].map(|index| CaseImage {
        examination: &examined[index].examination,
        path: &paths[index],
        member: index as u32 + 1,
    });
    let case = Case {
        images: &images,
        manifest: &examined[0].manifest,
    };
    let built = outbox::build(&case, ALL, &device(), &Limits::default()).unwrap();
    let names: Vec<_> = built.objects.iter().map(|object| object.kind).collect();
    assert_eq!(
        names,
        [Kind::SecondaryCapture, Kind::StructuredReport, Kind::Json, Kind::Json]
    );
    assert_eq!(built.objects[3].id, "260131-0007-2.json");
    let folder = place.out("outbox-several");
    let report = cases::write(&built.objects[1], &folder);
    let capture = cases::write(&built.objects[0], &folder);
    let read = printed(
        script("outbox/measurement_report.py")
            .arg(&report)
            .arg(&paths[1])
            .arg(&capture),
    );
    let read: serde_json::Value = serde_json::from_str(&read).unwrap();
    let of_second: Vec<_> = read["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["of_image"].clone())
        .collect();
    assert_eq!(of_second, [false, true]);
    assert_eq!(read["library"].as_array().unwrap().len(), 2);
    if peers::program("dciodvfy", "dicom3tools") {
        assert_eq!(peers::dciodvfy(&report), Vec::<String>::new());
    }
}

#[test]
fn a_series_is_reported_as_the_screen_says_it_though_one_slice_would_be_flagged() {
    let Some(series) = cases::series(20) else { return };
    let built = cases::build_series(&series);
    let kinds: Vec<_> = built.objects.iter().map(|object| object.kind).collect();
    assert_eq!(kinds, [Kind::SecondaryCapture, Kind::StructuredReport, Kind::Json]);
    let json: serde_json::Value = serde_json::from_slice(&built.objects[2].bytes).unwrap();
    assert_eq!(json["decision"]["kind"], "no-finding-flagged");
    assert_eq!(json["series"]["slice_alone"]["kind"], "flagged");
    assert_eq!(json["series"]["slices"], 20);
    let folder = place().unwrap().out("outbox-series");
    let [capture, report] = [0, 1].map(|index| cases::write(&built.objects[index], &folder));
    let read = dicom_object::open_file(&capture).unwrap();
    let said = read
        .element(tags::IMAGE_COMMENTS)
        .unwrap()
        .to_str()
        .unwrap()
        .into_owned();
    assert!(said.starts_with("No finding flagged"), "{said}");
    if peers::program("dsrdump", "dcmtk") {
        let text = printed(Command::new("dsrdump").args(["+Pc", "+Pt", "+Pl"]).arg(&report));
        let findings: Vec<&str> = text.lines().filter(|line| line.contains("\"Finding\")=")).collect();
        assert_eq!(findings.len(), 1, "{text}");
        assert!(findings[0].contains("not-flagged"), "{text}");
        let decisions = text.matches("\"Triage decision\")=").count();
        assert!(decisions == 1 && !text.contains("Flagged:"), "{text}");
        assert_eq!(text.matches("A slice that weighs much").count(), 2, "{text}");
    }
    if peers::python("highdicom") {
        let read = printed(
            script("outbox/measurement_report.py")
                .arg(&report)
                .arg(&series[1].path)
                .arg(&capture),
        );
        let read: serde_json::Value = serde_json::from_str(&read).unwrap();
        let groups = read["groups"].as_array().unwrap();
        assert_eq!(groups.len(), 3);
        assert_eq!(groups[0]["finding"], "not-flagged");
        assert!(
            groups[1]["finding"].is_null() && groups[2]["finding"].is_null(),
            "{read}"
        );
        assert_eq!(groups[2]["of_image"], true);
    }
    if peers::program("dciodvfy", "dicom3tools") {
        for object in [&capture, &report] {
            assert_eq!(peers::dciodvfy(object), Vec::<String>::new());
        }
    }
}
