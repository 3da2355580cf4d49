//! The tables, and how a database of an earlier version becomes one of today.
//!
//! `user_version` counts the steps that were taken. Each step is one transaction together with its number, so a power
//! cut leaves the old version or the new one.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::StoreError;

/// The steps from an empty database to today's, in order; a step that was released never changes.
const STEPS: &[&str] = &[
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
];

/// Version of the tables that this program reads and writes.
pub const VERSION: usize = STEPS.len();

/// Brings the tables to today's version.
///
/// # Errors
/// [`StoreError::Newer`] for a database of a later program; [`StoreError::Database`].
pub fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    take(connection, STEPS)
}

/// Refuses tables that this program does not know; for readers, who change nothing.
///
/// # Errors
/// [`StoreError::Newer`], [`StoreError::Older`].
pub fn check(connection: &Connection) -> Result<(), StoreError> {
    match version(connection)? {
        found if found > VERSION => Err(StoreError::Newer { found, known: VERSION }),
        found if found < VERSION => Err(StoreError::Older { found, known: VERSION }),
        _ => Ok(()),
    }
}

fn take(connection: &mut Connection, steps: &[&str]) -> Result<(), StoreError> {
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let at = version(&transaction)?;
        if at > steps.len() {
            return Err(StoreError::Newer {
                found: at,
                known: steps.len(),
            });
        }
        let Some(step) = steps.get(at) else { return Ok(()) };
        transaction.execute_batch(step)?;
        advance(&transaction, at + 1)?;
        transaction.commit()?;
    }
}

fn version(connection: &Connection) -> Result<usize, StoreError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

fn advance(transaction: &Transaction<'_>, version: usize) -> Result<(), StoreError> {
    let version = i64::try_from(version).unwrap_or(i64::MAX);
    Ok(transaction.pragma_update(None, "user_version", version)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first = ["CREATE TABLE a (x INTEGER)"];
        let both = [
            first[0],
            "ALTER TABLE a ADD COLUMN y INTEGER; INSERT INTO a VALUES (1, 2)",
        ];
        take(&mut connection, &first).unwrap();
        connection.execute("INSERT INTO a VALUES (7)", []).unwrap();
        for _ in 0..2 {
            take(&mut connection, &both).unwrap();
        }
        let rows: i64 = connection
            .query_row("SELECT count(*) FROM a", [], |row| row.get(0))
            .unwrap();
        assert_eq!((rows, version(&connection).unwrap()), (2, 2), "what was there stays");
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = [
            "CREATE TABLE a (x INTEGER)",
            "INSERT INTO a VALUES (1); INSERT INTO none VALUES (1)",
        ];
        assert!(take(&mut connection, &steps).is_err());
        let rows: i64 = connection
            .query_row("SELECT count(*) FROM a", [], |row| row.get(0))
            .unwrap();
        assert_eq!((rows, version(&connection).unwrap()), (0, 1));
    }

    #[test]
    fn tables_of_a_later_program_are_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let message = migrate(&mut connection).unwrap_err().to_string();
        assert!(message.contains("99") && message.contains("newer"), "{message}");
        assert!(matches!(check(&connection), Err(StoreError::Newer { .. })));
        let empty = Connection::open_in_memory().unwrap();
        assert!(matches!(check(&empty), Err(StoreError::Older { .. })));
    }

    #[test]
    fn todays_tables_are_sound() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        check(&connection).unwrap();
        let sound: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sound, "ok");
    }
}
