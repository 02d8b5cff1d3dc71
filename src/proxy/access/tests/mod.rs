//! Keys as callers show them in every format, and whatever is no key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use smoothgate_providers::credentials::aws::AwsKeys;
use smoothgate_providers::credentials::aws::sigv4::{Received, SignatureError, sign};
use smoothgate_providers::credentials::{Environment, SecretSource};
use smoothgate_providers::served::{self, Incoming, Mark, Presented, Refusal, RefusalClass};

use super::*;

mod aws;
mod gate;
mod keys;
mod store;

const HOUR: Duration = Duration::from_hours(1);

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    /// A token of a key that is changed before it is stored.
    fn token(&self, change: impl FnOnce(&mut Record)) -> (KeyId, SecretString) {
        let id = KeyId::fresh().unwrap();
        let (token, hash) = TokenHash::fresh(id).unwrap();
        self.add(id, Proof::Token(hash), change);
        (id, token)
    }

    /// An AWS pair.
    fn pair(&self, master: &Master, change: impl FnOnce(&mut Record)) -> (KeyId, AwsKeys) {
        let id = KeyId::fresh().unwrap();
        self.add(id, Proof::Aws, change);
        KeyFile::change(&self.path(), |file| file.adopt(&self.path(), master)).unwrap();
        (
            id,
            AwsKeys {
                access_key_id: id.for_aws(),
                secret_access_key: master.secret(id),
                session_token: None,
            },
        )
    }

    fn add(&self, id: KeyId, proof: Proof, change: impl FnOnce(&mut Record)) {
        let mut record = Record {
            id,
            name: "test".to_owned(),
            proof,
            routes: Routes::default(),
            rate: None,
            budget: Cap::default(),
            created: Time::of(SystemTime::now()),
            expires: None,
            revoked: None,
        };
        change(&mut record);
        KeyFile::change(&self.path(), |file| file.add(record)).unwrap();
    }

    fn edit(&self, id: KeyId, change: impl FnOnce(&mut Record)) {
        KeyFile::change(&self.path(), |file| file.key_mut(id).map(change)).unwrap();
    }

    fn master(&self) -> Master {
        Master::create(&self.folder.path().join("master")).unwrap()
    }

    fn ring(&self, master: Option<Master>) -> Keyring {
        Keyring::open(&self.path(), master).unwrap()
    }

    fn keys(&self) -> Keys {
        Keys::new(self.ring(None), Arc::new(NoBooks))
    }
}

/// A request to one of the formats.
#[derive(Clone)]
struct Sent {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Sent {
    fn to(uri: &str) -> Self {
        let headers =
            HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("127.0.0.1:8080"))]);
        Self { method: Method::POST, uri: uri.parse().unwrap(), headers, body: Bytes::from_static(b"{}") }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        self
    }

    fn signed(keys: &AwsKeys, at: SystemTime) -> Self {
        let mut request = Request::post("http://127.0.0.1:8080/")
            .header("x-amz-target", "RekognitionService.DetectLabels")
            .header("content-type", "application/x-amz-json-1.1")
            .body(Bytes::from_static(b"{}"))
            .unwrap();
        sign(&mut request, keys, "us-east-1", "rekognition", at).unwrap();
        let (parts, body) = request.into_parts();
        Self { method: parts.method, uri: parts.uri, headers: parts.headers, body }
    }

    /// What the ring says, to the head alone and to the whole request.
    fn check(&self, ring: &Keyring, api: &'static str, now: SystemTime) -> Result<Record, Denied> {
        self.asking(api, |asking| {
            let greeted = ring.greet(asking.presented, &self.headers, now);
            let received =
                Received { method: &self.method, uri: &self.uri, headers: &self.headers, body: &self.body };
            let checked = ring.check(asking.presented, &received, now);
            let signed = matches!(asking.presented, Some(Presented::SigV4));
            // Who is turned away at the door would be so inside, and who is not, only for what the body or the rate says.
            match (greeted, &checked) {
                (Err(_), Ok(_)) => panic!("turned away at the door and let in"),
                (Err(greeted), Err(checked)) if !signed => assert_eq!(greeted, *checked),
                (Ok(()), Err(denied)) if !signed => {
                    assert!(matches!(denied, Denied::OverRate { .. }), "{denied:?}");
                }
                _ => {}
            }
            checked
        })
    }

    /// What the gate says.
    fn admit(&self, access: &dyn Access, api: &'static str) -> Result<Caller, Refusal> {
        self.asking(api, |asking| access.greet(asking).and_then(|()| access.admit(asking)))
    }

    fn asking<T>(&self, api: &'static str, look: impl FnOnce(&Asking<'_>) -> T) -> T {
        let served = served::by_name(api).unwrap();
        let incoming = Incoming {
            method: &self.method,
            path: self.uri.path(),
            query: self.uri.query().unwrap_or_default(),
            headers: &self.headers,
            body: &self.body,
        };
        let presented = served.credential(&incoming);
        let peer = ([127, 0, 0, 1], 1).into();
        look(&Asking { api, incoming, uri: &self.uri, presented: presented.as_ref(), peer })
    }
}

fn mark() -> Mark {
    Mark { request_id: "r".to_owned(), unix_seconds: 0 }
}
