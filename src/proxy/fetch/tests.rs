//! Fetches from servers of the test's own, behind a resolver of the test's own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::Full;
use proptest::prelude::*;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;
use crate::front;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Names that a test knows, each with one answer after the other; the last one stays.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<HashMap<String, Vec<Vec<IpAddr>>>>>);

impl Names {
    fn of(names: &[(&str, &[&[&str]])]) -> Self {
        let answer = |addresses: &&[&str]| addresses.iter().map(|text| text.parse().unwrap()).collect();
        let names =
            names.iter().map(|(name, answers)| ((*name).to_owned(), answers.iter().map(answer).collect()));
        Self(Arc::new(Mutex::new(names.collect())))
    }
}

impl Resolve for Names {
    fn resolve(&self, host: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let mut names = self.0.lock().unwrap();
        let answer = names
            .get_mut(&host)
            .map(|answers| if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() });
        let answer = answer.ok_or_else(|| std::io::Error::other("no such host"));
        Box::pin(std::future::ready(answer))
    }
}

/// What the server has seen of a request.
type Seen = Arc<Mutex<Vec<(Uri, HeaderMap)>>>;

/// A server on this machine that answers by path, and what it has seen.
struct Server {
    address: SocketAddr,
    seen: Seen,
    _stop: watch::Sender<bool>,
    _running: JoinSet<()>,
}

impl Server {
    async fn start(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let (stop, stopped) = watch::channel(false);
        let options = front::Options { tls, ..front::Options::default() };
        let mut running = JoinSet::new();
        let shared = Arc::clone(&seen);
        running.spawn(front::serve(listener, options, stopped, move |request: Request<_>, _| {
            shared.lock().unwrap().push((request.uri().clone(), request.headers().clone()));
            answer(request.uri().clone(), address.port())
        }));
        Self { address, seen, _stop: stop, _running: running }
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn answer(uri: Uri, port: u16) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let reply = |status: u16, body: Vec<u8>| {
        Ok(Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap())
    };
    let to = |location: String| {
        Ok(Response::builder().status(302).header("location", location).body(Full::default()).unwrap())
    };
    match uri.path() {
        "/picture" => reply(200, b"picture".to_vec()),
        "/large" => reply(200, vec![0; 3000]),
        "/relative" => to("/picture".to_owned()),
        "/loop" => to("/loop".to_owned()),
        "/to" => to(uri.query().unwrap_or_default().replace("PORT", &port.to_string())),
        "/slow" => {
            tokio::time::sleep(Duration::from_hours(1)).await;
            reply(200, vec![])
        }
        "/reset" => Err(std::io::Error::other("on purpose")),
        _ => reply(404, b"secrets of the network".to_vec()),
    }
}

fn options(rules: &[String]) -> Options {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    Options { rules, max_bytes: 2000, time: Duration::from_secs(30), ..Options::default() }
}

fn fetcher(rules: &[String], names: &Names) -> Fetcher {
    Fetcher::with(options(rules), Guard::with_loopback(Arc::new(names.clone()))).unwrap()
}

fn url(text: impl Into<String>) -> Source {
    Source::Url(text.into())
}

/// The message of a refusal of the one class that there is for these.
fn refused(result: Result<Bytes, Refusal>) -> String {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.class, RefusalClass::PictureUnreachable, "{refusal}");
    refusal.message
}

#[tokio::test]
async fn nothing_is_fetched_unless_a_rule_permits_it() {
    let server = Server::start(None).await;
    let names = Names::of(&[("images.test", &[&["127.0.0.1"]]), ("other.test", &[&["127.0.0.1"]])]);
    let port = server.port();
    let nothing = fetcher(&[], &names);
    let object = Source::Object { bucket: "b".into(), name: "n".into(), version: None };
    for source in [url(format!("http://images.test:{port}/picture")), object, url("gs://b/n"), url("data:,x")]
    {
        assert!(refused(nothing.get(&source, 1000).await).contains("fetches no pictures"));
    }
    let some = fetcher(&[format!("http://images.test:{port}")], &names);
    for bad in [
        format!("http://other.test:{port}/picture"),
        format!("http://images.test:{}/picture", port ^ 1),
        format!("https://images.test:{port}/picture"),
        format!("http://images.test.evil.test:{port}/picture"),
        format!("http://user:secret@images.test:{port}/picture"),
        format!("http://user@images.test:{port}/picture"),
        format!("http://127.0.0.1:{port}/picture"),
        format!("http://images.test@other.test:{port}/picture"),
        format!("http://other.test:{port}/images.test"),
        format!("http://other.test:{port}#images.test"),
        format!("ftp://images.test:{port}/picture"),
        "file:///etc/passwd".to_owned(),
        "/picture".to_owned(),
        String::new(),
    ] {
        let message = refused(some.get(&url(bad.clone()), 1000).await);
        assert!(message.contains("may not fetch"), "{bad}: {message}");
    }
    assert_eq!(server.requests(), 0);
    let source = url(format!("http://images.test:{port}/picture"));
    assert_eq!(some.get(&source, 1000).await.unwrap(), "picture");
    // The parser's ways to write the same host are the same host.
    let source = url(format!("HTTP://IMAGES.test:{port}\\picture"));
    assert_eq!(some.get(&source, 1000).await.unwrap(), "picture");
    assert_eq!(nothing.get(&Source::Bytes(Bytes::from_static(b"x")), 0).await.unwrap(), "x");
}

#[tokio::test]
async fn hosts_that_lead_into_a_private_network_are_not_connected_to() {
    let server = Server::start(None).await;
    let port = server.port();
    for addresses in [
        &["10.0.0.1"][..],
        &["169.254.169.254"],
        &["::ffff:169.254.169.254"],
        &["fd00:ec2::254"],
        &["64:ff9b::a9fe:a9fe"],
        // One good address does not make up for a bad one.
        &["127.0.0.1", "192.168.0.1"],
    ] {
        let names = Names::of(&[("images.test", &[addresses])]);
        let fetcher = fetcher(&[format!("http://images.test:{port}")], &names);
        let message = refused(fetcher.get(&url(format!("http://images.test:{port}/picture")), 1000).await);
        assert_eq!(message, NOT_PUBLIC, "{addresses:?}");
    }
    // As it is outside of tests, this machine is one of them.
    let names = Names::of(&[("images.test", &[&["127.0.0.1"]]), ("six.test", &[&["::1"]])]);
    for (host, written) in [
        ("images.test", "images.test"),
        ("six.test", "six.test"),
        ("127.0.0.1", "127.1"),
        ("127.0.0.1", "2130706433"),
        ("127.0.0.1", "0x7f.0.0.1"),
        ("[::1]", "[0:0:0:0:0:0:0:1]"),
        ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    ] {
        let guard = Guard::public(Arc::new(names.clone()));
        let fetcher = Fetcher::with(options(&[format!("http://{host}:{port}")]), guard).unwrap();
        let message = refused(fetcher.get(&url(format!("http://{written}:{port}/picture")), 1000).await);
        assert_eq!(message, NOT_PUBLIC, "{written}");
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_address_after_the_check_gains_nothing() {
    let server = Server::start(None).await;
    let port = server.port();
    // Whatever is resolved is what is connected to: there is no second look at the name in between.
    let names = Names::of(&[("images.test", &[&["127.0.0.1"], &["10.0.0.1"]])]);
    let fetcher = fetcher(&[format!("http://images.test:{port}")], &names);
    let source = url(format!("http://images.test:{port}/picture"));
    assert_eq!(fetcher.get(&source, 1000).await.unwrap(), "picture");
    // And no connection is kept for which the name was right once.
    assert_eq!(refused(fetcher.get(&source, 1000).await), NOT_PUBLIC);
}

#[tokio::test]
async fn redirects_are_new_addresses() {
    let server = Server::start(None).await;
    let port = server.port();
    let names = Names::of(&[
        ("images.test", &[&["127.0.0.1"]]),
        ("cdn.test", &[&["127.0.0.1"]]),
        ("in.test", &[&["10.0.0.1"]]),
        ("other.test", &[&["127.0.0.1"]]),
    ]);
    let rules =
        ["images.test", "cdn.test", "in.test", "127.0.0.1"].map(|host| format!("http://{host}:{port}"));
    let fetcher = fetcher(&rules, &names);
    let follow = async |path: &str| fetcher.get(&url(format!("http://images.test:{port}{path}")), 1000).await;
    assert_eq!(follow("/relative").await.unwrap(), "picture");
    assert_eq!(follow("/to?http://cdn.test:PORT/picture").await.unwrap(), "picture");
    assert_eq!(follow("/to?http://cdn.test:PORT/relative").await.unwrap(), "picture");
    assert_eq!(refused(follow("/to?http://in.test:PORT/picture").await), NOT_PUBLIC);
    let before = server.requests();
    for bad in [
        "http://other.test:PORT/picture",
        "https://images.test:PORT/picture",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "http://x@images.test:PORT/",
        "",
        "//other.test:PORT/picture",
    ] {
        let message = refused(follow(&format!("/to?{bad}")).await);
        assert!(message.contains("has moved to where") || bad.is_empty(), "{bad}: {message}");
    }
    // Each asked for the first address alone. (An empty location is the same address again.)
    assert_eq!(server.requests() - before, 6 + MOST_HOPS + 1);
    assert!(refused(follow("/loop").await).contains("too many times"));
}

#[tokio::test]
async fn size_time_and_failures() {
    let server = Server::start(None).await;
    let port = server.port();
    let names = Names::of(&[("images.test", &[&["127.0.0.1"]]), ("empty.test", &[&[]])]);
    let rules = ["images.test", "empty.test", "unknown.test"].map(|host| format!("http://{host}:{port}"));
    let some = fetcher(&rules, &names);
    let get = async |text: String| some.get(&url(text), 2000).await;
    assert_eq!(
        get(format!("http://images.test:{port}/large")).await.unwrap_err().class,
        RefusalClass::PictureTooLarge
    );
    let source = url(format!("http://images.test:{port}/picture"));
    assert_eq!(some.get(&source, 6).await.unwrap_err().class, RefusalClass::PictureTooLarge);
    assert_eq!(some.get(&source, 7).await.unwrap().len(), 7);
    let message = refused(get(format!("http://images.test:{port}/absent?signature=secret")).await);
    assert!(message.contains("404") && !message.contains("secret"), "{message}");
    for bad in ["images.test:PORT/reset", "empty.test:PORT/picture", "unknown.test:PORT/picture"] {
        let message = refused(get(format!("http://{}", bad.replace("PORT", &port.to_string()))).await);
        assert!(message.contains("cannot be reached"), "{bad}: {message}");
    }
    let guard = Guard::with_loopback(Arc::new(names));
    let short = Options { time: Duration::from_millis(200), ..options(&rules) };
    let short = Fetcher::with(short, guard).unwrap();
    let message = refused(short.get(&url(format!("http://images.test:{port}/slow")), 2000).await);
    assert!(message.contains("in time"), "{message}");
}

#[tokio::test]
async fn nothing_of_ours_is_sent_along() {
    let server = Server::start(None).await;
    let port = server.port();
    let names = Names::of(&[("images.test", &[&["127.0.0.1"]])]);
    let fetcher = fetcher(&[format!("http://images.test:{port}")], &names);
    fetcher.get(&url(format!("http://images.test:{port}/relative?a=b")), 1000).await.unwrap();
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    for (_, headers) in seen.iter() {
        let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
        assert_eq!(headers["accept-encoding"], "identity");
    }
}

#[tokio::test]
async fn https_is_checked_against_trusted_authorities() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own =
        rcgen::CertificateParams::new(vec!["images.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = (file("own.pem", own.pem()), file("own.key", key.serialize_pem()));
    let server = Server::start(Some(front::tls(&certificate, &key).unwrap())).await;
    let port = server.port();
    let names = Names::of(&[("images.test", &[&["127.0.0.1"]])]);
    let rules = [format!("images.test:{port}")];
    let get = async |options: Options| {
        let guard = Guard::with_loopback(Arc::new(names.clone()));
        let fetcher = Fetcher::with(options, guard).unwrap();
        fetcher.get(&url(format!("https://images.test:{port}/picture")), 1000).await
    };
    assert!(refused(get(options(&rules)).await).contains("cannot be reached"));
    let trusting = Options { ca_file: Some(certificate), ..options(&rules) };
    assert_eq!(get(trusting).await.unwrap(), "picture");
}

#[tokio::test]
async fn no_more_fetches_at_once_than_said() {
    struct Counting(AtomicUsize, AtomicUsize);
    impl Resolve for Arc<Counting> {
        fn resolve(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
            let counting = Arc::clone(self);
            Box::pin(async move {
                let now = counting.0.fetch_add(1, Ordering::SeqCst) + 1;
                counting.1.fetch_max(now, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                counting.0.fetch_sub(1, Ordering::SeqCst);
                Ok(vec![LOOPBACK])
            })
        }
    }
    let server = Server::start(None).await;
    let port = server.port();
    let counting = Arc::new(Counting(AtomicUsize::new(0), AtomicUsize::new(0)));
    let options = Options { concurrent: 2, ..options(&[format!("http://images.test:{port}")]) };
    let fetcher = Fetcher::with(options, Guard::with_loopback(Arc::new(Arc::clone(&counting)))).unwrap();
    let source = url(format!("http://images.test:{port}/picture"));
    let all = (0..8).map(|_| fetcher.get(&source, 1000));
    assert!(futures::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(counting.1.load(Ordering::SeqCst), 2);
}

#[test]
fn buckets_are_read_where_anyone_can_read_them() {
    let rules: Vec<Rule> = ["gs://photos", "s3://eu-west-1/my.bucket", "s3://cn-north-1/china"]
        .map(|rule| rule.parse().unwrap())
        .into();
    let object = |bucket: &str, name: &str, version: Option<&str>| {
        let source =
            Source::Object { bucket: bucket.into(), name: name.into(), version: version.map(Into::into) };
        rules::target(&rules, &source).map(String::from)
    };
    assert_eq!(
        object("my.bucket", "a/b c.jpg", None).unwrap(),
        "https://s3.eu-west-1.amazonaws.com/my.bucket/a/b%20c.jpg"
    );
    assert_eq!(
        object("my.bucket", "a?b#c", Some("v&1")).unwrap(),
        "https://s3.eu-west-1.amazonaws.com/my.bucket/a%3Fb%23c?versionId=v%261"
    );
    assert_eq!(object("china", "x", None).unwrap(), "https://s3.cn-north-1.amazonaws.com.cn/china/x");
    assert_eq!(
        rules::target(&rules, &url("gs://photos/a/b.png")).unwrap().as_str(),
        "https://storage.googleapis.com/photos/a/b.png"
    );
    for (bucket, name) in [
        ("photos", "x"),
        ("other", "x"),
        ("my.bucket", "../other/x"),
        ("my.bucket", "a/../../other/x"),
        ("my.bucket", "."),
        ("my.bucket/..", "x"),
        ("", "x"),
    ] {
        assert_eq!(object(bucket, name, None), None, "{bucket} {name}");
    }
    for text in [
        "gs://other/x",
        "gs://photos",
        "gs://photos/",
        "gs://photos/../other/x",
        "gs:///photos/x",
        "gs://photos@x/y",
        "GS://photos/x",
    ] {
        assert_eq!(rules::target(&rules, &url(text)), None, "{text}");
    }
}

#[test]
fn rules_that_permit_too_much_or_nothing_are_refused() {
    for good in [
        "images.example.com",
        "*.example.com",
        "images.example.com:8443",
        "http://images.example.com",
        "https://images.example.com",
        "gs://b",
        "s3://us-east-1/b",
        "8.8.8.8",
        "[2606:4700::1]:8443",
    ] {
        let rule: Rule = good.parse().unwrap();
        assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule, "{good}");
    }
    for bad in [
        "",
        "*",
        "*.com",
        "*.*.com",
        "im*.example.com",
        "https://",
        "ftp://x.example.com",
        "x.example.com/path",
        "a@x.example.com",
        "*.1.2.3.4",
        "*.[::1]",
        "gs://",
        "gs://a/b",
        "s3://b",
        "s3:///b",
        "s3://r/",
        "s3://r/..",
        "x.example.com:99999",
        "x example.com",
        "data:",
    ] {
        assert!(bad.parse::<Rule>().is_err(), "{bad}");
    }
    let below: Vec<Rule> = vec!["*.example.com".parse().unwrap()];
    for (text, permitted) in [
        ("https://a.example.com/", true),
        ("https://a.b.example.com/x?y", true),
        ("https://a.EXAMPLE.com:443/", true),
        ("https://example.com/", false),
        ("https://.example.com/", false),
        ("https://aexample.com/", false),
        ("https://a.example.com.evil.com/", false),
        ("https://a.example.com:444/", false),
        ("http://a.example.com/", false),
        ("https://a.example.com./", false),
    ] {
        assert_eq!(rules::target(&below, &url(text)).is_some(), permitted, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    /// Whatever a client writes, what is fetched is at a permitted host and nowhere else.
    #[test]
    fn no_text_leads_elsewhere(text in "(https?:/{0,3})?[ -~]{0,20}images.test[ -~]{0,40}", name in "[ -~]{0,40}") {
        let permitted: Vec<Rule> = vec!["images.test".parse().unwrap(), "s3://r/bucket".parse().unwrap()];
        if let Some(found) = rules::target(&permitted, &url(text)) {
            prop_assert_eq!((found.scheme(), found.host_str(), found.port()), ("https", Some("images.test"), None));
        }
        let source = Source::Object { bucket: "bucket".into(), name, version: None };
        if let Some(found) = rules::target(&permitted, &source) {
            prop_assert_eq!(found.host_str(), Some("s3.r.amazonaws.com"));
            prop_assert!(found.path().starts_with("/bucket/"), "{}", found);
        }
    }
}
