//! Where the arithmetic happens.

use std::{fmt, str::FromStr};

/// A choice of device: `auto`, `cpu`, `cuda`, `cuda:N` or `metal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first CUDA device if this build has the feature and one is present, else Metal likewise, else the CPU.
    #[default]
    Auto,
    /// This machine's processor.
    Cpu,
    /// The CUDA device of this number, counted from 0.
    Cuda(usize),
    /// Apple's GPU.
    Metal,
}

/// A device that cannot be had. The user's to fix; nothing was computed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Not the name of a device.
    #[error("`{0}` is not a device: use auto, cpu, cuda, cuda:N (N = 0, 1, ...) or metal")]
    Unknown(String),
    /// This build lacks the code for it.
    #[error(
        "device {device} is not part of this build: build with `--features {feature}`, or choose `auto` or `cpu`"
    )]
    NotCompiled {
        /// The device asked for.
        device: Device,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
    /// The code is there and the device is not, or its driver refuses.
    #[error("device {device} is not usable on this machine ({reason}): choose `auto` or `cpu`")]
    Unavailable {
        /// The device asked for.
        device: Device,
        /// What the driver said.
        reason: String,
    },
}

impl Device {
    /// The devices of this machine that this build can use: the processor, then others. Tests run on all of them.
    pub fn present() -> Vec<Self> {
        let usable = |device: &Self| device.connect().is_ok();
        let cuda = (0..).map(Self::Cuda).take_while(usable);
        std::iter::once(Self::Cpu).chain(cuda).chain(Some(Self::Metal).filter(usable)).collect()
    }

    /// Finds the device and prepares it.
    pub(crate) fn connect(self) -> Result<candle_core::Device, DeviceError> {
        let unavailable =
            |e: candle_core::Error| DeviceError::Unavailable { device: self, reason: e.to_string() };
        match self {
            Self::Cpu => Ok(candle_core::Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => {
                Err(DeviceError::NotCompiled { device: self, feature: "cuda" })
            }
            Self::Cuda(ordinal) => candle_core::Device::new_cuda(ordinal).map_err(unavailable),
            Self::Metal if !cfg!(feature = "metal") => {
                Err(DeviceError::NotCompiled { device: self, feature: "metal" })
            }
            Self::Metal => candle_core::Device::new_metal(0).map_err(unavailable),
            Self::Auto => {
                let first = [Self::Cuda(0), Self::Metal].into_iter().find_map(|device| device.connect().ok());
                Ok(first.unwrap_or(candle_core::Device::Cpu))
            }
        }
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(s: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(s.to_owned());
        match s {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => {
                let ordinal = s.strip_prefix("cuda:").ok_or_else(unknown)?;
                ordinal.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["auto", "cpu", "cuda:0", "cuda:3", "metal"] {
            assert_eq!(name.parse::<Device>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for name in ["", "CPU", "cuda:", "cuda:-1", "cuda:x", "gpu"] {
            assert!(matches!(name.parse::<Device>(), Err(DeviceError::Unknown(_))), "{name}");
        }
    }

    #[test]
    fn the_processor_is_always_there_and_whatever_is_listed_can_be_had() {
        let present = Device::present();
        assert_eq!(present[0], Device::Cpu);
        assert!(present.iter().all(|device| device.connect().is_ok()), "{present:?}");
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_missing_feature_is_named() {
        let error = Device::Cuda(0).connect().unwrap_err();
        assert!(error.to_string().contains("--features cuda"), "{error}");
    }
}
