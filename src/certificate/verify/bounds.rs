//! What a document may make this program compute.

use crate::certificate::{Certificate, Claim};
use crate::stats::{Plan, TooMuch, Work};

/// Most votes times labels: after every vote the labels are gone through.
const MOST_TALLIES: usize = 1_000_000_000;

/// Longest side and most pixels of an original or working picture.
const MOST_SIDE: u32 = 100_000;
pub(super) const MOST_PIXELS: u64 = 1 << 28;

/// Says what is too much, if anything is. The bounds are on all claims together; a test that several claims share is made
/// once. Settings are held against the same bounds before anything is paid, but for that on labels, which nobody knows then.
pub(super) fn tests(claims: &[Claim]) -> Result<(), String> {
    if claims.is_empty() {
        return Err("there is no claim".to_owned());
    }
    work(claims).map_err(|error| error.to_string())
}

fn work(claims: &[Claim]) -> Result<(), TooMuch> {
    let tallies = claims.iter().map(|claim| claim.votes.len().saturating_mul(claim.labels.len()));
    TooMuch::over("votes times labels", tallies.fold(0, usize::saturating_add), MOST_TALLIES)?;
    let mut work = Work::default();
    let mut met: Vec<&Plan> = Vec::new();
    for claim in claims {
        let method = &claim.test.method;
        work.claims(method, 1, claim.votes.len())?;
        if !met.contains(&&claim.test) {
            met.push(&claim.test);
            work.test(method)?;
        }
    }
    work.check()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Outcome;
    use crate::engine::{CastVote, Settings};
    use crate::plan::{About, TestChoice};
    use crate::question::Question;
    use crate::stats::{Ladder, Method};
    use crate::units::{Radius, Sigma};

    /// The longest document that can come of these settings.
    fn longest(settings: &Settings) -> Vec<Claim> {
        let (question, method) = (&settings.question, &settings.method);
        let claims = question.most_claims();
        let alpha = question.sharing().level(settings.alpha.get(), claims);
        let claim = Claim {
            question: question.clone(),
            tie_rule: question.tie_rule().to_owned(),
            test: Plan {
                sigma: settings.sigma.get(),
                alpha,
                label: question.label_rule(),
                method: method.clone(),
            },
            outcome: Outcome::Abstained,
            label: None,
            radius: 0.0,
            radius_original: 0.0,
            p_lower: None,
            abstained: None,
            labels: vec!["a".to_owned()],
            votes: vec![CastVote::For(0); method.most_votes()],
        };
        vec![claim; claims]
    }

    #[test]
    fn what_is_paid_for_is_verified() {
        let (mut paid, mut refused) = (0, 0);
        for sigma in [0.12, 0.25, 0.5, 1.0] {
            for (question, rungs) in
                ["top1", "clean-labels"].into_iter().flat_map(|q| (1..=20).map(move |n| (q, n)))
            {
                let question: Question = question.parse().unwrap();
                let radius = (1..=rungs).map(|n| Radius::new(0.2 * sigma * f64::from(n)).unwrap());
                let choice = TestChoice { radius: radius.collect(), ..TestChoice::default() };
                let alpha = 0.001 / question.most_claims() as f64;
                let label = question.label_rule();
                let about = About { label, topk: None, sigma, alpha, recorded: None };
                let method = choice.method(about).unwrap();
                let settings = Settings { question, method, ..Settings::new(Sigma::new(sigma).unwrap()) };
                if settings.check_work().is_err() {
                    refused += 1;
                    continue;
                }
                paid += 1;
                assert_eq!(tests(&longest(&settings)), Ok(()), "{settings:?}");
            }
        }
        assert!(paid > 100 && refused > 10, "{paid}, {refused}");
    }

    #[test]
    fn what_nobody_would_verify_is_refused_with_what_it_is() {
        let settings = |question: &str, method| {
            let question = question.parse().unwrap();
            Settings { question, method, ..Settings::new(Sigma::FIELD) }
        };
        // The usual test of eleven radii from 0.05 to 0.55 at sigma 0.25.
        let radii = |n: i32| (1..=n).map(|n| 0.05 * f64::from(n)).collect::<Vec<_>>();
        let eleven = settings("top1", Method::Table(Ladder::new(radii(11), 1482)));
        assert_eq!(eleven.check_work(), Ok(()));
        assert_eq!(tests(&longest(&eleven)), Ok(()));
        let anytime = |n_max| Method::Anytime { n_max, every: 25, gain: 0.0, n_min: 0, rival_share: None };
        for (question, method, what) in [
            (
                "top1",
                Method::Table(Ladder::new(radii(20), 1482)),
                "n_max times radii of two-class tables is 29640",
            ),
            (
                "top1",
                Method::Table(Ladder::new(radii(2), 10_000)),
                "n_max squared times radii of two-class tables is 200000000",
            ),
            ("top1", Method::Table1(Ladder::new(vec![0.25, 0.5, 0.75, 1.0], 650_000)), "is 2600000"),
            ("top1", anytime(2_000_000), "n_max is 2000000"),
            ("top1", anytime(1_000_000), "the number of looks is 40000"),
            ("clean-labels/100", anytime(10_000), "the number of looks is 40000"),
            (
                "clean-labels/100",
                Method::Fixed { n: 40_000, rival_share: None },
                "the number of votes is 4000000",
            ),
        ] {
            let settings = settings(question, method);
            let error = settings.check_work().unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
            assert_eq!(tests(&longest(&settings)), Err(error));
        }
    }
}
