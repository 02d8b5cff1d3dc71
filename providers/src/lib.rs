//! Image-labelling APIs behind one seam.
//!
//! A certificate needs three things of an API, and this crate is where they are said precisely:
//!
//! * **Wire format** ([`Provider`]): how one encoded picture becomes an HTTP request and how status, headers and
//!   body become an [`Outcome`]. Adapters are pure functions of their input, so recorded replies test them.
//! * **A named end for every call** ([`Outcome`]): answered, refused, bad picture, throttled, transient, auth, quota
//!   spent, misconfigured, malformed, unusable. Nothing is dropped: an outcome without an answer becomes a vote against
//!   every label.
//! * **A record around every call** ([`Journal`]): budget reserved and intent recorded before a byte leaves, outcome
//!   recorded before it counts. Votes are paid for; a call that is not on record did not happen.
//!
//! [`Endpoint`] puts the three together: what the engine asks. The crate knows neither denoisers nor statistics nor
//! what pictures mean.
//!
//! The same folders hold the other direction ([`served::ServedApi`]): how a server speaks each wire format.

mod answer;
pub mod aws;
pub mod azure;
pub mod azure_v3;
pub mod clarifai;
pub mod credentials;
mod endpoint;
pub mod google;
pub mod http;
pub mod huggingface;
mod journal;
pub mod kserve;
mod limits;
pub mod local;
mod money;
pub mod openai;
mod outcome;
mod picture;
mod provider;
pub mod registry;
pub mod served;
pub mod transport;
pub mod wire;

pub use answer::{Answer, Label, Likelihood};
pub use endpoint::{AskError, Description, Endpoint};
pub use journal::{Attempt, AttemptEnd, AttemptId, Billed, Journal, JournalError, Unrecorded};
pub use limits::{Limits, Quota};
pub use money::{Money, MoneyError, Price};
pub use outcome::{Fault, Outcome, OutcomeClass};
pub use picture::{EncodedPicture, Format};
pub use provider::{Provider, Reply, RequestError};
