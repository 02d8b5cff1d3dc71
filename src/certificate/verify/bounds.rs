//! What a document may make this program compute.

use crate::certificate::Certificate;
use crate::stats::Method;

/// Most votes of a test. Each was paid for, so no honest document is near this.
const MOST_VOTES: usize = 1_000_000;

/// Most votes times rungs of a ladder: the tables are built one by one, by one bound and against a rival.
const MOST_ONE_BOUND: usize = 2_000_000;
const MOST_TWO_CLASS: usize = 10_000;

/// Most looks of an anytime test: each solves for a bound.
const MOST_LOOKS: usize = 20_000;

/// Most labels that a top-k test may bound.
const MOST_TOP: usize = 100;

/// Most votes times labels: after every vote the labels are gone through.
const MOST_TALLIES: usize = 1_000_000_000;

/// Longest side and most pixels of an original or working picture.
const MOST_SIDE: u32 = 100_000;
const MOST_PIXELS: u64 = 1 << 28;

/// Says what is too much, if anything is.
pub(super) fn test(certificate: &Certificate) -> Result<(), String> {
    let over = |what: &str, value: usize, most: usize| {
        if value <= most {
            Ok(())
        } else {
            Err(format!("{what} is {value}, and {most} is the most that is checked here"))
        }
    };
    over("the number of votes", certificate.votes.len(), MOST_VOTES)?;
    let tallies = certificate.votes.len().saturating_mul(certificate.labels.len());
    over("votes times labels", tallies, MOST_TALLIES)?;
    match certificate.test.method {
        Method::Cohen { n0, n } => over("n0 + n", n0.saturating_add(n), MOST_VOTES),
        Method::Predict { n } | Method::Fixed { n, .. } => over("n", n, MOST_VOTES),
        Method::Topk { k, n0, n } => {
            over("k", k, MOST_TOP)?;
            over("n0 + n", n0.saturating_add(n), MOST_VOTES)
        }
        Method::Table(ref ladder) => {
            over("n_max times radii", ladder.n_max.saturating_mul(ladder.radii.len()), MOST_TWO_CLASS)
        }
        Method::Table1(ref ladder) => {
            over("n_max times radii", ladder.n_max.saturating_mul(ladder.radii.len()), MOST_ONE_BOUND)
        }
        Method::Anytime { n_max, every, n_min, .. } => {
            over("n_max", n_max, MOST_VOTES)?;
            over("n_min", n_min, MOST_VOTES)?;
            over("every", every, MOST_VOTES)?;
            over("the number of looks", certificate.votes.len() / every.max(1), MOST_LOOKS)
        }
    }
}

/// The same for the sizes of the picture.
pub(super) fn sizes(certificate: &Certificate) -> Result<(), String> {
    let picture = &certificate.picture;
    for (what, (width, height)) in [
        ("working image", (picture.width, picture.height)),
        ("original picture", picture.preprocessing.original),
    ] {
        if width.min(height) == 0
            || width.max(height) > MOST_SIDE
            || u64::from(width) * u64::from(height) > MOST_PIXELS
        {
            return Err(format!("a {what} of {width}x{height} pixels is not checked here"));
        }
    }
    Ok(())
}
