//! Quantities with their units in the type.
//!
//! Everything here is in units of [0, 1] pixel values: sigma 0.25 is a standard deviation of 63.75 levels of an 8-bit
//! picture, and a radius of 0.25 is an L2 distance of 63.75 levels over all pixels and channels together.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::noise::{MAX_SIGMA, MIN_SIGMA};

/// A number that is not in the range of its quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{quantity} `{given}` is not allowed: {rule}")]
pub struct UnitError {
    quantity: &'static str,
    given: String,
    rule: &'static str,
}

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $quantity:literal, $rule:literal, $test:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
            /// Checks the range.
            ///
            /// # Errors
            /// [`UnitError`] outside the range that the type's documentation states, and for NaN.
            pub fn new(value: f64) -> Result<Self, UnitError> {
                let in_range: fn(f64) -> bool = $test;
                if in_range(value) {
                    // Adding zero makes one of the two zeros: a document has one, and its words are made from that.
                    Ok(Self(value + 0.0))
                } else {
                    Err(UnitError { quantity: $quantity, given: value.to_string(), rule: $rule })
                }
            }

            /// The number.
            pub fn get(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = UnitError;
            fn try_from(value: f64) -> Result<Self, UnitError> {
                Self::new(value)
            }
        }

        impl From<$name> for f64 {
            fn from(value: $name) -> f64 {
                value.0
            }
        }

        impl FromStr for $name {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<Self, UnitError> {
                let value = text.trim().parse().map_err(|_| UnitError {
                    quantity: $quantity,
                    given: text.to_owned(),
                    rule: $rule,
                })?;
                Self::new(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

unit!(
    /// Standard deviation of the noise, in units of [0, 1] pixel values: 0.01 to 2.
    ///
    /// With less noise hardly a pixel changes and no radius worth paying for can be certified; with more nothing of
    /// the picture is left. The field's values are 0.12, 0.25, 0.5 and 1.0.
    Sigma,
    "sigma",
    "it is the noise's standard deviation in units of [0, 1] pixel values, from 0.01 to 2 (63.75 of 255 levels is 0.25)",
    |v| (MIN_SIGMA..=MAX_SIGMA).contains(&v)
);

unit!(
    /// The probability with which a certificate may be wrong: above 0, below 1/2.
    Alpha,
    "alpha",
    "it is the probability that a certificate is wrong, above 0 and below 0.5 (the field's value is 0.001)",
    |v| v > 0.0 && v < 0.5
);

unit!(
    /// An L2 radius in units of [0, 1] pixel values at the working resolution: 0 or more, finite.
    Radius,
    "radius",
    "it is an L2 distance in units of [0, 1] pixel values, 0 or more",
    |v| v >= 0.0 && v.is_finite()
);

impl Sigma {
    /// 0.25, the value that Cohen et al. 2019 and the papers after it report first.
    pub const FIELD: Self = Self(0.25);
}

impl Alpha {
    /// 0.001, the value of Cohen et al. 2019 and of the papers after it.
    pub const FIELD: Self = Self(0.001);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_and_errors_say_the_unit() {
        assert_eq!("0.25".parse::<Sigma>(), Sigma::new(0.25));
        for bad in ["0", "-1", "NaN", "inf", "64", "x", ""] {
            let message = bad.parse::<Sigma>().unwrap_err().to_string();
            assert!(message.contains("[0, 1] pixel values"), "{message}");
        }
        for bad in [0.0, 0.5, 1.0, -0.1, f64::NAN] {
            assert!(Alpha::new(bad).is_err(), "{bad}");
        }
        assert!(Radius::new(0.0).is_ok() && Radius::new(f64::INFINITY).is_err());
        assert_eq!("-0".parse::<Radius>().unwrap().to_string(), "0");
    }

    #[test]
    fn serde_checks_too() {
        assert!(serde_json::from_str::<Sigma>("0.25").is_ok());
        assert!(serde_json::from_str::<Alpha>("0.7").is_err());
    }
}
