use std::path::Path;

use serde_json::json;
use smoothgate_denoisers::Precision;
use smoothgate_providers::Price;
use smoothgate_providers::credentials::Environment;
use smoothgate_providers::transport::Rate;

use super::{Answers, Config, ConfigError, InstanceError, OnAbstain, RouteSettings, find};
use crate::stats::Method;

fn nowhere() -> Environment {
    Environment::of([("HOME", "/nowhere")])
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("dir/smoothgate.toml"), text, &nowhere())
}

/// The error of a text, as `line:column: problem`.
fn wrong(text: &str) -> String {
    let error = parse(text).unwrap_err().to_string();
    error.strip_prefix("dir/smoothgate.toml:").unwrap_or_else(|| panic!("{error}")).to_owned()
}

const WHOLE: &str = r#"
[defaults]
provider = "vision-eu"
sigma = 0.5
alpha = 0.01
ask_above = "2.50USD"

[ledger]
path = "votes.db"
answers = "until-certified"

[network]
call_timeout = "1m 30s"
ca_file = "ca.pem"

[providers.vision-eu]
kind = "google"
price = "0.0010USD"
rate = "30/s"
pictures_per_minute = 600
burst = 2
retry = { attempts = 3, base = "100ms" }
budget = { day = { calls = 1000, cost = "1.50USD" } }
credentials = { key = "file::key.json", token_exchange = true }
network = { call_timeout = "20s", proxy = "direct" }
options = { max_labels = 20, features = ["labels", "safe-search"] }

[providers.aws]
options = { region = "eu-west-1" }
"#;

#[test]
fn everything_that_is_said_is_read() {
    let config = parse(WHOLE).unwrap();
    assert_eq!(config.defaults.provider.as_deref(), Some("vision-eu"));
    assert_eq!(config.defaults.sigma.unwrap().get().to_bits(), 0.5f64.to_bits());
    assert_eq!(config.ledger.path.as_deref(), Some(Path::new("dir/votes.db")));
    assert_eq!(config.network.ca_file.as_deref(), Some(Path::new("dir/ca.pem")));
    assert_eq!(config.network.call_timeout.as_secs(), 90);
    let google = config.instance("vision-eu").unwrap();
    assert_eq!(google.registration.name, "google");
    assert_eq!(google.price(), Some(Price::PerPicture("0.001".parse().unwrap())));
    let quota = google.quota().unwrap();
    assert_eq!((quota.calls_per_minute, quota.pictures_per_minute), (1800, Some(600)));
    assert_eq!(google.transport.retry.attempts, 3);
    assert_eq!(google.network.call_timeout.as_secs(), 20);
    assert_eq!(google.network.connect_timeout.as_secs(), 10);
    assert_eq!(google.budgets.day.calls, Some(1000));
    assert_eq!(google.credentials.key.as_ref().unwrap().to_string(), "file::dir/key.json");
    let adapter = google.adapter(&nowhere()).unwrap();
    assert_eq!(adapter.identity()["max_labels"], 20);
    assert_eq!(adapter.identity()["features"], json!(["labels", "safe-search"]));
    assert_eq!(config.instance("aws").unwrap().registration.name, "aws");
    assert_eq!(config.names()[..2], ["aws".to_owned(), "vision-eu".to_owned()]);
}

const ROUTES: &str = r#"
[defaults]
sigma = 0.5

[serve]
listen = "127.0.0.1:9000"
max_active = 3

[providers.vision-eu]
kind = "google"

[routes.products]
api = ["google", "aws"]
path = "/products"
callers = ["shop"]
upstream = "vision-eu"
question = "top1"
radius = [0.25]
size = 128
reuse = "1h"
budget = { calls = 1000 }

[routes.safety]
question = "level:adult>=LIKELY"
on_abstain = "error"
n = 50
n0 = 10
"#;

#[test]
fn routes_are_read_with_their_defaults() {
    let config = parse(ROUTES).unwrap();
    assert_eq!((config.serve.listen.port(), config.serve.max_active), (9000, 3));
    let [products, safety] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    assert_eq!((products.upstream.as_str(), products.sigma.get().to_bits()), ("vision-eu", 0.5f64.to_bits()));
    assert!(matches!(&products.method, Method::Table(ladder) if ladder.radii == [0.25]));
    assert_eq!((products.reuse.as_secs(), products.budget.calls), (3600, Some(1000)));
    assert_eq!((products.answers, products.on_abstain), (Answers::Labels, OnAbstain::Empty));
    assert_eq!((safety.upstream.as_str(), safety.answers), ("local", Answers::Moderation));
    assert_eq!((&safety.method, safety.on_abstain), (&Method::Cohen { n0: 10, n: 50 }, OnAbstain::Error));
    let alone = RouteSettings::of_defaults("default", "local", &config.defaults).unwrap();
    assert!(matches!(&alone.method, Method::Table1(ladder) if ladder.radii == [0.25, 0.5]));
}

#[test]
fn a_wrong_route_is_named_with_line_and_what_to_write() {
    for (text, part) in [
        ("[serve]\nlisten = \"here\"\n", "2:1: `listen`: `here` is no address with a port"),
        ("[serve]\nmax_active = 0\n", "2:1: `max_active`: must be at least 1"),
        ("[serve]\nlissen = \"x\"\n", "did you mean `listen`?"),
        (
            "[routes.a]\nupstreem = \"local\"\n",
            "2:1: unknown key `upstreem` in [routes.a]: did you mean `upstream`?",
        ),
        ("[routes.a]\nupstream = \"bing\"\n", "2:1: `upstream`: there is no provider `bing`"),
        (
            "[routes.a]\napi = [\"gogle\"]\n",
            "2:1: `api`: no format is called `gogle`: did you mean `google`?",
        ),
        ("[routes.a]\npath = \"team\"\n", "2:1: `path`: must begin with `/`"),
        ("[routes.a]\nquestion = \"top2\"\n", "2:1: `question`"),
        ("[routes.a]\nsigma = 9\n", "2:1: `sigma`"),
        ("[routes.a]\nradius = [0.2, 0.1]\n", "2:1: `radius`: `radius` names 0.2 before 0.1"),
        (
            "[routes.a]\ntest = \"cohen\"\nradius = [0.2]\n",
            "2:1: `test`: `radius` says nothing to the test `cohen`",
        ),
        ("[routes.a]\nsize = \"big\"\n", "2:1: `size`"),
        ("[routes.a]\nencode = \"webp\"\n", "2:1: `encode`"),
        ("[routes.a]\nreuse = \"long\"\n", "2:1: `reuse`: \"long\" is no duration"),
        ("[routes.a]\non_abstain = \"panic\"\n", "2:1: `on_abstain`"),
        ("[routes.\"a b\"]\n", "1:9: `a b` cannot be the name of a route"),
        (
            "[ledger]\nanswers = \"until-certified\"\n[routes.a]\non_abstain = \"plain\"\n",
            "4:1: `on_abstain`: `plain` needs the clean answer",
        ),
    ] {
        let error = wrong(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn what_is_shown_of_routes_reads_back_the_same() {
    let shown = toml::to_string(&parse(ROUTES).unwrap().effective()).unwrap();
    assert!(shown.contains("deadline = \"2m\"") && shown.contains("max_waiting = 256"), "{shown}");
    let again = Config::parse(Path::new("smoothgate.toml"), &shown, &nowhere()).unwrap();
    assert_eq!(toml::to_string(&again.effective()).unwrap(), shown);
}

#[test]
fn what_is_shown_is_what_is_in_force_and_reads_back_the_same() {
    let shown = toml::to_string(&parse(WHOLE).unwrap().effective()).unwrap();
    assert!(shown.contains("first_byte_timeout = \"30s\"") && shown.contains("max_labels = 20"), "{shown}");
    let again = Config::parse(Path::new("smoothgate.toml"), &shown, &nowhere()).unwrap();
    assert_eq!(toml::to_string(&again.effective()).unwrap(), shown);
}

#[test]
fn a_wrong_key_is_named_with_line_and_the_nearest_right_one() {
    for (text, expected) in [
        ("[defaults]\nsigme = 0.25\n", "2:1: unknown key `sigme` in [defaults]: did you mean `sigma`?"),
        (
            "[network]\n\n  cal_timeout = \"1s\"\n",
            "3:3: unknown key `cal_timeout` in [network]: did you mean `call_timeout`?",
        ),
        ("provider = 1\n", "1:1: unknown key `provider` in the file: did you mean `providers`?"),
        (
            "[providers.google.options]\nmax_label = 5\n",
            "2:1: unknown key `max_label` in [providers.google.options]: did you mean `max_labels`?",
        ),
        (
            "[providers.g]\nkind = \"google\"\nbudget = { week = {} }\n",
            "3:12: unknown key `week` in [providers.g.budget]: it may hold day, month",
        ),
        (
            "[providers.gogle]\n",
            "1:12: `gogle` is no provider, so the instance needs `kind = ...`: did you mean `google`?",
        ),
        ("[providers.x]\nkind = \"azur\"\n", "2:1: there is no provider `azur`: did you mean `azure`?"),
        ("[defaults]\nprovider = \"bing\"\n", "2:1: there is no provider `bing`; known are: local, google"),
    ] {
        let error = wrong(text);
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn a_wrong_value_is_named_with_line_and_an_example() {
    for (text, part) in [
        ("[defaults]\nsigma = -1\n", "2:1: `sigma`"),
        (
            "[defaults]\nprecision = \"fp16\"\n",
            "2:1: `precision`: `fp16` is not a precision: use f32 or bf16",
        ),
        ("[defaults]\nask_above = 5\n", "2:1: `ask_above`"),
        ("[defaults]\nask_above = \"5 dollars\"\n", "5.00USD"),
        (
            "[network]\ncall_timeout = \"soon\"\n",
            "2:1: `call_timeout`: \"soon\" is no duration: write for instance \"10s\"",
        ),
        ("[network]\ncall_timeout = 3\n", "2:1: `call_timeout`"),
        ("[providers.google]\nrate = \"fast\"\n", "2:1: `rate`: \"fast\" is no rate"),
        ("[providers.google]\nrate = \"0/s\"\n", "is no rate"),
        ("[providers.google]\nrate = \"99999999/s\"\n", "is no rate"),
        ("[providers.google]\npictures_per_minute = 5\n", "`rate`: has to be given beside"),
        ("[providers.google]\nburst = 0\n", "2:1: `burst`: must be at least 1"),
        ("[providers.google]\nprice = \"cheap\"\n", "or write \"free\""),
        ("[providers.google.options]\nmax_labels = \"many\"\n", "2:1: `max_labels`: invalid type"),
        ("[providers.google.options]\nmax_labels = 0\n", "max_labels"),
        ("[providers.local]\n", "1:12: `local` cannot be the name of an instance"),
        ("[providers.\"a b\"]\nkind = \"aws\"\n", "cannot be the name of an instance"),
        ("[defaults\n", "not valid TOML"),
        ("[defaults]\nsigma = nan\n", "`sigma`"),
        ("[network]\nproxy = \"nonsense\"\n", "is none of `environment`"),
        ("[network]\nproxy = \"env::NOT_SET\"\n", "export NOT_SET="),
    ] {
        let error = wrong(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_secret_written_out_is_refused_and_not_repeated() {
    for text in [
        "[providers.openai.credentials]\nkey = \"sk-planted-secret\"\n",
        "[network]\nproxy = \"http://me:planted-secret@proxy:8080\"\n",
    ] {
        let error = wrong(text);
        assert!(error.contains("env::NAME") && !error.contains("planted"), "{error}");
    }
}

#[test]
fn an_address_that_only_the_environment_knows_is_asked_for_when_it_is_needed() {
    let config = parse("[providers.azure]\n").unwrap();
    let error = config.instance("azure").unwrap().adapter(&nowhere()).unwrap_err();
    assert!(
        matches!(&error, InstanceError::Provider { .. }) && error.to_string().contains("export "),
        "{error}"
    );
    assert!(toml::to_string(&config.effective()).unwrap().contains("kind = \"azure\""));
}

#[test]
fn options_of_the_command_line_are_read_as_toml_or_as_texts() {
    let config = Config::empty();
    let mut google = config.instance("google").unwrap();
    for text in ["max_labels=7", "endpoint=http://127.0.0.1:9", "features=[\"safe-search\"]"] {
        google.set_option(text).unwrap();
    }
    let identity = google.adapter(&nowhere()).unwrap().identity();
    assert_eq!(
        (&identity["max_labels"], &identity["endpoint"], &identity["features"]),
        (&json!(7), &json!("http://127.0.0.1:9"), &json!(["safe-search"]))
    );
    for bad in ["max_labels", "=3", "a b=3", "a.b=3"] {
        assert!(google.set_option(bad).is_err(), "{bad}");
    }
    assert!(matches!(config.instance("bing"), Err(InstanceError::Unknown { .. })));
    assert!(matches!(config.instance("openai").unwrap().transport.rate, Rate::Provider));
}

#[test]
fn the_file_is_looked_for_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (here, home) = (folder.path().join("here"), folder.path().join("home"));
    let user = home.join("smoothgate/smoothgate.toml");
    std::fs::create_dir_all(&here).unwrap();
    std::fs::create_dir_all(user.parent().unwrap()).unwrap();
    let environment = Environment::of([("XDG_CONFIG_HOME", home.display().to_string())]);
    assert_eq!(find(None, &here, &environment), None);
    std::fs::write(&user, "").unwrap();
    assert_eq!(find(None, &here, &environment), Some(user));
    std::fs::write(here.join("smoothgate.toml"), "").unwrap();
    assert_eq!(find(None, &here, &environment), Some(here.join("smoothgate.toml")));
    let named = Environment::of([("SMOOTHGATE_CONFIG", "elsewhere.toml")]);
    assert_eq!(find(None, &here, &named).as_deref(), Some(Path::new("elsewhere.toml")));
    assert_eq!(find(Some(Path::new("asked.toml")), &here, &named).as_deref(), Some(Path::new("asked.toml")));
}

#[test]
fn the_example_is_valid_with_and_without_its_comments() {
    parse(Config::EXAMPLE).unwrap();
    let is_toml = |rest: &str| {
        rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    let uncommented: Vec<&str> = Config::EXAMPLE
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| is_toml(rest)).unwrap_or(line))
        .collect();
    let config = parse(&uncommented.join("\n")).unwrap();
    assert_eq!(config.instances().len(), 2);
    assert_eq!(config.instance("shop").unwrap().registration.name, "http");
}

#[test]
fn the_schema_knows_every_provider() {
    let schema = Config::schema();
    let branches = schema.pointer("/$defs/RawInstance/allOf").unwrap().as_array().unwrap();
    assert_eq!(branches.len(), smoothgate_providers::registry::PROVIDERS.len());
    let kind =
        |branch: &&serde_json::Value| branch.pointer("/if/properties/kind/const") == Some(&json!("google"));
    let google = branches.iter().find(kind).unwrap();
    assert!(google.pointer("/then/properties/options/properties/max_labels").is_some());
}

#[test]
fn a_denoiser_is_a_name_or_a_file_beside_the_configuration() {
    let config = |folder: &Path, name: &str| {
        let text = format!(
            "[defaults]\ndenoiser = \"{name}\"\n[routes.own]\ndenoiser = \"{name}\"\n[routes.default]\npath = \"/a\"\n"
        );
        let config = Config::parse(&folder.join("smoothgate.toml"), &text, &nowhere()).unwrap();
        let routes: Vec<&str> = config.routes.iter().map(|route| route.denoiser.as_str()).collect();
        let default = config.defaults.denoiser.clone().unwrap();
        assert_eq!(routes, [&default, &default], "{name}");
        default
    };
    let dir = Path::new("dir");
    for name in ["auto", "none", "photo", "cifar10", "no-such-model"] {
        assert_eq!(config(dir, name), name);
    }
    for file in ["mine.pth", "mine.safetensors", "models/mine", "./photo"] {
        assert_eq!(Path::new(&config(dir, file)), dir.join(file));
    }
    assert_eq!(config(dir, "/models/mine"), "/models/mine");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "").unwrap();
    assert_eq!(Path::new(&config(folder.path(), "mine")), folder.path().join("mine"));
}

#[test]
fn routes_compute_with_the_precision_of_the_defaults() {
    let config = parse("[defaults]\nprecision = \"bf16\"\n[routes.all]\n").unwrap();
    let of_defaults = RouteSettings::of_defaults("default", "local", &config.defaults).unwrap();
    assert_eq!([config.routes[0].precision, of_defaults.precision], [Precision::Bf16; 2]);
    assert_eq!(parse("[routes.all]\n").unwrap().routes[0].precision, Precision::F32);
}

#[test]
fn dates_on_the_command_line_are_texts_as_in_a_file() {
    let mut azure = Config::empty().instance("azure").unwrap();
    for text in ["endpoint=https://x.cognitiveservices.azure.com", "api_version=2023-10-01"] {
        azure.set_option(text).unwrap();
    }
    assert_eq!(azure.options["api_version"], "2023-10-01");
    azure.adapter(&nowhere()).unwrap();
    for text in ["list=[2024-02-01, \"a\", 1]", "table={ day = 2024-02-01 }"] {
        azure.set_option(text).unwrap();
    }
    assert_eq!(azure.options["list"], json!(["2024-02-01", "a", 1]));
    assert_eq!(azure.options["table"], json!({ "day": "2024-02-01" }));
}
