//! From what a pickle describes to tensors.

use std::{collections::HashMap, rc::Rc};

use half::{bf16, f16};

use super::{
    Named, Reason,
    machine::{Pickle, Value, shown},
};
use crate::weights::Weight;

/// All values of all tensors together, at most; tensors may share a storage, so the file's size is no limit.
const MAX_FLOATS: usize = 1 << 29;
/// Bytes of a storage's key.
const MAX_KEY: usize = 256;
/// Under these names a checkpoint keeps the weights beside other things.
const INNER: [&str; 3] = ["state_dict", "params", "model"];

/// The type of a storage's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    F32,
    F64,
    F16,
    Bf16,
    /// Integers of so many bytes: counters beside the weights.
    Other(usize),
}

impl Number {
    /// Of a type of storage by its name.
    pub(super) fn of(storage: &str) -> Result<Self, Reason> {
        Ok(match storage {
            "FloatStorage" => Self::F32,
            "DoubleStorage" => Self::F64,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "ByteStorage" | "CharStorage" | "BoolStorage" => Self::Other(1),
            "ShortStorage" => Self::Other(2),
            "IntStorage" => Self::Other(4),
            "LongStorage" => Self::Other(8),
            other => return Err(format!("it has a storage of unknown type `{}`", shown(other))),
        })
    }

    /// Bytes of one.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::F16 | Self::Bf16 => 2,
            Self::Other(size) => size,
        }
    }

    fn value(self, bytes: &[u8]) -> Option<f32> {
        Some(match self {
            Self::F32 => f32::from_le_bytes(bytes.try_into().ok()?),
            Self::F64 => f64::from_le_bytes(bytes.try_into().ok()?) as f32,
            Self::F16 => f16::from_le_bytes(bytes.try_into().ok()?).to_f32(),
            Self::Bf16 => bf16::from_le_bytes(bytes.try_into().ok()?).to_f32(),
            Self::Other(_) => return None,
        })
    }
}

/// A storage as the pickle names it.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) number: Number,
    /// How many numbers.
    pub(super) count: usize,
}

/// `('storage', type, key, location, count)`, and a view that is absent in all files since 2017.
pub(super) fn storage(pickle: &Pickle, description: usize) -> Result<Storage, Reason> {
    let bad = || "a storage is not described as one".to_owned();
    let items = pickle.items(description);
    let (
        [Value::Text(tag), Value::Storage(number), Value::Text(key), Value::Text(_), Value::Int(count)],
        view,
    ) = items.split_first_chunk::<5>().ok_or_else(bad)?
    else {
        return Err(bad());
    };
    if &**tag != "storage" || !matches!(view, [] | [Value::Nothing]) {
        return Err(bad());
    }
    // A file may refer to one storage millions of times, and each time its key is copied. Keys are numbers.
    if key.len() > MAX_KEY {
        return Err(format!("a storage's key has more than {MAX_KEY} bytes"));
    }
    let count = usize::try_from(*count).map_err(|_| bad())?;
    Ok(Storage { key: key.to_string(), number: *number, count })
}

/// The tensors of the state dictionary, whose storages `bytes` finds by their keys.
pub(super) fn named<'a>(
    pickle: &Pickle,
    mut bytes: impl FnMut(&Storage) -> Result<&'a [u8], Reason>,
) -> Result<Named, Reason> {
    let Value::Dict(top) = pickle.result else {
        return Err("it holds no dictionary of tensors".into());
    };
    let inner = pickle.entries(top).into_iter().find_map(|(key, value)| match value {
        Value::Dict(inner) if INNER.contains(&&*key) => Some(inner),
        _ => None,
    });
    let (mut named, mut total) = (Named::new(), 0usize);
    let mut places: HashMap<Rc<str>, usize> = HashMap::new();
    for (name, value) in pickle.entries(inner.unwrap_or(top)) {
        let Value::Tensor(arguments) = value else { continue };
        let described = describe(pickle, arguments).map_err(|reason| format!("tensor `{name}`: {reason}"))?;
        if matches!(described.storage.number, Number::Other(_)) {
            continue;
        }
        total = total.saturating_add(described.count());
        if total > MAX_FLOATS {
            return Err(format!("its tensors have more than {MAX_FLOATS} values together"));
        }
        let data = described.values(bytes(&described.storage)?);
        let data = data.ok_or_else(|| format!("tensor `{name}` reaches beyond its storage"))?;
        let weight = Weight { shape: described.shape, data };
        // As in Python, a later entry replaces an earlier one of the same name.
        if let Some(place) = places.get(&name) {
            named[*place].1 = weight;
        } else {
            places.insert(name.clone(), named.len());
            named.push((name.to_string(), weight));
        }
    }
    if named.is_empty() {
        return Err("it holds no tensors of floats by name".into());
    }
    Ok(named)
}

struct Described {
    storage: Storage,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// `(storage, offset, shape, strides, ...)`.
fn describe(pickle: &Pickle, arguments: usize) -> Result<Described, Reason> {
    let bad = || "it is not described as a tensor".to_owned();
    let Some(([Value::Persistent(from), Value::Int(offset), Value::Tuple(shape), Value::Tuple(strides)], _)) =
        pickle.items(arguments).split_first_chunk::<4>()
    else {
        return Err(bad());
    };
    let numbers = |tuple: usize| -> Option<Vec<usize>> {
        let number = |value: &Value| match value {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        pickle.items(tuple).iter().map(number).collect()
    };
    let (shape, strides) = (numbers(*shape).ok_or_else(bad)?, numbers(*strides).ok_or_else(bad)?);
    if shape.len() != strides.len() || shape.len() > 8 {
        return Err(bad());
    }
    let offset = usize::try_from(*offset).map_err(|_| bad())?;
    let storage = storage(pickle, *from)?;
    let described = Described { storage, offset, shape, strides };
    // A repeated view (a stride of 0) would be larger than what it is a view of; weights never are.
    if described.count() > described.storage.count {
        return Err("it is larger than its storage".into());
    }
    Ok(described)
}

impl Described {
    fn count(&self) -> usize {
        self.shape.iter().fold(1, |count: usize, n| count.saturating_mul(*n))
    }

    /// `None` if it reaches beyond the storage.
    fn values(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        let size = self.storage.number.size();
        let mut index = vec![0; self.shape.len()];
        let mut values = Vec::with_capacity(self.count());
        for _ in 0..self.count() {
            let place = index
                .iter()
                .zip(&self.strides)
                .try_fold(self.offset, |sum, (i, stride): (&usize, &usize)| {
                    sum.checked_add(i.checked_mul(*stride)?)
                })?;
            let at = place.checked_mul(size)?;
            values.push(self.storage.number.value(bytes.get(at..at.checked_add(size)?)?)?);
            for (i, n) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < *n {
                    break;
                }
                *i = 0;
            }
        }
        Some(values)
    }
}
