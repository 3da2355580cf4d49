//! CSV files of the trainer's own: manifests and splits.

use std::path::Path;

use super::error::DataError;

/// Writes a file with these columns, a line each.
///
/// # Errors
/// It cannot be written.
pub fn write<L, F>(path: &Path, columns: &[&str], lines: impl IntoIterator<Item = L>) -> Result<(), DataError>
where
    L: IntoIterator<Item = F>,
    F: AsRef<[u8]>,
{
    let fault = |error: csv::Error| DataError::Write {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut writer = csv::Writer::from_path(path).map_err(fault)?;
    writer.write_record(columns).map_err(fault)?;
    for line in lines {
        writer.write_record(line).map_err(fault)?;
    }
    writer.flush().map_err(DataError::io(path))
}
