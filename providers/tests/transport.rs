//! Transport over real sockets: every way a call can go wrong, and that calls at the server are attempts on record.

#[cfg(test)]
mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::join_all;
use smoothgate_providers::credentials::Fixed;
use smoothgate_providers::transport::{
    HttpEndpoint, Network, NetworkSettings, Proxy, Rate, TransportSettings,
};
use smoothgate_providers::{
    AskError, Billed, EncodedPicture, Endpoint as _, Journal as _, JournalError, Outcome, OutcomeClass, Quota,
};

use support::{Act, DOG, Memory, Plain, Server, endpoint, network, picture, quick, reply, reply_with};

const HTML: &str = "<html><body>502 Bad Gateway</body></html>";

#[tokio::test]
async fn one_ask_is_one_call_on_record() {
    let server = Server::start(|_, _| reply(200, DOG)).await;
    let journal = Memory::default();
    let endpoint = endpoint(Plain::new(server.url("/classify?x=1")), quick());
    let outcome = endpoint.ask(Some(3), picture(7), &journal).await.unwrap();
    let Outcome::Answered(answer) = outcome else { panic!("{outcome:?}") };
    assert_eq!(answer.labels[0].name, "dog");
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].line.as_str(), &seen[0].body[..]), ("POST /classify?x=1 HTTP/1.1", &b"00000007"[..]));
    assert!(seen[0].headers["user-agent"].starts_with("smoothgate/"));
    let opened = journal.opened.lock().unwrap().clone();
    assert_eq!((opened[0].draw, opened[0].number), (Some(3), 1));
    assert_eq!(opened[0].picture, *blake3::hash(&picture(7).bytes).as_bytes());
    assert_eq!(journal.ends(), [(OutcomeClass::Answered, Some(200), Billed::Yes)]);
}

/// Each fault on every attempt: the class and the verdict on billing of each, exactly the bound of calls, the same
/// bytes in each of them.
#[tokio::test]
async fn every_fault_is_named_bounded_and_on_record() {
    use Billed::{No, Unknown};
    use OutcomeClass::{BadPicture, Malformed, Throttled, Transient};
    let faults = [
        (Act::Reset, Transient, None, Unknown, 3),
        (Act::Close, Transient, None, Unknown, 3),
        (Act::Truncated, Transient, Some(200), Unknown, 3),
        (Act::Drip, Transient, Some(200), Unknown, 3),
        (Act::Silent, Transient, None, Unknown, 3),
        (Act::Huge(3 << 20), Malformed, Some(200), Unknown, 3),
        (reply(200, HTML), Malformed, Some(200), Unknown, 3),
        (reply(200, ""), Malformed, Some(200), Unknown, 3),
        (reply(200, r#"{"responses":[{"error":"transient"}]}"#), Transient, Some(200), Unknown, 3),
        (reply(200, r#"{"responses":[{"error":"throttled"}]}"#), Throttled, Some(200), No, 3),
        (reply(200, r#"{"responses":[{"error":"bad"}]}"#), BadPicture, Some(200), Unknown, 1),
        (reply(200, r#"{"responses":[]}"#), Malformed, Some(200), Unknown, 3),
        (reply(400, "no picture"), BadPicture, Some(400), No, 1),
        (reply(400, "ThrottlingException"), Throttled, Some(400), No, 3),
        (reply(500, "ThrottlingException"), Throttled, Some(500), No, 3),
        (reply(429, "slow down"), Throttled, Some(429), No, 3),
        (reply(500, HTML), Transient, Some(500), Unknown, 3),
        (reply(502, HTML), Transient, Some(502), Unknown, 3),
        (reply(503, ""), Transient, Some(503), No, 3),
        (reply(504, ""), Transient, Some(504), Unknown, 3),
    ];
    let checks = faults.into_iter().map(|(act, class, status, billed, calls)| async move {
        let what = format!("{act:?}");
        let server = Server::start(move |_, _| act.clone()).await;
        let mut settings = quick();
        settings.retry.attempts = 3;
        let endpoint = endpoint(Plain::new(server.url("/")), settings);
        let journal = Memory::default();
        let outcome = endpoint.ask(Some(0), picture(1), &journal).await.unwrap();
        assert_eq!(outcome.class(), class, "{what}: {outcome:?}");
        assert_eq!((server.calls(), journal.attempts(), journal.closed()), (calls, calls, calls), "{what}");
        for end in journal.ends() {
            assert_eq!(end, (class, status, billed), "{what}: {outcome:?}");
        }
        assert!(server.seen().iter().all(|seen| &seen.body[..] == b"00000001"), "{what}");
        let numbers: Vec<u32> = journal.opened.lock().unwrap().iter().map(|a| a.number).collect();
        assert!(numbers.iter().zip(1..).all(|(a, b)| *a == b), "{what}: {numbers:?}");
        assert_eq!(endpoint.stats().retries, calls as u64 - 1, "{what}");
    });
    join_all(checks).await;
}

#[tokio::test]
async fn a_call_that_reaches_nobody_is_not_billed() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = Server::start(|_, _| reply(200, DOG)).await; // No TLS there.
    for url in [
        format!("http://{closed}/"),
        "https://no-such-host.invalid/".to_owned(),
        format!("https://{}/", plain.address),
    ] {
        let journal = Memory::default();
        let outcome =
            endpoint(Plain::new(url.clone()), quick()).ask(None, picture(1), &journal).await.unwrap();
        assert_eq!(outcome.class(), OutcomeClass::Transient, "{url}: {outcome:?}");
        assert!(!outcome.reason().unwrap().is_empty());
        assert_eq!(journal.ends(), [(OutcomeClass::Transient, None, Billed::No); 4], "{url}: {outcome:?}");
    }
    assert_eq!(plain.calls(), 0);
}

/// The process was stopped, or its thread held up, until the deadline was long past: the reply lies in the socket, paid for.
#[tokio::test]
async fn a_reply_that_came_while_nobody_watched_is_an_answer() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (arrived, arrival) = tokio::sync::oneshot::channel();
    let (tell, told) = std::sync::mpsc::channel();
    // In a thread of its own: it goes on while the test's is held up.
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut piece) = (Vec::new(), [0; 4096]);
        while !request.ends_with(b"00000001") {
            let n = stream.read(&mut piece).unwrap();
            assert!(n > 0);
            request.extend_from_slice(&piece[..n]);
        }
        arrived.send(()).unwrap();
        told.recv().unwrap();
        let (first, second) = DOG.split_at(7);
        let head = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n";
        let reply = format!("{head}{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", 7, second.len());
        stream.write_all(reply.as_bytes()).unwrap();
        stream
    });
    let call_timeout = Duration::from_secs(2);
    let network = Network::new(NetworkSettings { call_timeout, ..network() }).unwrap();
    let endpoint = HttpEndpoint::new(Arc::new(Plain::new(url)), Arc::new(Fixed::none()), network, quick());
    let (endpoint, journal) = (endpoint.unwrap(), Memory::default());
    let mut ask = endpoint.ask(Some(0), picture(1), &journal);
    tokio::select! {
        early = &mut ask => panic!("{early:?}"),
        sent = arrival => sent.unwrap(),
    }
    tell.send(()).unwrap();
    let _open = server.join().unwrap();
    std::thread::sleep(call_timeout + Duration::from_millis(1100));
    let outcome = ask.await.unwrap();
    assert_eq!(outcome.class(), OutcomeClass::Answered, "{outcome:?}");
    assert_eq!(journal.ends(), [(OutcomeClass::Answered, Some(200), Billed::Yes)]);
}

#[tokio::test]
async fn a_second_reply_to_one_request_is_nobodys_answer() {
    let server = Server::start(|n, _| {
        let label = if n == 0 { "first" } else { "second" };
        Act::Twice(format!(r#"{{"responses":[{{"label":"{label}"}}]}}"#))
    })
    .await;
    let endpoint = endpoint(Plain::new(server.url("/")), quick());
    for expected in ["first", "second"] {
        let outcome = endpoint.ask(None, picture(1), &Memory::default()).await.unwrap();
        let Outcome::Answered(answer) = outcome else { panic!("{outcome:?}") };
        assert_eq!(answer.labels[0].name, expected);
        tokio::time::sleep(Duration::from_millis(50)).await; // Let the stray reply arrive on the idle connection.
    }
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn replies_that_overtake_each_other_reach_their_own_asks() {
    let server = Server::start(|_, seen| {
        let number = u64::from_str_radix(&support::words(&seen.body)[0], 16).unwrap();
        let pause = Duration::from_millis((50 - number) * 3);
        Act::After(pause, Box::new(reply(200, format!(r#"{{"responses":[{{"label":"label {number}"}}]}}"#))))
    })
    .await;
    let endpoint = endpoint(Plain::new(server.url("/")), quick());
    let journal = Memory::default();
    let asks = (0..50).map(|n| endpoint.ask(Some(u64::from(n)), picture(n), &journal));
    for (n, outcome) in join_all(asks).await.into_iter().enumerate() {
        let Outcome::Answered(answer) = outcome.unwrap() else { panic!() };
        assert_eq!(answer.labels[0].name, format!("label {n}"));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Server::start(|_, _| reply_with(302, "Location", "/elsewhere", "")).await;
    let mut settings = quick();
    settings.retry.attempts = 1;
    let journal = Memory::default();
    endpoint(Plain::new(server.url("/")), settings).ask(None, picture(1), &journal).await.unwrap();
    assert_eq!(server.calls(), 1);
    assert_eq!(journal.ends()[0].2, Billed::No);
}

#[tokio::test]
async fn retry_after_is_waited_for_in_both_forms_and_clamped() {
    for (form, least) in [("seconds", 1000), ("date", 1000), ("clamped", 1200), ("unreadable", 0)] {
        let server = Server::start(move |n, _| {
            // HTTP dates have whole seconds: two seconds on is at least one.
            let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
            let value = match form {
                "seconds" => "1".to_owned(),
                "date" => date,
                "clamped" => "86400".to_owned(),
                _ => "soon".to_owned(),
            };
            if n == 0 { reply_with(429, "Retry-After", value, "") } else { reply(200, DOG) }
        })
        .await;
        let endpoint = endpoint(Plain::new(server.url("/")), quick());
        let journal = Memory::default();
        let outcome = endpoint.ask(None, picture(1), &journal).await.unwrap();
        assert_eq!(outcome.class(), OutcomeClass::Answered);
        let seen = server.seen();
        assert_eq!((seen.len(), journal.attempts()), (2, 2));
        let waited = seen[1].at - seen[0].at;
        assert!(waited >= Duration::from_millis(least), "{form}: {waited:?}");
        assert!(endpoint.stats().rate.cuts == 1 && endpoint.stats().throttled == 1);
    }
}

#[tokio::test]
async fn rejected_credentials_and_spent_quota_stop_everything_at_once() {
    for (status, class) in [(401, OutcomeClass::Auth), (403, OutcomeClass::QuotaSpent)] {
        let server =
            Server::start(move |n, _| if n < 5 { reply(200, DOG) } else { reply(status, "no more") }).await;
        let mut settings = quick();
        settings.rate = Rate::Quota(Quota { calls_per_minute: 6000, pictures_per_minute: None });
        let endpoint = endpoint(Plain::new(server.url("/")), settings);
        let journal = Memory::default();
        let ended = join_all((0..40).map(|n| endpoint.ask(Some(n), picture(1), &journal))).await;
        let answered = ended.iter().filter(|e| matches!(e, Ok(Outcome::Answered(_)))).count();
        let rejected = ended.iter().filter(|e| e.as_ref().is_ok_and(|o| o.class() == class)).count();
        let stopped = ended.iter().filter(|e| matches!(e, Err(AskError::Stopped { .. }))).count();
        assert_eq!((answered, answered + rejected + stopped), (5, 40), "what was paid is kept");
        assert!(stopped >= 20, "{stopped} asks were stopped before they were sent");
        let calls = server.calls();
        assert_eq!((calls, journal.attempts(), journal.closed()), (5 + rejected, calls, calls));

        let later = endpoint.ask(None, picture(2), &journal).await.unwrap_err();
        assert!(later.to_string().contains("no more"), "{later}");
        assert_eq!(
            (server.calls(), journal.attempts()),
            (calls, calls),
            "nothing is sent or recorded any more"
        );
        assert_eq!(endpoint.stats().stopped.unwrap().class, class);
        endpoint.resume();
        endpoint.ask(None, picture(2), &journal).await.unwrap();
        assert_eq!(server.calls(), calls + 1);
    }
}

#[tokio::test]
async fn a_budget_of_n_never_lets_n_plus_one_calls_through() {
    let server = Server::start(|n, _| if n % 5 == 0 { reply(500, "") } else { reply(200, DOG) }).await;
    let endpoint = endpoint(Plain::new(server.url("/")), quick());
    for budget in [0, 10] {
        let before = server.calls();
        let journal = Memory { budget: Some(budget), ..Memory::default() };
        let ended = join_all((0..64).map(|n| endpoint.ask(Some(n), picture(1), &journal))).await;
        let refused =
            ended.iter().filter(|e| matches!(e, Err(AskError::Journal(JournalError::Budget(_))))).count();
        assert_eq!(server.calls() - before, usize::try_from(budget).unwrap());
        assert_eq!(
            (journal.attempts(), journal.closed()),
            (server.calls() - before, server.calls() - before)
        );
        assert!(refused >= 54);
    }
}

/// The billing test: whatever goes wrong, calls at the server are attempts on record, each closed once.
#[tokio::test]
async fn calls_at_the_server_are_attempts_on_record() {
    let server = Server::start(|n, _| match n % 17 {
        0 => Act::Reset,
        3 => Act::Close,
        5 => Act::Truncated,
        7 => reply(500, HTML),
        9 => reply(200, HTML),
        11 => reply(429, ""),
        _ => reply(200, DOG),
    })
    .await;
    let mut settings = quick();
    settings.retry.attempts = 60;
    let endpoint = endpoint(Plain::new(server.url("/")), settings);
    let journal = Memory::default();
    let asks = (0..400).map(|n| endpoint.ask(Some(u64::from(n)), picture(n), &journal));
    let ended = join_all(asks).await;
    assert!(ended.iter().all(|e| e.as_ref().is_ok_and(|o| o.class() == OutcomeClass::Answered)));
    let calls = server.calls();
    assert!(calls > 400);
    assert_eq!((journal.attempts(), journal.closed(), endpoint.stats().calls), (calls, calls, calls as u64));
    let ids: HashSet<i64> = journal.closed.lock().unwrap().iter().map(|c| c.0).collect();
    assert_eq!(ids.len(), calls, "each attempt is closed once");
    let answered = journal.ends().iter().filter(|e| e.0 == OutcomeClass::Answered).count();
    assert_eq!(answered, 400, "no draw is answered twice");
}

#[tokio::test]
async fn a_cancelled_wait_leaves_no_record_and_a_cancelled_call_leaves_an_open_one() {
    let server = Server::start(|n, _| if n == 0 { reply(200, DOG) } else { Act::Silent }).await;
    let mut settings = quick();
    settings.rate = Rate::Quota(Quota { calls_per_minute: 60, pictures_per_minute: None });
    let endpoint = endpoint(Plain::new(server.url("/")), settings);
    let journal = Memory::default();
    endpoint.ask(None, picture(1), &journal).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(100), endpoint.ask(None, picture(2), &journal));
    assert!(waiting.await.is_err());
    assert_eq!((server.calls(), journal.attempts()), (1, 1));

    let flying = endpoint.ask(None, picture(3), &journal);
    let sent = async {
        while server.calls() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = flying => panic!("it has no answer"),
        () = sent => {}
    }
    assert_eq!((journal.attempts(), journal.closed()), (2, 1));
}

#[tokio::test]
async fn the_server_sees_no_overfull_second() {
    let server = Server::start(|_, _| reply(200, DOG)).await;
    let mut settings = quick();
    settings.rate = Rate::Quota(Quota { calls_per_minute: 6000, pictures_per_minute: None });
    let endpoint = endpoint(Plain::new(server.url("/")), settings);
    let journal = Memory { open_takes: Duration::from_millis(1), ..Memory::default() };
    join_all((0..250).map(|n| endpoint.ask(Some(n), picture(1), &journal))).await;
    let (fullest, _) = server.fullest_second();
    // 100 + a burst of 1, and room for a machine that stalls between permission and arrival.
    assert!(fullest <= 101 + 15, "{fullest} calls in one second at a limit of 100");
}

#[tokio::test]
async fn plain_http_to_another_host_is_refused_before_anything_is_sent() {
    let journal = Memory::default();
    let error = endpoint(Plain::new("http://example.com/".to_owned()), quick())
        .ask(None, picture(1), &journal)
        .await
        .unwrap_err();
    assert!(matches!(error, AskError::Request(_)));
    assert!(error.to_string().contains("allow_http"), "{error}");
    assert_eq!(journal.attempts(), 0);
}

#[tokio::test]
async fn a_proxy_is_used_but_never_for_this_machine() {
    let proxy = Server::start(|_, _| reply(200, DOG)).await;
    let target = Server::start(|_, _| reply(200, DOG)).await;
    let settings =
        NetworkSettings { proxy: Proxy::Url(proxy.url("/").into()), allow_http: true, ..network() };
    let network = Network::new(settings).unwrap();
    let ask = async |url: String| {
        let provider = Arc::new(Plain::new(url));
        let endpoint =
            HttpEndpoint::new(provider, Arc::new(Fixed::none()), network.clone(), quick()).unwrap();
        endpoint.ask(None, picture(1), &Memory::default()).await.unwrap()
    };
    assert_eq!(ask("http://api.example.test/v1".to_owned()).await.class(), OutcomeClass::Answered);
    assert_eq!(proxy.seen()[0].line, "POST http://api.example.test/v1 HTTP/1.1");
    assert_eq!(ask(target.url("/")).await.class(), OutcomeClass::Answered);
    assert_eq!((proxy.calls(), target.calls()), (1, 1));

    let bad = NetworkSettings { proxy: Proxy::Url("http://user:planted@[oops".into()), ..support::network() };
    let error = format!("{:?} {}", Network::new(bad.clone()).unwrap_err(), Network::new(bad).unwrap_err());
    assert!(!error.contains("planted"), "{error}");
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_named_and_only_then() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca_file.path(), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    let server = Server::start_with(|_, _| reply(200, DOG), Some(Arc::new(config).into())).await;
    let url = format!("https://localhost:{}/", server.address.port());
    for (ca_file, class, billed) in [
        (Some(ca_file.path().to_owned()), OutcomeClass::Answered, Billed::Yes),
        (None, OutcomeClass::Transient, Billed::No),
    ] {
        let network = Network::new(NetworkSettings { ca_file, ..network() }).unwrap();
        let provider = Arc::new(Plain::new(url.clone()));
        let endpoint = HttpEndpoint::new(provider, Arc::new(Fixed::none()), network, quick()).unwrap();
        let journal = Memory::default();
        let outcome = endpoint.ask(None, picture(1), &journal).await.unwrap();
        assert_eq!(outcome.class(), class, "{outcome:?}");
        assert_eq!(journal.ends()[0].2, billed);
        if class == OutcomeClass::Transient {
            assert!(outcome.reason().unwrap().contains("certificate"), "{outcome:?}");
        }
    }
    assert_eq!(server.calls(), 1);
}

#[test]
fn settings_out_of_range_are_refused() {
    let build = |change: fn(&mut TransportSettings)| {
        let mut settings = quick();
        change(&mut settings);
        let network = Network::new(network()).unwrap();
        HttpEndpoint::new(Arc::new(Plain::new(String::new())), Arc::new(Fixed::none()), network, settings)
    };
    for change in [
        (|s| s.retry.attempts = 0) as fn(&mut TransportSettings),
        |s| s.burst = Some(0),
        |s| s.pictures_per_call = Some(0),
        |s| s.rate = Rate::Quota(Quota { calls_per_minute: 0, pictures_per_minute: None }),
    ] {
        assert!(build(change).unwrap_err().to_string().contains("at least 1"));
    }
}

// ---- Several pictures in one call ----

fn batching(url: String, most: usize) -> Plain {
    let mut provider = Plain::new(url);
    provider.limits.pictures_per_call = most;
    provider
}

/// Labels each picture with its number, after `fail` had its say.
fn numbered(body: &[u8], fail: impl Fn(usize, &str) -> Option<&'static str>) -> Act {
    let words = support::words(body);
    let several = words.len();
    let responses: Vec<String> = words
        .iter()
        .map(|word| match fail(several, word) {
            Some(error) => format!(r#"{{"error":"{error}"}}"#),
            None => format!(r#"{{"label":"{}"}}"#, u32::from_str_radix(word, 16).unwrap_or_default()),
        })
        .collect();
    reply(200, format!(r#"{{"responses":[{}]}}"#, responses.join(",")))
}

fn sizes(server: &Server) -> Vec<usize> {
    server.seen().iter().map(|seen| support::words(&seen.body).len()).collect()
}

fn lingering() -> TransportSettings {
    TransportSettings { linger: Duration::from_millis(60), ..quick() }
}

#[tokio::test]
async fn asks_go_together_and_each_gets_its_own_answer() {
    let server = Server::start(|_, seen| numbered(&seen.body, |_, _| None)).await;
    let endpoint = endpoint(batching(server.url("/"), 16), lingering());
    let journal = Memory { open_takes: Duration::from_millis(2), ..Memory::default() };
    let ended = join_all((0..40).map(|n| endpoint.ask(Some(u64::from(n)), picture(n), &journal))).await;
    for (n, outcome) in ended.into_iter().enumerate() {
        let Outcome::Answered(answer) = outcome.unwrap() else { panic!() };
        assert_eq!(answer.labels[0].name, n.to_string());
    }
    assert_eq!(sizes(&server), [16, 16, 8]);
    assert_eq!((journal.attempts(), journal.closed()), (40, 40), "an attempt for each picture");
    assert_eq!((endpoint.stats().calls, endpoint.stats().pictures), (3, 40));
}

#[tokio::test]
async fn only_pictures_that_failed_are_asked_again_and_alone() {
    let server = Server::start(|_, seen| {
        numbered(&seen.body, |several, word| match word {
            "00000003" if several > 1 => Some("transient"),
            "00000005" => Some("bad"),
            _ => None,
        })
    })
    .await;
    let endpoint = endpoint(batching(server.url("/"), 16), lingering());
    let journal = Memory::default();
    let ended = join_all((0..8).map(|n| endpoint.ask(Some(u64::from(n)), picture(n), &journal))).await;
    let classes: Vec<_> = ended.iter().map(|e| e.as_ref().unwrap().class()).collect();
    for (n, class) in classes.iter().enumerate() {
        let expected = if n == 5 { OutcomeClass::BadPicture } else { OutcomeClass::Answered };
        assert_eq!(*class, expected, "{n}");
    }
    assert_eq!(sizes(&server), [8, 1]);
    assert_eq!((journal.attempts(), journal.closed()), (9, 9));
}

#[tokio::test]
async fn a_call_that_fails_as_a_whole_for_one_picture_is_taken_apart() {
    for whole in [reply(500, "whole call failed"), reply(400, "one of these is bad")] {
        let server = Server::start(move |_, seen| {
            let words = support::words(&seen.body);
            match (words.len(), words.iter().any(|w| w == "00000002")) {
                (1, true) => reply(400, "bad picture"),
                (_, true) => whole.clone(),
                _ => numbered(&seen.body, |_, _| None),
            }
        })
        .await;
        let endpoint = endpoint(batching(server.url("/"), 16), lingering());
        let journal = Memory::default();
        let ended = join_all((0..4).map(|n| endpoint.ask(Some(u64::from(n)), picture(n), &journal))).await;
        for (n, outcome) in ended.into_iter().enumerate() {
            let expected = if n == 2 { OutcomeClass::BadPicture } else { OutcomeClass::Answered };
            assert_eq!(outcome.unwrap().class(), expected);
        }
        let mut sizes = sizes(&server);
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 1, 1, 1, 4]);
        assert_eq!((journal.attempts(), journal.closed()), (8, 8));
    }
}

#[tokio::test]
async fn a_call_is_closed_by_bytes_too_and_one_picture_is_always_sent() {
    let server = Server::start(|_, seen| numbered(&seen.body, |_, _| None)).await;
    let provider = Plain { most_bytes: 8, ..batching(server.url("/"), 16) };
    let endpoint = endpoint(provider, lingering());
    join_all((0..5).map(async |n| endpoint.ask(None, picture(n), &Memory::default()).await.unwrap())).await;
    assert_eq!(sizes(&server), [2, 2, 1]);
}

#[tokio::test]
async fn who_leaves_or_may_not_pay_stays_behind_and_the_others_go() {
    let server = Server::start(|_, seen| numbered(&seen.body, |_, _| None)).await;
    let endpoint = endpoint(batching(server.url("/"), 16), lingering());
    let (journal, spent) = (Memory::default(), Memory { budget: Some(0), ..Memory::default() });
    let slow = Memory { open_takes: Duration::from_hours(1), ..Memory::default() };
    let stay = join_all((0..3).map(|n| endpoint.ask(None, picture(n), &journal)));
    let refused = endpoint.ask(None, picture(10), &spent);
    let left = tokio::time::timeout(Duration::from_millis(20), endpoint.ask(None, picture(11), &journal));
    let left_late = tokio::time::timeout(Duration::from_millis(300), endpoint.ask(None, picture(12), &slow));
    let (stayed, refused, left, left_late) = tokio::join!(stay, refused, left, left_late);
    for (n, outcome) in stayed.into_iter().enumerate() {
        let Outcome::Answered(answer) = outcome.unwrap() else { panic!() };
        assert_eq!(answer.labels[0].name, n.to_string());
    }
    assert!(matches!(refused, Err(AskError::Journal(JournalError::Budget(_)))));
    assert!(left.is_err() && left_late.is_err());
    assert_eq!(sizes(&server), [3]);
    assert_eq!((journal.attempts(), journal.closed()), (3, 3));
}

#[tokio::test]
async fn the_call_goes_on_when_the_ask_that_began_it_is_dropped() {
    let server = Server::start(|_, seen| {
        Act::After(Duration::from_millis(150), Box::new(numbered(&seen.body, |_, _| None)))
    })
    .await;
    let endpoint = endpoint(batching(server.url("/"), 16), lingering());
    let journal = Memory::default();
    let first = tokio::time::timeout(Duration::from_millis(120), endpoint.ask(None, picture(1), &journal));
    let (first, second) = tokio::join!(first, endpoint.ask(None, picture(2), &journal));
    assert!(first.is_err());
    assert_eq!(second.unwrap().class(), OutcomeClass::Answered);
    assert_eq!(sizes(&server), [2], "both went");
    assert_eq!((journal.attempts(), journal.closed()), (2, 1), "the dropped one's end is unknown");
}

#[tokio::test]
async fn pictures_that_do_not_go_together_go_apart() {
    let server = Server::start(|_, seen| numbered(&seen.body, |_, _| None)).await;
    let endpoint = endpoint(batching(server.url("/"), 16), lingering());
    let journal = Memory::default();
    let large = EncodedPicture { bytes: Bytes::from(vec![0; 2 << 20]), ..picture(1) };
    let (good, bad) =
        tokio::join!(endpoint.ask(None, picture(1), &journal), endpoint.ask(None, large, &journal));
    assert_eq!(good.unwrap().class(), OutcomeClass::Answered);
    assert!(matches!(bad, Err(AskError::Request(_))));
    assert_eq!((sizes(&server), journal.attempts()), (vec![1], 1));
}

#[tokio::test]
async fn billing_holds_for_calls_of_several_pictures() {
    let server = Server::start(|n, seen| match n % 7 {
        1 => Act::Reset,
        3 => reply(503, ""),
        5 => reply(429, ""),
        _ => {
            numbered(&seen.body, |_, word| word.ends_with('7').then_some("transient").filter(|_| n % 2 == 0))
        }
    })
    .await;
    let mut settings = TransportSettings { linger: Duration::from_millis(3), ..quick() };
    settings.retry.attempts = 60; // With three calls in seven failing, nobody is ever this unlucky.
    let endpoint = endpoint(batching(server.url("/"), 8), settings);
    let journal = Memory::default();
    let ended = join_all((0..200).map(|n| endpoint.ask(Some(u64::from(n)), picture(n), &journal))).await;
    for (n, outcome) in ended.into_iter().enumerate() {
        let Outcome::Answered(answer) = outcome.unwrap() else { panic!() };
        assert_eq!(answer.labels[0].name, n.to_string());
    }
    let pictures: usize = sizes(&server).iter().sum();
    assert_eq!((journal.attempts(), journal.closed()), (pictures, pictures));
    assert!(sizes(&server).iter().all(|size| *size <= 8));
}

#[tokio::test]
async fn rejected_credentials_stop_calls_of_several_pictures() {
    let server = Server::start(|_, _| reply(401, "who are you?")).await;
    let endpoint = endpoint(batching(server.url("/"), 4), lingering());
    let journal = Memory::default();
    let ended = join_all((0..4).map(|n| endpoint.ask(None, picture(n), &journal))).await;
    assert!(ended.iter().all(|e| e.as_ref().is_ok_and(|o| o.class() == OutcomeClass::Auth)));
    assert!(matches!(endpoint.ask(None, picture(9), &journal).await, Err(AskError::Stopped { .. })));
    assert_eq!((server.calls(), journal.attempts(), journal.closed()), (1, 4, 4));
}

#[tokio::test]
async fn the_journal_that_keeps_nothing_still_gives_ids() {
    let attempt = smoothgate_providers::Attempt {
        draw: None,
        number: 1,
        price: smoothgate_providers::Price::Free,
        picture: [0; 32],
    };
    assert!(smoothgate_providers::Unrecorded.open(&attempt).await.is_ok());
}
