//! Models by name or by file.

use std::path::Path;

use crate::{
    BackendError, Classifier, Denoiser, Device, DeviceError, Identity, WeightsError, architectures,
    classifiers::{self, Loaded, NetworkClassifier},
    network::{Model, Network},
    packed,
    precision::Precision,
    weights::Weights,
};

/// How a model is to be run.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Where.
    pub device: Device,
    /// With what.
    pub engine: Engine,
    /// With how many bits a denoiser computes. Classifiers always compute in f32.
    pub precision: Precision,
}

/// What does the arithmetic on a processor; other devices have Candle's kernels only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// This crate's kernels.
    #[default]
    Own,
    /// Candle's, tens of times slower: the independent implementation that tests and benchmarks compare with.
    Candle,
}

impl Options {
    /// Defaults, on this device.
    pub fn on(device: Device) -> Self {
        Self { device, ..Self::default() }
    }
}

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// For [`open`].
    Denoise,
    /// For [`open_classifier`].
    Classify,
}

/// A model that is part of the program.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// What to call it.
    pub name: &'static str,
    /// What it does.
    pub task: Task,
    /// One line about it.
    pub about: &'static str,
    /// How good it is, and on what.
    pub numbers: &'static str,
    /// An SPDX expression; empty if there are no weights.
    pub license: &'static str,
    /// Its safetensors file, packed; empty if there are no weights.
    file: &'static [u8],
}

/// What `build.rs` made of a file in `weights`.
macro_rules! packed {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".packed"))
    };
}

/// All models that are part of the program. The first of its task that has weights is `auto`.
pub const BUILTIN: [Builtin; 7] = [
    Builtin {
        name: "none",
        task: Task::Denoise,
        about: "no denoising: the baseline of the paper",
        numbers: "PSNR is that of the noise",
        license: "",
        file: &[],
    },
    Builtin {
        name: "photo",
        task: Task::Denoise,
        about: "noise-conditioned U-Net for photographs, sigma 0.02 to 1.0, 2.2 M parameters (the default)",
        numbers: "31.18, 28.00, 26.34, 24.37 and 22.02 dB at sigma 25/255, 50/255, 75/255, 0.5 and 1.0 (the 68 pictures of CBSD68)",
        license: "MIT OR Apache-2.0",
        file: packed!("photo"),
    },
    Builtin {
        name: "cifar10",
        task: Task::Denoise,
        about: "noise-conditioned U-Net for pictures like CIFAR-10's, sigma 0.1 to 1.0, 0.94 M parameters, tuned through \
            surrogates for a classifier that only gave answers",
        numbers: "23.6, 20.7 and 18.1 dB at sigma 0.25, 0.5 and 1.0 (1000 test pictures of CIFAR-10)",
        license: "MIT OR Apache-2.0",
        file: packed!("cifar10"),
    },
    Builtin {
        name: "cifar10-mse",
        task: Task::Denoise,
        about: "the same network after squared error alone: for comparisons",
        numbers: "24.1, 21.0 and 18.3 dB at sigma 0.25, 0.5 and 1.0 (1000 test pictures of CIFAR-10)",
        license: "MIT OR Apache-2.0",
        file: packed!("cifar10-mse"),
    },
    Builtin {
        name: "cifar10-whitebox",
        task: Task::Denoise,
        about: "the same network tuned through the classifier itself, a public cifar-resnet of 56 layers, sigma 0.1 to 1.0: for comparisons",
        numbers: "23.8, 20.7 and 18.0 dB at sigma 0.25, 0.5 and 1.0 (1000 test pictures of CIFAR-10)",
        license: "MIT OR Apache-2.0",
        file: packed!("cifar10-whitebox"),
    },
    Builtin {
        name: "things64",
        task: Task::Classify,
        about: "residual network for 64 everyday classes at 64x64, 1.6 M parameters",
        numbers: "right about 66.8 % of 3200 validation pictures",
        license: "MIT OR Apache-2.0",
        file: packed!("things64"),
    },
    Builtin {
        name: "cifar10-resnet20",
        task: Task::Classify,
        about: "residual network of 20 layers for CIFAR-10 that learnt with noise, sigma 0 to 0.25: one of those that cifar10 was tuned through",
        numbers: "right about 81.7, 79.3 and 69.3 % of 2000 test pictures at sigma 0, 0.12 and 0.25",
        license: "MIT OR Apache-2.0",
        file: packed!("cifar10-resnet20"),
    },
];

/// Why a model could not be opened. The user's to fix; nothing was computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Neither a name nor a file.
    #[error("`{name}` is neither a built-in {what} ({known}) nor a safetensors file or PyTorch checkpoint")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The kind of model.
        what: &'static str,
        /// The names that would have been understood.
        known: String,
    },
    /// The file is not usable.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The device is not usable.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The network, the device or the engine has no arithmetic of this precision.
    #[error("{what} computes in f32 only: choose precision f32{mend}")]
    Precision {
        /// What has no other.
        what: String,
        /// What else would do, if anything.
        mend: &'static str,
    },
    /// The weights did not get onto the device.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Opens a denoiser: `auto`, a name of [`BUILTIN`], or the path of a safetensors file or `PyTorch` checkpoint, whose architecture is read from its metadata
/// (`arch`) or recognised by its tensor names.
///
/// # Errors
/// [`OpenError`] if there is no such model, its file is not usable, or the device is not.
pub fn open(name: &str, options: &Options) -> Result<Box<dyn Denoiser>, OpenError> {
    if name == "none" {
        // The device is not used, but a typing error in it should not wait for the day it is.
        options.device.connect()?;
        return Ok(Box::new(Identity::default()));
    }
    let model = load_denoiser(name, options.precision)?;
    if !model.precision.serves(&model.graph) {
        return Err(OpenError::Precision { what: format!("`{name}`"), mend: "" });
    }
    let device = options.device.connect()?;
    if model.precision != Precision::F32 && (!device.is_cpu() || options.engine != Engine::Own) {
        let what = if device.is_cpu() { "Candle".to_owned() } else { format!("device {}", options.device) };
        return Err(OpenError::Precision { what, mend: ", or device cpu" });
    }
    Ok(Box::new(Network::new(model, device, options.engine)?))
}

/// Opens a classifier: `auto`, a name of [`BUILTIN`], or the path of a safetensors file or `PyTorch` checkpoint, whose architecture is read from its
/// metadata (`arch`) or recognised by its tensor names. Its classes are those of the metadata (`classes`, separated by `|`), else numbers.
///
/// # Errors
/// [`OpenError`] if there is no such model, its file is not usable, or the device is not.
pub fn open_classifier(name: &str, options: &Options) -> Result<Box<dyn Classifier>, OpenError> {
    let Loaded { model, labels, input_size } = load_classifier(name)?;
    let network = Network::new(model, options.device.connect()?, options.engine)?;
    Ok(Box::new(NetworkClassifier::new(network, labels, input_size)))
}

/// A denoiser that is a network, before it is given a device.
pub(crate) fn load_denoiser(name: &str, precision: Precision) -> Result<Model, OpenError> {
    let mut model = architectures::load(weights(name, Task::Denoise)?.at(precision))?;
    let label = builtin(name, Task::Denoise).map_or_else(|| file_label(name), |model| model.name.to_owned());
    model.id = model.id.labelled(label + model.precision.suffix());
    Ok(model)
}

/// Folder and stem of a file: every run calls its last checkpoint the same.
fn file_label(path: &str) -> String {
    let path = Path::new(path);
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
    match path.parent().and_then(Path::file_name) {
        Some(folder) => format!("{}/{stem}", folder.to_string_lossy()),
        None => stem.into_owned(),
    }
}

/// A classifier, before it is given a device.
pub(crate) fn load_classifier(name: &str) -> Result<Loaded, OpenError> {
    Ok(classifiers::load(weights(name, Task::Classify)?)?)
}

/// The built-in model of this name that has weights, or the first for `auto`.
fn builtin(name: &str, task: Task) -> Option<&'static Builtin> {
    let mut with_weights = BUILTIN.iter().filter(|model| model.task == task && !model.file.is_empty());
    with_weights.find(|model| name == "auto" || model.name == name)
}

/// Of a built-in model or a file.
fn weights(name: &str, task: Task) -> Result<Weights, OpenError> {
    match builtin(name, task) {
        Some(model) => {
            let name = format!("the built-in {}", model.name);
            let file = packed::unpack(model.file)
                .map_err(|source| WeightsError::Read { path: name.clone(), source })?;
            Ok(Weights::parse(&name, &file)?)
        }
        None => file(name, task),
    }
}

/// The name of the built-in denoiser whose hash is this one ([`Id::hash`](crate::Id::hash) in hexadecimal) when it computes with this
/// precision. A certificate's denoiser is found by it: several may share an architecture, whose name is all that an [`Id`](crate::Id)
/// says.
pub fn builtin_denoiser(hash: &str, precision: Precision) -> Option<&'static str> {
    let is_it = |model: &&Builtin| {
        let found = if model.file.is_empty() {
            Some(Identity::default().id().hash())
        } else {
            load_denoiser(model.name, precision).ok().map(|model| model.id.hash())
        };
        found.is_some_and(|found| *found.to_hex() == *hash)
    };
    BUILTIN.iter().filter(|model| model.task == Task::Denoise).find(is_it).map(|model| model.name)
}

fn file(path: &str, task: Task) -> Result<Weights, OpenError> {
    let looks_like_file = path.contains(['/', '\\']) || Path::new(path).extension().is_some();
    if !looks_like_file && !Path::new(path).exists() {
        let names = BUILTIN.iter().filter(|b| b.task == task).map(|b| b.name);
        let known: Vec<&str> = std::iter::once("auto").chain(names).collect();
        let what = match task {
            Task::Denoise => "denoiser",
            Task::Classify => "classifier",
        };
        return Err(OpenError::Unknown { name: path.to_owned(), what, known: known.join(", ") });
    }
    Ok(Weights::read(Path::new(path))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_by_folder_and_stem() {
        let labels = ["runs/first/last.safetensors", "./last.safetensors", "dncnn.pth"].map(file_label);
        assert_eq!(labels, ["first/last", "last", "dncnn"]);
    }

    #[test]
    fn what_is_built_in_is_the_files_of_weights_in_less_than_12_megabytes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
        let mut bytes = 0;
        for model in BUILTIN.iter().filter(|model| !model.file.is_empty()) {
            let file = std::fs::read(folder.join(model.name).with_extension("safetensors")).unwrap();
            assert!(packed::unpack(model.file).unwrap() == file, "{}", model.name);
            assert!(model.file.len() < file.len(), "{}", model.name);
            bytes += model.file.len();
        }
        assert!(bytes < 12_000_000, "{bytes} bytes");
    }
}
