//! The tests, made anew from their plans, and what they have of alpha.

use super::bounds;
use super::check::{Check, Wrong};
use crate::certificate::{Certificate, Claim};
use crate::engine::{level_of_claim, level_of_tests};
use crate::noise::{NoiseLaw, RNG_VERSION};
use crate::stats::{Sharing, Test};

/// A field of a claim.
pub(super) fn field(claim: usize, name: &str) -> String {
    format!("claims[{claim}].{name}")
}

/// The test of each claim, with the checks on their making; or the check that fails without them.
pub(super) fn build(certificate: &Certificate) -> Result<(Vec<Test>, [Check; 2]), Check> {
    const NAME: &str = "test";
    bounds::tests(&certificate.claims).map_err(|says| Check::fails(NAME, says, ["claims"]))?;
    bounds::sizes(certificate).map_err(|says| Check::fails(NAME, says, ["picture"]))?;
    let mut tests: Vec<Test> = Vec::new();
    let mut wrong = Vec::new();
    for (at, claim) in certificate.claims.iter().enumerate() {
        // Claims of one question have the same plan.
        let test = match tests.iter().find(|test| *test.plan() == claim.test) {
            Some(known) => known.clone(),
            None => Test::new(claim.test.clone()).map_err(|error| {
                Check::fails(NAME, format!("the test cannot be made: {error}"), [field(at, "test")])
            })?,
        };
        tests.push(test);
        wrong.extend(fits(certificate, at, claim));
    }
    wrong.extend(Wrong::unless_equal("noise.generator", &certificate.noise.generator.as_str(), &RNG_VERSION));
    let mut names: Vec<&str> = certificate.claims.iter().map(|claim| claim.test.method.name()).collect();
    names.dedup();
    let holds = format!(
        "`{}` was made anew from its parameters, and keeps its level; it fits the noise and the question",
        names.join("`, `")
    );
    let made = Check::unless_wrong(NAME, holds, &wrong);
    let level = level(certificate, &tests);
    Ok((tests, [made, level]))
}

/// What of a claim's test does not fit the rest.
fn fits(certificate: &Certificate, at: usize, claim: &Claim) -> Vec<Wrong> {
    let (question, plan) = (&claim.question, &claim.test);
    let mut wrong: Vec<Wrong> = [
        Wrong::unless_equal(&field(at, "test.sigma"), &plan.sigma, &certificate.noise.sigma.get()),
        Wrong::unless_equal(&field(at, "test.label"), &plan.label, &question.label_rule()),
        Wrong::unless_equal(&field(at, "tie_rule"), &claim.tie_rule.as_str(), &question.tie_rule()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !question.suits(&plan.method) {
        let says = format!("the test `{}` does not prove what `{question}` asks", plan.method.name());
        wrong.push(Wrong::new(field(at, "test.method"), says));
    }
    wrong
}

/// The questions share what the noise sampler leaves of alpha, and the claims of a question its part. So all claims together
/// err with probability at most alpha: the levels of the questions sum to what is left, and those of the claims of each to no
/// more than its own.
fn level(certificate: &Certificate, tests: &[Test]) -> Check {
    const NAME: &str = "level";
    let picture = &certificate.picture;
    let law = match NoiseLaw::new(certificate.noise.sigma.get(), picture.preprocessing.grid()) {
        Ok(law) => law,
        Err(error) => return Check::fails(NAME, error.to_string(), ["noise.sigma"]),
    };
    let values = 3.0 * f64::from(picture.width) * f64::from(picture.height);
    let alpha = certificate.alpha.get();
    let most = tests.iter().map(Test::max_votes).max().unwrap_or(0);
    let Some(left) = level_of_tests(alpha, &law, values, most) else {
        return Check::fails(
            NAME,
            format!("alpha {alpha} does not cover the noise sampler's error"),
            ["alpha"],
        );
    };
    let questions: Vec<_> = certificate.questions().collect();
    let (mut wrong, mut spent, mut at) = (Vec::new(), 0.0, 0);
    for (number, (question, claims)) in questions.iter().enumerate() {
        if questions[..number].iter().any(|(before, _)| before == question) {
            let says = format!("`{question}` is asked twice: its claims do not stand together");
            wrong.push(Wrong::new(field(at, "question"), says));
        }
        if claims.len() > question.most_claims() {
            let says = format!(
                "`{question}` makes {} claims at most, and there are {}",
                question.most_claims(),
                claims.len()
            );
            wrong.push(Wrong::new(field(at, "question"), says));
        }
        let level = level_of_claim(left, questions.len(), question, claims.len());
        for (n, claim) in claims.iter().enumerate() {
            let stated = claim.test.alpha;
            if level.to_bits() != stated.to_bits() {
                let says = format!(
                    "`{}` is {stated}, but of alpha {alpha} this claim has {level}",
                    field(at + n, "test.alpha")
                );
                wrong.push(Wrong::new(field(at + n, "test.alpha"), says));
            }
            if claim.test.method != claims[0].test.method {
                let says = "the claims of one question go through one test".to_owned();
                wrong.push(Wrong::new(field(at + n, "test.method"), says));
            }
            if n == 0 || question.sharing() == Sharing::Even {
                spent += stated;
            }
        }
        at += claims.len();
    }
    // That is so by construction, and looked at all the same; the sum of many equal parts may round up.
    if spent > left * (1.0 + 1e-12) {
        let says = format!("the claims spend {spent} together, and {left} of alpha {alpha} is left for them");
        wrong.push(Wrong::new("alpha", says));
    }
    let holds = match tests {
        [_] => format!(
            "alpha {alpha} covers the test ({left}) and the noise sampler's error ({:.1e})",
            alpha - left
        ),
        _ => format!(
            "alpha {alpha} covers the tests of all {} claims together ({spent}) and the noise sampler's error ({:.1e})",
            tests.len(),
            alpha - left
        ),
    };
    Check::unless_wrong(NAME, holds, &wrong)
}
