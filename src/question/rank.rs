//! Which of several labels comes first.

use std::borrow::Cow;
use std::cmp::Ordering;

use smoothgate_providers::Label;

use super::names::normalise;

/// What a question sees of one label of an answer.
pub(crate) trait Named {
    /// The name as the API spells it.
    fn spelling(&self) -> &str;
    /// The normalised name.
    fn key(&self) -> Cow<'_, str>;
    /// The score on the scale of 0 to 1, where there is one.
    fn score(&self) -> Option<f64>;
}

impl Named for &Label {
    fn spelling(&self) -> &str {
        &self.name
    }

    fn key(&self) -> Cow<'_, str> {
        normalise(&self.name)
    }

    fn score(&self) -> Option<f64> {
        self.score
    }
}

/// The label with the highest score. Among equal scores the normalised name that is first in code-point order; without
/// any score the label that the API named first. NaN is no score.
pub(super) fn first<L: Named>(labels: impl Iterator<Item = L>) -> Option<L> {
    labels.reduce(|best, next| if beats(&next, &best) { next } else { best })
}

/// The label with the highest score, among equal ones the first that the API named: the top label of one answer, which
/// no other answer's order has to agree with. NaN is no score.
pub(super) fn named_first<L: Named>(labels: impl Iterator<Item = L>) -> Option<L> {
    // No score is less than any.
    labels.reduce(|best, next| if score(&next) > score(&best) { next } else { best })
}

/// The score, which NaN is not.
pub(super) fn score(label: &impl Named) -> Option<f64> {
    label.score().filter(|score| !score.is_nan())
}

/// Does `later`, which stands after `earlier` in the answer, come before it?
fn beats<L: Named>(later: &L, earlier: &L) -> bool {
    match (score(later), score(earlier)) {
        (Some(a), Some(b)) => match a.partial_cmp(&b) {
            Some(Ordering::Equal) => later.key() < earlier.key(),
            order => order == Some(Ordering::Greater),
        },
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// Does the label's score reach `least`? A label without a score reaches none.
pub(super) fn reaches(label: &impl Named, least: Option<f64>) -> bool {
    least.is_none_or(|least| label.score().is_some_and(|score| score >= least))
}
