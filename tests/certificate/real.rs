//! Certificates of every kind, made by the engine from scripted answers.

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use smoothgate::certificate::{Certificate, Document, Outcome as End, SigningKey, Verification, canonical};
use smoothgate::engine::{Asked, Engine, Forgetful, Settings};
use smoothgate::picture::{Encoder, Fit, PictureOptions, WorkingImage, WorkingSize};
use smoothgate::providers::{Answer, Outcome};
use smoothgate::question::{ClassMap, Question};
use smoothgate::stats::{Ladder, Method};

use crate::support::*;

/// A document with what it was made from.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    pub(crate) file: Vec<u8>,
    /// What a run of the same engine would be begun with.
    pub(crate) parameters: Value,
}

impl Case {
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn certificate(&self) -> Certificate {
        Document::parse(self.text.as_bytes()).unwrap().certificate
    }
}

/// A picture's file: a gradient with edges.
fn file(width: u32, height: u32) -> Vec<u8> {
    let pixels = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 9) as u8, (y * 11) as u8, if x / 3 % 2 == 0 { 0 } else { 255 }])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn answer(name: &str) -> Outcome {
    Outcome::Answered(Answer { model_version: Some("v7".to_owned()), ..Answer::of([(name, 0.9)]) })
}

/// What draw i is answered: mostly "a", here and there another label, none, or nothing at all.
pub(crate) fn answers(draw: u64) -> Outcome {
    match draw % 23 {
        5 => answer("b"),
        11 => Outcome::Answered(Answer { model_version: Some("v7".to_owned()), ..Answer::default() }),
        17 => Outcome::Transient { reason: "as scripted".to_owned() },
        _ => answer("a"),
    }
}

/// Answers with several labels: "a" nearly always, "b" mostly, "c" in every third.
pub(crate) fn several(draw: u64) -> Outcome {
    let with = |name: &'static str, here: bool, score: f64| here.then_some((name, score));
    let (a, b, c) = (draw % 23 != 5, draw % 7 != 3, draw.is_multiple_of(3));
    let clean = draw == CLEAN;
    let labels = [
        with("A", a || clean, 0.9),
        with("b", b || clean, 0.6),
        with("c", c || clean, 0.5),
        with("low", clean, 0.3),
    ];
    match draw % 29 {
        17 if !clean => Outcome::Transient { reason: "as scripted".to_owned() },
        _ => Outcome::Answered(Answer {
            model_version: Some("v7".to_owned()),
            ..Answer::of(labels.into_iter().flatten())
        }),
    }
}

fn make(
    name: &'static str,
    script: impl Fn(u64) -> Outcome + Send + Sync + 'static,
    change: impl FnOnce(&mut Settings),
    size: WorkingSize,
    key: Option<&SigningKey>,
) -> Case {
    fitted(name, script, change, PictureOptions { size, ..PictureOptions::default() }, key)
}

fn fitted(
    name: &'static str,
    script: impl Fn(u64) -> Outcome + Send + Sync + 'static,
    change: impl FnOnce(&mut Settings),
    options: PictureOptions,
    key: Option<&SigningKey>,
) -> Case {
    let mut settings = settings();
    change(&mut settings);
    let engine = Engine::new(Scripted::at_once(script), denoiser("none"), settings);
    let file = file(24, 18);
    let image = Arc::new(WorkingImage::decode(&file, &options).unwrap());
    let evidence = runtime().block_on(engine.gather(image.clone(), seed(), &Forgetful, &|_| {})).unwrap();
    let certificate = Certificate::new(&engine, &image, seed(), &evidence);
    let text = Document::write(certificate, key).unwrap().1;
    let parameters = smoothgate::certifier::parameters(&engine, &options, None).unwrap().value();
    Case { name, text, file, parameters }
}

/// One of each kind.
#[expect(clippy::too_many_lines, reason = "a list")]
pub(crate) fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let small = WorkingSize::Exact { width: 9, height: 7 };
        let key = SigningKey::generate().unwrap();
        let ladder = |radii: &[f64]| Ladder::new(radii.to_vec(), 80);
        let map =
            ClassMap::new("classes.toml", [("a", "first"), ("b", "second"), ("c", "second"), ("x", "")]);
        let map = Question::Map(map.unwrap());
        vec![
            make("certified, cohen", answers, |_| {}, WorkingSize::Native, None),
            make(
                "certified, signed and resized",
                answers,
                |s| s.encoder = Encoder::Jpeg(90),
                small,
                Some(&key),
            ),
            make("abstained", |i| answer(["a", "b", "c"][i as usize % 3]), |_| {}, small, None),
            make(
                "predicted",
                answers,
                |s| s.method = Method::Predict { n: 60 },
                WorkingSize::Native,
                Some(&key),
            ),
            make(
                "certified, table, label fixed by the question",
                answers,
                |s| {
                    s.question = "present:A>=0.5".parse().unwrap();
                    s.method = Method::Table1(ladder(&[0.05, 0.1]));
                },
                WorkingSize::Native,
                None,
            ),
            make(
                "certified, table against a rival",
                answers,
                |s| s.method = Method::Table(ladder(&[0.1])),
                WorkingSize::Native,
                None,
            ),
            make(
                "certified, label of the clean answer",
                |draw| if draw == CLEAN { answer("a") } else { answers(draw) },
                |s| s.question = "clean-top".parse().unwrap(),
                WorkingSize::Native,
                None,
            ),
            make(
                "certified, class map",
                answers,
                |s| {
                    s.question = map.clone();
                    s.method = Method::Fixed { n: 60, rival_share: Some(0.1) };
                },
                WorkingSize::Native,
                None,
            ),
            make(
                "certified, anytime",
                answers,
                |s| {
                    s.method =
                        Method::Anytime { n_max: 200, every: 20, gain: 0.005, n_min: 40, rival_share: None };
                },
                WorkingSize::Native,
                None,
            ),
            make(
                "certified, labels of the clean answer, evenly",
                several,
                |s| {
                    s.question = "clean-labels/3>=0.4".parse().unwrap();
                    s.method = Method::Table1(ladder(&[0.05]));
                },
                WorkingSize::Native,
                None,
            ),
            make(
                "certified, labels of the clean answer in sequence, beside two questions",
                several,
                |s| {
                    s.question = "clean-labels/sequence".parse().unwrap();
                    s.method = Method::Table1(ladder(&[0.05, 0.1]));
                    s.also = vec![
                        Asked {
                            question: "top1".parse().unwrap(),
                            method: Method::Fixed { n: 40, rival_share: None },
                        },
                        Asked { question: "absent:z".parse().unwrap(), method: Method::Predict { n: 40 } },
                    ];
                },
                small,
                Some(&key),
            ),
            make(
                "abstained, no label of the clean answer",
                |draw| {
                    let none = Answer { model_version: Some("v7".to_owned()), ..Answer::default() };
                    if draw == CLEAN { Outcome::Answered(none) } else { several(draw) }
                },
                |s| {
                    s.question = "clean-labels".parse().unwrap();
                    s.method = Method::Table1(ladder(&[0.05]));
                    s.also = vec![Asked {
                        question: "present:a".parse().unwrap(),
                        method: Method::Table1(ladder(&[0.05])),
                    }];
                },
                WorkingSize::Native,
                None,
            ),
            fitted(
                "certified, stretched to a square",
                answers,
                |_| {},
                PictureOptions {
                    size: WorkingSize::Square(9),
                    fit: Fit::Stretch,
                    ..PictureOptions::default()
                },
                None,
            ),
        ]
    })
}

#[test]
fn contract_10_a_document_re_derives_itself() {
    for case in cases() {
        let verification = Verification::of(case.text.as_bytes());
        assert!(verification.holds(), "{}: {:#?}", case.name, verification.checks());
        let names: Vec<_> = verification.checks().iter().map(|check| check.name).collect();
        assert_eq!(
            names,
            [
                "json",
                "canonical",
                "digest",
                "fields",
                "signature",
                "preprocessing",
                "test",
                "level",
                "votes",
                "claim",
                "radius_original",
                "statement"
            ]
        );
        let expected = case.name.split([',', ' ']).next().unwrap();
        for claim in case.certificate().claims {
            // Of several claims the name says how the first ends.
            assert_eq!(claim.radius > 0.0, claim.outcome == End::Certified, "{}", case.name);
        }
        assert_eq!(case.certificate().claims[0].outcome.to_string(), expected, "{}", case.name);
    }
}

#[test]
fn the_certified_labels_are_those_of_the_claims() {
    for case in cases() {
        let certificate = case.certificate();
        let claims = certificate.claims.iter().filter(|claim| claim.outcome == End::Certified);
        let (claims, certified): (Vec<_>, Vec<_>) = (claims.collect(), certificate.certified());
        assert_eq!(certified.len(), claims.len(), "{}", case.name);
        for (label, claim) in certified.into_iter().zip(claims) {
            assert_eq!(Some(label.label), claim.label, "{}", case.name);
            assert_eq!((label.radius, label.p_lower), (claim.radius, claim.p_lower));
            assert!(label.radius > 0.0 && label.radius_original > 0.0, "{}", case.name);
            assert_eq!(label.question, claim.question);
        }
    }
}

#[test]
fn a_document_is_canonical_and_reads_back_as_itself() {
    for case in cases() {
        let document = Document::parse(case.text.as_bytes()).unwrap();
        assert_eq!(document.to_text().unwrap(), case.text);
        assert_eq!(canonical::text(&case.value()).unwrap() + "\n", case.text);
        assert!(
            !case.text.contains("\"calls\""),
            "how often the provider was called is no part of a certificate"
        );
    }
}

#[test]
fn the_canonical_form_is_that_of_rfc_8785() {
    // RFC 8785, section 3.2.2 and 3.2.3: input and output of its example, and the order of its sorting test.
    let input = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                    \"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
    assert_eq!(canonical::text(&canonical::parse(input.as_bytes()).unwrap()).unwrap(), expected);
    let names = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
    let sorted = canonical::text(&canonical::parse(names.as_bytes()).unwrap()).unwrap();
    let expected =
        "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}";
    assert_eq!(sorted, expected);
}
