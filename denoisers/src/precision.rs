//! With how many bits a denoiser computes.

use std::{fmt, str::FromStr};

use crate::graph::{Graph, Kind};

/// A choice of arithmetic: `f32` or `bf16`. Any is sound, since a denoiser may be any deterministic function; they differ in quality and
/// speed. It is part of what the denoiser is: of its name and its hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Weights and features rounded to bf16 (8 significant bits), sums in f32. Faster than f32 on processors with matrix tiles for it
    /// (AMX: Intel's Xeon since 2023), slower on all others, where the same bits have to be found without them.
    Bf16,
}

/// Not the name of a precision. The user's to fix.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a precision: use f32 or bf16")]
pub struct UnknownPrecision(String);

impl Precision {
    /// All, the default first.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// What the name of a model ends in: nothing for f32.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "",
            Self::Bf16 => "-bf16",
        }
    }

    /// The precision that a model's name tells ([`Id::name`](crate::Id::name)).
    pub fn of_name(name: &str) -> Self {
        if name.ends_with(Self::Bf16.suffix()) { Self::Bf16 } else { Self::F32 }
    }

    /// Whether there are kernels for all of this network.
    pub(crate) fn serves(self, graph: &Graph) -> bool {
        self == Self::F32 || !graph.convs.iter().any(|conv| matches!(conv.kind, Kind::Depthwise { .. }))
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(s: &str) -> Result<Self, UnknownPrecision> {
        Self::ALL.into_iter().find(|p| p.to_string() == s).ok_or_else(|| UnknownPrecision(s.to_owned()))
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
            assert_eq!(Precision::of_name(&format!("unet{}", precision.suffix())), precision);
        }
        assert!("fp16".parse::<Precision>().unwrap_err().to_string().contains("f32 or bf16"));
    }
}
