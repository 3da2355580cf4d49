//! Whatever is done to the trail behind the store's back is found.

use std::fs;
use std::process::Output;
use std::sync::Arc;

use hardware::slots::Folder;
use scanside_edge::store::audit::{AuditHead, Event, Head, NoHead, verify};
use serde_json::json;

use crate::Shelf;
use crate::support::{code, program, stderr, stdout};

/// A trail of `rows` rows, and its head as it was written down.
fn trail(rows: usize) -> (Shelf, Head) {
    let shelf = Shelf::new();
    for row in 0..rows {
        let detail = json!({ "row": row });
        shelf
            .store
            .note(shelf.now, Event::Result, "260314-0001", &detail)
            .unwrap();
    }
    let head = shelf.store.audit_head().unwrap();
    (shelf, head)
}

/// What a check finds after `damage`, which an intruder does with a tool of their own.
fn after(damage: &str) -> Vec<String> {
    let (shelf, head) = trail(9);
    let tool = shelf.tool();
    tool.execute_batch(damage).unwrap();
    verify(&tool, Ok(head)).unwrap().problems
}

/// Lets a tool change what the rules forbid, and puts the rules back.
fn around_the_rules(change: &str) -> String {
    let rules = include_str!("../../src/store/schema/0001.sql");
    let rules = &rules[rules.find("CREATE TRIGGER audit_keeps_rows").unwrap()..];
    format!(
        "DROP TRIGGER audit_keeps_rows; DROP TRIGGER audit_keeps_content; DROP TRIGGER audit_is_appended; {change}; {rules}"
    )
}

#[test]
fn an_untouched_trail_is_sound() {
    let (shelf, head) = trail(9);
    let found = verify(&shelf.tool(), Ok(head.clone())).unwrap();
    assert_eq!((found.rows, found.hash, found.problems), (9, head.hash, vec![]));
    shelf
        .store
        .note(shelf.now, Event::Sent, "260314-0001", &json!({}))
        .unwrap();
    let later = verify(
        &shelf.tool(),
        Ok(Head {
            rows: 9,
            ..found.head.unwrap()
        }),
    )
    .unwrap();
    assert_eq!((later.rows, later.problems), (10, vec![]), "the head may be behind");
}

#[test]
fn the_table_itself_forbids_changes() {
    let (shelf, _) = trail(3);
    let tool = shelf.tool();
    for change in [
        "UPDATE audit SET event = 'x' WHERE seq = 2",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE seq = 3",
        "INSERT INTO audit VALUES (7, 0, '', '', '', x'', x'')",
        "INSERT INTO audit VALUES (2, 0, '', '', '', x'', x'')",
        "INSERT OR REPLACE INTO audit VALUES (2, 0, '', '', '', x'', x'')",
        "UPDATE OR REPLACE audit SET seq = 3 WHERE seq = 2",
    ] {
        let error = tool.execute_batch(change).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{change}: {error}");
    }
}

#[test]
fn a_change_of_any_column_is_found_at_its_row() {
    for change in [
        "time = time + 1",
        "event = 'sent'",
        "subject = '260314-0002'",
        "detail = '{}'",
        "subject = subject || event, event = ''",
    ] {
        let problems = after(&around_the_rules(&format!("UPDATE audit SET {change} WHERE seq = 4")));
        assert_eq!(problems, ["row 4 was changed"], "{change}");
    }
    let problems = after(&around_the_rules("UPDATE audit SET hash = zeroblob(32) WHERE seq = 4"));
    assert_eq!(problems, ["row 4 was changed"]);
    let problems = after(&around_the_rules(
        "UPDATE audit SET previous = zeroblob(32) WHERE seq = 4",
    ));
    assert_eq!(problems, ["row 4 does not follow row 3"]);
    let problems = after(&around_the_rules("UPDATE audit SET detail = 7.5 WHERE seq = 4"));
    assert!(problems[0].contains("row 4"), "{problems:?}");
}

#[test]
fn rows_that_are_gone_or_swapped_are_found() {
    let problems = after(&around_the_rules("DELETE FROM audit WHERE seq = 5"));
    assert_eq!(problems, ["row 5 is missing: row 6 follows row 4"]);
    let gap = "DELETE FROM audit WHERE seq = 5; UPDATE audit SET seq = seq - 1 WHERE seq > 5";
    assert_eq!(after(&around_the_rules(gap)), ["row 5 does not follow row 4"]);
    let swap = "UPDATE audit SET seq = 100 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; \
                UPDATE audit SET seq = 4 WHERE seq = 100";
    assert_eq!(after(&around_the_rules(swap)), ["row 3 does not follow row 2"]);
}

#[test]
fn a_tail_that_was_cut_off_is_found_by_the_head() {
    let problems = after(&around_the_rules("DELETE FROM audit WHERE seq > 6"));
    assert_eq!(problems, ["rows 7 to 9 were cut off: 9 rows were written down"]);
    let problems = after(&around_the_rules("DELETE FROM audit"));
    assert_eq!(problems, ["rows 1 to 9 were cut off: 9 rows were written down"]);
}

#[test]
fn a_trail_that_was_written_anew_is_found_by_the_head() {
    let (shelf, _) = trail(9);
    let (_other, head) = {
        let shelf = Shelf::new();
        for row in 0..9 {
            let detail = json!({ "forged": row });
            shelf
                .store
                .note(shelf.now, Event::Result, "260314-0001", &detail)
                .unwrap();
        }
        let head = shelf.store.audit_head().unwrap();
        (shelf, head)
    };
    let problems = verify(&shelf.tool(), Ok(head)).unwrap().problems;
    assert_eq!(problems, ["row 9 is not the one that was written down"]);
}

#[test]
fn rules_that_are_gone_are_told() {
    let problems = after("DROP TRIGGER audit_keeps_rows");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("audit_keeps_rows"), "{problems:?}");
}

#[test]
fn the_head_is_kept_apart_and_read_beside_a_running_service() {
    let (shelf, head) = trail(2);
    let path = shelf.folder.path().join("monotonic");
    let mut kept = AuditHead::open(Arc::new(Folder::open(&path).unwrap()));
    assert_eq!(kept.head(), Err(NoHead::Absent));
    kept.write(head.clone()).unwrap();
    let reader = Folder::open_to_read(&path).unwrap();
    assert_eq!(AuditHead::open(Arc::new(reader)).head(), Ok(&head));
}

#[test]
fn a_service_that_ran_has_a_head_and_one_that_is_gone_is_a_problem() {
    let (shelf, head) = trail(2);
    let problems = |head| verify(&shelf.tool(), head).unwrap().problems;
    assert!(problems(Err(NoHead::Absent)).is_empty(), "no service ran yet");
    let detail = json!({});
    shelf
        .store
        .note(shelf.now, Event::ServiceStarted, "service", &detail)
        .unwrap();
    assert!(problems(Ok(head)).is_empty());
    for (why, word) in [(NoHead::Absent, "is missing"), (NoHead::Damaged, "is damaged")] {
        let found = problems(Err(why));
        assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
        assert!(found[0].contains("cut off"), "{found:?}");
    }
}

#[test]
fn the_verb_verifies_with_the_head_and_says_when_it_is_gone() {
    let (shelf, _) = trail(2);
    let detail = json!({});
    shelf
        .store
        .note(shelf.now, Event::ServiceStarted, "service", &detail)
        .unwrap();
    let state = shelf.folder.path();
    let monotonic = state.join("monotonic");
    let config = state.join("edge.toml");
    fs::write(&config, format!("[appliance]\nstate = {state:?}\n")).unwrap();
    let verified = || -> Output {
        let mut command = program();
        command
            .args(["audit", "verify", "--config"])
            .arg(&config)
            .output()
            .unwrap()
    };
    let said = verified();
    assert_eq!(code(&said), 4, "there is no folder: {}{}", stdout(&said), stderr(&said));
    let folder = Arc::new(Folder::open(&monotonic).unwrap());
    AuditHead::open(folder)
        .write(shelf.store.audit_head().unwrap())
        .unwrap();
    let said = verified();
    assert_eq!(code(&said), 0, "{}{}", stdout(&said), stderr(&said));
    for copy in ["audit.0", "audit.1"] {
        fs::write(monotonic.join(copy), "no head").unwrap();
    }
    let said = verified();
    assert_eq!(code(&said), 4, "{}", stdout(&said));
    assert!(stdout(&said).contains("is damaged"), "{}", stdout(&said));
    for copy in ["audit.0", "audit.1"] {
        fs::remove_file(monotonic.join(copy)).unwrap();
    }
    let said = verified();
    assert_eq!(code(&said), 4, "{}", stdout(&said));
    assert!(
        stdout(&said).contains("NOT sound") && stdout(&said).contains("is missing"),
        "{}",
        stdout(&said)
    );
}
