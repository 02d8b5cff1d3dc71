//! How often each test certifies what is false, at the edge of what it may claim, with everything that happens to a real
//! run: 32 calls in flight, late dissent, failures that hit dissent alone, retries, kills.
//!
//! `cargo bench --bench false_certificates -- [RUNS] [ROW...]`: so many runs of each case at α = 0.05 and 0.01 by plain
//! simulation, and a tenth of them at α = 0.001 by importance sampling (default 20 000; a million takes about a minute of
//! one core a case). With parts of rows (`'PREDICT | fixed'`), those rows alone. Then a hundredth of them with a line of the soundness
//! contract broken, which has to show.
//!
//! The simulation is the one that the tests run in a shorter form. It fails where a share is above α by more than four
//! standard errors.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]
#![expect(
    clippy::wildcard_imports,
    reason = "the modules are those of the tests, which see all of the statistics"
)]
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first error")]

use std::io::Write as _;

use smoothgate::{engine, stats};

#[path = "../tests/cases.rs"]
mod cases;
#[path = "../tests/importance.rs"]
mod importance;
#[path = "../tests/pipeline.rs"]
mod pipeline;
#[path = "../tests/simulation.rs"]
mod simulation;

use cases::{Case, Share, cases};
use pipeline::Breach;
use stats::LabelRule;

/// Levels met by plain simulation, and the one that is met by importance sampling.
const PLAIN: [f64; 2] = [0.05, 0.01];
const RARE: f64 = 0.001;

fn main() {
    // Cargo passes `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let runs: u64 = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(20_000);
    let rows: Vec<&String> = arguments.iter().filter(|argument| argument.parse::<u64>().is_err()).collect();
    let wanted = |case: &Case| rows.is_empty() || rows.iter().any(|row| head(case).contains(row.as_str()));

    println!("share of false certificates with its standard error; {runs} runs, {} at {RARE}\n", runs / 10);
    println!("| test | label | probabilities | α = 0.05 | α = 0.01 | α = 0.001 |\n|---|---|---|---|---|---|");
    let mut above = Vec::new();
    let levels = [cases(PLAIN[0]), cases(PLAIN[1]), cases(RARE)];
    let [five, one, rare] = &levels;
    for ((five, one), rare) in five.iter().zip(one).zip(rare).filter(|((case, _), _)| wanted(case)) {
        print!("| {} |", head(five));
        for case in [five, one, rare] {
            let (share, runs) = if case.alpha() > RARE {
                (case.share(runs, Breach::None), runs)
            } else {
                (case.share_by_importance(runs / 10), runs / 10)
            };
            print!(" {} |", text(share));
            std::io::stdout().flush().unwrap();
            if share.share > case.at_most(share, runs) {
                above.push(format!("{share:?}: {case}"));
            }
        }
        println!();
    }
    println!(
        "\n| broken | test | label | probabilities | α = 0.05 | α = 0.01 | α = 0.001 |\n|---|---|---|---|---|---|---|"
    );
    for (breach, words) in [
        (Breach::SkipsFailures, "3: failures skipped"),
        (Breach::CountsArrivals, "4: counted as they arrive"),
    ] {
        for ((five, one), rare) in five.iter().zip(one).zip(rare) {
            // Once for each kind of table is enough.
            let shown = five.name.starts_with("table") && five.test.largest_radius() > 0.2;
            if !shown || !wanted(five) || five.labels > 1 {
                continue;
            }
            let broken = |case: &Case| format!(" {} |", text(case.share((runs / 100).max(2000), breach)));
            let row: String = [five, one, rare].map(broken).concat();
            println!("| {words} | {} |{row}", head(five));
        }
    }
    assert!(above.is_empty(), "above their level: {above:#?}");
}

/// The first columns of a case's row.
fn head(case: &Case) -> String {
    let label = match case.test.plan().label {
        LabelRule::Fixed => "fixed".to_owned(),
        LabelRule::Leader => "leader".to_owned(),
        LabelRule::Open { max_labels } => format!("open, {max_labels}"),
    };
    let law: Vec<String> = case.law.classes.iter().map(|p| format!("{p:.4}")).collect();
    format!("{} | {label} | {}", case.name, law.join(", "))
}

fn text(Share { share, error }: Share) -> String {
    format!("{share:.6} ± {error:.6}")
}
