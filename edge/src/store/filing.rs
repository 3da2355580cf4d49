//! What is kept beside the database, and what of it is still missing or no longer needed.

use std::cmp::Ordering;
use std::collections::HashSet;

use hardware::whole_file;
use rusqlite::{Connection, params};

use super::config::Keep;
use super::folders::{Folders, failed};
use super::images::{self, ResultRecord};
use super::renewal::object_name;
use super::{Store, StoreError, cases, series};

/// A case whose files are not up to date.
#[derive(Debug, Clone, PartialEq)]
pub struct ToFile {
    /// Its number for people.
    pub number: String,
    /// The results that become files: of a study each image's worst frame, of a series its worst slice.
    pub results: Vec<ResultRecord>,
    /// The results whose pictures are missing: of a series those of its strip.
    pub without_picture: Vec<ResultRecord>,
    case: i64,
    revision: i64,
}

impl Store {
    /// Cases whose files are not up to date, the oldest first. A series is filed when it is whole.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn to_file(&self, limit: u32) -> Result<Vec<ToFile>, StoreError> {
        let reader = self.reading();
        let sql = "SELECT id, number, kind, revision FROM cases WHERE filed = 0 \
                   AND (settled IS NOT NULL OR (kind <> 'series' AND decision IS NOT NULL)) ORDER BY id LIMIT ?";
        let due: Vec<(i64, String, String, i64)> = {
            let mut statement = reader.prepare_cached(sql)?;
            let rows = statement.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        let mut cases = Vec::new();
        for (case, number, kind, revision) in due {
            let is_series = kind == "series";
            let strip = match is_series {
                true => series_results(&reader, case, cases::STRIP)?,
                false => images::worst_results(&reader, case, u32::MAX)?,
            };
            let mut without_picture = Vec::new();
            for result in &strip {
                let image = images::find(&reader, &self.folders, result.image)?;
                let missing = image.is_some_and(|image| image.picture.is_none() && image.file.is_some());
                if missing && (is_series || result.frame == 0) {
                    without_picture.push(result.clone());
                }
            }
            let mut results = strip;
            if is_series {
                results.truncate(1);
            } else {
                let mut images = HashSet::new();
                results.sort_by(|a, b| weigh(b, a));
                results.retain(|result| images.insert(result.image));
            }
            cases.push(ToFile {
                number,
                results,
                without_picture,
                case,
                revision,
            });
        }
        Ok(cases)
    }

    /// What the objects of the outbox say of an image, or without one of a whole series: results, the one that matters most
    /// first. That of a series says what the series amounts to; `limit` is how many slices stand behind it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reported(&self, case: i64, image: Option<i64>, limit: u32) -> Result<Vec<ResultRecord>, StoreError> {
        let reader = self.reading();
        let Some(image) = image else {
            return series_results(&reader, case, limit);
        };
        let mut frames = images::results_of_image(&reader, image)?;
        frames.sort_by(|a, b| weigh(b, a));
        Ok(frames)
    }

    /// The files of a case are up to date, unless it has changed meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn filed(&self, case: &ToFile) -> Result<(), StoreError> {
        self.change_lazily(|transaction| {
            let sql = "UPDATE cases SET filed = 1 WHERE id = ? AND revision = ?";
            transaction.prepare_cached(sql)?.execute([case.case, case.revision])?;
            Ok(())
        })
    }

    /// Keeps a small picture (PNG) of an image.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keep_picture(&self, image: i64, png: &[u8]) -> Result<(), StoreError> {
        let name = format!("{image}.png");
        let path = self.folders.pictures().join(&name);
        whole_file::write(&path, png).map_err(|source| failed(&path, "write the picture", source))?;
        let changed = self.change_lazily(|transaction| {
            let sql = "UPDATE images SET picture = ?2, picture_bytes = ?3 WHERE id = ?1";
            Ok(transaction
                .prepare_cached(sql)?
                .execute(params![image, name, png.len() as i64])?)
        })?;
        // The case was deleted meanwhile.
        if changed == 0 {
            Folders::remove(&path)?;
        }
        Ok(())
    }

    /// Removes the files of images that are not kept: those with results, filed, and with nothing owed that is made from
    /// them. Gives how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn release_files(&self) -> Result<usize, StoreError> {
        let states = match self.config.keep {
            Keep::Files => return Ok(0),
            Keep::Pictures => "'done'",
            Keep::Nothing => "'done', 'failed', 'no-model'",
        };
        let sql = format!(
            "SELECT images.id, file FROM images JOIN cases ON cases.id = case_id WHERE file IS NOT NULL \
             AND images.state IN ({states}) AND settled IS NOT NULL AND filed = 1 AND NOT EXISTS \
             (SELECT 1 FROM outbox WHERE outbox.case_id = cases.id AND outbox.state = 'owed') LIMIT 100"
        );
        let due: Vec<(i64, String)> = {
            let reader = self.reading();
            let mut statement = reader.prepare_cached(&sql)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        if due.is_empty() {
            return Ok(0);
        }
        self.change_lazily(|transaction| {
            for (image, _) in &due {
                transaction
                    .prepare_cached("UPDATE images SET file = NULL WHERE id = ?")?
                    .execute([image])?;
            }
            Ok(())
        })?;
        // A result that a power cut took would be looked for in these files.
        self.make_durable()?;
        for (_, name) in &due {
            Folders::remove(&self.folders.images().join(name))?;
        }
        Ok(due.len())
    }

    /// Writes an object into the folder `outbox`, whole and synced; gives the name of its file.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn write_object(&self, object: &str, bytes: &[u8]) -> Result<String, StoreError> {
        let name = object_name(object);
        let path = self.folders.outbox().join(&name);
        whole_file::write(&path, bytes).map_err(|source| failed(&path, "write the object", source))?;
        super::folders::sync_folder(&self.folders.outbox())?;
        Ok(name)
    }
}

/// Which of two results of a study tells more about it.
fn weigh(a: &ResultRecord, b: &ResultRecord) -> Ordering {
    let suspicion = |result: &ResultRecord| result.suspicion.unwrap_or(0.0);
    let ranks = series::rank(a.decision).cmp(&series::rank(b.decision));
    ranks.then(suspicion(a).total_cmp(&suspicion(b)))
}

/// The slices of a series that weigh most. The first is the one that stands for it, and says what the series amounts to; the
/// number of the case alone names its file, whichever slice it is.
fn series_results(reader: &Connection, case: i64, limit: u32) -> Result<Vec<ResultRecord>, StoreError> {
    let mut worst = images::worst_results(reader, case, limit)?;
    let record = cases::by_id(reader, case)?;
    let Some((record, summary)) = record
        .as_ref()
        .and_then(|record| Some((record, record.summary.as_ref()?)))
    else {
        return Ok(worst);
    };
    let stands = |result: &ResultRecord| (result.image, result.frame) == (summary.worst_image, summary.worst_frame);
    // Others may weigh as much.
    if let Some(at) = worst.iter().position(stands) {
        worst[..=at].rotate_right(1);
    }
    if let Some(first) = worst.first() {
        let finding = record.judged(first.finding.clone(), worst.iter().map(|result| &result.finding));
        worst[0].finding = finding;
        worst[0].member = 1;
    }
    Ok(worst)
}
