//! Levels of categories, in formats that say them in other ways.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use smoothgate::config::Config;
use smoothgate::emulate::{Emulator, Settings};
use smoothgate::providers::local::Backend;
use smoothgate::providers::{Answer, EncodedPicture, Likelihood, Outcome};
use smoothgate::proxy::Proxy;
use tempfile::{TempDir, tempdir};

use crate::support::{Dog, client, environment, header, picture, proxy, route, written};

/// Rates everything so.
struct Rated(Likelihood);

impl Backend for Rated {
    fn answer(&self, _: &EncodedPicture) -> Outcome {
        let levels = [("adult".to_owned(), self.0)].into();
        Outcome::Answered(Answer { levels, ..Answer::default() })
    }
}

/// A proxy whose upstream rates every picture so.
async fn rating(adult: Likelihood, more: &str) -> (Emulator, Proxy, TempDir) {
    let moderation: Option<Arc<dyn Backend>> = Some(Arc::new(Rated(adult)));
    let emulator =
        Emulator::start(Settings { moderation, ..Settings::default() }, Arc::new(Dog)).await.unwrap();
    let route = route(more).replace("clean-top", "level:Adult>=LIKELY");
    let text = written(&emulator, "finish = \"0s\"", &route)
        .replace("options = { ", "options = { features = [\"safe-search\"], ");
    let config = Config::parse(Path::new("smoothgate.toml"), &text, &environment()).unwrap();
    let folder = tempdir().unwrap();
    let proxy = proxy(&config, folder.path()).await;
    (emulator, proxy, folder)
}

/// What `azure-v3` says, with its status and the header of the outcome.
async fn azure(proxy: &Proxy) -> (u16, String, Value) {
    let url = format!("{}/vision/v3.2/analyze?visualFeatures=Adult", proxy.url());
    let request = client().post(url).header("content-type", "application/octet-stream");
    let reply = request.body(picture(1).bytes).send().await.unwrap();
    let (status, outcome) = (reply.status().as_u16(), header(reply.headers(), "outcome").to_owned());
    (status, outcome, reply.json().await.unwrap())
}

async fn google(proxy: &Proxy) -> Value {
    let content = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &picture(1).bytes);
    let body = json!({ "requests": [{
        "image": { "content": content },
        "features": [{ "type": "SAFE_SEARCH_DETECTION" }],
    }] });
    let request = client().post(format!("{}/v1/images:annotate", proxy.url())).body(body.to_string());
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certified_level_is_said_in_every_format_however_the_question_spells_it() {
    let (_emulator, proxy, _folder) = rating(Likelihood::VeryLikely, "").await;
    let (status, outcome, body) = azure(&proxy).await;
    assert_eq!((status, outcome.as_str()), (200, "certified"), "{body}");
    assert_eq!(body["adult"]["isAdultContent"], true, "{body}");
    // Nothing is said of what was not asked.
    assert!(body["adult"].get("isRacyContent").is_none(), "{body}");
    let body = google(&proxy).await;
    let levels = &body["responses"][0]["safeSearchAnnotation"];
    assert_eq!((&levels["adult"], &levels["racy"]), (&json!("LIKELY"), &json!("UNKNOWN")), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_certified_is_never_said_to_be_absent() {
    for on_abstain in ["empty", "plain"] {
        let (_emulator, proxy, _folder) =
            rating(Likelihood::Unlikely, &format!("on_abstain = \"{on_abstain}\"")).await;
        let (status, outcome, body) = azure(&proxy).await;
        assert_eq!((status, outcome.as_str()), (400, "abstained"), "{body}");
        assert_eq!(body["error"]["innererror"]["code"], "Abstained", "{body}");
        // Where a format can say that it does not know, it does.
        let body = google(&proxy).await;
        assert_eq!(body["responses"][0]["safeSearchAnnotation"]["adult"], "UNKNOWN", "{body}");
    }
}
