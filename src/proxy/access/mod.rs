//! Who may use the proxy.
//!
//! Callers show keys of our own, never the upstream's: a token where an API's clients put their key, or a signature
//! made with a key pair where they sign (AWS). A key has a name, routes, a rate, a budget and an end, and can be taken
//! back while the server runs. `smoothgate keys` writes the file; [`Keyring`] reads it, and again whenever it changes.
//!
//! ```
//! use std::time::SystemTime;
//! use smoothgate::proxy::access::{Cap, KeyFile, KeyId, Keyring, Proof, Record, Routes, Time, TokenHash};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("keys.json");
//! let id = KeyId::fresh()?;
//! let (token, hash) = TokenHash::fresh(id)?; // To be shown once.
//! let key = Record {
//!     id,
//!     name: "photo desk".to_owned(),
//!     proof: Proof::Token(hash),
//!     routes: Routes::of(&["photos-*"])?,
//!     rate: Some("60/m".parse()?),
//!     budget: Cap { calls: None, cost: Some("5.00USD".parse()?) },
//!     created: Time::of(SystemTime::now()),
//!     expires: None,
//!     revoked: None,
//! };
//! KeyFile::change(&path, |file| file.add(key))?;
//! assert_eq!(Keyring::open(&path, None)?.active(), 1);
//! # Ok(()) }
//! ```

mod denied;
mod gate;
mod key;
mod open;
mod purse;
mod rate;
mod record;
mod replay;
mod ring;
mod seam;
mod store;
#[cfg(test)]
mod tests;

pub use crate::ledger::{Caller as Account, Cap, Spend};
pub use denied::Denied;
pub use gate::{Keys, Open};
pub use key::{KeyId, KeyIdError, Master, TokenHash};
pub use open::{Exposed, in_the_clear, may_listen};
pub use purse::{Books, NoBooks};
pub use rate::{Rate, RateError};
pub use record::{Proof, Record, RouteError, Routes, State, Time, TimeError};
pub use ring::Keyring;
pub use seam::{Access, Asking, Caller, Most, Spent, Tab};
pub use store::{KeyFile, StoreError};
