//! The statistics of a certificate: bounds on probabilities, radii, and tests that are fed votes one by one.
//!
//! Pure functions of numbers and votes: nothing here does I/O or knows pictures, providers or clocks.
//! Probabilities lie in \[0, 1\], σ and radii share whatever unit the caller uses, votes come in index order.
//!
//! The claims are those of randomised smoothing (J. Cohen, E. Rosenfeld, Z. Kolter, "Certified Adversarial
//! Robustness via Randomized Smoothing", ICML 2019). If the base classifier returns label A on copies of x
//! with noise N(0, σ²I) with probability at least `p_A`, and every other label with at most `p_B`, then the
//! smoothed classifier returns A within L2 distance `σ/2 (Φ⁻¹(p_A) - Φ⁻¹(p_B))` of x. The probabilities are
//! bounded from votes, and a certificate is wrong with probability at most α: whatever the classifier is,
//! whichever draws fail, and whenever one stops asking. Three rules make the last two true.
//!
//! - Votes are counted in index order, and a draw that failed is a vote against every label and for its strongest
//!   rival. So the votes that are counted are dominated by those that the classifier would have cast.
//! - What certifies is a region of counts that is only entered more easily with more votes for the label and fewer
//!   for a rival. So a certificate implies that the true votes reach that region too, whether or not anybody goes on
//!   to ask for them: the error is the probability of that event, which no stopping, failing or hurrying can change.
//! - That probability is computed, not simulated, and what a label read off the same votes adds to it is paid for
//!   ([`LabelRule`]).
//!
//! A [`Plan`] says which test; a [`Test`] is made from it once; each picture has a [`Run`], or a [`Joint`] of several claims:
//!
//! ```
//! use smoothgate::stats::{LabelRule, Ladder, Method, Plan, Test, Vote};
//!
//! let method = Method::Table1(Ladder::new(vec![0.25], 120));
//! let test = Test::new(Plan { sigma: 0.25, alpha: 0.001, label: LabelRule::Leader, method })?;
//! let mut run = test.start(None)?;
//! while !run.push(Vote::For(0)).is_final() {}
//! assert_eq!(run.decision().certified().map(|c| (c.class, c.radius)), Some((0, 0.25)));
//! assert_eq!(run.evidence().votes, 46);
//! # Ok::<(), smoothgate::stats::StatsError>(())
//! ```

mod anytime;
mod band;
mod binomial;
mod boundary;
mod bounds;
mod counts;
mod criterion;
mod decision;
mod error;
mod fixed;
mod joint;
mod label;
mod normal;
mod norms;
mod one_bound;
mod plan;
mod radius;
mod run;
mod selection;
mod staircase;
mod test;
#[cfg(test)]
mod tests;
mod topk;
mod two_class;
mod two_class_build;
mod two_class_futility;
mod two_class_plane;
mod verify;
mod verify_two_class;
mod vote;
mod work;

pub use anytime::{anytime_log_wealth, anytime_lower};
pub use binomial::{binom_sf, binom_test_half, ln_binom_sf};
pub use boundary::Boundary;
pub use bounds::{cp_lower, cp_upper, fewest_votes, largest_radius, tau_for_radius};
pub use counts::{certify, certify_fixed_n, certify_fixed_n_two_class, predict};
pub use decision::{Abstained, Certified, Decision, Evidence, Reason};
pub use error::StatsError;
pub use joint::{Joint, Sharing};
pub use label::{LabelRule, alpha_free};
pub use normal::{normal_cdf, normal_quantile};
pub use norms::{
    Norm, radius_from_l2, radius_l0_ablation, radius_l1_laplace, radius_l1_laplace_two_class,
    radius_l1_uniform, radius_linf_uniform,
};
pub use one_bound::{OneBoundTable, Operating};
pub use plan::{Ladder, Method, Plan};
pub use radius::{radius_l2, radius_l2_two_class, radius_original_space, radius_topk, round_down};
pub use run::Run;
pub use staircase::Tables;
pub use test::Test;
pub use two_class::TwoClassTable;
pub(crate) use two_class_build::two_classes_can_be_built;
pub use verify::verify_table;
pub use verify_two_class::verify_two_class_table;
pub use vote::{Tally, Vote};
pub use work::TooMuch;
pub(crate) use work::{Work, two_classes_can_be_verified};
