//! The layout before `PyTorch` 1.6: a number that marks it, a version, facts about the machine, the object, the storages' keys, each a
//! pickle; then each storage with its length before it.

use std::collections::HashMap;

use super::{
    Named, Reason,
    machine::{self, Pickle, Value},
    tensors,
};

/// 0x1950a86a20f9469cfc6c, little-endian.
const MARK: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;

pub(super) fn read(bytes: &[u8]) -> Result<Named, Reason> {
    let mut rest = bytes;
    let mut next = || -> Result<Pickle, Reason> {
        let pickle = machine::run(rest)?;
        rest = &rest[pickle.length..];
        Ok(pickle)
    };
    if !matches!(next()?.result, Value::Long(mark) if *mark == MARK) {
        return Err("it is a pickle, but not one that PyTorch wrote".into());
    }
    if !matches!(next()?.result, Value::Int(VERSION)) {
        return Err(format!("its version is not {VERSION}"));
    }
    let machine = next()?;
    if let Value::Dict(facts) = machine.result {
        let little = machine.entries(facts).into_iter().find(|(key, _)| &**key == "little_endian");
        if matches!(little, Some((_, Value::Bool(false)))) {
            return Err("its numbers are big-endian; save it again on another machine".into());
        }
    }
    let object = next()?;
    let keys = next()?;
    let Value::List(list) = keys.result else { return Err("the list of storages is missing".into()) };
    let mut storages = HashMap::new();
    let sizes = sizes(&object)?;
    for key in keys.items(list) {
        let Value::Text(key) = key else { return Err("a storage's key is no text".into()) };
        let (count, after) = rest.split_first_chunk::<8>().ok_or("the storages end early")?;
        let size = *sizes.get(&**key).ok_or_else(|| format!("storage `{key}` is nobody's"))?;
        let length =
            usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(size));
        let content = length.and_then(|length| after.get(..length)).ok_or("the storages end early")?;
        storages.insert(key.to_string(), content);
        rest = &after[content.len()..];
    }
    tensors::named(&object, |storage| {
        let content = storages.get(&storage.key).copied();
        let content = content.ok_or_else(|| format!("storage `{}` is missing", storage.key))?;
        // What is read from it is reserved before.
        if storage.count.checked_mul(storage.number.size()) != Some(content.len()) {
            return Err(format!("storage `{}` is not as large as its tensors say", storage.key));
        }
        Ok(content)
    })
}

/// Bytes of one number of each storage.
fn sizes(object: &Pickle) -> Result<HashMap<String, usize>, Reason> {
    let mut sizes = HashMap::new();
    for description in object.persistent() {
        let storage = tensors::storage(object, description)?;
        sizes.insert(storage.key, storage.number.size());
    }
    Ok(sizes)
}
