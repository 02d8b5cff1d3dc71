//! Certified robustness for image-labelling APIs that you can call but not change.
//!
//! Noise is added to n copies of a picture, a local denoiser cleans them, the API is asked about each, and the answers
//! become a certificate: no perturbation of L2 size below R changes the smoothed pipeline's answer, with probability at
//! least 1 - alpha (Cohen et al. 2019; *Denoised Smoothing*, Salman et al. 2020).
//!
//! | module | holds |
//! |---|---|
//! | [`stats`] | bounds, radii and tests: pure mathematics |
//! | [`tables`] | built tables of sequential tests, kept on disk and checked before use |
//! | [`noise`] | draw i of a seed, from the exact law on the pixel grid |
//! | [`picture`] | from a file to the working image, and from planes to encoded copies |
//! | [`question`] | what makes an answer a vote |
//! | [`engine`] | the pipeline from picture to decision |
//! | [`certificate`] | the document |
//! | [`plan`] | what a certificate will cost, before anything is paid |
//! | [`replay`] | recorded answers put to any question and test, offline |
//! | [`report`] | certified accuracy against radius, from logs |
//! | [`certifier`] | one picture after another, with the ledger |
//! | [`ledger`] | attempts, answers and budgets in a `SQLite` file |
//! | [`dataset`] | labelled pictures to evaluate on |
//! | [`config`] | `smoothgate.toml`: provider instances, network, defaults |
//! | [`emulate`] | a server that stands in for the public APIs, with faults on purpose |
//! | [`proxy`] | a server that answers in the formats of the public APIs with certified labels |
//! | [`front`] | what servers of ours have in front: connections, limits, routing by wire format |
//! | [`traces`] | spans along the way of a request, and where they go |
//! | [`local`] | the built-in 64-class classifier that stands in for a remote API |
//!
//! Denoisers and providers are crates of their own, re-exported as [`denoisers`] and [`providers`].

pub mod certificate;
pub mod certifier;
#[doc(hidden)]
pub mod cli;
pub mod config;
pub mod dataset;
pub mod emulate;
pub mod engine;
pub mod front;
pub mod ledger;
pub mod local;
pub mod noise;
pub mod picture;
pub mod plan;
pub mod proxy;
pub mod question;
pub mod replay;
pub mod report;
pub mod stats;
pub mod tables;
pub mod traces;
pub mod units;

pub use smoothgate_denoisers as denoisers;
pub use smoothgate_providers as providers;
