//! Google's credentials.

use std::time::{Duration, UNIX_EPOCH};

use futures::future::join_all;
use smoothgate_providers::credentials::google::{self, GoogleSettings, Signer};
use smoothgate_providers::credentials::{Environment, SecretSource};

use crate::common::{fixture, header, net};
use crate::support::{Server, reply};

fn pem() -> String {
    fixture("keys/test_only_rsa.pem")
}

#[test]
fn self_signed_tokens_equal_openssls() {
    // The claims are those that google-auth sends; the signature was made with `openssl dgst -sha256 -sign`.
    let email = "svc@p.iam.gserviceaccount.com".to_owned();
    let signer = Signer::new(email, &pem().into(), "kid1".to_owned()).unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_795_344_719);
    let token = signer.self_signed(google::AUDIENCE, now).unwrap();
    assert_eq!(secrecy::ExposeSecret::expose_secret(&token), fixture("keys/self_signed.jwt").trim());
    for bad in ["", "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n"] {
        let error = Signer::new("x".to_owned(), &bad.to_owned().into(), "k".to_owned()).unwrap_err();
        assert!(!error.contains("planted"), "{error}");
    }
}

fn service_account(token_uri: &str) -> serde_json::Value {
    serde_json::json!({
        "type": "service_account", "client_email": "svc@p.iam.gserviceaccount.com", "private_key": pem(),
        "private_key_id": "kid1", "token_uri": token_uri, "project_id": "p",
    })
}

#[tokio::test]
async fn google_credentials_are_found_in_their_order() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("key.json");
    std::fs::write(&file, service_account("https://oauth2.googleapis.com/token").to_string()).unwrap();
    let file = file.to_str().unwrap();
    let gcloud = home.path().join(".config/gcloud");
    std::fs::create_dir_all(&gcloud).unwrap();
    let user = serde_json::json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
    });
    std::fs::write(gcloud.join("application_default_credentials.json"), user.to_string()).unwrap();
    let home = home.path().to_str().unwrap();

    let kind = |settings: &GoogleSettings, variables: &[(&str, &str)]| {
        google::find(settings, &Environment::of(variables.iter().copied()), &net()).map(|c| c.status().kind)
    };
    let none = GoogleSettings::default();
    let all = [("GOOGLE_API_KEY", "k"), ("GOOGLE_APPLICATION_CREDENTIALS", file), ("HOME", home)];
    let configured =
        GoogleSettings { credentials: Some(SecretSource::File(file.into())), ..GoogleSettings::default() };
    assert_eq!(kind(&configured, &all), Ok("service account"));
    assert_eq!(kind(&none, &all), Ok("API key"));
    assert_eq!(kind(&none, &all[1..]), Ok("service account"));
    assert_eq!(kind(&none, &all[2..]), Ok("user account of gcloud"));
    assert_eq!(kind(&none, &[("GCE_METADATA_HOST", "127.0.0.1:1")]), Ok("machine's service account"));
    let on_gce = Environment::of::<&str, &str>([]).on("Google Google Compute Engine");
    assert_eq!(google::find(&none, &on_gce, &net()).unwrap().status().kind, "machine's service account");
    let missing = kind(&none, &[("GOOGLE_API_KEY", " ")]).unwrap_err().to_string();
    assert!(missing.contains("export GOOGLE_API_KEY="), "{missing}");

    let key = google::find(&none, &Environment::of(all), &net()).unwrap();
    assert_eq!(header(&*key, "x-goog-api-key").await.unwrap(), "k");
    let signed = google::find(&none, &Environment::of(all[1..].iter().copied()), &net()).unwrap();
    assert!(header(&*signed, "authorization").await.unwrap().starts_with("Bearer eyJ"));
}

#[tokio::test]
async fn a_service_account_is_exchanged_once_for_many() {
    let server = Server::start(|_, _| {
        reply(200, r#"{"access_token":"ya29.token","expires_in":3599,"token_type":"Bearer"}"#)
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), service_account(&server.url("/token")).to_string()).unwrap();
    let settings =
        GoogleSettings { credentials: Some(SecretSource::File(file.path().into())), token_exchange: true };
    let credential = google::find(&settings, &Environment::of::<&str, &str>([]), &net()).unwrap();
    let headers = join_all((0..64).map(|_| header(&*credential, "authorization"))).await;
    assert!(headers.iter().all(|h| h.as_deref() == Ok("Bearer ya29.token")));
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line, "POST /token HTTP/1.1");
    assert_eq!(seen[0].headers["content-type"], "application/x-www-form-urlencoded");
    let body = String::from_utf8(seen[0].body.to_vec()).unwrap();
    // The form that google-auth sends.
    assert!(body.starts_with("assertion=eyJ"), "{body}");
    assert!(body.ends_with("&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"), "{body}");
}

#[tokio::test]
async fn users_and_machines_of_google_get_tokens() {
    let server = Server::start(|_, _| reply(200, r#"{"access_token":"tok","expires_in":100}"#)).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let user = serde_json::json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s&s", "refresh_token": "1//r",
        "quota_project_id": "proj", "token_uri": server.url("/token"),
    });
    std::fs::write(file.path(), user.to_string()).unwrap();
    let environment = Environment::of([("GOOGLE_APPLICATION_CREDENTIALS", file.path().to_str().unwrap())]);
    let credential = google::find(&GoogleSettings::default(), &environment, &net()).unwrap();
    assert_eq!(header(&*credential, "authorization").await.unwrap(), "Bearer tok");
    assert_eq!(header(&*credential, "x-goog-user-project").await.unwrap(), "proj");
    let body = String::from_utf8(server.seen()[0].body.to_vec()).unwrap();
    assert_eq!(body, "client_id=c&client_secret=s%26s&refresh_token=1%2F%2Fr&grant_type=refresh_token");

    let environment = Environment::of([("GCE_METADATA_HOST", server.address.to_string())]);
    let credential = google::find(&GoogleSettings::default(), &environment, &net()).unwrap();
    assert_eq!(header(&*credential, "authorization").await.unwrap(), "Bearer tok");
    let seen = &server.seen()[1];
    assert_eq!(seen.line, "GET /computeMetadata/v1/instance/service-accounts/default/token HTTP/1.1");
    assert_eq!(seen.headers["metadata-flavor"], "Google");
}

#[tokio::test]
async fn what_a_token_service_says_is_passed_on_without_secrets() {
    let cases = [
        (
            400,
            r#"{"error":"invalid_grant","error_description":"bad PLANTED-REFRESH here"}"#,
            false,
            "invalid_grant",
        ),
        (503, "busy", true, "503"),
        (429, "", true, "429"),
        (200, "no json PLANTED-REFRESH", true, "JSON"),
        (200, "{}", true, "access_token"),
    ];
    for (status, body, may_retry, says) in cases {
        let server = Server::start(move |_, _| reply(status, body)).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        let user = serde_json::json!({
            "type": "authorized_user", "client_id": "c", "client_secret": "PLANTED-SECRET",
            "refresh_token": "PLANTED-REFRESH", "token_uri": server.url("/"),
        });
        std::fs::write(file.path(), user.to_string()).unwrap();
        let environment =
            Environment::of([("GOOGLE_APPLICATION_CREDENTIALS", file.path().to_str().unwrap())]);
        let credential = google::find(&GoogleSettings::default(), &environment, &net()).unwrap();
        let error = header(&*credential, "authorization").await.unwrap_err();
        assert_eq!(error.may_retry(), may_retry, "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(says) && !text.contains("PLANTED"), "{text}");
    }
}

#[test]
fn google_files_that_cannot_be_used_are_named_and_not_repeated() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (text, says) in [
        (
            r#"{"type":"service_account","client_email":"x","private_key":"PLANTED","private_key_id":"k"}"#,
            "PEM",
        ),
        (r#"{"type":"service_account","private_key":["PLANTED"]}"#, "is not the JSON"),
        (r#"{"type":"external_account","secret":"PLANTED"}"#, "service_account"),
        ("{PLANTED", "is not the JSON"),
    ] {
        std::fs::write(file.path(), text).unwrap();
        let environment = Environment::of([("GOOGLE_APPLICATION_CREDENTIALS", path)]);
        let error = google::find(&GoogleSettings::default(), &environment, &net()).err().unwrap().to_string();
        assert!(error.contains(path) && error.contains(says) && !error.contains("PLANTED"), "{error}");
    }
}
