//! Stratified k-fold: every patient or group is tested on exactly once.

use std::collections::HashMap;

use super::{Part, Split, Strata, originals, units};
use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::recipes::SplitSection;

impl Split {
    /// As many splits as `folds`: the units (patients, groups) are dealt into folds with equal shares of every label and
    /// source; split i tests on fold i, validates on the next one, and trains on the others. The fractions of the section
    /// do not count; its seed deals. Generated and augmented rows train where their unit trains, or belong to none.
    ///
    /// # Errors
    /// [`DataError::TooFew`] if a label has fewer units than there are folds, or as [`Split::draw`].
    pub fn folds(dataset: &Dataset, section: &SplitSection, folds: usize) -> Result<Vec<Self>, DataError> {
        let unit_of = units(&dataset.samples, section.by);
        let originals = originals(dataset, &unit_of, section.seed);
        let strata = Strata::of(dataset);
        let mut held = vec![vec![0.0_f64; folds]; strata.totals.len()];
        let mut fold_of_unit: HashMap<usize, usize> = HashMap::new();
        for unit in &originals {
            let fold = strata.neediest_fold(&unit.rows, &held, folds);
            for &row in &unit.rows {
                held[strata.of_row[row]][fold] += 1.0;
                fold_of_unit.insert(unit_of[row], fold);
            }
        }
        let split = |tested: usize| {
            let parts = dataset.samples.iter().enumerate().map(|(row, sample)| {
                let fold = fold_of_unit.get(&unit_of[row]).copied();
                let part = match fold {
                    Some(fold) if fold == tested => Part::Test,
                    Some(fold) if fold == (tested + 1) % folds => Part::Validation,
                    _ => Part::Train,
                };
                match sample.row.provenance.may_evaluate() || part == Part::Train {
                    true => part,
                    false => Part::Unused,
                }
            });
            let split = Self { parts: parts.collect() };
            split.refuse_small_classes(dataset, &originals, [1.0; 3])?;
            split.check(dataset, section.by, &dataset.origin)?;
            Ok(split)
        };
        (0..folds).map(split).collect()
    }
}

impl Strata {
    /// The fold that lacks most of the strata of these rows; the first of equals.
    fn neediest_fold(&self, rows: &[usize], held: &[Vec<f64>], folds: usize) -> usize {
        let need = |fold: usize| -> f64 {
            let share = |stratum: usize| (self.totals[stratum] / folds as f64).max(f64::MIN_POSITIVE);
            let lacks = rows.iter().map(|row| self.of_row[*row]);
            lacks.map(|stratum| 1.0 - held[stratum][fold] / share(stratum)).sum()
        };
        (1..folds).fold(0, |best, fold| if need(fold) > need(best) { fold } else { best })
    }
}
