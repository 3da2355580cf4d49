//! torch.save's zip format: `NAME/data.pkl`, and one file `NAME/data/KEY` a storage.

use std::io::{Cursor, Read};

use ::zip::ZipArchive;
use indexmap::IndexMap;
use tch::Tensor;

use super::pickle::Pickle;
use super::{Reason, state_dict};

/// How a zip file begins.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";

pub(super) fn read(bytes: &[u8]) -> Result<IndexMap<String, Tensor>, Reason> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    let names = (0..archive.len())
        .map(|index| Ok(archive.by_index(index)?.name()?.into_owned()))
        .collect::<Result<Vec<String>, Reason>>()?;
    let pickled = names.iter().find(|name| name.ends_with("/data.pkl"));
    let pickled = pickled.ok_or_else(|| Reason::new("a zip file without data.pkl"))?;
    if names.iter().any(|name| name.ends_with("/constants.pkl")) {
        return Err(Reason::new("a TorchScript module, not a state_dict"));
    }
    let root = pickled.trim_end_matches("data.pkl").to_owned();
    let limit = bytes.len();
    if entry(&mut archive, &format!("{root}byteorder"), limit).is_ok_and(|order| order != b"little") {
        return Err(Reason::new("a big-endian file is not supported"));
    }
    let (pickle, _) = Pickle::read(&entry(&mut archive, pickled, limit)?)?;
    let mut storages: IndexMap<String, Tensor> = IndexMap::new();
    state_dict::state_dict(&pickle)?
        .into_iter()
        .map(|(name, view)| {
            let key = view.storage.key.clone();
            if !storages.contains_key(&key) {
                let bytes = entry(&mut archive, &format!("{root}data/{key}"), limit)?;
                storages.insert(key.clone(), state_dict::flat(&view.storage, &bytes)?);
            }
            Ok((name, view.tensor(&storages[&key])?))
        })
        .collect()
}

/// Reads an entry of at most `limit` bytes, the length of the whole file: torch.save does not compress, and a few
/// compressed bytes could ask for any amount of memory.
fn entry(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, limit: usize) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::new();
    archive.by_name(name)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        let message = format!("{name} is longer than the whole file: it is compressed, as torch.save never does");
        return Err(Reason::new(message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ::zip::write::SimpleFileOptions;
    use ::zip::{CompressionMethod, ZipWriter};

    use super::*;

    #[test]
    fn an_entry_that_grows_beyond_its_file_is_refused() {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        writer.start_file("archive/data.pkl", options).unwrap();
        writer.write_all(&vec![0; 1 << 20]).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        assert!(bytes.len() < 10_000);
        let Err(Reason(reason)) = read(&bytes) else {
            panic!("it is no state_dict");
        };
        assert!(
            reason.contains("archive/data.pkl is longer than the whole file"),
            "{reason}"
        );
    }
}
