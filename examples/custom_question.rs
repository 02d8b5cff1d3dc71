//! A question of one's own, put to recorded answers: is a living thing in the picture, whatever it is called?
//!
//! `cargo run --example custom_question [LOG] [RADIUS]`
//!
//! A question is any fixed function of one answer. This one has one possible label, fixed before the votes, so nothing is
//! paid for choosing it. A draw that was never answered is a failed vote: it counts against, and is never left out.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::io::BufRead;

use anyhow::Context;
use serde::Deserialize;
use smoothgate::question::normalise;
use smoothgate::stats::{Decision, LabelRule, Ladder, Method, Plan, Test, Vote};

/// Words that make a label one of a living thing.
const LIVING: [&str; 8] = ["animal", "dog", "cat", "bird", "fish", "insect", "mammal", "plant"];

/// A list of `[position in names, score]`.
type Answer = Vec<(usize, Option<f64>)>;

/// One line of a log; an answer that never came is `null`.
#[derive(Deserialize)]
struct Picture {
    idx: u64,
    sigma: f64,
    names: Vec<String>,
    votes: Vec<Option<Answer>>,
}

impl Picture {
    /// The question: does any label of the answer name a living thing?
    fn vote(&self, answer: Option<&Answer>) -> Vote {
        let Some(labels) = answer else { return Vote::Failed };
        let names = labels.iter().filter_map(|&(name, _)| self.names.get(name));
        let living = |name: &String| normalise(name).split_whitespace().any(|word| LIVING.contains(&word));
        if names.into_iter().any(living) { Vote::For(0) } else { Vote::NoLabel }
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let log = arguments.next().unwrap_or_else(|| "examples/answers.jsonl".to_owned());
    let radius = arguments.next().map_or(Ok(0.1), |text| text.parse()).context("the radius is no number")?;
    let file = std::fs::File::open(&log).with_context(|| format!("cannot open `{log}`"))?;
    for line in std::io::BufReader::new(file).lines() {
        let picture: Picture = serde_json::from_str(&line?).context("this line is no record of answers")?;
        // The plan is fixed before the first vote: radius, level, most votes.
        let method = Method::Table1(Ladder::new(vec![radius], 120));
        let plan = Plan { sigma: picture.sigma, alpha: 0.001, label: LabelRule::Fixed, method };
        let mut run = Test::new(plan)?.start(Some(0))?;
        for answer in &picture.votes {
            // In index order, and no further than the test wants.
            if run.push(picture.vote(answer.as_ref())).is_final() {
                break;
            }
        }
        let votes = run.evidence().votes;
        match run.stop() {
            Decision::Certified(claim) => {
                println!(
                    "picture {}: a living thing within L2 distance {} ({votes} votes)",
                    picture.idx, claim.radius
                );
            }
            Decision::Abstained(_) | Decision::Continue => {
                println!("picture {}: nothing certified ({votes} votes)", picture.idx);
            }
        }
    }
    Ok(())
}
