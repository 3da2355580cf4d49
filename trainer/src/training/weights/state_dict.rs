//! What a pickle of torch.save says of tensors: their names, and views into storages.

use indexmap::IndexMap;
use tch::{Kind, Tensor};

use super::Reason;
use super::pickle::{Id, Object, Pickle};

/// Keys under which checkpoints hold the state_dict among other things.
const STATE_DICT_KEYS: [&str; 4] = ["state_dict", "model_state_dict", "model", "net"];

/// How deep a tensor or a state_dict may be wrapped.
const DEPTH: usize = 4;

/// A block of memory that tensors are views of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    /// Its name in the file.
    pub key: String,
    /// Type of its elements.
    pub kind: Kind,
    /// How many.
    pub elements: usize,
}

/// A view into a storage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub storage: Storage,
    pub offset: i64,
    pub size: Vec<i64>,
    pub stride: Vec<i64>,
}

impl View {
    /// The tensor, its storage given.
    pub fn tensor(&self, storage: &Tensor) -> Result<Tensor, Reason> {
        let negative = self
            .size
            .iter()
            .chain(&self.stride)
            .chain([&self.offset])
            .any(|value| *value < 0);
        if negative || self.size.len() != self.stride.len() {
            return Err(Reason::new("a tensor of impossible size or stride"));
        }
        // libtorch checks that the view lies inside the storage.
        Ok(storage
            .f_as_strided(&self.size, &self.stride, self.offset)?
            .f_contiguous()?)
    }
}

/// The state_dict in a pickle: its root, or what the root holds under one of the usual keys.
pub(super) fn state_dict(pickle: &Pickle) -> Result<IndexMap<String, View>, Reason> {
    let mut entries = dictionary(pickle, pickle.root())
        .ok_or_else(|| Reason::new("the file does not hold a dictionary of tensors"))?;
    for _ in 0..DEPTH {
        let nested = entries.iter().find_map(|(key, value)| {
            let named = pickle.text(*key).is_some_and(|key| STATE_DICT_KEYS.contains(&key));
            dictionary(pickle, *value).filter(|_| named)
        });
        match nested {
            Some(inner) => entries = inner,
            None => break,
        }
    }
    let mut tensors = IndexMap::new();
    for (key, value) in entries {
        if let (Some(name), Some(view)) = (pickle.text(*key), view(pickle, *value)?) {
            tensors.insert(name.to_owned(), view);
        }
    }
    if tensors.is_empty() {
        return Err(Reason::new("the file holds no tensors by name"));
    }
    Ok(tensors)
}

/// Every storage that the pickle refers to, by key.
pub(super) fn storages(pickle: &Pickle) -> Result<IndexMap<String, Storage>, Reason> {
    let references = pickle.objects().iter().filter_map(|object| match object {
        Object::Persistent(id) => Some(*id),
        _ => None,
    });
    references
        .map(|id| storage(pickle, id).map(|storage| (storage.key.clone(), storage)))
        .collect()
}

fn dictionary(pickle: &Pickle, id: Id) -> Option<&Vec<(Id, Id)>> {
    match pickle.get(id) {
        Object::Dict(entries) => Some(entries),
        _ => None,
    }
}

/// The view that an object describes; none for another object.
fn view(pickle: &Pickle, mut id: Id) -> Result<Option<View>, Reason> {
    for _ in 0..DEPTH {
        let Object::Called { callable, args } = pickle.get(id) else {
            return Ok(None);
        };
        let (Object::Global { module, name }, Object::Tuple(args)) = (pickle.get(*callable), pickle.get(*args)) else {
            return Ok(None);
        };
        match (module.as_str(), name.as_str()) {
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => return rebuilt(pickle, args).map(Some),
            ("torch._utils", "_rebuild_parameter") => match args.first() {
                Some(tensor) => id = *tensor,
                None => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    Ok(None)
}

fn rebuilt(pickle: &Pickle, args: &[Id]) -> Result<View, Reason> {
    let undescribed = || Reason::new("a tensor is not described as torch does");
    let [reference, offset, size, stride, ..] = args else {
        return Err(undescribed());
    };
    let Object::Persistent(id) = pickle.get(*reference) else {
        return Err(undescribed());
    };
    Ok(View {
        storage: storage(pickle, *id)?,
        offset: integer(pickle, *offset)?,
        size: integers(pickle, *size)?,
        stride: integers(pickle, *stride)?,
    })
}

/// `("storage", type, key, device, elements)`, before torch 0.4 with a view behind it.
fn storage(pickle: &Pickle, id: Id) -> Result<Storage, Reason> {
    let undescribed = || Reason::new("a storage is not described as torch does");
    let Object::Tuple(parts) = pickle.get(id) else {
        return Err(undescribed());
    };
    let [_, class, key, _, elements, rest @ ..] = parts.as_slice() else {
        return Err(undescribed());
    };
    let (Object::Global { name, .. }, Some(key)) = (pickle.get(*class), pickle.text(*key)) else {
        return Err(undescribed());
    };
    if rest.iter().any(|extra| *pickle.get(*extra) != Object::None) {
        return Err(Reason::new("storages that are views of others are not supported"));
    }
    let elements = usize::try_from(integer(pickle, *elements)?)?;
    Ok(Storage {
        key: key.to_owned(),
        kind: kind(name)?,
        elements,
    })
}

fn kind(storage_class: &str) -> Result<Kind, Reason> {
    match storage_class {
        "FloatStorage" => Ok(Kind::Float),
        "DoubleStorage" => Ok(Kind::Double),
        "HalfStorage" => Ok(Kind::Half),
        "BFloat16Storage" => Ok(Kind::BFloat16),
        "LongStorage" => Ok(Kind::Int64),
        "IntStorage" => Ok(Kind::Int),
        "ByteStorage" => Ok(Kind::Uint8),
        "BoolStorage" => Ok(Kind::Bool),
        other => Err(Reason::new(format!("storages of type {other} are not supported"))),
    }
}

fn integer(pickle: &Pickle, id: Id) -> Result<i64, Reason> {
    match pickle.get(id) {
        Object::Int(value) => Ok(*value),
        _ => Err(Reason::new("a number is missing in the description of a tensor")),
    }
}

fn integers(pickle: &Pickle, id: Id) -> Result<Vec<i64>, Reason> {
    match pickle.get(id) {
        Object::Tuple(items) | Object::List(items) => items.iter().map(|item| integer(pickle, *item)).collect(),
        _ => Err(Reason::new("a size is missing in the description of a tensor")),
    }
}

/// A flat tensor over a storage's bytes (little-endian).
pub(super) fn flat(storage: &Storage, bytes: &[u8]) -> Result<Tensor, Reason> {
    let length = storage.elements.checked_mul(storage.kind.elt_size_in_bytes());
    let bytes = length.and_then(|length| bytes.get(..length)).ok_or_else(|| {
        Reason::new(format!(
            "storage {} is shorter than said; is the file cut off?",
            storage.key
        ))
    })?;
    Ok(Tensor::f_from_data_size(
        bytes,
        &[storage.elements as i64],
        storage.kind,
    )?)
}
