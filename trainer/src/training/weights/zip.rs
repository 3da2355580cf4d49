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
    if entry(&mut archive, &format!("{root}byteorder")).is_ok_and(|order| order != b"little") {
        return Err(Reason::new("a big-endian file is not supported"));
    }
    let (pickle, _) = Pickle::read(&entry(&mut archive, pickled)?)?;
    let mut storages: IndexMap<String, Tensor> = IndexMap::new();
    state_dict::state_dict(&pickle)?
        .into_iter()
        .map(|(name, view)| {
            let key = view.storage.key.clone();
            if !storages.contains_key(&key) {
                let bytes = entry(&mut archive, &format!("{root}data/{key}"))?;
                storages.insert(key.clone(), state_dict::flat(&view.storage, &bytes)?);
            }
            Ok((name, view.tensor(&storages[&key])?))
        })
        .collect()
}

fn entry(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::new();
    archive.by_name(name)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}
