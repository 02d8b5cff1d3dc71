//! `smoothgate radius`: the bound and the radius from counts alone.

use std::io::Write;

use clap::Args as ClapArgs;
use serde::Serialize;

use super::output::json_line;
use super::{Ended, Exit, Failure};
use crate::stats::{cp_lower, radius_l2, round_down};
use crate::units::{Alpha, Sigma};

/// Options of `radius`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Votes for the label
    #[arg(long, value_name = "K")]
    agree: usize,
    /// All estimation votes, failed ones included
    #[arg(long, value_name = "N")]
    votes: usize,
    /// Standard deviation of the noise, in units of [0, 1] pixel values
    #[arg(long)]
    sigma: Sigma,
    /// Probability that the bound is wrong
    #[arg(long, default_value_t = Alpha::FIELD)]
    alpha: Alpha,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Bound {
    p_lower: f64,
    radius: f64,
}

pub(super) fn run(args: &Args) -> Ended {
    let p_lower = cp_lower(args.agree, args.votes, args.alpha.get()).map_err(Failure::usage)?;
    let radius = radius_l2(p_lower, args.sigma.get()).map(round_down).map_err(Failure::usage)?;
    let mut out = std::io::stdout().lock();
    let bound = Bound { p_lower, radius };
    let printed = if args.json {
        json_line(&mut out, &bound)
    } else {
        writeln!(
            out,
            "p_lower {:.9}  (one-sided Clopper-Pearson, {} of {} votes, alpha {})\nradius  {}",
            // Down, as a bound that is printed is a bound.
            (p_lower * 1e9).floor() / 1e9,
            args.agree,
            args.votes,
            args.alpha,
            if radius > 0.0 {
                format!("{radius:.6}")
            } else {
                "0 (abstain: p_lower is not above 1/2)".to_owned()
            }
        )
    };
    printed.map_err(Failure::internal)?;
    Ok(Exit::Success)
}
