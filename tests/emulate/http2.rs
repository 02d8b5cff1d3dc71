//! HTTP/2, by prior knowledge and over TLS, and clients that misbehave.

use std::sync::Arc;
use std::time::Duration;

use smoothgate::emulate::{DEFAULT_KEY, Emulator, Kind, Plan, Settings};
use smoothgate::front;
use smoothgate::providers::OutcomeClass;
use smoothgate::providers::registry;
use smoothgate::providers::transport::{Network, NetworkSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{
    APIS, Hash, Records, ask, best, client, client_of, direct, emulator, endpoint_with, environment, network,
    once, options, patient, picture, plan, top,
};

#[tokio::test]
async fn http2_by_prior_knowledge() {
    let emulator = emulator(plan("[[script]]\nfault = \"reset\"\ncalls = 2")).await;
    let client = client_of(reqwest::Client::builder().http2_prior_knowledge());
    let post = || {
        let request = client.post(format!("{}/models/m", emulator.url())).bearer_auth(DEFAULT_KEY);
        request.body(picture(1).bytes).send()
    };
    let reply = post().await.unwrap();
    assert_eq!((reply.version(), reply.status().as_u16()), (http::Version::HTTP_2, 200));
    assert!(reply.text().await.unwrap().contains("\"dog\""));
    assert!(post().await.is_err(), "the second call is reset");
    assert_eq!(post().await.unwrap().status(), 200);
    assert_eq!(emulator.stop().await.total.calls, 3);
}

/// A certificate authority of the test's own, and an emulator with a certificate of it.
async fn over_tls(plan: Plan) -> (Emulator, Network, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = (file("leaf.pem", leaf.pem()), file("leaf.key", key.serialize_pem()));
    let tls = Some(front::tls(&certificate, &key).unwrap());
    let emulator =
        Emulator::start(Settings { plan, tls, ..Settings::default() }, Arc::new(Hash)).await.unwrap();
    let network = NetworkSettings { ca_file: Some(file("ca.pem", ca_cert.pem())), ..direct() };
    let network = Network::new(network).unwrap();
    (emulator, network, folder)
}

#[tokio::test]
async fn every_format_over_http2_and_tls() {
    let (emulator, network, _folder) = over_tls(Plan::default()).await;
    assert!(emulator.url().starts_with("https://127.0.0.1:"));
    for api in APIS {
        let endpoint = endpoint_with(api, &emulator.url(), DEFAULT_KEY, &network, once());
        let outcome = ask(&endpoint, 4, &Records::default()).await;
        assert_eq!(top(&outcome), Ok(best(&picture(4))), "{api}: {outcome:?}");
    }
}

#[tokio::test]
async fn faults_over_http2_and_tls() {
    for kind in Kind::PASSING {
        let text = format!("[[script]]\nfault = \"{kind}\"\ncalls = \"1..2\"");
        let (emulator, network, _folder) = over_tls(plan(&text)).await;
        let endpoint = endpoint_with("azure", &emulator.url(), DEFAULT_KEY, &network, patient());
        let journal = Records::default();
        let outcome = ask(&endpoint, 4, &journal).await;
        assert_eq!(top(&outcome), Ok(best(&picture(4))), "{kind}: {outcome:?}");
        assert_eq!(emulator.stop().await.total.calls, journal.opened(), "{kind}");
    }
}

/// Random bodies, and real ones cut short, turned round or with a byte changed, on every path: a refusal or an answer, and
/// the server lives.
#[tokio::test]
async fn no_body_breaks_the_server() {
    use rand::{Rng as _, RngCore as _, SeedableRng as _};
    let emulator = emulator(Plan::default()).await;
    let client = client();
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let network = network();
    let mut sent = 0;
    for (api, path) in [
        ("google", "/v1/images:annotate"),
        ("azure", "/computervision/imageanalysis:analyze?features=tags"),
        ("azure-v3", "/vision/v3.2/analyze?visualFeatures=Tags,Adult"),
        ("clarifai", "/v2/models/m/outputs"),
        ("openai", "/v1/chat/completions"),
        ("huggingface", "/models/m"),
        ("kserve", "/v2/models/m/infer"),
    ] {
        let registration = registry::find(api).unwrap();
        let (options, environment) = (options(api, &emulator.url()), environment(DEFAULT_KEY));
        let adapter = registration.adapter(&options, &environment).unwrap();
        let whole = adapter.provider.request(&[picture(1)]).unwrap();
        for round in 0..150 {
            let mut body = whole.body().to_vec();
            let at = dice.random_range(0..body.len());
            match round % 4 {
                0 => {
                    body = {
                        let mut bytes = vec![0; at];
                        dice.fill_bytes(&mut bytes);
                        bytes
                    }
                }
                1 => body.truncate(at),
                2 => body.reverse(),
                _ => body[at] ^= 1 << dice.random_range(0..8),
            }
            let mut request = client.post(format!("{}{path}", emulator.url())).body(body);
            for (name, value) in whole.headers() {
                request = request.header(name, value);
            }
            let request = request.header("x-goog-api-key", DEFAULT_KEY).bearer_auth(DEFAULT_KEY);
            let reply = request.header("ocp-apim-subscription-key", DEFAULT_KEY).send().await.unwrap();
            let status = reply.status().as_u16();
            assert!(status == 200 || (400..500).contains(&status), "{api} {round}: {status}");
            sent += 1;
        }
        let endpoint = endpoint_with(api, &emulator.url(), DEFAULT_KEY, &network, once());
        assert_eq!(ask(&endpoint, 1, &Records::default()).await.class(), OutcomeClass::Answered, "{api}");
    }
    let stats = emulator.stop().await;
    assert_eq!((stats.total.calls, stats.in_flight), (sent + 7, 0));
    assert_eq!(stats.total.outcomes.get("internal"), None, "{:?}", stats.total.outcomes);
}

/// The connection ends with a reset, not with an orderly close.
#[tokio::test]
async fn a_reset_is_a_reset() {
    let emulator = emulator(plan("[[script]]\nfault = \"reset\"\ncalls = 1")).await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    let head = format!(
        "POST /models/m HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {DEFAULT_KEY}\r\nContent-Length: 1\r\n\r\nx"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let error = stream.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn clients_that_misbehave_are_told_so_or_left_and_the_server_lives() {
    let emulator = emulator(Plan::default()).await;
    let garbage: &[&[u8]] = &[
        b"\0\x01\x02 what\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST /models/m HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /models/m HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"POST /models/m HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut reply = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut reply)).await;
        assert!(end.is_ok(), "no end to {:?}", bytes.escape_ascii().to_string());
        assert!(!reply.starts_with(b"HTTP/1.1 200"));
    }
    let client = client();
    let url = emulator.url();
    // Bodies that are no request of their format, in every format, with the right key.
    for (path, body) in [
        ("/v1/images:annotate", "{"),
        (
            "/v1/images:annotate",
            "{\"requests\":[{\"image\":{\"content\":\"%%%\"},\"features\":[{\"type\":4}]}]}",
        ),
        ("/computervision/imageanalysis:analyze?features=tags", "{}"),
        ("/vision/v3.2/analyze?visualFeatures=Tags", "x"),
        ("/v2/models/m/outputs", "[]"),
        ("/v1/chat/completions", "null"),
        ("/v2/models/m/infer", "{\"inputs\":[{}]}"),
        ("/hf-inference/models/m", ""),
        ("/nowhere", "x"),
        ("/__emulator/nothing", ""),
    ] {
        let request = client.post(format!("{url}{path}")).header("x-goog-api-key", DEFAULT_KEY);
        let request = request.header("ocp-apim-subscription-key", DEFAULT_KEY).bearer_auth(DEFAULT_KEY);
        let reply = request.body(body).send().await.unwrap();
        let status = reply.status().as_u16();
        assert!((400..500).contains(&status), "{path}: {status}");
        let text = reply.text().await.unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{path}: {text}");
    }
    // A body beyond the limit is refused by its announced length and by what comes.
    let long = vec![b' '; 11 << 20];
    let chunked = reqwest::Body::wrap_stream(futures::stream::iter(
        long.chunks(1 << 16).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>(),
    ));
    for body in [long.into(), chunked] {
        let request = client.post(format!("{url}/v1/images:annotate")).body(body);
        // The server may close before the client has written it all.
        if let Ok(reply) = request.send().await {
            assert_eq!(reply.status().as_u16(), 400);
            assert!(reply.text().await.unwrap().contains("INVALID_ARGUMENT"));
        }
    }
    let endpoint = endpoint_with("google", &url, DEFAULT_KEY, &network(), once());
    assert_eq!(ask(&endpoint, 1, &Records::default()).await.class(), OutcomeClass::Answered);
    let stats = emulator.stop().await;
    assert_eq!(stats.unrecognised, 1);
    assert_eq!(stats.total.outcomes["body-too-large"], 2);
}
