//! Options that choose the statistical test, the same for every command that certifies.

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

use crate::stats::{LabelRule, Ladder, Method, StatsError, fewest_votes, tau_for_radius};
use crate::units::Radius;

/// Votes at most by default, as a multiple of the fewest that could certify: enough for the power that CERTIFY has with
/// 100 votes.
const HORIZON: usize = 3;

/// The longest two-class table that is built without being asked for; beyond, a table has one bound.
const TWO_CLASS_VOTES: usize = 2000;

/// The longest table: a radius that needs more is refused by the test, with what it needs.
const MOST_VOTES: usize = 1_000_000;

/// Votes of `cohen` and `fixed` by default: those of the field.
const N0: usize = 20;
const N: usize = 100;

/// Votes of `anytime` by default, and between two looks.
const ANYTIME_VOTES: usize = 1000;
const ANYTIME_EVERY: usize = 25;

/// The share of alpha that `anytime` spends on the strongest rival of a label chosen from the votes.
const RIVAL_SHARE: f64 = 0.1;

/// Which test, and its numbers.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Test")]
pub(super) struct TestOptions {
    /// The statistical test; default: `table` with --radius, else `cohen`
    #[arg(long, value_enum)]
    test: Option<TestName>,
    /// Radii to certify, rising: each as soon as the votes show it. The votes end at the last one, or where it is out of
    /// reach; the larger radii cost nothing while the first is open
    #[arg(long, value_name = "R[,R2,...]", value_delimiter = ',')]
    radius: Vec<Radius>,
    /// Votes at most, for `table`, `table1` and `anytime`; default: three times the fewest that could certify the largest
    /// radius, 1000 for `anytime`
    #[arg(long, value_name = "N")]
    n_max: Option<usize>,
    /// `anytime` stops where the next 25 votes would gain less radius than this; 0 never does
    #[arg(long, value_name = "E")]
    max_radius_gain: Option<f64>,
    /// Selection votes of `cohen`; default: 20 (`replay`: as recorded)
    #[arg(long)]
    n0: Option<usize>,
    /// Estimation votes of `cohen`, all votes of `fixed`; default: 100 (`replay`: as recorded, all that are for `fixed`)
    #[arg(long)]
    n: Option<usize>,
}

/// The tests by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TestName {
    /// Certifies the radii of --radius with the fewest votes: an exact sequential test, against the strongest rival where
    /// the votes choose the label
    Table,
    /// The same by the label's own votes alone: for very many votes or very small radii, and to check by hand
    Table1,
    /// The largest radius, looked at every 25 votes; stops where more votes gain little
    Anytime,
    /// Cohen et al. 2019: N0 votes choose the label, N others bound it
    Cohen,
    /// N votes choose the label and bound it
    Fixed,
}

/// What a test is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// Whether the label is fixed before the votes.
    pub label: LabelRule,
    /// How many labels may come first, for `topk:K`.
    pub topk: Option<usize>,
    /// Standard deviation of the noise.
    pub sigma: f64,
    /// The level of one claim.
    pub alpha: f64,
    /// Selection and estimation votes that a record holds, where there is one.
    pub recorded: Option<(usize, usize)>,
}

impl TestOptions {
    /// Refuses options that contradict one another, before anything is looked at. `topk` says that the question is
    /// `topk:K`.
    pub(super) fn check(&self, topk: bool) -> anyhow::Result<()> {
        let test = self.test();
        ensure!(
            !topk || test == TestName::Cohen,
            "`topk:K` has a test of its own, with --n0 and --n votes: leave out --test and --radius"
        );
        let tables = matches!(test, TestName::Table | TestName::Table1);
        let name = test.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let given = [
            ("--radius", !self.radius.is_empty(), tables),
            ("--n-max", self.n_max.is_some(), tables || test == TestName::Anytime),
            ("--max-radius-gain", self.max_radius_gain.is_some(), test == TestName::Anytime),
            ("--n0", self.n0.is_some(), test == TestName::Cohen),
            ("--n", self.n.is_some(), matches!(test, TestName::Cohen | TestName::Fixed)),
        ];
        for (option, given, known) in given {
            ensure!(!given || known, "`{option}` says nothing to the test `{name}`: leave out one of them");
        }
        ensure!(
            !tables || !self.radius.is_empty(),
            "the test `{name}` certifies radii: say which by `--radius R[,R2,...]`"
        );
        let falls = |pair: &&[Radius]| !pair.is_sorted_by(|a, b| a < b);
        if let Some([lower, upper]) = self.radius.windows(2).find(falls) {
            bail!("`--radius` names {lower} before {upper}: write radii in rising order, each once");
        }
        Ok(())
    }

    /// The test. What can never certify is found by whoever makes it, before anything is paid.
    pub(super) fn method(&self, about: About) -> Result<Method, StatsError> {
        let recorded = about.recorded;
        let n0 = self.n0.or(recorded.map(|(n0, _)| n0)).unwrap_or(N0);
        let n = self.n.or(recorded.map(|(_, n)| n)).unwrap_or(N);
        let all = recorded.map(|(n0, n)| n0.saturating_add(n));
        if let Some(k) = about.topk {
            return Ok(Method::Topk { k, n0, n });
        }
        Ok(match self.test() {
            TestName::Cohen => Method::Cohen { n0, n },
            TestName::Fixed => Method::Fixed { n: self.n.or(all).unwrap_or(N), rival_share: None },
            TestName::Anytime => Method::Anytime {
                n_max: self.n_max.or(all).unwrap_or(ANYTIME_VOTES),
                every: ANYTIME_EVERY,
                gain: self.max_radius_gain.unwrap_or(0.01),
                n_min: 0,
                rival_share: (about.label == LabelRule::Leader).then_some(RIVAL_SHARE),
            },
            name @ (TestName::Table | TestName::Table1) => {
                let usual = self.horizon(about)?;
                let n_max = self.n_max.unwrap_or(all.map_or(usual, |all| usual.min(all)));
                let ladder = Ladder::new(self.radius.iter().map(|radius| radius.get()).collect(), n_max);
                // Of a label fixed in advance, all dissent is the one rival's: a second bound can gain nothing. Where
                // nobody asked for the kind, neither a long test nor a radius of 0 is refused for it.
                let suits = n_max <= TWO_CLASS_VOTES && ladder.radii.iter().all(|&radius| radius > 0.0);
                let two_classes = about.label == LabelRule::Leader && suits;
                if name == TestName::Table && two_classes {
                    Method::Table(ladder)
                } else {
                    Method::Table1(ladder)
                }
            }
        })
    }

    fn test(&self) -> TestName {
        self.test.unwrap_or(if self.radius.is_empty() { TestName::Cohen } else { TestName::Table })
    }

    /// Votes at most where nobody says how many.
    fn horizon(&self, about: About) -> Result<usize, StatsError> {
        let largest = self.radius.last().map_or(0.0, |radius| radius.get());
        let tau = tau_for_radius(largest, about.sigma)?;
        // A radius that no double can tell from certainty is refused with a reason by the test itself.
        let fewest = if tau < 1.0 { fewest_votes(tau, about.alpha)? } else { usize::MAX };
        Ok(fewest.saturating_mul(HORIZON).min(MOST_VOTES))
    }
}

impl TestOptions {
    /// [`Self::check`] and [`Self::method`] for a command that has one test.
    pub(super) fn only_method(&self, about: About) -> anyhow::Result<Method> {
        self.check(about.topk.is_some())?;
        self.method(about).context("the test cannot work")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::stats::{Plan, Test};
    use crate::units::Alpha;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        test: TestOptions,
    }

    fn about(label: LabelRule) -> About {
        About { label, topk: None, sigma: 0.25, alpha: Alpha::FIELD.get(), recorded: None }
    }

    fn parse(line: &str) -> TestOptions {
        Line::try_parse_from(["smoothgate"].into_iter().chain(line.split_whitespace())).unwrap().test
    }

    fn method(line: &str, label: LabelRule) -> Method {
        parse(line).only_method(about(label)).unwrap()
    }

    #[test]
    fn a_radius_asks_for_a_table_that_suits_the_label() {
        let ladder = Ladder::new(vec![0.1, 0.25], 120);
        assert_eq!(method("--radius 0.1,0.25", LabelRule::Leader), Method::Table(ladder.clone()));
        assert_eq!(method("--radius 0.1,0.25", LabelRule::Fixed), Method::Table1(ladder.clone()));
        assert_eq!(method("--radius 0.1,0.25 --test table1", LabelRule::Leader), Method::Table1(ladder));
        let zero = Method::Table1(Ladder::new(vec![0.0], 30));
        assert_eq!(method("--radius 0", LabelRule::Leader), zero);
        let long = Method::Table1(Ladder::new(vec![0.25], 5000));
        assert_eq!(method("--radius 0.25 --n-max 5000", LabelRule::Leader), long);
    }

    #[test]
    fn without_a_radius_the_test_is_that_of_the_field() {
        assert_eq!(method("", LabelRule::Leader), Method::Cohen { n0: 20, n: 100 });
        assert_eq!(method("--n 50 --n0 5", LabelRule::Leader), Method::Cohen { n0: 5, n: 50 });
        assert_eq!(method("--test fixed", LabelRule::Leader), Method::Fixed { n: 100, rival_share: None });
        let recorded = About { recorded: Some((100, 1000)), ..about(LabelRule::Leader) };
        let of = |line: &str| parse(line).method(recorded).unwrap();
        assert_eq!(of(""), Method::Cohen { n0: 100, n: 1000 });
        assert_eq!(of("--test fixed"), Method::Fixed { n: 1100, rival_share: None });
        assert!(matches!(of("--test anytime"), Method::Anytime { n_max: 1100, .. }));
        assert_eq!(of("--radius 0.25"), Method::Table(Ladder::new(vec![0.25], 120)));
        let short = About { recorded: Some((20, 70)), ..recorded };
        let shorter = parse("--radius 0.25").method(short).unwrap();
        assert_eq!(shorter, Method::Table(Ladder::new(vec![0.25], 90)));
    }

    #[test]
    fn anytime_takes_its_numbers() {
        let anytime = method("--test anytime --n-max 400 --max-radius-gain 0.02", LabelRule::Fixed);
        let expected = Method::Anytime { n_max: 400, every: 25, gain: 0.02, n_min: 0, rival_share: None };
        assert_eq!(anytime, expected);
        assert!(matches!(
            method("--test anytime", LabelRule::Leader),
            Method::Anytime { rival_share: Some(_), .. }
        ));
    }

    #[test]
    fn a_topk_question_has_a_test_of_its_own() {
        let topk = About { topk: Some(3), ..about(LabelRule::Leader) };
        let method = parse("--n 50").only_method(topk).unwrap();
        assert_eq!(method, Method::Topk { k: 3, n0: 20, n: 50 });
        for line in ["--radius 0.1", "--test fixed", "--test anytime"] {
            assert!(parse(line).only_method(topk).is_err(), "{line}");
        }
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        for (line, names) in [
            ("--test table", "--radius R"),
            ("--test cohen --radius 0.1", "--radius"),
            ("--test fixed --n0 3", "--n0"),
            ("--radius 0.25 --n 100", "--n"),
            ("--n-max 100", "--n-max"),
            ("--radius 0.25 --max-radius-gain 0.1", "--max-radius-gain"),
            ("--radius 0.25,0.1", "rising"),
            ("--radius 0.1,0.1", "rising"),
        ] {
            let error = parse(line).check(false).unwrap_err().to_string();
            assert!(error.contains(names), "{line}: {error}");
        }
        let bad = ["--radius", "-1"];
        assert!(Line::try_parse_from(["smoothgate"].into_iter().chain(bad)).is_err());
    }

    #[test]
    fn every_usual_radius_has_a_test_that_can_certify_it() {
        for radius in ["0", "0.01", "0.05", "0.1", "0.25", "0.4", "0.6"] {
            for label in [LabelRule::Fixed, LabelRule::Leader] {
                let line = format!("--radius {radius} --test table1");
                let plan = Plan { sigma: 0.25, alpha: 0.001, label, method: method(&line, label) };
                assert!(Test::new(plan).is_ok(), "{radius} {label:?}");
            }
        }
        let method = method("--radius 1.6", LabelRule::Fixed);
        let error =
            Test::new(Plan { sigma: 0.25, alpha: 0.001, label: LabelRule::Fixed, method }).unwrap_err();
        assert!(matches!(error, StatsError::Infeasible { largest: Some(_), .. }), "{error}");
    }
}
