//! Chat completions.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use smoothgate_providers::openai::{Choice, OpenAi, Options, ServedOpenAi};
use smoothgate_providers::served::{Asked, Inquiry, Presented, RefusalClass, ServedApi, Source};
use smoothgate_providers::{Answer, Label, Outcome, OutcomeClass as C, Price, Provider, Reply};

use crate::support::*;

fn options() -> Options {
    Options {
        model: "gpt-4o-mini".to_owned(),
        labels: ["dog", "cat", "other pet"].map(str::to_owned).to_vec(),
        none_label: Some("none of these".to_owned()),
        ..Options::default()
    }
}

fn openai() -> OpenAi {
    OpenAi::new(options()).unwrap()
}

/// A reply with this message and this reason to stop.
fn says(message: &Value, finish: &Value) -> Reply {
    let body =
        json!({ "model": "m", "choices": [{ "index": 0, "message": message, "finish_reason": finish }] });
    plain_reply(200, &body.to_string())
}

fn content(text: &str) -> Reply {
    says(&json!({ "role": "assistant", "content": text }), &json!("stop"))
}

#[test]
fn common_rules() {
    check_request(&openai());
    check_foreign_bodies(&openai());
    check_cache_mark(&openai(), &reply("openai/label.http"));
    check_refusals(&ServedOpenAi, &openai());
    assert_eq!(openai().price(), Price::Unknown);
}

#[test]
fn the_choice_is_forced_by_a_strict_schema() {
    let request = openai().request(&pictures(1)).unwrap();
    assert_eq!(request.uri(), "https://api.openai.com/v1/chat/completions");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    let schema = &body["response_format"]["json_schema"];
    assert_eq!(schema["strict"], true);
    assert_eq!(
        schema["schema"]["properties"]["label"]["enum"],
        json!(["dog", "cat", "other pet", "none of these"])
    );
    assert_eq!(schema["schema"]["required"], json!(["label"]));
    assert_eq!(schema["schema"]["additionalProperties"], false);
    assert_eq!((&body["temperature"], &body["seed"]), (&json!(0), &json!(0)));
    let image = &body["messages"][0]["content"][1]["image_url"];
    assert!(image["url"].as_str().unwrap().starts_with("data:image/png;base64,iVBORw0KGgo"));
    assert_eq!(image["detail"], "low");
}

#[test]
fn vllm_has_forms_of_its_own() {
    let body = |choice, deterministic| -> Value {
        let options = Options { choice, deterministic, ..options() };
        serde_json::from_slice(OpenAi::new(options).unwrap().request(&pictures(1)).unwrap().body()).unwrap()
    };
    let guided = body(Choice::GuidedChoice, false);
    assert_eq!(guided["guided_choice"][0], "dog");
    assert!(guided.get("response_format").is_none() && guided.get("temperature").is_none());
    assert_eq!(body(Choice::StructuredOutputs, true)["structured_outputs"]["choice"][1], "cat");
}

#[test]
fn options_are_checked() {
    let many = |count: usize, length: usize| (0..count).map(|i| format!("{i:0length$}")).collect::<Vec<_>>();
    for wrong in [
        Options { model: String::new(), ..options() },
        Options { labels: vec!["dog".to_owned()], ..options() },
        Options { labels: vec!["dog".to_owned(), "Dog".to_owned()], ..options() },
        Options { labels: vec!["dog".to_owned(), " ".to_owned()], ..options() },
        Options { none_label: Some("dog".to_owned()), ..options() },
        Options { labels: many(1000, 4), ..options() },
        Options { labels: many(300, 60), ..options() },
        Options { endpoint: "api.openai.com".to_owned(), ..options() },
    ] {
        assert!(OpenAi::new(wrong).is_err());
    }
    assert!(OpenAi::new(Options { labels: many(999, 4), ..options() }).is_ok());
    assert!(OpenAi::new(Options { labels: many(200, 90), ..options() }).is_ok(), "few labels may be long");
}

#[test]
fn a_label_is_an_answer_without_a_score() {
    let read = answer(&openai(), &reply("openai/label.http"));
    assert_eq!(read.labels, [Label { name: "dog".to_owned(), score: None, id: None }]);
    assert_eq!(read.model_version.as_deref(), Some("gpt-4o-mini-2024-07-18"));
    let pinned = OpenAi::new(Options { pin_build: true, ..options() }).unwrap();
    let read = answer(&pinned, &reply("openai/label.http"));
    assert_eq!(read.model_version.as_deref(), Some("gpt-4o-mini-2024-07-18 (fp_0123456789)"));
    assert_eq!(answer(&openai(), &content("{\"label\":\"none of these\"}")).labels, []);
}

#[test]
fn servers_write_the_same_label_in_several_ways() {
    for text in
        ["{\"label\":\"other pet\"}", " {\n \"label\": \"other pet\" }\n", "other pet", "\"other pet\""]
    {
        assert_eq!(answer(&openai(), &content(text)).labels[0].name, "other pet", "{text}");
    }
    let parts = json!({ "content": [{ "type": "text", "text": "{\"label\":" }, { "type": "text", "text": "\"cat\"}" }] });
    assert_eq!(answer(&openai(), &says(&parts, &json!(null))).labels[0].name, "cat");
}

#[test]
fn an_answer_outside_the_set_is_never_asked_again() {
    for text in [
        "{\"label\":\"wolf\"}",
        "{\"label\":\"DOG\"}",
        "{\"label\":[\"dog\"]}",
        "{\"class\":\"dog\"}",
        "{\"label\":\"dog\"",
        "I think it is a dog.",
        "[\"dog\"]",
        "",
    ] {
        let read = outcome(&openai(), &content(text));
        assert_eq!(read.class(), C::Unusable, "{text}: {read:?}");
        assert!(!read.class().may_retry());
    }
    let cut = says(&json!({ "content": "{\"label\":\"dog\"}" }), &json!("length"));
    assert_eq!(
        outcome(&openai(), &cut).class(),
        C::Unusable,
        "cut answers do not count even where they parse"
    );
}

#[test]
fn refusals_are_refusals() {
    let refusal = says(&json!({ "content": null, "refusal": "I can't help with that." }), &json!("stop"));
    assert_eq!(outcome(&openai(), &refusal).class(), C::Refused);
    let filtered = says(&json!({ "content": "" }), &json!("content_filter"));
    assert_eq!(outcome(&openai(), &filtered).class(), C::Refused);
    let error = json!({ "error": { "code": "content_filter", "message": "policy", "type": null } });
    assert_eq!(outcome(&openai(), &plain_reply(400, &error.to_string())).class(), C::Refused);
}

#[test]
fn errors_by_code_type_and_status() {
    for (status, kind, code, message, expected) in [
        (429, "requests", json!("rate_limit_exceeded"), "Rate limit reached", C::Throttled),
        (429, "tokens", json!(null), "Rate limit reached", C::Throttled),
        (
            429,
            "insufficient_quota",
            json!("insufficient_quota"),
            "You exceeded your current quota",
            C::QuotaSpent,
        ),
        (
            401,
            "invalid_request_error",
            json!("invalid_api_key"),
            "Incorrect API key provided: sk-abc123def456",
            C::Auth,
        ),
        (403, "", json!(null), "not allowed", C::Auth),
        (404, "invalid_request_error", json!("model_not_found"), "no such model", C::Misconfigured),
        (404, "", json!("DeploymentNotFound"), "no such deployment", C::Misconfigured),
        (
            400,
            "invalid_request_error",
            json!("unsupported_value"),
            "temperature is not supported",
            C::Misconfigured,
        ),
        (400, "invalid_request_error", json!("invalid_image_format"), "bad", C::BadPicture),
        (
            400,
            "invalid_request_error",
            json!(null),
            "Invalid content type. image_url is only supported by certain models.",
            C::Misconfigured,
        ),
        (
            400,
            "BadRequestError",
            json!(400),
            "m is not a multimodal model: no image may be sent",
            C::Misconfigured,
        ),
        (400, "BadRequestError", json!(400), "cannot identify image file", C::BadPicture),
        (400, "BadRequestError", json!(400), "max_tokens is too large", C::Misconfigured),
        (500, "server_error", json!(null), "oops", C::Transient),
        (503, "", json!(null), "overloaded", C::Transient),
        (200, "server_error", json!(null), "an error in a 200", C::Transient),
    ] {
        let error = json!({ "message": message, "type": kind, "param": null, "code": code });
        let read = outcome(&openai(), &plain_reply(status, &json!({ "error": error }).to_string()));
        assert_eq!(read.class(), expected, "{status} {error}: {read:?}");
        assert!(!read.reason().unwrap().contains("abc123"));
    }
    assert_eq!(outcome(&openai(), &reply("openai/vllm_error.http")).class(), C::Misconfigured);
    assert_eq!(outcome(&openai(), &plain_reply(500, "{\"error\":\"out of memory\"}")).class(), C::Transient);
    assert_eq!(
        outcome(&openai(), &plain_reply(200, "{\"error\":null,\"choices\":[]}")).class(),
        C::Malformed
    );
    assert_eq!(outcome(&openai(), &plain_reply(200, "{\"choices\":[{}]}")).class(), C::Malformed);
}

#[test]
fn requests_of_the_sdks_are_read() {
    let python = Received::fixture("openai/request_python.http");
    let inquiry = python.inquiry(&ServedOpenAi);
    assert_eq!(inquiry.pictures[0].source, Source::Bytes(Bytes::from_static(PICTURE)));
    assert_eq!(inquiry.choices, ["dog", "cat"]);
    assert_eq!(inquiry.instructions.as_deref(), Some("Classify the image.\nChoose one label."));
    assert!(matches!(python.with(|i| ServedOpenAi.credential(i)), Some(Presented::Key(_))));
    let guided = Received::fixture("openai/request_azure_guided.http");
    let inquiry = guided.inquiry(&ServedOpenAi);
    assert_eq!(inquiry.pictures[0].source, Source::Url("https://example.com/a.jpg".to_owned()));
    assert!(matches!(guided.with(|i| ServedOpenAi.credential(i)), Some(Presented::Key(_))));

    let spoken = |answer: Answer| -> Value {
        let response = ServedOpenAi.encode(&inquiry, &[found(answer)], &mark());
        serde_json::from_slice(response.body()).unwrap()
    };
    let body = spoken(Answer::of([("wolf", 0.9), ("CAT", 0.5)]));
    assert_eq!(body["choices"][0]["message"]["content"], "Cat", "the client's own spelling, bare");
    assert_eq!(body["object"], "chat.completion");
    let body = spoken(Answer::of([("wolf", 0.9)]));
    assert!(body["choices"][0]["message"]["content"].is_null());
    assert!(body["choices"][0]["message"]["refusal"].is_string());
}

#[test]
fn what_is_not_served_is_refused_by_name() {
    let whole: Value = {
        let request = openai().request(&pictures(1)).unwrap();
        serde_json::from_slice(request.body()).unwrap()
    };
    let with = |key: &str, value: Value| {
        let mut body = whole.clone();
        body[key] = value;
        Received::new("POST", "/v1/chat/completions", &[], body.to_string()).refusal(&ServedOpenAi).class
    };
    for (key, value) in [
        ("stream", json!(true)),
        ("n", json!(2)),
        ("tools", json!([{ "type": "function" }])),
        ("logprobs", json!(true)),
        ("response_format", json!({ "type": "json_object" })),
        ("response_format", json!(null)),
        ("guided_choice", json!([])),
        ("guided_choice", json!([1])),
        ("messages", json!([])),
        ("messages", json!([{ "content": "no picture" }])),
        ("messages", json!([{ "content": [{ "type": "input_audio" }] }])),
    ] {
        assert_eq!(with(key, value.clone()), RefusalClass::Unsupported, "{key}: {value}");
    }
    let image = |url: &str| json!([{ "content": [{ "type": "image_url", "image_url": { "url": url } }] }]);
    assert_eq!(with("messages", image("data:image/png;base64,?")), RefusalClass::BadRequest);
    assert_eq!(with("messages", image("data:image/png,raw")), RefusalClass::BadRequest);
    assert_eq!(with("messages", json!(3)), RefusalClass::BadRequest);
}

#[test]
fn as_many_choices_are_taken_as_the_api_takes() {
    let post = |count: usize| {
        let choices: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        let body = json!({
            "model": "m",
            "messages": [{ "role": "user", "content": [
                { "type": "image_url", "image_url": { "url": "https://example.com/a.png" } },
            ] }],
            "guided_choice": choices,
        });
        Received::new("POST", "/v1/chat/completions", &[], body.to_string())
    };
    assert_eq!(post(1000).inquiry(&ServedOpenAi).choices.len(), 1000);
    let refusal = post(1001).refusal(&ServedOpenAi);
    assert_eq!(refusal.class, RefusalClass::BadRequest);
    assert_eq!(ServedOpenAi.refuse(&refusal, &mark()).status(), 400);
}

#[test]
fn a_choice_that_is_spelled_as_the_label_is_preferred() {
    let chosen = |label: &str| {
        let inquiry = Inquiry {
            choices: ["DOG", "dog", "cat"].map(str::to_owned).to_vec(),
            ..Inquiry::about(vec![Asked::labels(Source::Bytes(Bytes::from_static(PICTURE)))])
        };
        let reply = ServedOpenAi.encode(&inquiry, &[found(Answer::of([(label, 0.9)]))], &mark());
        let body: Value = serde_json::from_slice(reply.body()).unwrap();
        body["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    assert_eq!((chosen("dog"), chosen("DOG"), chosen("Cat")), ("dog".into(), "DOG".into(), "cat".into()));
}

proptest! {
    /// The adapter reads its own label from what a server of the format wrote.
    #[test]
    fn both_directions_agree(which in 0usize..4, guided: bool) {
        let choice = if guided { Choice::GuidedChoice } else { Choice::JsonSchema };
        let adapter = OpenAi::new(Options { choice, ..options() }).unwrap();
        let inquiry = Received::sent(&adapter.request(&pictures(1)).unwrap()).inquiry(&ServedOpenAi);
        let name = ["dog", "cat", "other pet", "none of these"][which];
        let answer = Answer::of([(name, 0.5)]);
        let reply = as_reply(ServedOpenAi.encode(&inquiry, &[found(answer)], &mark()));
        let Outcome::Answered(read) = outcome(&adapter, &reply) else { panic!() };
        prop_assert_eq!(read.labels.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), if which == 3 { vec![] } else { vec![name] });
        prop_assert_eq!(read.model_version.as_deref(), Some("gpt-4o-mini"));
    }
}
