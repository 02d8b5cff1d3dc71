//! A proxy in front of an emulator, and clients that speak each format.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use http::HeaderMap;
use smoothgate::certificate::{Certificate, Document, Verification};
use smoothgate::config::Config;
use smoothgate::emulate::{DEFAULT_KEY, Emulator};
use smoothgate::providers::credentials::Environment;
use smoothgate::providers::local::Backend;
use smoothgate::providers::registry;
use smoothgate::providers::{Answer, EncodedPicture, Label, Outcome, Provider, Reply};
use smoothgate::proxy::Proxy;

use crate::served;
pub(crate) use crate::served::{APIS, client, emulator, options, picture, plan};

/// Every answer holds `dog`; now and then `cat` comes first.
pub(crate) struct Dog;

impl Backend for Dog {
    fn answer(&self, picture: &EncodedPicture) -> Outcome {
        if image::load_from_memory(&picture.bytes).is_err() {
            return Outcome::BadPicture { reason: "it cannot be decoded".to_owned() };
        }
        let hash = blake3::hash(&picture.bytes);
        let (first, second) = if hash.as_bytes()[0] < 26 { ("cat", "dog") } else { ("dog", "cat") };
        let labels = vec![Label::new(first, 0.9), Label::new(second, 0.5), Label::new("animal", 0.5)];
        Outcome::Answered(Answer { labels, model_version: Some("dog-1".to_owned()), ..Answer::default() })
    }
}

/// A label for every picture by its bytes, so that no two votes agree.
pub(crate) struct Chance;

impl Backend for Chance {
    fn answer(&self, picture: &EncodedPicture) -> Outcome {
        let name = blake3::hash(&picture.bytes).to_hex()[..8].to_owned();
        let labels = vec![Label::new(name, 0.9)];
        Outcome::Answered(Answer { labels, model_version: Some("chance-1".to_owned()), ..Answer::default() })
    }
}

pub(crate) fn environment() -> Environment {
    Environment::of([("GOOGLE_API_KEY", DEFAULT_KEY)])
}

/// A configuration with the emulator as the instance `up`, whose calls cost a tenth of a cent each.
pub(crate) fn config(emulator: &Emulator, more: &str) -> Config {
    let text = written(emulator, "finish = \"0s\"", more);
    Config::parse(Path::new("smoothgate.toml"), &text, &environment()).unwrap()
}

/// The same as a file says it. `serve` stands under `[serve]`, and `more` begins there.
pub(crate) fn written(emulator: &Emulator, serve: &str, more: &str) -> String {
    format!(
        "[providers.up]\nkind = \"google\"\nprice = \"0.0010USD\"\nrate = \"unlimited\"\n\
         options = {{ endpoint = \"{}\" }}\nnetwork = {{ proxy = \"direct\" }}\n\
         retry = {{ attempts = 6, base = \"1ms\", longest = \"4ms\" }}\n\
         [serve]\nlisten = \"127.0.0.1:0\"\n{serve}\n{more}",
        emulator.url()
    )
}

/// A route to `up` that needs few votes.
pub(crate) fn route(more: &str) -> String {
    format!(
        "[routes.all]\nupstream = \"up\"\ndenoiser = \"none\"\nsize = 80\nquestion = \"clean-top\"\nradius = [0.125]\n{more}"
    )
}

/// A proxy with the routes of `config`, and a ledger in `folder`.
pub(crate) async fn proxy(config: &Config, folder: &Path) -> Proxy {
    served::proxy(config, folder, &environment()).await
}

/// What speaks `api` to `url`.
pub(crate) fn adapter(api: &str, url: &str) -> Arc<dyn Provider> {
    registry::find(api).unwrap().adapter(&options(api, url), &environment()).unwrap().provider
}

/// Sends these pictures in `api` and reads the reply as that API's client does.
pub(crate) async fn ask(api: &str, url: &str, pictures: &[EncodedPicture]) -> (Vec<Outcome>, Reply) {
    let adapter = adapter(api, url);
    let request = reqwest::Request::try_from(adapter.request(pictures).unwrap()).unwrap();
    let reply = client().execute(request).await.unwrap();
    let (status, headers) = (reply.status(), reply.headers().clone());
    let reply = Reply { status, headers, body: reply.bytes().await.unwrap() };
    (adapter.outcomes(pictures.len(), &reply), reply)
}

/// A header as text.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers[&format!("x-smoothgate-{name}")].to_str().unwrap()
}

/// The certificate that a reply names, which must hold.
pub(crate) async fn certificate(url: &str, id: &str) -> Certificate {
    let reply = client().get(format!("{url}/certificates/{id}")).send().await.unwrap();
    assert_eq!(reply.status(), 200, "{id}");
    let text = reply.bytes().await.unwrap();
    let verification = Verification::of(&text);
    assert!(verification.holds(), "{verification:?}");
    Document::parse(&text).unwrap().certificate
}

/// The head of a request as the client of `api` makes it, up to the length of its body.
pub(crate) fn head_of(api: &str, url: &str) -> String {
    let request = adapter(api, url).request(&[picture(1)]).unwrap();
    let path = request.uri().path_and_query().unwrap();
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in request.headers() {
        if name != "content-length" {
            write!(head, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
        }
    }
    head
}
