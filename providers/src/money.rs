//! Money as exact decimals. Never a float: a budget is a promise.

use std::str::FromStr;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An amount of US dollars, exact, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Money(Decimal);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// `units` times ten to the minus `scale` dollars: `Money::new(15, 4)` is $0.0015.
    pub fn new(units: u32, scale: u32) -> Self {
        Self(Decimal::new(i64::from(units), scale.min(Decimal::MAX_SCALE)))
    }

    /// The sum, `None` on overflow.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, `None` where it would be negative.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).filter(|d| !d.is_sign_negative()).map(Self)
    }

    /// `count` times this amount, `None` on overflow.
    pub fn times(self, count: u64) -> Option<Self> {
        self.0.checked_mul(Decimal::from(count)).map(Self)
    }

    /// How many times `each` fits into this amount; `None` where `each` is nothing.
    pub fn over(self, each: Self) -> Option<u64> {
        self.0.checked_div(each.0).map(|times| times.floor().to_u64().unwrap_or(u64::MAX))
    }

    /// The amount in dollars.
    pub fn dollars(self) -> Decimal {
        self.0
    }
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let d = self.0.normalize();
        let scale = d.scale().max(2) as usize;
        write!(f, "${d:.scale$}")
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    /// Reads `5`, `5.00`, `$5.00`, `5.00USD` or `5.00 USD`.
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let t = text.trim();
        let t = t.strip_prefix('$').unwrap_or(t);
        let t = t.strip_suffix("USD").or_else(|| t.strip_suffix("usd")).unwrap_or(t).trim();
        let amount = Decimal::from_str_exact(t).map_err(|_| MoneyError { text: text.to_owned() })?;
        if amount.is_sign_negative() && !amount.is_zero() {
            return Err(MoneyError { text: text.to_owned() });
        }
        Ok(Self(amount))
    }
}

impl JsonSchema for Money {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "An exact amount of US dollars, for instance \"0.0015USD\".",
            "pattern": r"^\$?[0-9]+(\.[0-9]+)?( ?USD)?$",
        })
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an amount of money: write for instance `5.00USD` (US dollars, not negative)")]
pub struct MoneyError {
    text: String,
}

/// What one billed unit (one picture under one feature) costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Price {
    /// Runs here, costs nothing.
    Free,
    /// List price of one picture.
    PerPicture(Money),
    /// Not known. Shown as unknown, never as nothing.
    Unknown,
}

impl Price {
    /// The cost of `pictures` billed pictures; `None` where the price is unknown (or the amount overflows).
    pub fn of(self, pictures: u64) -> Option<Money> {
        match self {
            Self::Free => Some(Money::ZERO),
            Self::PerPicture(each) => each.times(pictures),
            Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        let each: Money = "0.0015USD".parse().unwrap();
        assert_eq!(each, Money::new(15, 4));
        assert_eq!(each.times(1_000_000).unwrap().to_string(), "$1500.00");
        // Ten times a tenth is one, which floats do not promise.
        let tenth: Money = "0.1".parse().unwrap();
        let sum = (0..10).try_fold(Money::ZERO, |a, _| a.checked_add(tenth)).unwrap();
        assert_eq!(sum, "1.00".parse().unwrap());
    }

    #[test]
    fn wrong_amounts_are_refused_with_an_example() {
        for bad in ["", "five", "-1", "5EUR", "1e3", "NaN", "$"] {
            let error = bad.parse::<Money>().unwrap_err().to_string();
            assert!(error.contains("5.00USD"), "{bad}: {error}");
        }
    }

    #[test]
    fn an_unknown_price_is_not_zero() {
        assert_eq!(Price::Unknown.of(3), None);
        assert_eq!(Price::Free.of(3), Some(Money::ZERO));
        assert_eq!(Price::PerPicture(Money::new(1, 3)).of(120), Some("0.12".parse().unwrap()));
    }

    #[test]
    fn differences_never_go_below_nothing() {
        assert_eq!(Money::new(1, 0).checked_sub(Money::new(2, 0)), None);
        assert_eq!(Money::new(2, 0).checked_sub(Money::new(2, 0)), Some(Money::ZERO));
    }

    #[test]
    fn an_amount_holds_whole_prices_only() {
        let each = Money::new(15, 4);
        assert_eq!(Money::new(45, 4).over(each), Some(3));
        assert_eq!(Money::new(44, 4).over(each), Some(2));
        assert_eq!(Money::ZERO.over(each), Some(0));
        assert_eq!(each.over(Money::ZERO), None);
    }

    #[test]
    fn small_amounts_keep_their_digits() {
        assert_eq!(Money::new(15, 4).to_string(), "$0.0015");
        assert_eq!(Money::new(5, 0).to_string(), "$5.00");
    }
}
