//! Reports: certified accuracy against radius from logs, as numbers, as a curve and as a page.
//!
//! A log is what `certify` prints or writes (rows as JSON lines or tab-separated values, certificate documents), or what
//! the programs of Cohen et al. 2019 and Salman et al. 2020 wrote (tab-separated values). Each becomes a [`Series`]; of a
//! series [`Figures`] are computed; [`curve`] draws and [`Page`] lays out.
//!
//! Shares of pictures carry two-sided 95 % Clopper-Pearson intervals ([`Share`]): they say what another sample of pictures
//! from the same source could have given. They do not cover alpha, the probability with which each certificate may be
//! wrong. Where a log does not say what the right labels are, the share is called "certified share", never accuracy.

mod axis;
mod chart;
mod error;
mod figures;
mod histogram;
mod json;
mod markup;
mod page;
mod read;
mod series;
mod strip;
#[cfg(test)]
mod tests;
mod tsv;

pub use chart::{MAX_SERIES, curve};
pub use error::ReportError;
pub use figures::{CONFIDENCE, Figures, Share, Usage, default_radii};
pub use page::Page;
pub use read::{parse, read};
pub use series::{Cast, Measure, Picture, Series, Setting, Verdict, Votes};
