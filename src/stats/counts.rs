//! Certificates from final counts, for votes that were all cast: offline, and by hand.
//!
//! The same criteria as those of [`super::Test`], which is fed vote by vote and knows when to give up.

use super::criterion::{Claim, Criterion, Proof};
use super::decision::{Certified, Evidence};
use super::error::{StatsError, check_counts};

use super::label::LabelRule;
use super::vote::Tally;

/// CERTIFY (Cohen et al. 2019, section 3.2.2): the leader of the selection votes, if the estimation votes
/// bound its probability above 1/2. The two tallies must be of disjoint draws. `None` is an abstention.
///
/// # Errors
/// [`StatsError::OutOfRange`] for σ or α out of range, [`StatsError::Counts`] without estimation votes.
pub fn certify(
    selection: &Tally,
    estimation: &Tally,
    sigma: f64,
    alpha: f64,
) -> Result<Option<Certified>, StatsError> {
    let criterion = Criterion { claim: Claim::Majority, sigma, alpha, label: LabelRule::Fixed };
    let winner = selection.leader().filter(|&label| selection.agree(label) >= selection.no_label());
    prove(&criterion, winner, selection.votes(), estimation)
}

/// PREDICT (Cohen et al. 2019, section 3.2.1): the most common label, if it beats the runner-up in a
/// two-sided binomial test of the two, failures counted for the runner-up (Hung and Fithian 2019). `None` is
/// an abstention.
///
/// # Errors
/// As [`certify`].
pub fn predict(votes: &Tally, alpha: f64) -> Result<Option<Certified>, StatsError> {
    let criterion = Criterion { claim: Claim::MostLikely, sigma: 1.0, alpha, label: LabelRule::Leader };
    prove(&criterion, votes.leader(), 0, votes)
}

/// The certificate that spends no votes on selection: all of them bound the probability of the label, at α if
/// `label` was fixed before them, else at [`super::alpha_free`] for their leader.
///
/// # Errors
/// As [`certify`].
pub fn certify_fixed_n(
    votes: &Tally,
    label: Option<usize>,
    sigma: f64,
    alpha: f64,
) -> Result<Option<Certified>, StatsError> {
    let criterion = Criterion { claim: Claim::Majority, sigma, alpha, label: rule(label) };
    prove(&criterion, label.or_else(|| votes.leader()), 0, votes)
}

/// The same against the strongest rival: the label's probability bounded from below at (1-share) α, the
/// rival's from above at share·α. A share of 0.1 costs little where all dissent is for one rival and gains
/// much where it is spread.
///
/// # Errors
/// As [`certify`], and [`StatsError::OutOfRange`] for a share outside (0, 1).
pub fn certify_fixed_n_two_class(
    votes: &Tally,
    label: Option<usize>,
    sigma: f64,
    alpha: f64,
    rival_share: f64,
) -> Result<Option<Certified>, StatsError> {
    let criterion = Criterion { claim: Claim::Gap { rival_share }, sigma, alpha, label: rule(label) };
    prove(&criterion, label.or_else(|| votes.leader()), 0, votes)
}

fn rule(label: Option<usize>) -> LabelRule {
    if label.is_some() { LabelRule::Fixed } else { LabelRule::Leader }
}

fn prove(
    criterion: &Criterion,
    class: Option<usize>,
    selection: usize,
    votes: &Tally,
) -> Result<Option<Certified>, StatsError> {
    criterion.check()?;
    check_counts(0, votes.votes())?;
    let Some(class) = class else { return Ok(None) };
    let (agree, rival) = (votes.agree(class), votes.rival(class));
    let evidence = Evidence { votes: selection + votes.votes(), selection, agree, rival };
    let proof = criterion.prove(agree, rival, votes.votes());
    Ok(proof.map(|Proof { radius, p_lower, rival_upper }| Certified {
        class,
        radius,
        p_lower,
        rival_upper,
        evidence,
    }))
}
