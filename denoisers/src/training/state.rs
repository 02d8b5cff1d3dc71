//! Checkpoints: everything that the next step depends on, in one file.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use safetensors::SafeTensors;

use super::{Settings, TrainError, Trainer, file, log::Means};

/// Of the file's layout.
const VERSION: &str = "smoothgate training 1";

/// What a checkpoint says of itself, without the tensors.
pub(super) struct About {
    pub(super) step: u64,
    pub(super) settings: serde_json::Value,
    best: Option<f64>,
    /// Of standardised weights; none in states of older versions.
    deviations: Vec<f64>,
    /// What the next line of the log goes on from; nothing in states of older versions.
    means: Means,
}

/// Writes a checkpoint; the one before is there until this one is whole.
pub(super) fn save(trainer: &Trainer, path: &Path) -> Result<(), TrainError> {
    let shapes = trainer.learner.shapes();
    let mut tensors = Vec::new();
    let mut add = |part: &str, values: Vec<&[f32]>| {
        let named = shapes
            .iter()
            .zip(values)
            .map(|((name, shape), values)| (format!("{part}.{name}"), shape.clone(), file::bytes(values)));
        tensors.extend(named);
    };
    add("value", trainer.learner.parameters().map(|parameter| parameter.values).collect());
    for (part, memory) in trainer.optimizer.memory() {
        add(part, memory.iter().map(Vec::as_slice).collect());
    }
    if let Some(average) = &trainer.average {
        add("average", average.iter().map(Vec::as_slice).collect());
    }
    let settings = serde_json::to_string(&trainer.settings)
        .map_err(|e| broken(path, format!("the settings cannot be written ({e})")))?;
    let mut metadata: HashMap<String, String> =
        [("format", VERSION.to_owned()), ("step", trainer.step.to_string()), ("settings", settings)]
            .map(|(key, value)| (key.to_owned(), value))
            .into();
    if let Some(best) = trainer.best {
        metadata.insert("best".into(), best.to_string());
    }
    let deviations: Vec<f64> = trainer.learner.deviations().collect();
    if !deviations.is_empty() {
        metadata.insert("deviations".into(), in_bits(&deviations));
    }
    metadata.insert("means".into(), in_bits(&trainer.means.numbers()));
    file::write_tensors(path, &tensors, &metadata)
}

/// Numbers to the bit, which no decimals are sure to be.
fn in_bits(numbers: &[f64]) -> String {
    let bits: Vec<String> = numbers.iter().map(|number| format!("{:016x}", number.to_bits())).collect();
    bits.join(",")
}

fn of_bits(text: &str) -> Result<Vec<f64>, std::num::ParseIntError> {
    text.split(',').map(|bits| u64::from_str_radix(bits, 16).map(f64::from_bits)).collect()
}

fn broken(path: &Path, reason: String) -> TrainError {
    TrainError::State { path: path.display().to_string(), reason }
}

fn read(path: &Path) -> Result<Vec<u8>, TrainError> {
    std::fs::read(path).map_err(|e| broken(path, format!("cannot be read ({e})")))
}

fn about(path: &Path, bytes: &[u8]) -> Result<About, TrainError> {
    let error = |e: &dyn std::fmt::Display| broken(path, format!("is no checkpoint of a training run ({e})"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| error(&e))?;
    let metadata = header.metadata().as_ref().ok_or_else(|| error(&"it has no metadata"))?;
    let text = |key: &str| metadata.get(key).ok_or_else(|| error(&format!("metadata `{key}` is missing")));
    if text("format")? != VERSION {
        return Err(error(&format!("its format is `{}`, this program's `{VERSION}`", text("format")?)));
    }
    let best = metadata.get("best").map(|best| best.parse()).transpose();
    let numbers = |key: &str| metadata.get(key).map(|text| of_bits(text)).transpose().map_err(|e| error(&e));
    let means =
        numbers("means")?.map(|means| Means::of_numbers(&means).ok_or_else(|| error(&"its means are none")));
    Ok(About {
        means: means.transpose()?.unwrap_or_default(),
        step: text("step")?.parse().map_err(|e| error(&e))?,
        settings: serde_json::from_str(text("settings")?).map_err(|e| error(&e))?,
        best: best.map_err(|e| error(&e))?,
        deviations: numbers("deviations")?.unwrap_or_default(),
    })
}

/// What the checkpoint says of itself.
pub(super) fn peek(path: &Path) -> Result<About, TrainError> {
    about(path, &read(path)?)
}

/// Puts the trainer where the checkpoint was made.
pub(super) fn restore(trainer: &mut Trainer, path: &Path) -> Result<(), TrainError> {
    let bytes = read(path)?;
    let about = about(path, &bytes)?;
    compare(path, &about.settings, &trainer.settings)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| broken(path, format!("is damaged ({e})")))?;
    let shapes = trainer.learner.shapes();
    let part = |part: &str| -> Result<Vec<Vec<f32>>, TrainError> {
        let tensor = |(name, shape): &(String, Vec<usize>)| {
            let name = format!("{part}.{name}");
            let view = file.tensor(&name).map_err(|e| broken(path, format!("`{name}`: {e}")))?;
            if view.shape() != shape || view.dtype() != safetensors::Dtype::F32 {
                return Err(broken(path, format!("`{name}` is of another network")));
            }
            Ok(view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
        };
        shapes.iter().map(tensor).collect()
    };
    let values = part("value")?;
    let average = trainer.average.is_some().then(|| part("average")).transpose()?;
    let parts = trainer.optimizer.memory().into_iter().map(|(name, _)| name);
    let mut memory: HashMap<&str, Vec<Vec<f32>>> = HashMap::new();
    if about.step > 0 {
        for name in parts.collect::<Vec<_>>() {
            memory.insert(name, part(name)?);
        }
    }
    if !trainer.learner.take_deviations(&about.deviations) {
        return Err(broken(path, "its deviations are of another network".into()));
    }
    trainer.learner.replace(&values);
    trainer.optimizer.restore(about.step, |name| memory.remove(name).unwrap_or_default());
    (trainer.average, trainer.step, trainer.best) = (average, about.step, about.best);
    trainer.means = about.means;
    Ok(())
}

/// Settings that hash what is learnt from and with; states of older versions lack them.
const HASHES: [&str; 2] = ["network", "validation"];

/// A run goes on as it began, or its weights would be nobody's. Settings at their usual values may be absent on either side.
fn compare(path: &Path, then: &serde_json::Value, now: &Settings) -> Result<(), TrainError> {
    let now = serde_json::to_value(now).map_err(|e| broken(path, e.to_string()))?;
    let (Some(then), Some(now)) = (then.as_object(), now.as_object()) else {
        return Err(broken(path, "its settings are damaged".into()));
    };
    let older = |key: &str| HASHES.contains(&key) && !then.contains_key(key);
    let keys: BTreeSet<&str> = then.keys().chain(now.keys()).map(String::as_str).collect();
    let said =
        |value: Option<&serde_json::Value>| value.map_or_else(|| "absent".to_owned(), ToString::to_string);
    let differences: Vec<String> = keys
        .into_iter()
        .filter(|key| then.get(*key) != now.get(*key) && !older(key))
        .map(|key| format!("{key} was {}, is {}", said(then.get(key)), said(now.get(key))))
        .collect();
    if differences.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "the run began with other settings ({}); resume it with the same, or begin in another folder from its weights",
        differences.join("; ")
    );
    Err(broken(path, reason))
}
