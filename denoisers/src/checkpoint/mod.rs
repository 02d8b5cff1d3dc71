//! Checkpoints of `PyTorch` (`.pth`, `.pt`, `.tar`): the tensors in them, and nothing else.
//!
//! Such a file is a pickle, a program that builds objects and may call any function of its reader. This reader knows the few
//! instructions and the six functions that tensors need, runs none of them, and refuses a file that asks for anything else.
//!
//! Two layouts exist: a zip archive with the pickle and one file a storage (since `PyTorch` 1.6), and before that one stream of
//! pickles followed by all storages.

mod archive;
mod legacy;
mod machine;
mod tensors;

use crate::weights::Weight;

/// Why a checkpoint gives no tensors. The text says what was met.
pub(crate) type Reason = String;

/// Named tensors, in the order of the file.
pub(crate) type Named = Vec<(String, Weight)>;

/// Whether the bytes begin like a checkpoint rather than safetensors. Those begin with eight bytes of a length, which can be those of a
/// pickle (640 and others), and go on with a brace, where the pickles of the old layout have a part of their mark.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80\x02") && bytes.get(8) != Some(&b'{')
}

/// The state dictionary of a checkpoint: the file's own dictionary, or the one in it under `state_dict`, `params` or `model`.
pub(crate) fn read(bytes: &[u8]) -> Result<Named, Reason> {
    if bytes.starts_with(b"PK") { archive::read(bytes) } else { legacy::read(bytes) }
}

#[cfg(test)]
mod tests;
