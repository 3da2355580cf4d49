//! Tensors from weight files, and which of them a network took.
//!
//! Read are safetensors, torch's zip files (`torch.save` since 1.6) and the format before it. The format is told by
//! the content, not by the name.

mod legacy;
mod pickle;
mod state_dict;
mod zip;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use safetensors::tensor::{Dtype, SafeTensors};
use tch::{Kind, TchError, Tensor};

use crate::autograd::Parameters;

/// Why weights cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("weights {path}: cannot be read ({source})", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Reason of the operating system.
        source: std::io::Error,
    },
    /// The file is damaged, or holds something else than tensors by name.
    #[error("weights {path}: {reason}; give safetensors or a state_dict saved by torch.save", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Reason that a reader gives; the path is added where it is known.
#[derive(Debug)]
struct Reason(String);

impl<E: std::error::Error> From<E> for Reason {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl Reason {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Reads all tensors of a weights file, by name, on the CPU.
///
/// # Errors
/// [`WeightsError`] for a file that cannot be read, is damaged, or is of another kind.
pub fn read(path: &Path) -> Result<IndexMap<String, Tensor>, WeightsError> {
    let unreadable = |source| WeightsError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(unreadable)?;
    let tensors = if bytes.starts_with(zip::MAGIC) {
        zip::read(&bytes)
    } else if bytes.starts_with(legacy::MAGIC) {
        legacy::read(&bytes)
    } else {
        safetensors(&bytes)
    };
    tensors.map_err(|Reason(reason)| WeightsError::Malformed {
        path: path.to_owned(),
        reason,
    })
}

fn safetensors(bytes: &[u8]) -> Result<IndexMap<String, Tensor>, Reason> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut tensors = file
        .iter()
        .map(|(name, view)| {
            let size: Vec<i64> = view.shape().iter().map(|extent| *extent as i64).collect();
            let tensor = Tensor::f_from_data_size(view.data(), &size, kind(view.dtype())?)?;
            Ok((name.to_owned(), tensor))
        })
        .collect::<Result<IndexMap<_, _>, Reason>>()?;
    tensors.sort_keys();
    Ok(tensors)
}

fn kind(dtype: Dtype) -> Result<Kind, Reason> {
    match dtype {
        Dtype::F64 => Ok(Kind::Double),
        Dtype::F32 => Ok(Kind::Float),
        Dtype::F16 => Ok(Kind::Half),
        Dtype::BF16 => Ok(Kind::BFloat16),
        Dtype::I64 => Ok(Kind::Int64),
        Dtype::I32 => Ok(Kind::Int),
        Dtype::U8 => Ok(Kind::Uint8),
        Dtype::BOOL => Ok(Kind::Bool),
        other => Err(Reason::new(format!("tensors of type {other:?} are not supported"))),
    }
}

/// What became of a file's tensors and a network's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Taken {
    /// Parameters that came from the file.
    pub taken: Vec<String>,
    /// Parameters that the file lacks, or that were not asked for: they start anew.
    pub missing: Vec<String>,
    /// Parameters that stand in the file with another shape, and so start anew: (name, shape in the file, shape here).
    pub other_shape: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// Tensors of the file that the network has no use for.
    pub unexpected: Vec<String>,
}

impl Taken {
    /// The lists in words, one line a list; names are gathered by module.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("taken: {}", gathered(&self.taken))];
        if !self.missing.is_empty() {
            lines.push(format!("missing, initialised anew: {}", gathered(&self.missing)));
        }
        for (name, file, here) in &self.other_shape {
            lines.push(format!(
                "other shape, initialised anew: {name} (file {file:?}, network {here:?})"
            ));
        }
        if !self.unexpected.is_empty() {
            lines.push(format!("unexpected, not used: {}", gathered(&self.unexpected)));
        }
        lines
    }
}

/// "62 tensors (conv1 1, bn1 4, layer1.0 10, ...)".
fn gathered(names: &[String]) -> String {
    let mut modules: IndexMap<String, usize> = IndexMap::new();
    for name in names {
        let mut parts = name.split('.');
        let first = parts.next().unwrap_or_default();
        let block = parts.next().filter(|part| part.chars().all(|c| c.is_ascii_digit()));
        let module = block.map_or_else(|| first.to_owned(), |block| format!("{first}.{block}"));
        *modules.entry(module).or_default() += 1;
    }
    let modules: Vec<String> = modules
        .iter()
        .map(|(module, count)| format!("{module} {count}"))
        .collect();
    match names.len() {
        0 => "none".to_owned(),
        1 => names[0].clone(),
        count => format!("{count} tensors ({})", modules.join(", ")),
    }
}

/// Copies tensors of `file` into the parameters of the same name and shape, those whose name begins with one of
/// `prefixes` (all, where there is none). The prefix `module.` that torch's DataParallel writes is dropped;
/// `num_batches_tracked`, of which no network here makes use, is passed over.
///
/// # Errors
/// When libtorch refuses a copy.
pub fn take(
    parameters: &mut Parameters,
    file: &IndexMap<String, Tensor>,
    prefixes: &[String],
) -> Result<Taken, TchError> {
    let wanted = |name: &str| prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix));
    let file: IndexMap<&str, &Tensor> = file
        .iter()
        .map(|(name, tensor)| (name.strip_prefix("module.").unwrap_or(name), tensor))
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .collect();
    let mut report = Taken::default();
    let names: Vec<(String, Vec<i64>)> = parameters
        .iter()
        .map(|(name, entry)| (name.to_owned(), entry.tensor.size()))
        .collect();
    for (name, shape) in &names {
        match file.get(name.as_str()).filter(|_| wanted(name)) {
            Some(tensor) if tensor.size() == *shape => {
                let tensor = tensor.f_to_kind(Kind::Float)?;
                parameters
                    .set(name, &tensor)
                    .map_err(|error| TchError::Torch(error.to_string()))?;
                report.taken.push(name.clone());
            }
            Some(tensor) => report.other_shape.push((name.clone(), tensor.size(), shape.clone())),
            None => report.missing.push(name.clone()),
        }
    }
    report.unexpected = file
        .keys()
        .filter(|name| !wanted(name) || parameters.get(name).is_none())
        .map(|name| (*name).to_owned())
        .collect();
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_gathered_by_module() {
        let names = ["conv1.weight", "layer1.0.conv1.weight", "layer1.0.bn1.bias", "fc.bias"];
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(gathered(&names), "4 tensors (conv1 1, layer1.0 2, fc 1)");
        assert_eq!(gathered(&names[..1]), "conv1.weight");
    }

    #[test]
    fn what_is_not_a_weights_file_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.pth");
        std::fs::write(&path, "not weights at all").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(
            message.contains("notes.pth") && message.contains("safetensors"),
            "{message}"
        );
        let absent = read(&folder.path().join("absent.pth")).unwrap_err();
        assert!(matches!(absent, WeightsError::Unreadable { .. }));
    }
}
