//! `verify`, `keys`, `certificate schema` and `certify --sign` as a user meets them.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use smoothgate::certificate::{Certificate, Document};
use smoothgate::certifier::{self, Certifier};
use smoothgate::engine::{Engine, Settings};
use smoothgate::ledger::{Begin, Budgets, Ledger, Options, Retention, RunSpec};
use smoothgate::picture::PictureOptions;
use smoothgate::providers::{Answer, Outcome, Price};
use smoothgate::stats::Method;
use smoothgate::units::Sigma;

use crate::support::{CLEAN, Scripted, denoiser, label, picture, runtime, seed, settings};

/// The program in a folder of its own, with its ledger there.
fn smoothgate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smoothgate"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("HOME", folder);
    command.env_remove("SMOOTHGATE_CONFIG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_certificate_is_signed_verified_with_every_means_and_refused_once_it_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let picture = dir.path().join("spider.png");
    std::fs::copy(root.join("examples/pictures/spider.png"), &picture).unwrap();
    let run = |arguments: &[&str], code: i32| {
        let out = smoothgate(dir.path(), arguments);
        let both = text(&out.stdout) + &text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{arguments:?}: {both}");
        text(&out.stdout)
    };

    let made = run(&["keys", "new"], 0);
    assert!(made.starts_with("key ") && !made.contains("PRIVATE"), "{made}");
    assert_eq!(smoothgate(dir.path(), &["keys", "new"]).status.code(), Some(2), "never overwritten");
    let public = run(&["keys", "public"], 0);
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----"), "{public}");
    std::fs::write(dir.path().join("public.pem"), public).unwrap();
    run(&["keys", "new", "--out", "other.pem"], 0);
    let other = run(&["keys", "public", "other.pem"], 0);
    std::fs::write(dir.path().join("other-public.pem"), other).unwrap();

    let certify =
        ["certify", "spider.png", "--quiet", "--out", "certificates", "--sign", "smoothgate-key.pem"];
    run(&certify, 0);
    let file = "certificates/0000-spider.png.json";
    let first = std::fs::read(dir.path().join(file)).unwrap();
    // From the ledger, the second time: the same bytes.
    run(&certify, 0);
    assert_eq!(std::fs::read(dir.path().join(file)).unwrap(), first);

    let all =
        ["verify", file, "--picture", "spider.png", "--public-key", "public.pem", "--redraw", "--ledger"];
    let said = run(&all, 0);
    assert!(said.contains("It holds. With probability at least 0.999"), "{said}");
    for check in ["digest", "signature", "signer", "votes", "claim", "picture", "copies", "ledger"] {
        let line = said.lines().find(|line| line.trim_start().starts_with(check)).unwrap_or_default();
        assert!(line.contains("holds"), "{check}: {said}");
    }
    let json: Value = serde_json::from_str(&run(&["verify", file, "--json"], 0)).unwrap();
    assert_eq!((&json["holds"], &json["checks"][0]["verdict"]), (&Value::Bool(true), &"holds".into()));

    assert!(
        run(&["verify", file, "--public-key", "other-public.pem"], 1)
            .contains("not the key that was asked for")
    );
    let another = root.join("examples/pictures/umbrella.png");
    assert!(run(&["verify", file, "--picture", another.to_str().unwrap()], 1).contains("`picture.hash`"));
    let changed = String::from_utf8(first).unwrap().replacen("\"radius\":0.3", "\"radius\":0.5", 1);
    std::fs::write(dir.path().join("changed.json"), changed).unwrap();
    let said = run(&["verify", "changed.json"], 1);
    assert!(said.contains("changed after the digest was taken: claims[0].radius"), "{said}");
    assert!(said.contains("do not rely on it"), "{said}");

    run(&["verify", "missing.json"], 2);
    run(&["verify", file, file, "--picture", "spider.png"], 2);
    run(&["certify", "spider.png", "--sign", "public.pem", "--no-ledger"], 2);
}

/// The user chose the seed, and chose it twice: each certificate is held against the answers of its own run.
#[test]
fn a_seed_that_two_runs_share_harms_neither_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pictures/spider.png");
    std::fs::copy(picture, dir.path().join("spider.png")).unwrap();
    for (denoiser, folder) in [("photo", "a"), ("none", "b")] {
        let certify =
            ["certify", "spider.png", "--quiet", "--seed", "1", "--out", folder, "--denoiser", denoiser];
        assert!(matches!(smoothgate(dir.path(), &certify).status.code(), Some(0 | 1)));
    }
    for folder in ["a", "b"] {
        let out = smoothgate(dir.path(), &["verify", &format!("{folder}/0000-spider.png.json"), "--ledger"]);
        assert_eq!(out.status.code(), Some(0), "{folder}: {}", text(&out.stdout));
    }
}

/// The precision is part of what the denoiser is: the certificate names it, and the copies are made again with it. Built-in weights
/// of one architecture share a name, and are told apart by their hashes.
#[test]
fn a_certificate_names_denoiser_and_precision_and_is_redrawn_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pictures/spider.png");
    std::fs::copy(picture, dir.path().join("spider.png")).unwrap();
    let config = "[defaults]\nprecision = \"bf16\"\n";
    std::fs::write(dir.path().join("smoothgate.toml"), config).unwrap();
    let cases = [
        (&["--precision", "f32"][..], "unet", "f32"),
        (&[], "unet-bf16", "bf16"),
        (&["--precision", "f32", "--denoiser", "cifar10"], "unet", "other"),
    ];
    for (options, name, folder) in cases {
        let certify = ["certify", "spider.png", "--quiet", "--no-ledger", "--out", folder, "--seed", "1"];
        let out = smoothgate(dir.path(), &[&certify[..], options].concat());
        assert!(matches!(out.status.code(), Some(0 | 1)), "{}", text(&out.stderr));
        let file = format!("{folder}/0000-spider.png.json");
        let document: Value =
            serde_json::from_slice(&std::fs::read(dir.path().join(&file)).unwrap()).unwrap();
        assert_eq!(document["denoiser"]["name"], name);
        let out = smoothgate(dir.path(), &["verify", &file, "--picture", "spider.png", "--redraw"]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
    }
}

#[test]
fn the_schema_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let out = smoothgate(dir.path(), &["certificate", "schema"]);
    assert_eq!(text(&out.stdout), smoothgate::certificate::schema());
}

/// Certifies a small picture with a ledger in the folder, and writes its certificate down there.
fn on_record(
    folder: &Path,
    answers: Retention,
    script: impl Fn(u64) -> Outcome + Send + Sync + 'static,
    change: impl FnOnce(&mut Settings),
) -> Certificate {
    let mut settings = settings();
    change(&mut settings);
    let engine = Engine::new(Scripted::at_once(script), denoiser("none"), settings);
    let spec = RunSpec {
        parameters: certifier::parameters(&engine, &PictureOptions::default(), None).unwrap(),
        arguments: json!({}),
        instance: "scripted".to_owned(),
        price: Price::Free,
        budgets: Budgets::default(),
        pictures: Some(1),
    };
    let options = Options { answers, reserve: 0, ..Options::default() };
    let document = runtime().block_on(async {
        let ledger = Ledger::open(folder.join("ledger.db"), &options).unwrap();
        let run = ledger.begin_run(spec, Begin::New).await.unwrap();
        let certifier = Certifier::with_ledger(engine, run);
        certifier.certify("p", picture(12, 10), Some(seed()), &|_| {}).await.unwrap().document
    });
    write(folder, &document);
    document.certificate
}

fn write(folder: &Path, document: &Document) {
    std::fs::write(folder.join("certificate.json"), document.to_text().unwrap()).unwrap();
}

/// How `verify --ledger` ends, and its check on the ledger.
fn with_ledger(folder: &Path) -> (Option<i32>, Value) {
    let out = smoothgate(folder, &["verify", "certificate.json", "--ledger=ledger.db", "--json"]);
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    let check = said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "ledger").unwrap();
    (out.status.code(), check.clone())
}

#[test]
fn a_certificate_without_draws_on_record_is_held_against_the_ledger_all_the_same() {
    // The answers were overwritten once they had made the certificate.
    let dir = tempfile::tempdir().unwrap();
    on_record(dir.path(), Retention::UntilCertified, |_| label("a"), |_| {});
    let (code, check) = with_ledger(dir.path());
    assert_eq!((code, &check["verdict"]), (Some(0), &json!("not_checked")), "{check}");

    // The picture has no label to ask about: no draw was ever made.
    let dir = tempfile::tempdir().unwrap();
    let script = |draw| if draw == CLEAN { Outcome::Answered(Answer::default()) } else { label("a") };
    let ask = |s: &mut Settings| s.question = "clean-top".parse().unwrap();
    let certificate = on_record(dir.path(), Retention::Keep, script, ask);
    assert_eq!(certificate.draws(), 0);
    let (code, check) = with_ledger(dir.path());
    assert_eq!((code, &check["verdict"]), (Some(0), &json!("holds")), "{check}");
}

#[test]
fn a_test_or_a_sigma_that_the_run_was_not_begun_with_is_shown_by_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let anytime = |gain| Method::Anytime { n_max: 100, every: 20, gain, n_min: 0, rival_share: None };
    let certificate = on_record(dir.path(), Retention::Keep, |_| label("a"), |s| s.method = anytime(0.005));
    let (code, check) = with_ledger(dir.path());
    assert_eq!((code, &check["verdict"]), (Some(0), &json!("holds")), "{check}");

    let shown = |change: &dyn Fn(&mut Certificate), field: &str| {
        let mut changed = certificate.clone();
        change(&mut changed);
        write(dir.path(), &Document::seal(changed, None).unwrap());
        let (code, check) = with_ledger(dir.path());
        assert_eq!((code, &check["fields"]), (Some(1), &json!([field])), "{check}");
        assert!(check["says"].as_str().unwrap().contains(field), "{check}");
    };
    shown(&|c| c.claims[0].test.method = anytime(0.0051), "claims[0].test.method");
    shown(&|c| c.noise.sigma = Sigma::new(0.5).unwrap(), "noise.sigma");
}
