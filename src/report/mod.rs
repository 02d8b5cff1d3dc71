//! Reports: certified accuracy against radius from logs, as numbers, as drawings and as a page.
//!
//! A log is what `certify` and `replay` print or write (rows as JSON lines or tab-separated values, certificate documents),
//! what a ledger has on record, or what the programs of Cohen et al. 2019 and Salman et al. 2020 wrote (tab-separated
//! values, answers with results). Each becomes a [`Series`]; of a series [`Figures`] are computed; [`curve`], [`panels`] and
//! [`votes`] draw, [`png`] makes pixels of a drawing, and [`Page`] lays out.
//!
//! A report believes its logs: what holds of a certificate is for [`Verification`](crate::certificate::Verification) to say.
//!
//! Shares of pictures carry two-sided 95 % Clopper-Pearson intervals ([`Share`]): they say what another sample of pictures
//! from the same source could have given. They do not cover alpha, the probability with which each certificate may be
//! wrong. Where a log does not say what the right labels are, the share is called "certified share", never accuracy.

mod axis;
mod canvas;
mod chart;
mod error;
mod figures;
mod histogram;
mod json;
mod markup;
mod page;
mod palette;
mod panels;
mod png;
mod read;
mod run;
mod series;
mod strip;
#[cfg(test)]
mod tests;
mod thumbnails;
mod tsv;
mod votes;
mod walk;

pub use chart::{MAX_SERIES, curve};
pub use error::ReportError;
pub use figures::{CONFIDENCE, Figures, Share, Usage, default_radii};
pub use page::{FIGURES, Page};
pub use panels::{MAX_PANELS, panels};
pub use png::png;
pub use read::{Truth, parse, read};
pub use run::{OnRecord, RunError, on_record};
pub use series::{Cast, Field, Measure, Picture, Series, Setting, UnknownField, Verdict, Votes};
pub use thumbnails::{Thumbnail, ThumbnailError, Thumbnails, picture_of, thumbnails};
pub use votes::votes;
pub use walk::{Says, Step, Tested, Walk};
