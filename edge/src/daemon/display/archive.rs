//! The cases as the display reads them: each question is asked once for each change of the store.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use crate::controls::{CaseId, Cases};
use crate::store::cases::CaseRecord;
use crate::store::{Store, StoreError};

/// The store, with what was read of it since it last changed.
pub struct Archive {
    store: Arc<Store>,
    version: Cell<i64>,
    newest: Cell<Option<Option<CaseId>>>,
    records: RefCell<HashMap<CaseId, Option<Arc<CaseRecord>>>>,
    positions: RefCell<HashMap<CaseId, [usize; 2]>>,
    around: RefCell<Option<(CaseId, Vec<CaseRecord>)>>,
    told: RefCell<String>,
}

impl Archive {
    /// Of a store.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            version: Cell::default(),
            newest: Cell::default(),
            records: RefCell::default(),
            positions: RefCell::default(),
            around: RefCell::default(),
            told: RefCell::default(),
        }
    }

    /// Forgets what was read if the store changed; gives a number that differs after each change.
    pub fn refresh(&self) -> i64 {
        let version = self.read(Store::version).unwrap_or_else(|| self.version.get() + 1);
        if self.version.replace(version) != version {
            self.newest.set(None);
            self.records.borrow_mut().clear();
            self.positions.borrow_mut().clear();
            *self.around.borrow_mut() = None;
        }
        version
    }

    /// The store itself.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Reads something of the store; what fails is told once and is not there.
    pub fn read<T>(&self, question: impl FnOnce(&Store) -> Result<T, StoreError>) -> Option<T> {
        match question(&self.store) {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.tell(&error);
                None
            }
        }
    }

    fn tell(&self, error: &StoreError) {
        let problem = error.to_string();
        if *self.told.borrow() != problem {
            tracing::error!("the display cannot read the cases: {problem}");
            *self.told.borrow_mut() = problem;
        }
    }

    /// A case; `None` if it was deleted.
    pub fn record(&self, case: CaseId) -> Option<Arc<CaseRecord>> {
        if let Some(record) = self.records.borrow().get(&case) {
            return record.clone();
        }
        let record = self.read(|store| store.case_by_id(case)).flatten().map(Arc::new);
        self.records.borrow_mut().insert(case, record.clone());
        record
    }

    /// Which case it is of how many.
    pub fn position(&self, case: CaseId) -> Option<[usize; 2]> {
        if let Some(position) = self.positions.borrow().get(&case) {
            return Some(*position);
        }
        let position = self.read(|store| store.position_of(case))?;
        self.positions.borrow_mut().insert(case, position);
        Some(position)
    }

    /// A case with `rows` newer and older ones.
    pub fn around(&self, case: CaseId, rows: u32) -> Vec<CaseRecord> {
        if let Some((of, cases)) = &*self.around.borrow()
            && *of == case
        {
            return cases.clone();
        }
        let cases = self.read(|store| store.cases_around(case, rows)).unwrap_or_default();
        *self.around.borrow_mut() = Some((case, cases.clone()));
        cases
    }
}

impl Cases for Archive {
    fn newest(&self) -> Option<CaseId> {
        if let Some(newest) = self.newest.get() {
            return newest;
        }
        let newest = self.read(Store::newest_case).flatten();
        self.newest.set(Some(newest));
        newest
    }

    fn before(&self, case: CaseId) -> Option<CaseId> {
        self.read(|store| store.case_before(case)).flatten()
    }

    fn after(&self, case: CaseId) -> Option<CaseId> {
        self.read(|store| store.case_after(case)).flatten()
    }

    fn contains(&self, case: CaseId) -> bool {
        self.record(case).is_some()
    }

    fn needs_eyes(&self, case: CaseId) -> bool {
        self.record(case).is_some_and(|record| {
            let open = record
                .summary
                .as_ref()
                .is_some_and(|summary| summary.decision.needs_eyes());
            open && record.acknowledged.is_none()
        })
    }
}
