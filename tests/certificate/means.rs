//! Checks that take more than the document: the picture's file, its copies, the answers on record.

use serde_json::json;
use smoothgate::certificate::{Certificate, Claim, Document, Recorded, Verdict, Verification};
use smoothgate::engine::Settled;
use smoothgate::ledger::StoredPicture;
use smoothgate::providers::{Answer, Outcome};
use smoothgate::stats::Method;
use smoothgate::units::{Alpha, Sigma};

use crate::real::{Case, answers, cases};
use crate::support::{denoiser, runtime, seed};

fn failed(verification: &Verification) -> Vec<(&str, Vec<String>)> {
    let failed = verification.checks().iter().filter(|check| check.verdict == Verdict::Fails);
    failed.map(|check| (check.name, check.fields.clone())).collect()
}

#[test]
fn the_picture_is_the_one_or_is_not() {
    for case in cases() {
        let mut verification = Verification::of(case.text.as_bytes());
        verification.picture(&case.file);
        assert!(verification.holds(), "{}: {:#?}", case.name, verification.checks());

        // One channel of one pixel by one level.
        let mut pixels = image::load_from_memory(&case.file).unwrap().to_rgb8();
        pixels.get_pixel_mut(12, 9)[1] ^= 1;
        let mut other = std::io::Cursor::new(Vec::new());
        pixels.write_to(&mut other, image::ImageFormat::Png).unwrap();
        let mut verification = Verification::of(case.text.as_bytes());
        verification.picture(other.get_ref());
        assert_eq!(failed(&verification), [("picture", vec!["picture.hash".to_owned()])], "{}", case.name);

        let mut verification = Verification::of(case.text.as_bytes());
        verification.picture(b"no picture");
        assert!(!verification.holds());
    }
}

#[test]
fn copies_are_made_again_and_are_the_same_bytes() {
    for case in cases() {
        let mut verification = Verification::of(case.text.as_bytes());
        runtime().block_on(verification.redraw(&case.file, &denoiser("none")));
        assert!(verification.holds(), "{}: {:#?}", case.name, verification.checks());
        let other = case.text.replace(&seed().to_string(), &format!("{:064x}", 5));
        let mut verification = Verification::of(other.as_bytes());
        runtime().block_on(verification.redraw(&case.file, &denoiser("none")));
        assert!(failed(&verification).contains(&("copies", vec!["copies".to_owned()])), "{}", case.name);
    }
}

/// What a ledger holds after the certificate of the first case.
fn stored(copies: impl Fn(u64) -> [u8; 32]) -> StoredPicture {
    let settled = |draw| (draw, Settled { outcome: answers(draw), copy: copies(draw) });
    StoredPicture { draws: (0..200).map(settled).collect(), ..StoredPicture::default() }
}

#[test]
fn votes_are_what_the_answers_on_record_say() {
    let case = &cases()[0];
    // The copies as the ledger knows them: made again, one by one.
    let certificate = case.certificate();
    let copy = |draw: u64| *blake3::hash(&draw.to_le_bytes()).as_bytes();
    let mut hasher = blake3::Hasher::new();
    (0..certificate.draws()).for_each(|draw| _ = hasher.update(&copy(draw)));
    let mut same = certificate.clone();
    same.copies = hasher.finalize().to_hex().to_string();
    let text = Document::seal(same, None).unwrap().to_text().unwrap();

    let check = |seed: &[u8; 32], stored: &StoredPicture| {
        let mut verification = Verification::of(text.as_bytes());
        verification.answers(Some(Recorded { seed, parameters: &case.parameters, stored }));
        verification
    };
    let seed = *seed().as_bytes();
    let whole = stored(copy);
    assert!(check(&seed, &whole).holds(), "{:#?}", check(&seed, &whole).checks());
    let wrong = |change: &dyn Fn(&mut StoredPicture)| {
        let mut stored = whole.clone();
        change(&mut stored);
        failed(&check(&seed, &stored))
            .into_iter()
            .map(|(name, fields)| (name.to_owned(), fields))
            .collect::<Vec<_>>()
    };
    let fields =
        |fields: &[&str]| vec![("ledger".to_owned(), fields.iter().map(ToString::to_string).collect())];
    let other = Answer { model_version: Some("v7".to_owned()), ..Answer::of([("c", 0.9)]) };
    assert_eq!(
        wrong(&|s| s.draws.get_mut(&4).unwrap().outcome = Outcome::Answered(other.clone())),
        fields(&["claims[0].votes[4]"])
    );
    assert_eq!(wrong(&|s| drop(s.draws.remove(&33))), fields(&["claims[0].votes[33]"]));
    assert_eq!(wrong(&|s| s.draws.get_mut(&8).unwrap().copy = [0; 32]), fields(&["copies"]));
    // An answer from a cache is a failed vote, and another model's answer is no evidence.
    let cached = Answer { from_cache: true, ..Answer::of([("a", 0.9)]) };
    assert_eq!(
        wrong(&|s| s.draws.get_mut(&2).unwrap().outcome = Outcome::Answered(cached.clone())),
        fields(&["claims[0].votes[2]"])
    );
    let newer = Answer { model_version: Some("v8".to_owned()), ..Answer::of([("a", 0.9)]) };
    assert_eq!(
        wrong(&|s| s.draws.get_mut(&6).unwrap().outcome = Outcome::Answered(newer.clone())),
        fields(&["model_versions"])
    );
    assert_eq!(failed(&check(&[9; 32], &whole)), [("ledger", vec!["noise.seed".to_owned()])]);
    let mut unknown = Verification::of(text.as_bytes());
    unknown.answers(None);
    assert!(!unknown.holds());
    let overwritten = check(&seed, &StoredPicture { redacted: true, ..StoredPicture::default() });
    assert!(overwritten.holds());
    assert_eq!(overwritten.checks().last().unwrap().verdict, Verdict::NotChecked);
}

#[test]
fn the_label_of_the_clean_answer_is_the_one_on_record() {
    let case = cases().iter().find(|case| case.name.contains("clean")).unwrap();
    let blamed = |clean: Option<Outcome>| {
        let clean = clean.map(|outcome| Settled { outcome, copy: [0; 32] });
        let stored = StoredPicture { clean, ..stored(|_| [0; 32]) };
        let mut verification = Verification::of(case.text.as_bytes());
        let seed = seed();
        let record = Recorded { seed: seed.as_bytes(), parameters: &case.parameters, stored: &stored };
        verification.answers(Some(record));
        failed(&verification)
            .into_iter()
            .flat_map(|(_, fields)| fields)
            .any(|field| field == "claims[0].question")
    };
    let about = |label: &str| {
        Outcome::Answered(Answer { model_version: Some("v7".to_owned()), ..Answer::of([(label, 0.9)]) })
    };
    assert!(!blamed(Some(about("a"))));
    assert!(blamed(Some(about("b"))));
    assert!(blamed(Some(Outcome::Transient { reason: "as scripted".to_owned() })));
    assert!(blamed(None));
}

/// What the ledger shows of a document that was changed and sealed anew, where nothing but the run's parameters is left in it.
fn blamed(case: &Case, change: impl FnOnce(&mut Certificate)) -> Vec<String> {
    let mut certificate = case.certificate();
    change(&mut certificate);
    let text = Document::seal(certificate, None).unwrap().to_text().unwrap();
    let stored = StoredPicture { redacted: true, ..StoredPicture::default() };
    let seed = seed();
    let mut verification = Verification::of(text.as_bytes());
    let record = Recorded { seed: seed.as_bytes(), parameters: &case.parameters, stored: &stored };
    verification.answers(Some(record));
    let ledger = verification.checks().last().unwrap();
    assert_eq!(ledger.name, "ledger");
    let expected = if ledger.fields.is_empty() { Verdict::NotChecked } else { Verdict::Fails };
    assert_eq!(ledger.verdict, expected);
    ledger.fields.clone()
}

#[test]
fn the_settings_are_those_that_the_run_on_record_was_begun_with() {
    for case in cases() {
        assert!(blamed(case, |_| {}).is_empty(), "{}", case.name);
    }
    let case = |name: &str| cases().iter().find(|case| case.name.contains(name)).unwrap();
    let cohen = case("cohen");
    assert_eq!(blamed(cohen, |c| c.noise.sigma = Sigma::new(0.5).unwrap()), ["noise.sigma"]);
    assert_eq!(blamed(cohen, |c| c.noise.generator.push('2')), ["noise.generator"]);
    assert_eq!(blamed(cohen, |c| c.alpha = Alpha::new(0.01).unwrap()), ["alpha"]);
    assert_eq!(blamed(cohen, |c| c.denoiser.name.push('2')), ["denoiser"]);
    assert_eq!(blamed(cohen, |c| c.encoder = "jpeg:80".to_owned()), ["encoder"]);
    assert_eq!(blamed(cohen, |c| c.provider.push('2')), ["provider"]);
    assert_eq!(blamed(cohen, |c| c.provider_settings = json!({ "kind": "other" })), ["provider_settings"]);
    assert_eq!(
        blamed(cohen, |c| c.claims[0].question = "present:a".parse().unwrap()),
        ["claims[0].question"]
    );
    let another = |c: &mut Certificate| {
        let claim = Claim { question: "absent:z".parse().unwrap(), ..c.claims[0].clone() };
        c.claims.push(claim);
    };
    assert_eq!(blamed(cohen, another), ["claims"]);
    // The same votes, and as many, but the label was chosen and bounded by others.
    let fixed = Method::Fixed { n: 120, rival_share: None };
    assert_eq!(blamed(cohen, |c| c.claims[0].test.method = fixed), ["claims[0].test.method"]);
    let gain = |c: &mut Certificate| {
        c.claims[0].test.method =
            Method::Anytime { n_max: 200, every: 20, gain: 0.0051, n_min: 40, rival_share: None };
    };
    assert_eq!(blamed(case("anytime"), gain), ["claims[0].test.method"]);
    let several = case("in sequence");
    let last = several.certificate().claims.len() - 1;
    let longer = |c: &mut Certificate| c.claims[last].test.method = Method::Predict { n: 41 };
    assert_eq!(blamed(several, longer), [format!("claims[{last}].test.method")]);
}
