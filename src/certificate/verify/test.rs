//! The test, made anew from its plan.

use super::bounds;
use super::check::{Check, Wrong};
use crate::certificate::Certificate;
use crate::engine::level_of_test;
use crate::noise::{NoiseLaw, RNG_VERSION};
use crate::stats::Test;

/// The test with the checks on its making, or the check that fails without one.
pub(super) fn build(certificate: &Certificate) -> Result<(Test, [Check; 2]), Check> {
    const NAME: &str = "test";
    let plan = &certificate.test;
    bounds::test(certificate).map_err(|says| Check::fails(NAME, says, ["test"]))?;
    bounds::sizes(certificate).map_err(|says| Check::fails(NAME, says, ["picture"]))?;
    let test = Test::new(plan.clone())
        .map_err(|error| Check::fails(NAME, format!("the test cannot be made: {error}"), ["test"]))?;
    let question = &certificate.question;
    let wrong = [
        Wrong::unless_equal("test.sigma", &plan.sigma, &certificate.noise.sigma.get()),
        Wrong::unless_equal("test.label", &plan.label, &question.label_rule()),
        Wrong::unless_equal("tie_rule", &certificate.tie_rule.as_str(), &question.tie_rule()),
        (!question.suits(&plan.method)).then(|| {
            let says = format!("the test `{}` does not prove what `{question}` asks", plan.method.name());
            Wrong::new("test.method", says)
        }),
        Wrong::unless_equal("noise.generator", &certificate.noise.generator.as_str(), &RNG_VERSION),
    ];
    let holds = format!(
        "`{}` was made anew from its parameters, and keeps its level; it fits the noise and the question",
        plan.method.name()
    );
    let made = Check::unless_wrong(NAME, holds, &wrong.into_iter().flatten().collect::<Vec<_>>());
    let level = level(certificate, &test);
    Ok((test, [made, level]))
}

/// The test's alpha is what the noise sampler leaves of the certificate's.
fn level(certificate: &Certificate, test: &Test) -> Check {
    const NAME: &str = "level";
    let picture = &certificate.picture;
    let law = match NoiseLaw::new(certificate.noise.sigma.get(), picture.preprocessing.grid()) {
        Ok(law) => law,
        Err(error) => return Check::fails(NAME, error.to_string(), ["noise.sigma"]),
    };
    let values = 3.0 * f64::from(picture.width) * f64::from(picture.height);
    let (alpha, stated) = (certificate.alpha.get(), certificate.test.alpha);
    match level_of_test(alpha, &law, values, test.max_votes()) {
        Some(level) if level.to_bits() == stated.to_bits() => Check::holds(
            NAME,
            format!(
                "alpha {alpha} covers the test ({stated}) and the noise sampler's error ({:.1e})",
                alpha - stated
            ),
        ),
        Some(level) => {
            let says =
                format!("`test.alpha` is {stated}, but of alpha {alpha} the noise sampler leaves {level}");
            Check::fails(NAME, says, ["test.alpha"])
        }
        None => {
            Check::fails(NAME, format!("alpha {alpha} does not cover the noise sampler's error"), ["alpha"])
        }
    }
}
