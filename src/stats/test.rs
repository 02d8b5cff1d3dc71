//! A test, made from its plan.

use std::sync::Arc;

use super::anytime::Anytime;
use super::bounds::{last_double, tau_for_radius};
use super::criterion::{Claim, Criterion};
use super::error::{StatsError, check};
use super::fixed::FixedSize;
use super::label::LabelRule;
use super::one_bound::{OneBoundTable, Operating, Spending};
use super::plan::{Ladder, Method, Plan};
use super::run::Run;
use super::staircase::{Staircase, Tables};
use super::topk::TopK;
use super::two_class::TwoClassTable;
use super::verify::{keeps_level, one_bound_error};
use super::verify_two_class::two_class_error;

/// Selection votes that a test can have at most.
const MOST_SELECTION: usize = 100_000_000;

/// The largest radius of a table in units of σ: beyond, 1 - τ is lost in the rounding of τ.
const MOST_SIGMAS: f64 = 8.0;

/// The share of α that a two-class table may spend when its label is read off the votes, before it is known
/// what that costs; and how often it is lowered.
const LEADER_LEVEL: f64 = 0.995;
const LEADER_ATTEMPTS: usize = 30;

/// The largest α for which tables are built; the proofs for labels read off the votes need a boundary well
/// above τ.
const MOST_ALPHA: f64 = 0.2;

/// A test that is ready to run, any number of times and on any thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Test {
    plan: Arc<Plan>,
    design: Design,
}

/// What was computed from the plan, once for all runs.
#[derive(Debug, Clone)]
pub(crate) enum Design {
    FixedSize(Arc<FixedSize>),
    Staircase(Arc<Staircase>),
    Anytime(Arc<Anytime>),
    TopK(Arc<TopK>),
}

impl Test {
    /// Makes the test that a plan describes. Tables are built, which may take seconds, and then verified by
    /// an independent computation of their error.
    ///
    /// # Errors
    /// [`StatsError::OutOfRange`] and [`StatsError::Parameter`] for a plan that makes no sense;
    /// [`StatsError::Infeasible`], with the number of votes that would do, for one that could not certify
    /// even if all votes agreed; [`StatsError::NotExclusive`] for a test that needs exclusive labels and an
    /// open vocabulary.
    pub fn new(plan: Plan) -> Result<Self, StatsError> {
        let design = design(&plan)?;
        Ok(Self { plan: Arc::new(plan), design })
    }

    /// Makes a test by tables from tables that were kept from [`Test::tables`] of the same plan. They are
    /// verified like new ones: what a cache holds need not be trusted. Plans of other tests ignore them.
    ///
    /// # Errors
    /// As [`Test::new`], [`StatsError::Table`] if the tables are not those of this plan or are none, and
    /// [`StatsError::Level`] if they do not keep α.
    pub fn with_tables(plan: Plan, tables: Tables) -> Result<Self, StatsError> {
        let design = match &plan.method {
            Method::Table(ladder) | Method::Table1(ladder) => {
                check_ladder(&plan, ladder)?;
                verified_staircase(&plan, ladder, tables)?
            }
            _ => design(&plan)?,
        };
        Ok(Self { plan: Arc::new(plan), design })
    }

    /// The plan it was made from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The tables, if the test has any: to be kept, or to be drawn.
    pub fn tables(&self) -> Option<&Tables> {
        match &self.design {
            Design::Staircase(ladder) => Some(ladder.tables()),
            Design::FixedSize(_) | Design::Anytime(_) | Design::TopK(_) => None,
        }
    }

    /// The most votes that a run can ask for.
    pub fn max_votes(&self) -> usize {
        match &self.design {
            Design::FixedSize(test) => test.max_votes(),
            Design::Staircase(ladder) => ladder.max_votes(),
            Design::Anytime(test) => test.n_max,
            Design::TopK(test) => test.max_votes(),
        }
    }

    /// The largest radius that a run can certify, in the unit of σ; 0 for PREDICT.
    pub fn largest_radius(&self) -> f64 {
        match &self.design {
            Design::FixedSize(test) => test.largest_radius(),
            Design::Staircase(ladder) => ladder.largest_radius(),
            Design::Anytime(test) => test.largest_radius(),
            Design::TopK(test) => test.largest_radius(),
        }
    }

    /// What a test by tables does on average at its lowest radius, for a label of probability `p_label` whose
    /// strongest rival has `p_rival`; `None` for the other tests. For the planning of costs.
    pub fn operating(&self, p_label: f64, p_rival: f64) -> Option<Operating> {
        let Design::Staircase(ladder) = &self.design else { return None };
        match ladder.tables() {
            Tables::OneBound(tables) => Some(tables.first()?.operating(p_label)),
            Tables::TwoClass(tables) => Some(tables.first()?.operating(p_label, p_rival)),
        }
    }

    /// A run, before its first vote. `label` is the class that is asked about, if it is fixed before the
    /// votes.
    ///
    /// A test whose level pays for the choice of the label may be run for a fixed label; the reverse may not.
    ///
    /// # Errors
    /// [`StatsError::LabelNotFixed`] if the plan's label rule is not `leader` and no label is given.
    pub fn start(&self, label: Option<usize>) -> Result<Run, StatsError> {
        if label.is_none() && self.plan.label != LabelRule::Leader {
            return Err(StatsError::LabelNotFixed);
        }
        Ok(Run::new(&self.design, label))
    }
}

/// The design of a test, with new tables if it has any.
fn design(plan: &Plan) -> Result<Design, StatsError> {
    let Plan { sigma, alpha, label, ref method } = *plan;
    let fixed_size = |claim, label, selection, votes| {
        let criterion = Criterion { claim, sigma, alpha, label };
        Ok(Design::FixedSize(Arc::new(FixedSize::new(criterion, selection, votes)?)))
    };
    match *method {
        Method::Cohen { n0, n } => match label {
            // The selection votes have paid for the choice: to the estimation votes the label is a fixed one.
            LabelRule::Leader => fixed_size(Claim::Majority, LabelRule::Fixed, check_selection(n0)?, n),
            LabelRule::Fixed | LabelRule::Open { .. } => fixed_size(Claim::Majority, label, 0, n),
        },
        Method::Predict { n } => fixed_size(Claim::MostLikely, label, 0, n),
        Method::Fixed { n, rival_share: None } => fixed_size(Claim::Majority, label, 0, n),
        Method::Fixed { n, rival_share: Some(rival_share) } => {
            fixed_size(Claim::Gap { rival_share }, label, 0, n)
        }
        Method::Anytime { n_max, every, gain, n_min, rival_share } => {
            let test = Anytime { sigma, alpha, label, n_max, every, n_min, gain, rival_share };
            test.check()?;
            Ok(Design::Anytime(Arc::new(test)))
        }
        Method::Topk { k, n0, n } => {
            let selection = match label {
                LabelRule::Leader => check_selection(n0)?,
                LabelRule::Fixed => 0,
                LabelRule::Open { .. } => return Err(StatsError::NotExclusive),
            };
            Ok(Design::TopK(Arc::new(TopK::new(k, sigma, alpha, selection, n)?)))
        }
        Method::Table(ref ladder) | Method::Table1(ref ladder) => build_staircase(plan, ladder),
    }
}

fn check_selection(n0: usize) -> Result<usize, StatsError> {
    if n0 > 0 && n0 <= MOST_SELECTION {
        return Ok(n0);
    }
    Err(StatsError::Parameter {
        name: "n0",
        value: n0,
        range: "between 1 and 100000000 where votes choose the label",
    })
}

fn check_ladder(plan: &Plan, ladder: &Ladder) -> Result<(), StatsError> {
    plan.label.check()?;
    check(
        "alpha",
        plan.alpha,
        plan.alpha > 0.0 && plan.alpha < MOST_ALPHA,
        "above 0 and below 0.2 for a table",
    )?;
    check("futility", ladder.futility, (0.0..=0.5).contains(&ladder.futility), "between 0 and 1/2")?;
    if ladder.radii.is_empty() {
        return Err(StatsError::Parameter { name: "number of radii", value: 0, range: "at least 1" });
    }
    let mut below = -1.0;
    for &radius in &ladder.radii {
        tau_for_radius(radius, plan.sigma)?;
        check("radius", radius, radius > below, "larger than the radius before it")?;
        check("radius", radius, radius <= MOST_SIGMAS * plan.sigma, "at most 8 sigma for a table")?;
        below = radius;
    }
    Ok(())
}

/// Builds the tables of a plan and verifies them.
fn build_staircase(plan: &Plan, ladder: &Ladder) -> Result<Design, StatsError> {
    check_ladder(plan, ladder)?;
    let &Ladder { ref radii, n_max, futility } = ladder;
    if let Method::Table1(_) = plan.method {
        // Every rung has the level of the lowest, where a wrong leader would have to start.
        let level = plan.label.level(tau_for_radius(radii[0], plan.sigma)?, plan.alpha);
        let build = |&radius: &f64| {
            OneBoundTable::build(tau_for_radius(radius, plan.sigma)?, level, n_max, futility)
                .map_err(|error| out_of_reach(error, plan, radius, n_max))
        };
        let tables = radii.iter().map(build).collect::<Result<_, _>>()?;
        return verified_staircase(plan, ladder, Tables::OneBound(tables));
    }
    let build = |level: f64| {
        let table = |&radius: &f64| {
            TwoClassTable::build(2.0 * radius / plan.sigma, level, n_max, futility)
                .map_err(|error| out_of_reach(error, plan, radius, n_max))
        };
        radii.iter().map(table).collect::<Result<_, _>>().map(Tables::TwoClass)
    };
    match plan.label {
        LabelRule::Fixed => verified_staircase(plan, ladder, build(plan.alpha)?),
        LabelRule::Open { .. } => Err(StatsError::NotExclusive),
        LabelRule::Leader => {
            // What a wrong leader costs is known only once there is a table; for radii of 0.4 σ and more it
            // is less than a two-hundredth of α.
            let mut level = LEADER_LEVEL * plan.alpha;
            for _ in 0..LEADER_ATTEMPTS {
                match verified_staircase(plan, ladder, build(level)?) {
                    // Tables of few votes spend in leaps: their error may hardly fall with the level at first.
                    Err(StatsError::Level { error, .. }) => {
                        level *= (LEADER_LEVEL * plan.alpha / error).min(0.95);
                    }
                    other => return other,
                }
            }
            let range =
                "larger: for a label read off the votes, so small a radius needs a table with one bound";
            Err(StatsError::OutOfRange { name: "radius / sigma", value: radii[0] / plan.sigma, range })
        }
    }
}

/// An infeasible table in terms of the plan: which radius, and the largest that its votes can reach.
fn out_of_reach(error: StatsError, plan: &Plan, radius: f64, n_max: usize) -> StatsError {
    let StatsError::Infeasible { votes, needed, .. } = error else { return error };
    let reaches = |radius: f64| {
        let Ok(tau) = tau_for_radius(radius, plan.sigma) else { return false };
        let level = match plan.method {
            Method::Table(_) if plan.label == LabelRule::Leader => LEADER_LEVEL * plan.alpha,
            Method::Table(_) => plan.alpha,
            _ => plan.label.level(tau, plan.alpha),
        };
        Spending::new(level, tau, n_max).fewest_votes(tau) <= n_max
    };
    let largest = if reaches(0.0) { last_double(0.0, MOST_SIGMAS * plan.sigma, reaches) } else { 0.0 };
    let claim = format!("radius {radius} with sigma {}", plan.sigma);
    StatsError::Infeasible { claim, votes, needed, largest: Some((largest * 1e4).floor() / 1e4) }
}

/// The ladder of these tables, after they were found to be those of the plan and to keep its α.
fn verified_staircase(plan: &Plan, ladder: &Ladder, mut tables: Tables) -> Result<Design, StatsError> {
    let foreign = || StatsError::Table { fault: "it was made for another plan".to_owned() };
    let hopeless = || StatsError::Table { fault: "its futility rule is none".to_owned() };
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs();
    let error = match (&mut tables, &plan.method) {
        (Tables::OneBound(tables), Method::Table1(_)) if tables.len() == ladder.radii.len() => {
            for (table, &radius) in tables.iter_mut().zip(&ladder.radii) {
                let tau = tau_for_radius(radius, plan.sigma)?;
                if !near(table.tau, tau) || table.n_max != ladder.n_max {
                    return Err(foreign());
                }
                table.tau = tau;
            }
            if !tables.iter().all(OneBoundTable::futility_is_sane) {
                return Err(hopeless());
            }
            one_bound_error(tables, plan.label)?
        }
        (Tables::TwoClass(tables), Method::Table(_)) if tables.len() == ladder.radii.len() => {
            for (table, &radius) in tables.iter_mut().zip(&ladder.radii) {
                let gap = 2.0 * radius / plan.sigma;
                if !near(table.gap, gap) || table.n_max != ladder.n_max {
                    return Err(foreign());
                }
                table.gap = gap;
            }
            if !tables.iter().all(TwoClassTable::futility_is_sane) {
                return Err(hopeless());
            }
            two_class_error(tables, plan.label)?
        }
        _ => return Err(foreign()),
    };
    if !keeps_level(error, plan.alpha) {
        return Err(StatsError::Level { error, alpha: plan.alpha });
    }
    Ok(Design::Staircase(Arc::new(Staircase::new(ladder.radii.clone(), tables, ladder.n_max))))
}
