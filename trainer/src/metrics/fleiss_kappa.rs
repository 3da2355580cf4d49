//! Fleiss' kappa (Fleiss 1971, Psychological Bulletin 76, 378-382): how far several readers agree beyond chance.

/// Kappa of a table with a row for each item and a column for each answer: how many readers gave it. 1 for full
/// agreement, 0 for that of chance. `None` without items, for fewer than two readers, for rows of unequal sums, or where
/// all gave one and the same answer to everything, so that chance alone would agree fully.
pub fn fleiss_kappa(table: &[Vec<usize>]) -> Option<f64> {
    let readers: usize = table.first()?.iter().sum();
    let (answers, items) = (table.first()?.len(), table.len() as f64);
    if readers < 2
        || table
            .iter()
            .any(|row| row.len() != answers || row.iter().sum::<usize>() != readers)
    {
        return None;
    }
    let pairs = (readers * (readers - 1)) as f64;
    let agreeing = |row: &Vec<usize>| row.iter().map(|n| n * n.saturating_sub(1)).sum::<usize>() as f64 / pairs;
    let observed = table.iter().map(agreeing).sum::<f64>() / items;
    let share = |answer: usize| table.iter().map(|row| row[answer]).sum::<usize>() as f64 / (items * readers as f64);
    let by_chance: f64 = (0..answers).map(|answer| share(answer).powi(2)).sum();
    (by_chance < 1.0).then(|| (observed - by_chance) / (1.0 - by_chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fourteen readers, ten items, five answers: the worked example that most texts use. The value is that of
    /// statsmodels 0.15.0, `statsmodels.stats.inter_rater.fleiss_kappa(table, method="fleiss")`.
    #[test]
    fn the_worked_example_gives_the_value_of_statsmodels() {
        let table = [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ]
        .map(Vec::from);
        let kappa = fleiss_kappa(&table).unwrap();
        assert!((kappa - 0.209_930_704_422_195_22).abs() < 1e-12, "{kappa}");
    }

    #[test]
    fn full_agreement_is_one_and_what_has_no_kappa_has_none() {
        assert_eq!(fleiss_kappa(&[vec![3, 0], vec![0, 3]]), Some(1.0));
        assert_eq!(
            fleiss_kappa(&[vec![3, 0], vec![3, 0]]),
            None,
            "everybody said the same of everything"
        );
        assert_eq!(fleiss_kappa(&[vec![1, 0], vec![0, 1]]), None, "one reader");
        assert_eq!(
            fleiss_kappa(&[vec![2, 0], vec![1, 2]]),
            None,
            "not the same number of readers"
        );
        assert_eq!(fleiss_kappa(&[]), None);
    }
}
