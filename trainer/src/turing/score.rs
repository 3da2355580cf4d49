//! `turing score`: answers against the key.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Answers, FORMAT, Key, Kind, TuringError, digest, parse, read};
use crate::metrics::fleiss_kappa::fleiss_kappa;
use crate::metrics::intervals::{Estimate, wilson};

/// Shares of answers, each with its 95 % interval (Wilson's). Only first showings count, but for `consistency`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// Generated images that were taken for real: the fooling rate.
    pub fooling: Option<Estimate>,
    /// Generated images that were recognised: the rest of them.
    pub sensitivity: Option<Estimate>,
    /// Real images that were taken for real.
    pub specificity: Option<Estimate>,
    /// Right answers of all; 0.5 is chance, as there are as many real as generated images.
    pub accuracy: Option<Estimate>,
    /// Images that were shown twice and got the same answer twice.
    pub consistency: Option<Estimate>,
}

/// One reader.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReaderScore {
    /// As the answer file names them.
    pub reader: String,
    /// Their rates.
    #[serde(flatten)]
    pub rates: Rates,
    /// Middle of the times for one image, in milliseconds.
    pub median_milliseconds: u64,
}

/// All readers of one kit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// SHA-256 of the key.
    pub kit: String,
    /// Images of each kind.
    pub images: [usize; 2],
    /// One by one.
    pub readers: Vec<ReaderScore>,
    /// All trials together. The intervals take the trials as independent; readers see the same images, so the true ones
    /// are wider.
    pub all: Rates,
    /// Agreement of the readers over the first showings (Fleiss' kappa); absent for one reader.
    pub kappa: Option<f64>,
}

/// How often of how many.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    hits: u64,
    n: u64,
}

impl Count {
    fn add(&mut self, hit: bool) {
        self.hits += u64::from(hit);
        self.n += 1;
    }

    fn plus(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            n: self.n + other.n,
        }
    }

    fn estimate(self) -> Option<Estimate> {
        wilson(self.hits, self.n)
    }
}

/// Counts of one reader, or of several.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    fooled: Count,
    kept_real: Count,
    consistent: Count,
}

impl Counts {
    fn of(key: &Key, answers: &Answers) -> Self {
        let mut counts = Self::default();
        let answer = |item: usize| answers.answers.get(item).map(|answer| answer.answer);
        for (at, item) in key.items.iter().enumerate() {
            let taken_for_real = answer(at) == Some(Kind::Real);
            match (item.repeats, item.kind) {
                (Some(first), _) => counts.consistent.add(answer(at) == answer(first.saturating_sub(1))),
                (None, Kind::Generated) => counts.fooled.add(taken_for_real),
                (None, Kind::Real) => counts.kept_real.add(taken_for_real),
            }
        }
        counts
    }

    fn plus(self, other: Self) -> Self {
        Self {
            fooled: self.fooled.plus(other.fooled),
            kept_real: self.kept_real.plus(other.kept_real),
            consistent: self.consistent.plus(other.consistent),
        }
    }

    fn rates(self) -> Rates {
        let recognised = Count {
            hits: self.fooled.n - self.fooled.hits,
            n: self.fooled.n,
        };
        Rates {
            fooling: self.fooled.estimate(),
            sensitivity: recognised.estimate(),
            specificity: self.kept_real.estimate(),
            accuracy: recognised.plus(self.kept_real).estimate(),
            consistency: self.consistent.estimate(),
        }
    }
}

/// Scores the answer files of one kit.
///
/// # Errors
/// [`TuringError`]: a file that cannot be read or is no such file, answers of another key or not to every item, or two
/// files of one reader.
pub fn score(key: &Path, answers: &[PathBuf]) -> Result<Score, TuringError> {
    let bytes = read(key)?;
    let (kit, key_path): (String, &Path) = (digest(&bytes), key);
    let key: Key = parse(key_path, &bytes)?;
    let refuse = |path: &Path, reason: String| TuringError::Malformed {
        path: path.to_owned(),
        reason,
    };
    if key.format != FORMAT
        || key
            .items
            .iter()
            .enumerate()
            .any(|(at, item)| item.repeats.is_some_and(|r| r == 0 || r > at))
    {
        return Err(refuse(key_path, format!("is no key of format {FORMAT}")));
    }
    let mut files = Vec::new();
    let mut names = HashSet::new();
    for path in answers {
        let file: Answers = parse(path, &read(path)?)?;
        if file.kit != kit {
            return Err(TuringError::OtherKey {
                path: path.clone(),
                found: file.kit,
                wanted: kit,
            });
        }
        complete(&key, &file).map_err(|reason| refuse(path, reason))?;
        if !names.insert(file.reader.clone()) {
            return Err(refuse(
                path,
                format!("the reader {:?} has answered in another file already", file.reader),
            ));
        }
        files.push(file);
    }
    let counts: Vec<Counts> = files.iter().map(|file| Counts::of(&key, file)).collect();
    let of_kind = |kind| {
        key.items
            .iter()
            .filter(|item| item.kind == kind && item.repeats.is_none())
            .count()
    };
    Ok(Score {
        images: [of_kind(Kind::Real), of_kind(Kind::Generated)],
        readers: files
            .iter()
            .zip(&counts)
            .map(|(file, counts)| reader(file, *counts))
            .collect(),
        all: counts
            .iter()
            .fold(Counts::default(), |sum, counts| sum.plus(*counts))
            .rates(),
        kappa: agreement(&key, &files),
        kit,
    })
}

fn reader(file: &Answers, counts: Counts) -> ReaderScore {
    let mut times: Vec<u64> = file.answers.iter().map(|answer| answer.milliseconds).collect();
    times.sort_unstable();
    ReaderScore {
        reader: file.reader.clone(),
        rates: counts.rates(),
        median_milliseconds: times.get(times.len() / 2).copied().unwrap_or(0),
    }
}

/// Every item answered once, in its order.
fn complete(key: &Key, file: &Answers) -> Result<(), String> {
    if file.format != FORMAT {
        return Err(format!("is of format {}, known is {FORMAT}", file.format));
    }
    if file.answers.len() != key.items.len() {
        return Err(format!(
            "answers {} of {} items; read on to the end",
            file.answers.len(),
            key.items.len()
        ));
    }
    match file
        .answers
        .iter()
        .enumerate()
        .find(|(at, answer)| answer.item != at + 1)
    {
        Some((at, answer)) => Err(format!("answer {} is to item {}", at + 1, answer.item)),
        None => Ok(()),
    }
}

fn agreement(key: &Key, files: &[Answers]) -> Option<f64> {
    let firsts = key.items.iter().enumerate().filter(|(_, item)| item.repeats.is_none());
    let table: Vec<Vec<usize>> = firsts
        .map(|(at, _)| {
            let real = files
                .iter()
                .filter(|file| file.answers[at].answer == Kind::Real)
                .count();
            vec![real, files.len() - real]
        })
        .collect();
    fleiss_kappa(&table)
}

impl Score {
    /// The score as text for a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let shown = |estimate: Option<Estimate>| match estimate {
            Some(e) => format!("{:.3} ({:.3}-{:.3}, n {})", e.value, e.low, e.high, e.n),
            None => "-".to_owned(),
        };
        let mut lines = vec![format!(
            "{} real and {} generated images",
            self.images[0], self.images[1]
        )];
        let mut block = |name: &str, rates: &Rates| {
            lines.push(format!("{name}:"));
            for (what, estimate) in [
                ("generated taken for real (fooling rate)", rates.fooling),
                ("generated recognised (sensitivity)", rates.sensitivity),
                ("real taken for real (specificity)", rates.specificity),
                ("right answers (chance: 0.5)", rates.accuracy),
                ("same answer to the same image", rates.consistency),
            ] {
                lines.push(format!("  {what:40} {}", shown(estimate)));
            }
        };
        for reader in &self.readers {
            let name = format!(
                "{}, {:.1} s an image",
                reader.reader,
                reader.median_milliseconds as f64 / 1000.0
            );
            block(&name, &reader.rates);
        }
        if self.readers.len() > 1 {
            block("all readers", &self.all);
            let kappa = self.kappa.map_or("-".to_owned(), |kappa| format!("{kappa:.3}"));
            lines.push(format!("agreement of the readers (Fleiss' kappa): {kappa}"));
        }
        lines.push(
            "95 % intervals (Wilson) of independent trials; several readers see the same images, so theirs together are \
             too narrow."
                .to_owned(),
        );
        lines.join("\n")
    }
}
