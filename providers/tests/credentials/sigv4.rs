//! Signature Version 4 against boto3, the JavaScript SDK, AWS' published suite and the `aws-sigv4` crate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign as peer};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use proptest::prelude::*;
use smoothgate_providers::credentials::aws::AwsKeys;
use smoothgate_providers::credentials::aws::sigv4::{Received, SignatureError, Verifier, sign};

use crate::common::fixture;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

struct Recorded {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

fn recorded(text: &str) -> Recorded {
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let mut lines = head.lines();
    let mut line = lines.next().unwrap().splitn(2, ' ');
    let method = line.next().unwrap().parse().unwrap();
    let uri = line.next().unwrap().strip_suffix(" HTTP/1.1").unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|l| l.split_once(':')) {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    Recorded { method, uri, headers, body: body.to_owned() }
}

fn at(recorded: &Recorded) -> SystemTime {
    // All that is recorded is of one of three instants.
    let seconds = match recorded.headers["x-amz-date"].to_str().unwrap() {
        "20150830T123600Z" => 1_440_938_160,
        "20261122T105004Z" => 1_795_344_604,
        "20261122T110030Z" => 1_795_345_230,
        other => panic!("{other}"),
    };
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn keys(session_token: Option<&str>) -> AwsKeys {
    AwsKeys {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: SECRET.into(),
        session_token: session_token.map(Into::into),
    }
}

fn verify(recorded: &Recorded, service: &str, now: SystemTime, secret: &str) -> Result<(), SignatureError> {
    let received = Received {
        method: &recorded.method,
        uri: &recorded.uri,
        headers: &recorded.headers,
        body: recorded.body.as_bytes(),
    };
    let verifier = Verifier { service, skew: Duration::from_mins(5) };
    verifier.verify(&received, now, |id| (id == "AKIDEXAMPLE").then(|| secret.into())).map(drop)
}

#[test]
fn signatures_equal_those_of_boto3_byte_for_byte() {
    for (file, token) in
        [("boto3_labels", None), ("boto3_moderation", None), ("boto3_session", Some("SESSIONTOKEN"))]
    {
        let recorded = recorded(&fixture(&format!("sigv4/{file}.http")));
        let host = recorded.headers["host"].to_str().unwrap();
        let mut request = Request::post(format!("http://{host}/"))
            .header("x-amz-target", &recorded.headers["x-amz-target"])
            .header("content-type", "application/x-amz-json-1.1")
            .header("user-agent", "not signed")
            .body(Bytes::from(recorded.body.clone()))
            .unwrap();
        sign(&mut request, &keys(token), "us-east-1", "rekognition", at(&recorded)).unwrap();
        assert_eq!(request.headers()["authorization"], recorded.headers["authorization"], "{file}");
        assert_eq!(request.headers()["x-amz-date"], recorded.headers["x-amz-date"]);
        assert!(!format!("{request:?}").contains("Signature="), "the header is marked sensitive");
    }
}

#[test]
fn recorded_requests_of_both_sdks_verify_and_no_changed_one_does() {
    let boto3 = ["boto3_labels", "boto3_moderation", "boto3_session"].map(|file| (file, SECRET));
    // The JavaScript SDK signs nine headers where boto3 signs four: the list is the request's to give.
    for (file, secret) in boto3.into_iter().chain([("js_labels", "s")]) {
        let text = fixture(&format!("sigv4/{file}.http"));
        let good = recorded(&text);
        let now = at(&good);
        assert_eq!(verify(&good, "rekognition", now, secret), Ok(()), "{file}");
        assert_eq!(verify(&good, "rekognition", now + Duration::from_secs(299), secret), Ok(()));

        let minutes = Duration::from_secs(301);
        for late in [now + minutes, now - minutes] {
            assert!(matches!(verify(&good, "rekognition", late, secret), Err(SignatureError::Skew { .. })));
        }
        assert_eq!(verify(&good, "rekognition", now, "another secret"), Err(SignatureError::Mismatch));
        assert!(matches!(verify(&good, "s3", now, secret), Err(SignatureError::Incomplete(_))));

        let changed = |from: &str, to: &str| {
            assert!(text.contains(from), "{file}: {from}");
            verify(&recorded(&text.replacen(from, to, 1)), "rekognition", now, secret).unwrap_err()
        };
        assert_eq!(changed("iVBOR", "jVBOR"), SignatureError::Mismatch);
        assert_eq!(
            changed("RekognitionService.Detect", "RekognitionService.Delete"),
            SignatureError::Mismatch
        );
        assert_eq!(changed("127.0.0.1", "127.0.0.2"), SignatureError::Mismatch);
        assert_eq!(changed("POST / ", "POST /x "), SignatureError::Mismatch);
        assert_eq!(changed("us-east-1", "us-east-2"), SignatureError::Mismatch);
        assert_eq!(changed("AKIDEXAMPLE", "AKIDUNKNOWN"), SignatureError::UnknownKey);
        assert_eq!(changed("Signature=", "Signature=0"), SignatureError::Mismatch);
        assert_eq!(changed("Signature=", "Signature=zz"), SignatureError::Mismatch);
        assert!(matches!(changed("20261122/us", "20261121/us"), SignatureError::Incomplete(_)));
        assert!(matches!(changed(";x-amz-target", ""), SignatureError::Incomplete(_)));
        assert!(matches!(changed(";host", ""), SignatureError::Incomplete(_)));
        assert!(matches!(changed("aws4_request,", "aws5_request,"), SignatureError::Incomplete(_)));
        assert_eq!(changed("AWS4-HMAC-SHA256", "Bearer"), SignatureError::Missing);
    }
}

/// AWS' published suite, but for S3's rule for paths, obsolete folded lines, and a path that cannot be sent.
#[test]
fn the_published_suite_verifies() {
    let suite = fixture("sigv4/aws_test_suite.http");
    let mut verified = 0;
    for case in suite.split("##### ").skip(1) {
        let (name, text) = case.split_once('\n').unwrap();
        if name == "get-space-normalized" {
            continue; // Its signature is that of the path before it was encoded.
        }
        let request = recorded(text.trim_end_matches('\n'));
        assert_eq!(verify(&request, "service", at(&request), SECRET), Ok(()), "{name}");
        verified += 1;
    }
    assert_eq!(verified, 28);
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|d| char::from_digit(d.into(), 16))
        .collect()
}

/// A request of boto3's whose headers are changed before it arrives.
fn boto3_with(change: impl FnOnce(&mut HeaderMap)) -> Result<(), SignatureError> {
    let mut request = recorded(&fixture("sigv4/boto3_labels.http"));
    change(&mut request.headers);
    verify(&request, "rekognition", at(&request), SECRET)
}

#[test]
fn every_truncation_of_the_authorization_header_is_refused() {
    let whole = recorded(&fixture("sigv4/boto3_labels.http")).headers["authorization"].clone();
    let whole = whole.to_str().unwrap();
    for end in 0..whole.len() {
        let cut = boto3_with(|h| drop(h.insert("authorization", whole[..end].parse().unwrap())));
        assert!(cut.is_err(), "{}", &whole[..end]);
    }
    assert_eq!(boto3_with(|_| ()), Ok(()));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let whole = recorded(&fixture("sigv4/boto3_labels.http")).headers;
    for name in ["authorization", "x-amz-date"] {
        let twice = boto3_with(|h| assert!(h.append(name, whole[name].clone())));
        assert!(matches!(twice, Err(SignatureError::Incomplete(_))), "{name}: {twice:?}");
    }
    let line = whole["authorization"].to_str().unwrap();
    let signature = line.rsplit_once(", ").unwrap().1;
    for more in [format!("{line}, {signature}"), format!("{line}, Other=x"), format!("{line},")] {
        let twice = boto3_with(|h| drop(h.insert("authorization", more.parse().unwrap())));
        assert!(matches!(twice, Err(SignatureError::Incomplete(_))), "{more}: {twice:?}");
    }
}

/// Signed by the peer, which puts the hash that it is told into the canonical request.
#[test]
fn a_body_that_the_signature_leaves_out_or_takes_in_pieces_is_refused() {
    let now = UNIX_EPOCH + Duration::from_mins(24_015_636);
    let sign_as = |body: SignableBody<'_>, announced: &str| {
        let identity =
            aws_credential_types::Credentials::new("AKIDEXAMPLE", SECRET, None, None, "test").into();
        let params = aws_sigv4::sign::v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("rekognition")
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .unwrap();
        let headers = [("host", "rekognition.amazonaws.com"), ("x-amz-content-sha256", announced)];
        let signable =
            SignableRequest::new("POST", "https://rekognition.amazonaws.com/", headers.into_iter(), body)
                .unwrap();
        let mut request =
            Request::post("/").header("host", headers[0].1).header(headers[1].0, announced).body("").unwrap();
        peer(signable, &params.into()).unwrap().into_parts().0.apply_to_request_http1x(&mut request);
        let received = Received {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            body: b"picture",
        };
        let verifier = Verifier { service: "rekognition", skew: Duration::from_secs(1) };
        verifier.verify(&received, now, |_| Some(SECRET.into())).map(drop)
    };
    // Of the empty body, and of none.
    let (empty, none) = ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "0".repeat(64));
    let own = ring::digest::digest(&ring::digest::SHA256, b"picture");
    let own = hex(own.as_ref());
    assert_eq!(sign_as(SignableBody::Bytes(b"picture"), &own), Ok(()));
    for wrong in [empty, &none, ""] {
        assert_eq!(sign_as(SignableBody::Bytes(b"picture"), wrong), Err(SignatureError::Mismatch), "{wrong}");
        assert_eq!(
            sign_as(SignableBody::Precomputed(wrong.to_owned()), wrong),
            Err(SignatureError::Mismatch),
            "{wrong}"
        );
    }
    for form in
        ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"]
    {
        let refused = sign_as(SignableBody::Precomputed(form.to_owned()), form);
        assert_eq!(refused, Err(SignatureError::UnsignedBody(form.to_owned())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// The same signature as the `aws-sigv4` crate's, and the verifier takes it.
    #[test]
    fn signatures_equal_those_of_the_aws_crate(
        path in "(/[a-zA-Z0-9._~%-]{0,6}){1,4}",
        query in proptest::option::of("[a-zA-Z0-9=&.-]{1,20}"),
        body in proptest::collection::vec(any::<u8>(), 0..100),
        token in proptest::option::of("[a-zA-Z0-9/+=]{1,40}"),
        region in "[a-z]{2}-[a-z]{4}-[1-9]",
        secret in "[a-zA-Z0-9/+]{8,40}",
        target in "[ -~]{1,20}",
        seconds in 1_000_000_000u64..4_000_000_000,
    ) {
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        let path = path.replace('%', "%41");
        let url = format!("https://rekognition.amazonaws.com{path}{}", query.map(|q| format!("?{q}")).unwrap_or_default());
        let mut request = Request::post(&url)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target.trim())
            .body(Bytes::from(body.clone()))
            .unwrap();
        let keys = AwsKeys {
            access_key_id: "AKID".to_owned(),
            secret_access_key: secret.clone().into(),
            session_token: token.clone().map(Into::into),
        };
        sign(&mut request, &keys, &region, "rekognition", now).unwrap();
        let ours = request.headers()["authorization"].to_str().unwrap().to_owned();

        let identity = aws_credential_types::Credentials::new("AKID", secret.clone(), token, None, "test").into();
        let params = aws_sigv4::sign::v4::SigningParams::builder()
            .identity(&identity).region(&region).name("rekognition").time(now)
            .settings(SigningSettings::default()).build().unwrap();
        let headers = [
            ("host", "rekognition.amazonaws.com"),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target.trim()),
        ];
        let signable = SignableRequest::new("POST", url.as_str(), headers.into_iter(), SignableBody::Bytes(&body)).unwrap();
        let theirs = peer(signable, &params.into()).unwrap().into_parts().1;
        prop_assert_eq!(ours.rsplit('=').next().unwrap(), theirs);

        let received = Received { method: request.method(), uri: request.uri(), headers: request.headers(), body: &body };
        let verifier = Verifier { service: "rekognition", skew: Duration::from_secs(1) };
        let verified = verifier.verify(&received, now, |_| Some(secret.into())).unwrap();
        prop_assert_eq!((verified.key_id.as_str(), verified.signed_at), ("AKID", now));
        let written = hex(&verified.signature);
        prop_assert_eq!(&ours[ours.len() - 64..], &written);
        let shown = format!("{verified:?}");
        prop_assert!(!shown.contains(&written[..8]));
    }

    /// Whatever is sent, the verifier says no and does not panic.
    #[test]
    fn garbage_never_verifies(authorization in "(AWS4-HMAC-SHA256 )?[ -~]{0,200}", date in "[0-9TZ]{0,20}", path in "/[!-~]{0,20}") {
        let Ok(uri) = path.parse::<Uri>() else { return Ok(()) };
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
        headers.insert("x-amz-date", HeaderValue::from_str(&date).unwrap());
        let received = Received { method: &Method::POST, uri: &uri, headers: &headers, body: b"" };
        let verifier = Verifier { service: "rekognition", skew: Duration::from_mins(5) };
        prop_assert!(verifier.verify(&received, UNIX_EPOCH, |_| Some(SECRET.into())).is_err());
    }
}
