//! What a document may make this program compute.

use crate::certificate::{Certificate, Claim};
use crate::stats::{Method, Plan};

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

/// Most claims.
const MOST_CLAIMS: usize = 1000;

/// Says what is too much, if anything is. The bounds are on all claims together; a test that several claims share is made
/// once.
pub(super) fn tests(certificate: &Certificate) -> Result<(), String> {
    let claims = &certificate.claims;
    over("the number of claims", claims.len(), MOST_CLAIMS)?;
    if claims.is_empty() {
        return Err("there is no claim".to_owned());
    }
    let sum = |of: &dyn Fn(&Claim) -> usize| claims.iter().map(of).fold(0usize, usize::saturating_add);
    over("the number of votes", sum(&|claim| claim.votes.len()), MOST_VOTES)?;
    over(
        "votes times labels",
        sum(&|claim| claim.votes.len().saturating_mul(claim.labels.len())),
        MOST_TALLIES,
    )?;
    over("the number of looks", sum(&looks), MOST_LOOKS)?;
    let mut work = Work::default();
    let mut met: Vec<&Plan> = Vec::new();
    for claim in claims {
        if !met.contains(&&claim.test) {
            met.push(&claim.test);
            work.add(&claim.test.method)?;
        }
    }
    over("the number of votes of all tests", work.votes, MOST_VOTES)?;
    over("n_max times radii", work.one_bound, MOST_ONE_BOUND)?;
    over("n_max times radii", work.two_class, MOST_TWO_CLASS)
}

fn over(what: &str, value: usize, most: usize) -> Result<(), String> {
    if value <= most {
        return Ok(());
    }
    Err(format!("{what} is {value}, and {most} is the most that is checked here"))
}

/// Bounds that an anytime test solves for.
fn looks(claim: &Claim) -> usize {
    match claim.test.method {
        Method::Anytime { every, .. } => claim.votes.len() / every.max(1),
        _ => 0,
    }
}

/// What it takes to make tests.
#[derive(Default)]
struct Work {
    votes: usize,
    one_bound: usize,
    two_class: usize,
}

impl Work {
    fn add(&mut self, method: &Method) -> Result<(), String> {
        let add = |sum: &mut usize, more: usize| *sum = sum.saturating_add(more);
        match *method {
            Method::Cohen { n0, n } => add(&mut self.votes, n0.saturating_add(n)),
            Method::Predict { n } | Method::Fixed { n, .. } => add(&mut self.votes, n),
            Method::Topk { k, n0, n } => {
                over("k", k, MOST_TOP)?;
                add(&mut self.votes, n0.saturating_add(n));
            }
            Method::Table(ref ladder) => {
                add(&mut self.two_class, ladder.n_max.saturating_mul(ladder.radii.len()));
            }
            Method::Table1(ref ladder) => {
                add(&mut self.one_bound, ladder.n_max.saturating_mul(ladder.radii.len()));
            }
            Method::Anytime { n_max, every, n_min, .. } => {
                over("n_max", n_max, MOST_VOTES)?;
                over("n_min", n_min, MOST_VOTES)?;
                over("every", every, MOST_VOTES)?;
            }
        }
        Ok(())
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
