//! The reference vectors: scalars computed with mpmath and exact integers, tables by an independent program.

use serde_json::Value;

use crate::stats::staircase::{Staircase, StaircaseRun};
use crate::stats::*;

const VECTORS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stats/vectors.json"));

/// One vector's arguments.
struct Args<'a> {
    args: &'a Value,
    /// The two-class tables of the file.
    tables: &'a Value,
}

impl Args<'_> {
    fn f(&self, name: &str) -> f64 {
        number(&self.args[name])
    }

    fn f_or(&self, name: &str, default: f64) -> f64 {
        if self.args[name].is_null() { default } else { self.f(name) }
    }

    fn n(&self, name: &str) -> usize {
        self.args[name].as_u64().unwrap_or_else(|| panic!("{name} in {}", self.args)) as usize
    }

    fn list(&self, name: &str) -> Vec<f64> {
        self.args[name].as_array().unwrap().iter().map(number).collect()
    }

    fn label_rule(&self, default: LabelRule) -> LabelRule {
        match (self.args["label"].as_str(), self.args["max_labels"].as_u64()) {
            (Some("fixed"), _) => LabelRule::Fixed,
            (_, Some(max_labels)) if max_labels > 1 => LabelRule::Open { max_labels: max_labels as usize },
            (Some("free"), _) => LabelRule::Leader,
            _ => default,
        }
    }

    fn one_bound_table(&self) -> Result<OneBoundTable, StatsError> {
        let (tau, alpha) = (self.f("tau"), self.f("alpha"));
        let level = self.label_rule(LabelRule::Leader).level(tau, alpha);
        OneBoundTable::build(tau, level, self.n("n_max"), self.f_or("beta", 0.05))
    }

    fn two_class_table(&self) -> TwoClassTable {
        let table = &self.tables[self.args["table"].as_str().unwrap()];
        let certify_at: Vec<Vec<usize>> = serde_json::from_value(table["certify_at"].clone()).unwrap();
        TwoClassTable {
            gap: number(&table["c"]),
            n_max: table["n_max"].as_u64().unwrap() as usize,
            go_on_from: go_on_from(
                &certify_at,
                &serde_json::from_value::<Vec<usize>>(table["futile_at"].clone()).unwrap(),
            ),
            certify_at,
        }
    }

    /// `A12 B .3` is twelve votes for A, one for B and three failures.
    fn votes(&self, names: &mut Vec<String>) -> Vec<Vote> {
        let mut votes = Vec::new();
        for token in self.args["votes"].as_str().unwrap().split(' ') {
            let (label, count) = token.split_at(1);
            let vote = if label == "." { Vote::Failed } else { Vote::For(intern(names, label)) };
            votes.extend(std::iter::repeat_n(vote, count.parse().unwrap_or(1)));
        }
        votes
    }

    fn fixed_label(&self, names: &mut Vec<String>) -> Option<usize> {
        self.args["fixed_label"].as_str().map(|label| intern(names, label))
    }

    /// Counts by label, in the order of the file, as votes with the labels numbered in that order.
    fn counts(&self, name: &str, names: &mut Vec<String>) -> Vec<Vote> {
        let mut votes = Vec::new();
        for (label, count) in ordered(&self.args[name]) {
            let class = intern(names, &label);
            votes.extend(std::iter::repeat_n(Vote::For(class), count));
        }
        votes
    }
}

/// The futility rule of the file, "give up at vote c[i] or later with only i votes for the label", by
/// dissents: i votes and F dissents are given up if F + i >= c[i], so F dissents are gone on with from the
/// first i with F + i < c[i].
fn go_on_from(certify_at: &[Vec<usize>], futile_at: &[usize]) -> Vec<Vec<usize>> {
    let from = |f: usize| f + (0..futile_at.len()).take_while(|&i| f + i >= futile_at[i]).count();
    certify_at.iter().enumerate().map(|(f, row)| vec![from(f); row.len()]).collect()
}

/// The entries of an object of counts. The labels of the vectors happen to sort in the order of the file.
fn ordered(counts: &Value) -> Vec<(String, usize)> {
    counts.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_u64().unwrap() as usize)).collect()
}

fn intern(names: &mut Vec<String>, label: &str) -> usize {
    names.iter().position(|name| name == label).unwrap_or_else(|| {
        names.push(label.to_owned());
        names.len() - 1
    })
}

fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        _ => value.as_f64().unwrap_or_else(|| panic!("{value} is no number")),
    }
}

fn close(got: f64, want: &Value, tolerance: f64) -> bool {
    let want = number(want);
    if want.is_infinite() {
        return got.is_infinite() && got.is_sign_positive() == want.is_sign_positive();
    }
    (got - want).abs() <= tolerance * want.abs().max(1.0)
}

fn label_value(names: &[String], class: Option<usize>) -> Value {
    class.map_or(Value::Null, |class| Value::String(names[class].clone()))
}

/// Runs votes through one table, as a ladder of one rung, and compares what is decided, when and on what
/// counts.
fn check_table_run(tables: Tables, n_max: usize, args: &Args<'_>, want: &Value) -> bool {
    let names = &mut Vec::new();
    let label = args.fixed_label(names);
    let ladder = Staircase::new(vec![1.0], tables, n_max);
    let mut run = StaircaseRun::new(&ladder, label);
    let mut decision = Decision::Continue;
    for vote in args.votes(names) {
        if !decision.is_final() {
            decision = run.push(&ladder, vote);
        }
    }
    let evidence = run.evidence();
    let dissent = evidence.votes - evidence.agree;
    let name = match decision {
        Decision::Continue => "undecided",
        Decision::Certified(_) => "certified",
        Decision::Abstained(_) => "futile",
    };
    let label = label_value(names, decision.certified().map(|c| c.class));
    name == want["decision"]
        && label == want["label"]
        && want["votes"] == evidence.votes
        && want["dissent"] == dissent
        && want.get("rival").is_none_or(|rival| *rival == evidence.rival)
}

/// Runs votes through a ladder without futility and stops it after the last.
fn check_ladder(args: &Args<'_>, want: &Value) -> bool {
    let names = &mut Vec::new();
    let label = args.fixed_label(names);
    let ladder = Ladder { radii: args.list("radii"), n_max: args.n("n_max"), futility: 0.0 };
    let method = if args.args["two_class"] == true { Method::Table(ladder) } else { Method::Table1(ladder) };
    let rule = args.label_rule(LabelRule::Leader);
    let plan = Plan { sigma: args.f("sigma"), alpha: args.f("alpha"), label: rule, method };
    let mut run = Test::new(plan).unwrap().start(label).unwrap();
    for vote in args.votes(names) {
        run.push(vote);
    }
    let decision = run.stop();
    let radius = decision.certified().map_or(0.0, |c| c.radius);
    // The reference goes on until the last vote even where no rung can be passed any more.
    let votes = run.evidence().votes;
    let over = matches!(decision, Decision::Abstained(Abstained { reason: Reason::OutOfReach, .. }));
    label_value(names, decision.certified().map(|c| c.class)) == want["label"]
        && close(radius, &want["radius"], 0.0)
        && (want["votes"] == votes || over)
}

/// Runs a whole series of votes, and compares the label and the radius with those of the vector and of the
/// function that takes all counts at once.
fn check_run(
    test: &Test,
    votes: &[Vote],
    label: Option<usize>,
    by_counts: Option<Certified>,
    names: &[String],
    want: &Value,
) -> bool {
    let mut run = test.start(label).unwrap();
    for &vote in votes {
        run.push(vote);
    }
    assert!(run.decision().is_final());
    let certified = run.decision().certified().copied();
    assert_eq!(certified, by_counts);
    label_value(names, certified.map(|c| c.class)) == want["label"]
        && is_radius(certified, test.plan().sigma, &want["radius"])
}

/// Whether a certificate has this radius: its bounds to 1e-9, the reported radius rounded down from it.
fn is_radius(certified: Option<Certified>, sigma: f64, want: &Value) -> bool {
    let Some(certified) = certified else { return number(want) == 0.0 };
    let p_lower = certified.p_lower.unwrap();
    let radius = match certified.rival_upper {
        Some(rival_upper) => radius_l2_two_class(p_lower, rival_upper, sigma),
        None => radius_l2(p_lower, sigma),
    };
    close(radius.unwrap(), want, 1e-9)
        && certified.radius <= number(want)
        && number(want) - certified.radius < 1.001e-6
}

fn check(function: &str, args: &Args<'_>, want: &Value, tolerance: f64) -> Option<bool> {
    let near = |got: f64| Some(close(got, want, tolerance));
    match function {
        "phi" => near(normal_cdf(args.f("z"))),
        "phi_inv" => near(normal_quantile(args.f("p"))),
        "tau_for_radius" => near(tau_for_radius(args.f("r"), args.f("sigma")).unwrap()),
        "binom_sf" => near(binom_sf(args.n("k"), args.n("n"), args.f("p"))),
        "cp_lower" => near(cp_lower(args.n("k"), args.n("n"), args.f("alpha")).unwrap()),
        "cp_upper" => near(cp_upper(args.n("k"), args.n("n"), args.f("alpha")).unwrap()),
        "binom_test_half" => near(binom_test_half(args.n("k"), args.n("n")).unwrap()),
        "alpha_free" => near(alpha_free(args.f("m"), args.f("alpha")).unwrap()),
        "radius_l2" => near(radius_l2(args.f("p_lower"), args.f("sigma")).unwrap()),
        "radius_l2_two_class" => {
            near(radius_l2_two_class(args.f("p_a_lower"), args.f("p_b_upper"), args.f("sigma")).unwrap())
        }
        "radius_topk" => near(
            radius_topk(args.f("p_l_lower"), &args.list("others_upper"), args.n("k"), args.f("sigma"))
                .unwrap(),
        ),
        "radius_l1_laplace" => near(radius_l1_laplace(args.f("p_lower"), args.f("lam")).unwrap()),
        "radius_l1_laplace_two_class" => {
            near(radius_l1_laplace_two_class(args.f("pa"), args.f("pb"), args.f("lam")).unwrap())
        }
        "radius_l1_uniform" => near(radius_l1_uniform(args.f("p_lower"), args.f("lam")).unwrap()),
        "radius_linf_uniform" => {
            near(radius_linf_uniform(args.f("p_lower"), args.f("lam"), args.n("d")).unwrap())
        }
        "radius_lp_from_l2" => {
            let norm = match args.f("p") {
                f64::INFINITY => Norm::Linf,
                1.0 => Norm::L1,
                2.0 => Norm::L2,
                p => Norm::Lq(p),
            };
            near(radius_from_l2(args.f("r2"), args.n("d"), norm).unwrap())
        }
        "ablation_l0" => {
            near(radius_l0_ablation(args.f("p_lower"), args.n("d"), args.n("keep")).unwrap() as f64)
        }
        "radius_original_space" => near(
            radius_original_space(args.f("r"), args.f("op_norm"), args.f_or("rounding_l2", 0.0)).unwrap(),
        ),
        "round_down" => near(round_down(args.f("x"))),
        _ => check_test(function, args, want, tolerance),
    }
}

/// The functions that are tests fed with votes, or tables, or take counts.
fn check_test(function: &str, args: &Args<'_>, want: &Value, tolerance: f64) -> Option<bool> {
    let near = |got: f64| Some(close(got, want, tolerance));
    let names = &mut Vec::new();
    match function {
        "cohen_certify" => {
            let selection = args.counts("counts0", names);
            let estimation = args.counts("counts", names);
            let (sigma, alpha) = (args.f("sigma"), args.f("alpha"));
            let method = Method::Cohen { n0: selection.len(), n: estimation.len() };
            let plan = Plan { sigma, alpha, label: LabelRule::Leader, method };
            let votes = [selection.clone(), estimation.clone()].concat();
            let tally = |votes: Vec<Vote>| votes.into_iter().collect::<Tally>();
            let by_counts = certify(&tally(selection), &tally(estimation), sigma, alpha).unwrap();
            Some(check_run(&Test::new(plan).unwrap(), &votes, None, by_counts, names, want))
        }
        "cohen_predict" => {
            let tally: Tally = args.counts("counts", names).into_iter().collect();
            let class = predict(&tally, args.f("alpha")).unwrap().map(|certified| certified.class);
            Some(label_value(names, class) == *want)
        }
        "certify_fixed_n" => {
            let votes = args.counts("counts", names);
            let label = args.args["label"].as_str().map(|label| intern(names, label));
            let (sigma, alpha) = (args.f("sigma"), args.f("alpha"));
            let rule = label.map_or(LabelRule::Leader, |_| LabelRule::Fixed);
            let plan = Plan {
                sigma,
                alpha,
                label: rule,
                method: Method::Fixed { n: votes.len(), rival_share: None },
            };
            let tally: Tally = votes.iter().copied().collect();
            let by_counts = certify_fixed_n(&tally, label, sigma, alpha).unwrap();
            Some(check_run(&Test::new(plan).unwrap(), &votes, label, by_counts, names, want))
        }
        "certify_fixed_n_two_class" => {
            let tally: Tally = args.counts("counts", names).into_iter().collect();
            let class = intern(names, args.args["label"].as_str().unwrap());
            let (sigma, alpha, share) = (args.f("sigma"), args.f("alpha"), 1.0 - args.f_or("split", 0.9));
            let certified = certify_fixed_n_two_class(&tally, Some(class), sigma, alpha, share).unwrap();
            Some(is_radius(certified, sigma, want))
        }
        "design" => Some(check_design(args, want, tolerance)),
        "operating" => {
            let result = args.one_bound_table().unwrap().operating(args.f("p"));
            Some(
                close(result.certify, &want["certify"], tolerance)
                    && close(result.votes, &want["calls"], tolerance),
            )
        }
        "verify_table" => {
            let certify_at: Vec<usize> = serde_json::from_value(args.args["certify_at"].clone()).unwrap();
            near(verify_table(args.f("tau"), &certify_at).unwrap())
        }
        "verify_two_class_table" => {
            let table = args.two_class_table();
            near(verify_two_class_table(table.gap, &table.certify_at, args.n("corners")).unwrap())
        }
        "target" => Some(match args.one_bound_table() {
            Err(StatsError::Infeasible { .. }) => want["decision"] == "infeasible",
            table => check_table_run(Tables::OneBound(vec![table.unwrap()]), args.n("n_max"), args, want),
        }),
        "target2" => {
            let table = args.two_class_table();
            let n_max = table.n_max;
            Some(check_table_run(Tables::TwoClass(vec![table]), n_max, args, want))
        }
        "ladder" => Some(check_ladder(args, want)),
        "anytime_log_wealth" => near(anytime_log_wealth(args.f("m"), args.n("s"), args.n("f")).unwrap()),
        "anytime" => {
            let rule = args.label_rule(LabelRule::Leader);
            near(anytime_lower(args.n("s"), args.n("n"), args.f("alpha"), rule).unwrap().unwrap_or(0.0))
        }
        "anytime2" => {
            let test = crate::stats::anytime::Anytime {
                sigma: args.f("sigma"),
                alpha: args.f("alpha"),
                label: args.label_rule(LabelRule::Leader),
                n_max: 1000,
                every: 25,
                n_min: 0,
                gain: 0.0,
                rival_share: Some(0.1),
            };
            near(test.radius(args.n("s"), args.n("rival"), args.n("n")))
        }
        _ => None,
    }
}

fn check_design(args: &Args<'_>, want: &Value, tolerance: f64) -> bool {
    let table = match args.one_bound_table() {
        Err(StatsError::Infeasible { .. }) => return want["feasible"] == false,
        table => table.unwrap(),
    };
    let level = args.label_rule(LabelRule::Leader).level(table.tau, args.f("alpha"));
    let integers = |name: &str| serde_json::from_value::<Vec<usize>>(want[name].clone()).unwrap();
    want["feasible"] == true
        && close(level, &want["alpha_d"], tolerance)
        && table.certify_at == integers("certify_at")
        && table.futile_at == integers("futile_at")
        && close(table.working_point(), &want["p1"], tolerance)
        && close(verify_table(table.tau, &table.certify_at).unwrap(), &want["spent"], tolerance)
}

#[test]
fn every_reference_vector_is_met() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 374);
    let mut wrong = Vec::new();
    for vector in vectors {
        let function = vector["fn"].as_str().unwrap();
        let tolerance = vector["tol"].as_f64().unwrap_or(1e-9);
        let args = Args { args: &vector["in"], tables: &file["tables"] };
        let met = check(function, &args, &vector["out"], tolerance);
        if !met.unwrap_or_else(|| panic!("no check for {function}")) {
            wrong.push(vector.to_string());
        }
    }
    assert!(wrong.is_empty(), "{} vectors are missed:\n{}", wrong.len(), wrong.join("\n"));
}
