//! What a privacy level leaves out is nowhere: not in the database, not in its log, not in a free page.

use std::fs;

use scanside_edge::intake::arrival::Origin;
use scanside_edge::store::config::{Keep, StoreConfig};
use scanside_edge::store::privacy::Privacy;

use crate::{CLEAR, Said, Shelf, config, radiograph};

fn shelf(privacy: Privacy) -> Shelf {
    let config = StoreConfig {
        privacy,
        keep: Keep::Nothing,
        ..config()
    };
    let shelf = Shelf::with(config, Vec::new());
    let said = Said {
        name: "Wiśniewska^Zofia",
        id: "IDENT-98765",
        ..radiograph("1.1", "1")
    };
    let image = shelf.take(&said.bytes());
    let mut file = shelf.incoming(b"a picture");
    file.origin = Origin::Folder {
        name: "zofia_w.png".into(),
    };
    shelf.store.take_in(&file).unwrap();
    shelf.judge(image, CLEAR);
    shelf
}

/// Every byte that the database has on the disk.
fn written(shelf: &Shelf) -> String {
    let names = ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"];
    let bytes = names
        .iter()
        .flat_map(|name| fs::read(shelf.folder.path().join(name)).unwrap_or_default());
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}

#[test]
fn each_level_keeps_what_it_says_and_writes_no_more() {
    let texts = ["Wiśniewska", "Zofia", "IDENT", "98765", "ACC-4711", "zofia_w"];
    for (privacy, kept) in [(Privacy::Full, texts.len()), (Privacy::Initials, 0), (Privacy::None, 0)] {
        let shelf = shelf(privacy);
        let written = written(&shelf);
        assert!(written.contains("260314-0001"), "the case is there");
        let found: Vec<_> = texts.iter().filter(|text| written.contains(**text)).collect();
        assert_eq!(found.len(), kept, "{privacy:?}: {found:?}");
        let patient = shelf.store.case("260314-0001").unwrap().case.patient;
        let wanted = match privacy {
            Privacy::Full => (Some("Zofia Wiśniewska"), Some("IDENT-98765")),
            Privacy::Initials => (Some("Z. W."), Some("…765")),
            Privacy::None => (None, None),
        };
        assert_eq!((patient.name.as_deref(), patient.id.as_deref()), wanted);
    }
}

#[test]
fn the_audit_trail_and_the_key_hold_no_name() {
    let shelf = shelf(Privacy::Full);
    let tool = shelf.tool();
    let mut statement = tool.prepare("SELECT event || subject || detail FROM audit").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let text: Vec<String> = rows.map(Result::unwrap).collect();
    let text = text.join("\n");
    assert!(text.contains("image-received"), "{text}");
    for name in ["Wiśniewska", "Zofia", "IDENT", "zofia_w"] {
        assert!(!text.contains(name), "{text}");
    }
}

#[test]
fn a_deleted_name_does_not_stay_in_a_free_page() {
    let mut shelf = shelf(Privacy::Full);
    shelf.tool().execute_batch("UPDATE cases SET filed = 1").unwrap();
    let image = shelf.store.next_waiting(&[]).unwrap().unwrap().image;
    shelf.judge(image, CLEAR);
    shelf.tool().execute_batch("UPDATE cases SET filed = 1").unwrap();
    shelf.pass(91 * 86_400);
    // The clock of retention needs to see the time pass.
    let mut deleted = 0;
    for _ in 0..14 {
        let elapsed = Some(std::time::Duration::from_secs(7 * 86_400));
        deleted += shelf.store.tidy(shelf.now, elapsed).unwrap().too_old;
    }
    assert_eq!(deleted, 2);
    shelf.tool().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let written = written(&shelf);
    assert!(!written.contains("Zofia") && !written.contains("98765"));
}
