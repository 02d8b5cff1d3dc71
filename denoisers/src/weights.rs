//! Named tensors from a safetensors file, checked one by one.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::Path,
};

use crate::{checkpoint, precision::Precision};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

/// Files larger than this are no model of ours: the largest known denoiser has 130 MB.
const MAX_FILE: u64 = 2 << 30;

/// A weights file that cannot be used. The user's to fix; reading it again will not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file could not be read.
    #[error("cannot read weights {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not a regular file, or an absurd size.
    #[error("weights {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a safetensors file, or a broken one.
    #[error(
        "{path} is neither a readable safetensors file ({source}) nor a PyTorch checkpoint; convert it to one of them first"
    )]
    Format {
        /// The file.
        path: String,
        /// What the parser said.
        source: safetensors::SafeTensorError,
    },
    /// A `PyTorch` checkpoint that holds more than tensors, or is damaged. Nothing in it was run.
    #[error("{path} is not a readable PyTorch checkpoint: {reason}")]
    Checkpoint {
        /// The file.
        path: String,
        /// What was met.
        reason: String,
    },
    /// The network needs a tensor that is not there.
    #[error("{path} has no tensor `{name}` of shape {shape:?}, which {architecture} needs")]
    Missing {
        /// The file.
        path: String,
        /// The architecture that was being built.
        architecture: String,
        /// The tensor.
        name: String,
        /// The shape it should have.
        shape: Vec<usize>,
    },
    /// A tensor has the wrong shape.
    #[error("tensor `{name}` of {path} has shape {found:?}, but {architecture} needs {expected:?}")]
    Shape {
        /// The file.
        path: String,
        /// The architecture that was being built.
        architecture: String,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor holds something else than floats.
    #[error("tensor `{name}` of {path} has type {found}; F32, F16, BF16 and F64 are read")]
    Type {
        /// The file.
        path: String,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A NaN or an infinity among the weights.
    #[error("tensor `{name}` of {path} has a value that is not finite")]
    NotFinite {
        /// The file.
        path: String,
        /// The tensor.
        name: String,
    },
    /// The same name twice, once with and once without the `module.` of `torch.nn.DataParallel`.
    #[error("tensor `{name}` is twice in {path}, with and without `module.` before its name")]
    Twice {
        /// The file.
        path: String,
        /// The tensor.
        name: String,
    },
    /// A tensor without any numbers: no layer has one.
    #[error("tensor `{name}` of {path} has shape {shape:?}, and so no numbers")]
    Empty {
        /// The file.
        path: String,
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Tensors that the architecture has no place for: the file is of another network.
    #[error("{path} has tensors that {architecture} does not have: {}", names.join(", "))]
    Unexpected {
        /// The file.
        path: String,
        /// The architecture that was being built.
        architecture: String,
        /// The first few of them.
        names: Vec<String>,
    },
    /// Metadata or tensor names that make no network.
    #[error("{path}: {reason}")]
    Architecture {
        /// The file.
        path: String,
        /// What does not fit, and what would.
        reason: String,
    },
}

/// One tensor, as 32-bit floats whatever the file holds.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
}

/// Metadata that change what a network says with the same tensors; what the others say is in shapes and names of the tensors as well.
const FUNCTION: [&str; 6] = ["bn_eps", "classes", "mean", "size", "stages", "std"];

/// All tensors of one file, and which of them were asked for.
pub(crate) struct Weights {
    path: String,
    architecture: String,
    metadata: HashMap<String, String>,
    tensors: BTreeMap<String, Weight>,
    used: RefCell<BTreeSet<String>>,
    /// Which metadata were asked for, there or not.
    asked: RefCell<BTreeSet<String>>,
    /// With which the network is to be computed.
    precision: Precision,
    /// Every tensor that is asked for exists, in the shape asked for, and is zero.
    blank: bool,
}

impl Weights {
    /// Reads a safetensors file or a `PyTorch` checkpoint.
    pub(crate) fn read(path: &Path) -> Result<Self, WeightsError> {
        let name = path.display().to_string();
        let read_error = |source| WeightsError::Read { path: name.clone(), source };
        let about = fs::metadata(path).map_err(read_error)?;
        // A pipe or a device would be read for ever.
        if !about.is_file() {
            return Err(WeightsError::File { path: name, reason: "is not a regular file".into() });
        }
        if about.len() > MAX_FILE {
            let reason = format!("has {} bytes, more than the {MAX_FILE} that are read", about.len());
            return Err(WeightsError::File { path: name, reason });
        }
        Self::parse(&name, &fs::read(path).map_err(read_error)?)
    }

    /// Takes the tensors of a `PyTorch` checkpoint. It has no metadata.
    fn of_checkpoint(path: &str, bytes: &[u8]) -> Result<Self, WeightsError> {
        let error = |reason| WeightsError::Checkpoint { path: path.to_owned(), reason };
        let mut tensors = BTreeMap::new();
        for (name, weight) in checkpoint::read(bytes).map_err(error)? {
            Self::add(path, &mut tensors, &name, weight)?;
        }
        Ok(Self::of(path, HashMap::new(), tensors))
    }

    fn add(
        path: &str,
        tensors: &mut BTreeMap<String, Weight>,
        name: &str,
        weight: Weight,
    ) -> Result<(), WeightsError> {
        if weight.shape.contains(&0) {
            let (path, name) = (path.to_owned(), name.to_owned());
            return Err(WeightsError::Empty { path, name, shape: weight.shape });
        }
        if weight.data.iter().any(|v| !v.is_finite()) {
            return Err(WeightsError::NotFinite { path: path.to_owned(), name: name.to_owned() });
        }
        // Checkpoints saved from torch.nn.DataParallel carry this in front of every name.
        let plain = name.strip_prefix("module.").unwrap_or(name);
        if tensors.insert(plain.to_owned(), weight).is_some() {
            return Err(WeightsError::Twice { path: path.to_owned(), name: plain.to_owned() });
        }
        Ok(())
    }

    fn of(path: &str, metadata: HashMap<String, String>, tensors: BTreeMap<String, Weight>) -> Self {
        Self {
            path: path.to_owned(),
            architecture: "the network".into(),
            metadata,
            tensors,
            used: RefCell::default(),
            asked: RefCell::default(),
            precision: Precision::default(),
            blank: false,
        }
    }

    /// Reads safetensors, or a `PyTorch` checkpoint, from memory; `path` is what errors call it.
    pub(crate) fn parse(path: &str, bytes: &[u8]) -> Result<Self, WeightsError> {
        if checkpoint::recognises(bytes) {
            return Self::of_checkpoint(path, bytes);
        }
        let format = |source| WeightsError::Format { path: path.to_owned(), source };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
        let file = SafeTensors::deserialize(bytes).map_err(format)?;
        let mut tensors = BTreeMap::new();
        // In the order of their names, so that the first one that is wrong is the same every time.
        let mut views: Vec<_> = file.iter().collect();
        views.sort_unstable_by_key(|(name, _)| *name);
        for (name, view) in views {
            // PyTorch's count of training steps, an integer of no use here.
            if name.ends_with("num_batches_tracked") {
                continue;
            }
            let data = floats(view.dtype(), view.data()).ok_or_else(|| WeightsError::Type {
                path: path.to_owned(),
                name: name.to_owned(),
                found: format!("{:?}", view.dtype()),
            })?;
            Self::add(path, &mut tensors, name, Weight { shape: view.shape().to_vec(), data })?;
        }
        Ok(Self::of(path, header.metadata().clone().unwrap_or_default(), tensors))
    }

    /// No file: metadata that describe a network whose weights are yet to be chosen. [`Weights::has`] finds nothing, [`Weights::get`]
    /// gives zeros.
    pub(crate) fn blank(metadata: HashMap<String, String>) -> Self {
        Self {
            path: "the new network".into(),
            architecture: "the network".into(),
            metadata,
            tensors: BTreeMap::new(),
            used: RefCell::default(),
            asked: RefCell::default(),
            precision: Precision::default(),
            blank: true,
        }
    }

    /// Whether these are of [`Weights::blank`].
    pub(crate) fn is_blank(&self) -> bool {
        self.blank
    }

    /// Says what is being built, for the errors to come.
    pub(crate) fn for_architecture(&mut self, name: &str) {
        name.clone_into(&mut self.architecture);
    }

    /// The file's own key-value text.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.metadata.get(key).map(String::as_str)
    }

    /// The class names that the metadata lists as `classes`, separated by `|`.
    pub(crate) fn classes(&self) -> Option<Vec<String>> {
        self.metadata("classes").map(|text| text.split('|').map(str::to_owned).collect())
    }

    /// Three comma-separated numbers, one a colour.
    pub(crate) fn colours(&self, key: &str) -> Result<Option<[f32; 3]>, WeightsError> {
        let Some(text) = self.metadata(key) else { return Ok(None) };
        let numbers: Option<Vec<f32>> =
            text.split(',').map(|n| n.trim().parse().ok().filter(|n: &f32| n.is_finite())).collect();
        numbers
            .and_then(|n| n.try_into().ok())
            .map(Some)
            .ok_or_else(|| self.misfit(format!("metadata `{key}` is `{text}`, but three numbers are needed")))
    }

    /// The shape of a tensor, if it is there.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|weight| weight.shape.as_slice())
    }

    /// All of it.
    pub(crate) fn all_metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// Comma-separated numbers from the metadata, exactly `N` of them and none zero.
    pub(crate) fn numbers<const N: usize>(&self, key: &str) -> Result<Option<[usize; N]>, WeightsError> {
        let Some(text) = self.metadata(key) else { return Ok(None) };
        let numbers: Option<Vec<usize>> =
            text.split(',').map(|n| n.trim().parse().ok().filter(|n| *n > 0 && *n <= 4096)).collect();
        numbers.and_then(|n| n.try_into().ok()).map(Some).ok_or_else(|| {
            self.misfit(format!("metadata `{key}` is `{text}`, but {N} numbers from 1 to 4096 are needed"))
        })
    }

    /// Names of all tensors, sorted, each with its shape.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, weight)| (name.as_str(), weight.shape.as_slice()))
    }

    /// The tensor of this name and shape.
    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        if self.blank {
            return Ok(vec![0.0; shape.iter().product()]);
        }
        let Some(weight) = self.tensors.get(name) else {
            return Err(WeightsError::Missing {
                path: self.path.clone(),
                architecture: self.architecture.clone(),
                name: name.to_owned(),
                shape: shape.to_vec(),
            });
        };
        if weight.shape != shape {
            return Err(WeightsError::Shape {
                path: self.path.clone(),
                architecture: self.architecture.clone(),
                name: name.to_owned(),
                found: weight.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        self.used.borrow_mut().insert(name.to_owned());
        Ok(weight.data.clone())
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// An error about the file as a whole.
    pub(crate) fn misfit(&self, reason: impl Into<String>) -> WeightsError {
        WeightsError::Architecture { path: self.path.clone(), reason: reason.into() }
    }

    /// For a network that is to be computed with this precision.
    pub(crate) fn at(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// With which the network is to be computed.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Complains about metadata of a new network that nothing asked for: they were meant to change it, and would not.
    pub(crate) fn all_asked(&self) -> Result<(), WeightsError> {
        let asked = self.asked.borrow();
        let Some(key) = self.metadata.keys().filter(|key| self.blank && !asked.contains(*key)).min() else {
            return Ok(());
        };
        let known: Vec<&str> = asked.iter().map(String::as_str).collect();
        let reason =
            format!("`{key}` means nothing to {}, which knows {}", self.architecture, known.join(", "));
        Err(self.misfit(reason))
    }

    /// Ends the loading: every tensor must have found its place. Gives the hash of architecture, weights,
    /// precision, and the metadata that change results.
    pub(crate) fn finish(&self) -> Result<blake3::Hash, WeightsError> {
        let used = self.used.borrow();
        let names: Vec<String> =
            self.tensors.keys().filter(|k| !used.contains(*k)).take(4).cloned().collect();
        if !names.is_empty() {
            let (path, architecture) = (self.path.clone(), self.architecture.clone());
            return Err(WeightsError::Unexpected { path, architecture, names });
        }
        let mut hasher = blake3::Hasher::new();
        // Lengths go before contents, so that no two models give the same bytes.
        let mut text = |s: &str| {
            hasher.update(&(s.len() as u64).to_le_bytes());
            hasher.update(s.as_bytes());
        };
        text("smoothgate model 1");
        text(&self.architecture);
        text(&self.precision.to_string());
        for key in FUNCTION {
            if let Some(value) = self.metadata.get(key) {
                text(key);
                text(value);
            }
        }
        for (name, weight) in &self.tensors {
            let mut bytes = Vec::with_capacity(weight.data.len() * 4);
            bytes.extend(weight.data.iter().flat_map(|v| v.to_le_bytes()));
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&(weight.shape.len() as u64).to_le_bytes());
            for &n in &weight.shape {
                hasher.update(&(n as u64).to_le_bytes());
            }
            hasher.update(&bytes);
        }
        Ok(hasher.finalize())
    }
}

/// Little-endian floats of any width as `f32`; `None` for other types.
fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let halves = bytes.as_chunks::<2>().0;
    Some(match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Dtype::F16 => halves.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => halves.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        _ => return None,
    })
}
