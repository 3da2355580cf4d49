//! The objects, as other programs read them.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use imaging::Limits;
use scanside_edge::decision::DecisionKind;
use scanside_edge::outbox::{self, Case, CaseImage, Kind, Wanted};

use crate::cases::{self, ALL, Examined, build_series, device, each_kind, examine, other_sources};
use crate::peers::{self, printed};
use crate::support::{Says, chest, place, root};

fn everything() -> Option<Vec<Examined>> {
    let mut all = each_kind()?;
    if peers::program("img2dcm", "dcmtk") {
        all.extend(other_sources()?);
    }
    Some(all)
}

/// In a folder of their own, since the objects of all decisions on one image have the same names.
fn capture_and_report(examined: &Examined) -> Vec<PathBuf> {
    let folder = tempfile::tempdir_in(place().unwrap().out("outbox")).unwrap().keep();
    let built = examined.build(ALL);
    let objects = built.objects.iter().filter(|object| object.kind != Kind::Json);
    objects.map(|object| cases::write(object, &folder)).collect()
}

#[test]
fn each_kind_of_decision_is_among_the_cases() {
    let Some(cases) = each_kind() else { return };
    let kinds: Vec<_> = cases.iter().map(Examined::kind).collect();
    let wanted = [
        DecisionKind::Flagged,
        DecisionKind::NoFindingFlagged,
        DecisionKind::Uncertain,
        DecisionKind::NotReadable,
    ];
    assert_eq!(kinds, wanted);
}

#[test]
fn dciodvfy_finds_no_error() {
    let Some(cases) = everything() else { return };
    if !peers::program("dciodvfy", "dicom3tools") {
        return;
    }
    let mut wrong = Vec::new();
    for examined in &cases {
        let files = capture_and_report(examined);
        let expected = if examined.name == "cut" { 1 } else { 2 };
        assert_eq!(files.len(), expected, "{}", examined.name);
        for file in files {
            let errors = peers::dciodvfy(&file);
            wrong.extend(errors.into_iter().map(|error| format!("{}: {error}", examined.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // That the check can fail.
    let file = capture_and_report(&cases[0]).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(3).position(|part| part == b"YES").unwrap();
    bytes[at..at + 3].copy_from_slice(b"YEP");
    fs::write(&file, bytes).unwrap();
    assert!(!peers::dciodvfy(&file).is_empty());
}

#[test]
fn objects_of_real_images_have_no_error_either() {
    let data = std::env::var_os("SCANSIDE_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let Ok(pattern) = fs::read_dir(data.join("dicom")) else {
        eprintln!("skipped: no development data at {}; set SCANSIDE_DATA", data.display());
        return;
    };
    if place().is_none() || !peers::program("dciodvfy", "dicom3tools") {
        return;
    }
    let mut folders: Vec<PathBuf> = pattern.flatten().map(|entry| entry.path()).collect();
    let (mut wrong, mut objects) = (Vec::new(), 0);
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            folders.extend(fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
            continue;
        }
        if path.extension().is_some_and(|ending| ending == "xml" || ending == "md") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let examined = examine(&name, &path, Says::Finding);
        for file in capture_and_report(&examined) {
            objects += 1;
            // A UID that the image has is the archive's key, whatever its root.
            let errors = peers::dciodvfy(&file).into_iter();
            let errors = errors.filter(|error| !error.contains("Illegal root for UID"));
            wrong.extend(errors.map(|error| format!("{name}: {error}")));
        }
    }
    assert!(
        wrong.is_empty() && objects > 0,
        "{objects} objects\n{}",
        wrong.join("\n")
    );
    println!("{objects} objects of real images");
}

#[test]
fn patient_and_study_are_those_of_the_image() {
    let Some(cases) = each_kind() else { return };
    if !peers::program("dcmdump", "dcmtk") {
        return;
    }
    let dump = |file: &PathBuf| printed(Command::new("dcmdump").args(["-q", "+U8"]).arg(file));
    let value = |dump: &str, tag: &str| {
        let line = dump.lines().find(|line| line.starts_with(tag));
        let line = line.unwrap_or_else(|| panic!("{tag} is missing in\n{dump}"));
        line.split('#').next().unwrap()[15..].trim().to_owned()
    };
    let image = dump(&cases[0].path);
    for file in capture_and_report(&cases[0]) {
        let object = dump(&file);
        let same = [
            "(0008,0020)",
            "(0008,0030)",
            "(0008,0050)",
            "(0008,0090)",
            "(0008,0201)",
            "(0008,1030)",
            "(0010,0010)",
            "(0010,0020)",
            "(0010,0021)",
            "(0010,0030)",
            "(0010,0040)",
            "(0010,1010)",
            "(0020,000d)",
            "(0020,0010)",
        ];
        for tag in same {
            // dcmdump shows UTF-8 once it was told what the text is in.
            assert_eq!(value(&object, tag), value(&image, tag), "{tag}");
        }
        assert!(value(&object, "(0010,0010)").contains("Müller^Jörg"), "{object}");
        for tag in ["(0008,0018)", "(0020,000e)"] {
            assert_ne!(value(&object, tag), value(&image, tag));
            assert!(value(&object, tag).starts_with("[2.25."));
        }
        // 13:32 UTC in the image's zone.
        assert_eq!(value(&object, "(0008,0033)"), "[143205]");
    }
}

#[test]
fn the_capture_says_what_it_is() {
    let Some(place) = place() else { return };
    if !peers::program("img2dcm", "dcmtk") {
        return;
    }
    let dump = |examined: &Examined| {
        let file = examined.file(Kind::SecondaryCapture, &place.out("outbox-says"));
        printed(Command::new("dcmdump").args(["-q", "+L", "-Un"]).arg(file))
    };
    let lossless = dump(&each_kind().unwrap()[0]);
    let wanted = [
        "(0002,0010) UI [1.2.840.10008.1.2.1]",
        "(0008,0008) CS [DERIVED\\SECONDARY]",
        "(0008,0064) CS [WSD]",
        "(0008,0016) UI [1.2.840.10008.5.1.4.1.1.7]",
        "    (0008,1155) UI [1.2.826.0.1.3680043.8.498.1]",
        "        (0008,0100) SH [121322]",
        "(0028,0004) CS [RGB]",
        "(0028,0301) CS [YES]",
        "(0028,2110) CS [00]",
        "(0020,4000) LT [Flagged: COVID-19 pattern. Triage aid - not a diagnosis.]",
        "bundle sha256:",
    ];
    for wanted in wanted {
        assert!(lossless.contains(wanted), "{wanted} is missing in\n{lossless}");
    }
    let sources = other_sources().unwrap();
    let converted = sources.iter().find(|examined| examined.name == "img2dcm").unwrap();
    let lossy = dump(converted);
    for wanted in ["(0028,2110) CS [01]", "(0028,2114) CS [ISO_10918_1]"] {
        assert!(lossy.contains(wanted), "{wanted} is missing in\n{lossy}");
    }
}

#[test]
fn names_keep_their_bytes_in_every_character_set() {
    let Some(place) = place() else { return };
    let name: &[u8] = b"M\xFCller^J\xF6rg ";
    let sets: [(&str, &[u8]); 6] = [
        ("ISO_IR 192 ", "Müller^Jör".as_bytes()),
        ("ISO_IR 144 ", b"\xBB\xEE\xDA^\xDB\xD0\xDD\xD0 XYZ"),
        ("ISO_IR 148 ", b"\xC7avu\xFEo\xF0lu^A  "),
        ("\\ISO 2022 IR 87", b"A^B=\x1B$B;3ED\x1B(B"),
        ("GB18030 ", b"Wang^X=\xCD\xF5^\xD0\xA1\xB6"),
        ("ISO_IR 100", name),
    ];
    for (set, bytes) in sets {
        let mut bytes = bytes.to_vec();
        bytes.resize(name.len(), b' ');
        let mut file = cases::radiograph("054Y", 1.0);
        let replace = |file: &mut Vec<u8>, from: &[u8], to: &[u8]| {
            let at = file.windows(from.len()).position(|part| part == from).unwrap();
            file.splice(at..at + from.len(), to.iter().copied());
        };
        replace(&mut file, name, &bytes);
        let set = format!("{}{}", set.trim_end(), " ".repeat(set.trim_end().len() % 2));
        let length = (set.len() as u16).to_le_bytes();
        let coded = [b"\x08\0\x05\0CS".as_slice(), &length, set.as_bytes()].concat();
        replace(&mut file, b"\x08\0\x05\0CS\x0A\0ISO_IR 100", &coded);
        let examined = examine(&set, &place.write("outbox-set.dcm", &file), Says::Finding);
        assert_eq!(examined.kind(), DecisionKind::Flagged, "{set}");
        let kept = bytes.trim_ascii_end();
        let built = examined.build(ALL);
        for object in &built.objects[..2] {
            let has = |part: &[u8]| object.bytes.windows(part.len()).any(|window| window == part);
            assert!(has(kept) && has(set.trim_end().as_bytes()), "{set} {:?}", object.kind);
        }
    }
}

#[test]
fn a_retry_makes_the_same_objects_and_another_model_others() {
    let Some(cases) = each_kind() else { return };
    let ids = |examined: &Examined| -> Vec<String> {
        let built = examined.build(ALL);
        assert!(built.left_out.is_empty(), "{:?}", built.left_out);
        built.objects.iter().map(|object| object.id.clone()).collect()
    };
    assert_eq!(cases[0].build(ALL), cases[0].build(ALL), "byte by byte");
    let all: HashSet<String> = cases.iter().take(2).flat_map(ids).collect();
    assert_eq!(all.len(), 5, "two pictures, two reports, and one file of one case");
}

#[test]
fn a_series_that_went_on_has_other_objects_and_a_retry_the_same() {
    let Some(series) = cases::series(20) else { return };
    let ids = |series: &[Examined]| -> Vec<String> {
        let built = build_series(series);
        built.objects.into_iter().map(|object| object.id).collect()
    };
    let first = ids(&series);
    assert_eq!(first, ids(&series));
    assert_eq!(first.len(), 3, "one picture, one report, one file");
    assert_eq!(first[2], "260131-0007.json");
    let Some(longer) = cases::series(21) else { return };
    let alone = ids(&series[..1]);
    for other in [ids(&longer), alone] {
        assert!(other[0] != first[0] && other[1] != first[1], "{other:?}");
        assert_eq!(other[2], first[2], "the file is replaced");
    }
}

#[test]
fn what_is_not_wanted_is_not_built_and_what_is_no_dicom_gives_json_only() {
    let Some(place) = place() else { return };
    let png = place.path("outbox.png");
    chest(300, 260).save(&png).unwrap();
    let examined = examine("png", &png, Says::Finding);
    let built = examined.build(ALL);
    assert_eq!(built.objects.len(), 1);
    assert_eq!(built.objects[0].id, "260131-0007.json");
    let finding: serde_json::Value = serde_json::from_slice(&built.objects[0].bytes).unwrap();
    assert_eq!(finding["decision"]["kind"], "flagged");
    let kinds: Vec<Kind> = built.left_out.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::SecondaryCapture, Kind::StructuredReport]);
    assert!(built.left_out[0].1.contains("not an image"), "{:?}", built.left_out);
    let nothing = Wanted {
        secondary_capture: false,
        structured_report: false,
        json: false,
    };
    assert!(examined.build(nothing).objects.is_empty());
    // A file that is away now may be there later.
    fs::remove_file(&png).unwrap();
    let image = CaseImage {
        examination: &examined.examination,
        path: &png,
        member: 1,
    };
    let case = Case {
        images: &[image],
        manifest: &examined.manifest,
    };
    assert!(outbox::build(&case, ALL, &device(), &Limits::default()).is_err());
}

/// The pictures are left in the build's temporary folder, to be looked at.
#[test]
fn any_viewer_shows_the_picture() {
    let Some(cases) = each_kind() else { return };
    if !peers::program("dcm2pnm", "dcmtk") {
        return;
    }
    let folder = place().unwrap().out("outbox-picture");
    let shown_in = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut pictures = Vec::new();
    for examined in &cases {
        let file = examined.file(Kind::SecondaryCapture, &folder);
        let shown = shown_in.join(format!("capture, {}.ppm", examined.name));
        let sent = fs::read(&file).unwrap();
        printed(Command::new("dcm2pnm").arg(&file).arg(&shown));
        let pnm = fs::read(&shown).unwrap();
        let header = b"P6\n1440 810\n255\n";
        assert!(pnm.starts_with(header), "{:?}", &pnm[..20]);
        assert!(sent.ends_with(&pnm[header.len()..]), "{}: other pixels", examined.name);
        pictures.push(pnm);
    }
    let differ: HashSet<_> = pictures.into_iter().collect();
    assert_eq!(differ.len(), 4);
}

/// Heat in the middle of the right lung, which is on the left.
fn heated(mut examined: Examined) -> Examined {
    for map in &mut examined.examination.finding.heatmaps {
        let columns = map.size[1];
        let [rows, width] = map.size.map(|side| side as f32);
        for (index, value) in map.values.iter_mut().enumerate() {
            let (y, x) = ((index / columns) as f32 / rows, (index % columns) as f32 / width);
            *value = (-((y - 0.4).hypot(x - 0.25) / 0.2).powi(2)).exp();
        }
    }
    examined
}

#[test]
fn the_overlay_stands_beside_the_original() {
    let Some(place) = place() else { return };
    let source = place.write("outbox-heated.dcm", &cases::radiograph("054Y", 1.0));
    let examined = heated(examine("heated", &source, Says::Finding));
    let built = examined.build(ALL);
    let bytes = &built.objects[0].bytes;
    let (width, height) = (1440, 810);
    let pixels = &bytes[bytes.len() - width * height * 3..];
    let shown = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capture, heated.ppm");
    let header = format!("P6\n{width} {height}\n255\n");
    fs::write(shown, [header.as_bytes(), pixels].concat()).unwrap();
    let coloured = |from: usize, to: usize| {
        let inside = (from * height / 100..to * height / 100).flat_map(|y| (0..width).map(move |x| (x, y)));
        let coloured = inside.filter(|(x, y)| {
            let at = (y * width + x) * 3;
            pixels[at..at + 3].iter().max().unwrap() - pixels[at..at + 3].iter().min().unwrap() > 40
        });
        coloured.map(|(x, _)| x).collect::<Vec<_>>()
    };
    // Between the case's number and the captions.
    let columns = coloured(30, 60);
    let third = width / 3;
    let count = |part: usize| columns.iter().filter(|x| **x / third == part).count();
    assert_eq!(count(0), 0, "the original is grey");
    assert!(count(1) > 5000, "{}", count(1));
}
