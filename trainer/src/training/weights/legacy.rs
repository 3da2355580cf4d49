//! torch.save's format before 1.6: five pickles (magic number, protocol, machine, object, keys of the storages), then
//! the storages, each with its length.

use indexmap::IndexMap;
use tch::Tensor;

use super::pickle::{Object, Pickle};
use super::{Reason, state_dict};

/// The whole first pickle: the number 0x1950a86a20f9469cfc6c.
pub(super) const MAGIC: &[u8] = &[
    0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.',
];

pub(super) fn read(bytes: &[u8]) -> Result<IndexMap<String, Tensor>, Reason> {
    let mut at = MAGIC.len();
    let mut next = || -> Result<Pickle, Reason> {
        let (pickle, length) = Pickle::read(&bytes[at..])?;
        at += length;
        Ok(pickle)
    };
    let (_protocol, _machine, object, keys) = (next()?, next()?, next()?, next()?);
    let Object::List(keys_in_order) = keys.get(keys.root()) else {
        return Err(Reason::new("the list of storages is missing"));
    };
    let described = state_dict::storages(&object)?;
    let mut storages: IndexMap<String, Tensor> = IndexMap::new();
    for key in keys_in_order {
        let storage = keys.text(*key).and_then(|key| described.get(key));
        let storage = storage.ok_or_else(|| Reason::new("a storage that no tensor names"))?;
        let length = bytes
            .get(at..at + 8)
            .and_then(|length| length.try_into().ok())
            .map(u64::from_le_bytes);
        if length != Some(storage.elements as u64) {
            return Err(Reason::new(format!(
                "storage {} has another length than said",
                storage.key
            )));
        }
        at += 8;
        storages.insert(storage.key.clone(), state_dict::flat(storage, &bytes[at..])?);
        at += storage.elements * storage.kind.elt_size_in_bytes();
    }
    state_dict::state_dict(&object)?
        .into_iter()
        .map(|(name, view)| {
            let storage = storages.get(&view.storage.key);
            let storage = storage.ok_or_else(|| Reason::new(format!("the storage of {name} is missing")))?;
            Ok((name, view.tensor(storage)?))
        })
        .collect()
}
