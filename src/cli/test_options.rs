//! Options that choose the statistical test, the same for every command that certifies.

use anyhow::{Context, anyhow};
use clap::Args;

use crate::plan::{About, ChoiceError, TestChoice, TestName};
use crate::stats::{Method, StatsError};
use crate::units::Radius;

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

impl TestOptions {
    fn choice(&self) -> TestChoice {
        TestChoice {
            test: self.test,
            radius: self.radius.clone(),
            n_max: self.n_max,
            max_radius_gain: self.max_radius_gain,
            n0: self.n0,
            n: self.n,
        }
    }

    /// Refuses options that contradict one another, before anything is looked at. `topk` says that the question is
    /// `topk:K`.
    pub(super) fn check(&self, topk: bool) -> anyhow::Result<()> {
        self.choice().check(topk).map_err(|error| anyhow!(as_options(&error)))
    }

    /// The test. What can never certify is found by whoever makes it, before anything is paid.
    pub(super) fn method(&self, about: About) -> Result<Method, StatsError> {
        self.choice().method(about)
    }

    /// [`Self::check`] and [`Self::method`] for a command that has one test.
    pub(super) fn only_method(&self, about: About) -> anyhow::Result<Method> {
        self.check(about.topk.is_some())?;
        self.method(about).context("the test cannot work")
    }
}

/// The choices under the names that the command line gives them.
fn as_options(error: &ChoiceError) -> String {
    match error {
        ChoiceError::TopK => {
            "`topk:K` has a test of its own, with --n0 and --n votes: leave out --test and --radius"
                .to_owned()
        }
        ChoiceError::Unknown { given, test } => {
            format!(
                "`--{}` says nothing to the test `{test}`: leave out one of them",
                given.replace('_', "-")
            )
        }
        ChoiceError::NoRadius(test) => {
            format!("the test `{test}` certifies radii: say which by `--radius R[,R2,...]`")
        }
        ChoiceError::Falling(lower, upper) => {
            format!("`--radius` names {lower} before {upper}: write radii in rising order, each once")
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::stats::{LabelRule, Ladder, Plan, Test};
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
        let long = Method::Table1(Ladder::new(vec![0.25], 12_000));
        assert_eq!(method("--radius 0.25 --n-max 12000", LabelRule::Leader), long);
        let longest = Method::Table(Ladder::new(vec![0.25], 10_000));
        assert_eq!(method("--radius 0.25 --n-max 10000", LabelRule::Leader), longest);
        // Two such tables are more than anybody would check, and so is one of a small radius.
        let many = Method::Table1(Ladder::new(vec![0.25, 0.3], 10_000));
        assert_eq!(method("--radius 0.25,0.3 --n-max 10000", LabelRule::Leader), many);
        let small = Method::Table1(Ladder::new(vec![0.1], 4000));
        assert_eq!(method("--radius 0.1 --n-max 4000", LabelRule::Leader), small);
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
