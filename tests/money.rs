//! The money contract as a user sees it: records, resume, budgets, signals, configuration.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const PICTURES: [&str; 3] =
    ["examples/pictures/coffee.jpg", "examples/pictures/spider.png", "examples/pictures/umbrella.png"];

/// A user with a home of their own.
struct User {
    home: TempDir,
}

impl User {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
        command.env_clear().env("HOME", self.home.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.program(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let out = self.run(arguments);
        assert!(!out.stdout.is_empty(), "{arguments:?}: {}", errors(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn errors(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn code(out: &Output) -> i32 {
    out.status.code().unwrap()
}

fn certify<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["certify"];
    arguments.extend(PICTURES);
    arguments.extend(["--format", "jsonl", "--n", "40"]);
    arguments.extend(more);
    arguments
}

#[test]
fn a_finished_picture_costs_nothing_the_second_time() {
    let user = User::new();
    let first = user.run(&certify(&[]));
    assert_eq!(code(&first), 0, "{}", errors(&first));
    let calls = user.json(&["runs", "--json"])[0]["spend"]["calls"].clone();
    let second = user.run(&certify(&[]));
    // Fresh seeds would give other votes: these are the same certificates.
    assert_eq!(first.stdout, second.stdout);
    assert!(errors(&second).contains("run 1 goes on"), "{}", errors(&second));
    let runs = user.json(&["runs", "--json"]);
    assert_eq!((runs.as_array().unwrap().len(), &runs[0]["spend"]["calls"]), (1, &calls));
    assert!(runs[0]["finished"].is_string());

    let third = user.run(&certify(&["--new-run"]));
    assert_ne!(first.stdout, third.stdout);
    let other = user.run(&certify(&["--sigma", "0.5"]));
    assert_ne!(first.stdout, other.stdout);
    assert_eq!(user.json(&["runs", "--json"]).as_array().unwrap().len(), 3);
    assert_eq!(code(&user.run(&["runs", "rm", "1", "2"])), 0);
    assert_eq!(user.json(&["runs", "--json"]).as_array().unwrap().len(), 1);
    assert_eq!(code(&user.run(&["runs", "show", "1"])), 2);
}

#[test]
fn a_budget_stops_the_run_with_code_4_and_a_larger_one_goes_on() {
    let user = User::new();
    let whole = user.run(&certify(&["--seed", "5"]));
    user.run(&["runs", "rm", "1"]);

    let stopped = user.run(&certify(&["--seed", "5", "--max-calls", "70"]));
    assert_eq!(code(&stopped), 4, "{}", errors(&stopped));
    assert!(errors(&stopped).contains("`smoothgate resume 2`"), "{}", errors(&stopped));
    let runs = user.json(&["runs", "--json"]);
    assert_eq!(runs[0]["spend"]["calls"], 70);
    assert_eq!(code(&user.run(&["resume"])), 4, "still used up");

    assert_eq!(code(&user.run(&["resume", "2", "--max-calls", "90"])), 4);
    assert_eq!(code(&user.run(&["resume", "2"])), 4, "the last budget holds until another is given");
    let runs = user.json(&["runs", "--json"]);
    assert_eq!((&runs[0]["spend"]["calls"], &runs[0]["budget"]["calls"]), (&90.into(), &90.into()));

    let resumed = user.run(&["resume", "2", "--max-calls", "1000"]);
    assert_eq!(code(&resumed), 0, "{}", errors(&resumed));
    assert_eq!(resumed.stdout, whole.stdout);
    assert_eq!(user.json(&["runs", "--json"])[0]["spend"]["calls"], 180);
    let finished = user.run(&["resume"]);
    assert_eq!(code(&finished), 2);
    assert!(errors(&finished).contains("finished"), "{}", errors(&finished));
}

#[test]
fn a_changed_picture_is_named_and_not_mixed_with_the_old_one() {
    let user = User::new();
    let picture = user.home.path().join("p.jpg");
    std::fs::copy(PICTURES[0], &picture).unwrap();
    let arguments = ["certify", picture.to_str().unwrap(), "--n", "20", "--n0", "5"];
    assert!(code(&user.run(&arguments)) <= 1);
    std::fs::copy(PICTURES[1], &picture).unwrap();
    let out = user.run(&arguments);
    let said = String::from_utf8(out.stdout.clone()).unwrap();
    assert!(said.contains("changed parameters (hash:"), "{said}{}", errors(&out));
    assert_eq!(code(&out), 2);
}

#[cfg(unix)]
#[test]
fn the_first_signal_ends_in_order_and_the_run_goes_on() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;
    for signal in ["-INT", "-TERM"] {
        let user = User::new();
        let mut arguments = vec!["certify", "--seed", "6", "--n", "400", "--jobs", "1", "--format", "jsonl"];
        arguments.extend(PICTURES);
        let mut child =
            user.program(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One certificate is out: the next picture is being worked on.
        let mut first = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let out = child.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(130), "{signal}: {}", errors(&out));
        assert!(errors(&out).contains("`smoothgate resume 1` goes on"), "{}", errors(&out));
        let report = user.json(&["runs", "show", "1", "--json"]);
        assert_eq!(
            (&report["unknown"], &report["in_flight"]),
            (&0.into(), &0.into()),
            "nothing was left open"
        );

        let resumed = user.run(&["resume"]);
        assert!(code(&resumed) <= 1, "{}", errors(&resumed));
        let fresh = User::new().run(&arguments);
        assert_eq!(resumed.stdout, fresh.stdout);
    }
}

#[test]
fn without_a_ledger_nothing_is_kept_and_budgets_are_refused() {
    let user = User::new();
    let out = user.run(&certify(&["--no-ledger", "--n0", "2"]));
    assert!(code(&out) <= 1, "{}", errors(&out));
    assert!(errors(&out).contains("no record is kept: a run that ends early begins anew"));
    assert!(!user.home.path().join(".local").exists());
    assert_eq!(code(&user.run(&certify(&["--no-ledger", "--max-calls", "5"]))), 2);
    let config = user.file(
        "c.toml",
        "[providers.openai]\nbudget = { day = { calls = 5 } }\noptions = { endpoint = \"http://127.0.0.1:9\", model = \"m\", labels = [\"a\", \"b\"] }\n",
    );
    let refused = user.run(&certify(&["--no-ledger", "--provider", "openai", "--config", &config, "--yes"]));
    assert!(errors(&refused).contains("budgets are kept in the ledger"), "{}", errors(&refused));
}

#[test]
fn no_home_and_unusable_ledgers_are_said_before_anything_is_asked() {
    let user = User::new();
    let homeless =
        Command::new(env!("CARGO_BIN_EXE_smoothgate")).env_clear().args(certify(&[])).output().unwrap();
    assert_eq!(code(&homeless), 2);
    assert!(errors(&homeless).contains("--ledger PATH, or run with --no-ledger"), "{}", errors(&homeless));
    let other =
        user.file("notes.txt", "not a database, but words that are long enough to be read as a header page");
    let refused = user.run(&certify(&["--ledger", &other]));
    assert_eq!(code(&refused), 2);
    assert!(refused.stdout.is_empty());
    assert!(std::fs::read_to_string(&other).unwrap().starts_with("not a database"));
}

#[test]
fn the_price_must_be_known_under_a_cost_budget() {
    let user = User::new();
    let options = ["-O", "endpoint=http://127.0.0.1:9", "-O", "model=m", "-O", "labels=[\"a\",\"b\"]"];
    let mut arguments = certify(&["--provider", "openai", "--max-cost", "1.00USD"]);
    arguments.extend(options);
    let refused = user.run(&arguments);
    assert_eq!(code(&refused), 2, "{}", errors(&refused));
    assert!(errors(&refused).contains("price of `openai` is unknown"), "{}", errors(&refused));
}

/// A list of pictures may cost as much as certificates do; a single call is what was asked for.
#[test]
fn label_asks_before_it_may_spend_more_than_was_said() {
    let user = User::new();
    let label = |pictures: &[&str]| {
        let options =
            ["--provider", "google", "-O", "endpoint=http://127.0.0.1:9", "--ask-above", "0.001USD"];
        let arguments = [&["label"], pictures, &options, &["--max-calls", "0"]].concat();
        user.program(&arguments).env("GOOGLE_API_KEY", "k").output().unwrap()
    };
    let without_limit =
        ["label", PICTURES[0], PICTURES[1], "--provider", "google", "--ask-above", "0.002USD"];
    let refused = user.program(&without_limit).env("GOOGLE_API_KEY", "k").output().unwrap();
    assert_eq!(code(&refused), 2, "{}", errors(&refused));
    assert!(errors(&refused).contains("up to $0.003 for 2 calls"), "{}", errors(&refused));
    assert_eq!(user.json(&["runs", "--json"]).as_array().map(Vec::len), Some(0));
    // Neither what a budget forbids anyway nor one call asks: both come as far as the budget.
    assert_eq!(code(&label(&[PICTURES[0], PICTURES[1]])), 4);
    assert_eq!(code(&label(&[PICTURES[0]])), 4);
}

/// That nobody answers is no abstention. The picture after it would be paid for as much in vain.
#[test]
fn an_outage_is_a_failure_with_its_reason_and_the_pictures_after_it_are_left() {
    let user = User::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "[providers.down]\nkind = \"google\"\nretry = {{ attempts = 1 }}\noptions = {{ endpoint = \"http://{closed}\" }}\n"
    );
    let config = user.file("down.toml", &config);
    let more = ["--config", &config, "--provider", "down", "--jobs", "1", "--n0", "2", "--size", "64"];
    let out = user.program(&certify(&more)).env("GOOGLE_API_KEY", "k").output().unwrap();
    assert_eq!(code(&out), 3, "{}", errors(&out));
    let told = errors(&out);
    let reason = format!("{}: no call about it was answered (the last: transient failure: ", PICTURES[0]);
    assert!(told.contains(&reason) && told.contains("--new-run"), "{told}");
    assert!(told.contains("2 pictures left: `smoothgate resume 1`"), "{told}");
    assert_eq!(lines(&out).len(), 1, "the others were not begun");
    assert_eq!(lines(&out)[0]["failed_votes"], lines(&out)[0]["votes"]);
    // Each sitting goes on behind what it is told of.
    let out = user.program(&["resume", "--config", &config]).env("GOOGLE_API_KEY", "k").output().unwrap();
    assert_eq!(code(&out), 3, "{}", errors(&out));
    assert_eq!(lines(&out).len(), 2, "{}", errors(&out));
    assert!(errors(&out).contains("1 picture left"), "{}", errors(&out));
}

/// The same file is the same picture, however its path is written.
#[test]
fn another_spelling_of_a_path_is_not_paid_for_again() {
    let user = User::new();
    let dotted = format!("./{}", PICTURES[1]);
    let doubled = PICTURES[1].replace('/', "//");
    let mut printed = Vec::new();
    for path in [PICTURES[1], &dotted, &doubled] {
        let out = user.run(&["certify", path, "--format", "jsonl", "--n", "40"]);
        assert_eq!(code(&out), 0, "{}", errors(&out));
        let mut row = lines(&out).remove(0);
        assert_eq!(row["image"].take(), path);
        printed.push(row);
    }
    assert!(printed.iter().all(|row| *row == printed[0]), "{printed:?}");
    assert_eq!(user.json(&["runs", "--json"])[0]["spend"]["calls"], printed[0]["calls"]);
}

/// A test that ended early took fewer votes than it could have; replayed, it can take as many.
#[test]
fn what_ended_early_is_exported_with_the_design_of_its_test() {
    let user = User::new();
    let pictures = ["examples/pictures/boats.jpg", PICTURES[0]];
    let test = ["--radius", "0.25", "--seed", "1", "--denoiser", "none", "--format", "jsonl"];
    let rows = lines(&user.run(&[&["certify"], &pictures[..], &test].concat()));
    let log = user.run(&["runs", "export", "1"]);
    assert!(lines(&log).iter().all(|line| line["n0"] == 0 && line["n"] == 120), "{log:?}");
    let log = user.file("early.jsonl", &String::from_utf8(log.stdout).unwrap());
    let replayed = lines(&user.run(&["replay", &log, "--radius", "0.25", "--format", "jsonl", "--quiet"]));
    assert_eq!((rows.len(), replayed.len()), (2, 2));
    for (row, again) in rows.iter().zip(&replayed) {
        assert_eq!((&row["outcome"], &row["votes"]), (&again["outcome"], &again["votes"]));
    }
    assert!(rows.iter().any(|row| row["votes"].as_u64().unwrap() < 120), "{rows:?}");
    // Another test, which needs selection votes, takes the first ones.
    assert_eq!(code(&user.run(&["replay", &log, "--quiet"])), 0);
}

/// What a ledger exports is what `verify` reads.
#[test]
fn exported_certificates_are_verified_line_by_line() {
    let user = User::new();
    user.run(&certify(&["--quiet"]));
    let exported = user.run(&["runs", "export", "1", "--format", "certificates"]);
    let text = String::from_utf8(exported.stdout).unwrap();
    let file = user.file("all.jsonl", &text);
    let out = user.run(&["verify", &file, "--json"]);
    assert_eq!(code(&out), 0, "{}", errors(&out));
    let names: Vec<Value> = lines(&out).iter().map(|line| line["certificate"].clone()).collect();
    assert_eq!(names, [1, 2, 3].map(|line| Value::from(format!("{file}:{line}"))));
    let forged = user.file("forged.jsonl", &text.replacen("spider", "rocket", 1));
    assert_eq!(code(&user.run(&["verify", &forged])), 1);
}

#[test]
fn exported_answers_replay_to_the_same_outcomes() {
    let user = User::new();
    let rows = user.run(&certify(&["--quiet"]));
    let exported = user.run(&["runs", "export", "1"]);
    let log = user.file("log.jsonl", &String::from_utf8(exported.stdout).unwrap());
    let replayed = user.run(&["replay", &log, "--format", "jsonl", "--quiet"]);
    let rows: Vec<Value> = lines(&rows);
    let replayed: Vec<Value> = lines(&replayed);
    assert_eq!(rows.len(), replayed.len());
    for (row, again) in rows.iter().zip(&replayed) {
        for field in ["outcome", "label", "votes"] {
            assert_eq!(row[field], again[field], "{field}");
        }
        let (a, b) = (row["radius"].as_f64().unwrap(), again["radius"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    let certificates = user.run(&["runs", "export", "1", "--format", "certificates"]);
    assert_eq!(lines(&certificates).len(), 3);
}

/// A label that is fixed before the votes takes none to choose it, whatever the test could spend on that.
#[test]
fn exported_answers_of_a_fixed_label_are_all_votes() {
    let user = User::new();
    let rows = lines(&user.run(&certify(&["--question", "clean-top", "--quiet"])));
    let exported = user.run(&["runs", "export", "1"]);
    assert!(lines(&exported).iter().all(|line| line["n0"] == 0));
    let log = user.file("log.jsonl", &String::from_utf8(exported.stdout).unwrap());
    let question = ["--question", "clean-top", "--format", "jsonl", "--quiet"];
    let replayed = lines(&user.run(&[&["replay", &log][..], &question].concat()));
    for (row, again) in rows.iter().zip(&replayed) {
        assert_eq!((&row["outcome"], &row["votes"]), (&again["outcome"], &again["votes"]));
        let (a, b) = (row["radius"].as_f64().unwrap(), again["radius"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

/// Runs of other commands are never finished, and cannot be gone on with.
#[test]
fn resume_goes_on_with_the_latest_run_that_can_be() {
    let user = User::new();
    assert_eq!(code(&user.run(&certify(&["--seed", "5", "--max-calls", "70"]))), 4);
    let labelled = user.run(&["label", PICTURES[0], PICTURES[1], "--max-calls", "1"]);
    assert_eq!(code(&labelled), 4, "{}", errors(&labelled));
    let runs = user.json(&["runs", "--json"]);
    assert_eq!(runs.as_array().unwrap().len(), 2);
    let resumed = user.run(&["resume", "--max-calls", "1000"]);
    assert_eq!(code(&resumed), 0, "{}", errors(&resumed));
}

fn lines(out: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&out.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_configuration_is_started_checked_and_shown() {
    let user = User::new();
    let path = user.home.path().join("smoothgate.toml");
    let path = path.to_str().unwrap();
    assert_eq!(code(&user.run(&["config", "init", path])), 0);
    assert_eq!(code(&user.run(&["config", "init", path])), 2, "it is not written over");
    let checked = user.run(&["config", "check", "--config", path]);
    assert_eq!(code(&checked), 0, "{}", errors(&checked));

    let wrong = user.file("wrong.toml", "[providers.clarifai]\nrat = \"1/s\"\n");
    let out = user.run(&["config", "check", "--config", &wrong]);
    assert_eq!(code(&out), 2);
    assert!(errors(&out).contains("wrong.toml:2:1: unknown key `rat`") && errors(&out).contains("`rate`"));

    let clear = user.file("clear.toml", "[providers.google]\noptions = { endpoint = \"http://10.0.0.1\" }\n");
    let check = ["config", "check", "--config", &clear];
    let out = user.program(&check).env("GOOGLE_API_KEY", "k").output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!((code(&out), said.contains("allow_http = true")), (2, true), "{said}");

    let keyless = user.file("keyless.toml", "[providers.clarifai]\n");
    let out = user.run(&["config", "check", "--config", &keyless]);
    assert_eq!(code(&out), 2);
    assert!(String::from_utf8_lossy(&out.stdout).contains("export CLARIFAI_PAT="));
    let shown = user.run(&["config", "show", "--config", &keyless]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("call_timeout = \"1m\""), "{}", errors(&shown));
    assert!(user.json(&["config", "schema"])["properties"]["providers"].is_object());
}

#[test]
fn providers_are_listed_with_price_quota_and_what_is_missing() {
    let user = User::new();
    let listed = user.json(&["providers", "--json"]);
    let find = |name: &str| {
        listed
            .as_array()
            .unwrap()
            .iter()
            .find(|line| line["name"] == name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    assert_eq!(find("local")["ready"], true);
    assert_eq!(find("google")["price"], "0.0015");
    assert_eq!(find("google")["calls_per_minute"], 1800);
    // Without a region or an address, too.
    assert_eq!((&find("aws")["price"], &find("azure")["price"]), (&"0.001".into(), &"0.001".into()));
    assert!(find("clarifai")["credentials"].as_str().unwrap().contains("export CLARIFAI_PAT="));
    let with = user.program(&["providers", "--json"]).env("CLARIFAI_PAT", "planted-secret").output().unwrap();
    let with = String::from_utf8(with.stdout).unwrap();
    assert!(with.contains("env::CLARIFAI_PAT") && !with.contains("planted"), "{with}");
    assert!(!user.run(&["providers"]).stdout.is_empty());

    let unset = user.run(&certify(&["--provider", "clarifai"]));
    assert_eq!(code(&unset), 2);
    assert!(errors(&unset).contains("export CLARIFAI_PAT="), "{}", errors(&unset));
    let unknown = user.run(&certify(&["--provider", "clarify"]));
    assert!(errors(&unknown).contains("there is no provider `clarify`; known are: local, google"));
}

#[test]
fn label_says_what_the_provider_says_about_the_plain_picture() {
    let user = User::new();
    let out = user.run(&["label", PICTURES[0], "no/such.png", "--format", "jsonl"]);
    assert_eq!(code(&out), 2, "the second does not exist");
    let out = user.run(&["label", PICTURES[0], PICTURES[1], "--format", "jsonl"]);
    assert_eq!(code(&out), 0, "{}", errors(&out));
    let rows = lines(&out);
    assert_eq!(rows[0]["labels"][0]["name"], "espresso");
    assert!(rows[1]["model_version"].as_str().unwrap().starts_with("things64-"));
    assert!(Path::new(PICTURES[0]).exists());
    // A call is a call: it is on record and counts in budgets.
    assert_eq!(user.json(&["runs", "--json"])[0]["spend"]["calls"], 2);
    let table = user.run(&["label", PICTURES[0], "--top", "1"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let score: f64 = table.split_once("espresso ").unwrap().1.trim().parse().unwrap();
    assert!((0.5..=1.0).contains(&score), "{table}");
}

#[test]
fn a_data_set_is_evaluated_and_the_evaluation_resumes() {
    let user = User::new();
    let set = user.home.path().join("set");
    for (class, picture) in [("espresso", PICTURES[0]), ("spider", PICTURES[1]), ("teapot", PICTURES[2])] {
        std::fs::create_dir_all(set.join(class)).unwrap();
        let name = Path::new(picture).file_name().unwrap();
        std::fs::copy(picture, set.join(class).join(name)).unwrap();
    }
    let summary = user.home.path().join("summary.json");
    let arguments = [
        "evaluate",
        set.to_str().unwrap(),
        "--radius",
        "0.1",
        "--format",
        "tsv",
        "--seed",
        "3",
        "--radii",
        "0,0.1,0.2",
        "--summary",
        summary.to_str().unwrap(),
    ];
    let stopped: Vec<&str> = arguments.iter().copied().chain(["--max-calls", "20"]).collect();
    assert_eq!(code(&user.run(&stopped)), 4);
    let out = user.run(&["resume", "--max-calls", "1000"]);
    assert_eq!(code(&out), 0, "{}", errors(&out));
    let rows = String::from_utf8(out.stdout).unwrap();
    let rows: Vec<Vec<&str>> = rows.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0], ["idx", "label", "predict", "radius", "correct", "time"]);
    // Classes by number, as the field's programs number folders; `umbrella` is none of the three.
    let judged: Vec<[&str; 4]> = rows[1..].iter().map(|row| [row[0], row[1], row[2], row[4]]).collect();
    assert_eq!(judged, [["0", "0", "0", "1"], ["1", "1", "1", "1"], ["2", "2", "3", "0"]]);
    let summary: Value = serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap();
    let series = &summary["series"][0];
    assert_eq!((&series["measure"], &series["pictures"]), (&"certified accuracy".into(), &3.into()));
    let counts: Vec<&Value> = series["at"].as_array().unwrap().iter().map(|share| &share["count"]).collect();
    assert_eq!(counts, [&2, &2, &0]);
    assert_eq!(series["cost"], "0");
    assert!(errors(&user.run(&arguments)).contains("certified accuracy"));
}
