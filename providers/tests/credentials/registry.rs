//! Every provider by its name, with its credentials.

use std::collections::HashSet;

use smoothgate_providers::credentials::{Environment, SecretSource};
use smoothgate_providers::registry::{self, CredentialSettings, PROVIDERS};

use crate::common::{header, net};

fn options(name: &str) -> serde_json::Value {
    match name {
        "openai" => serde_json::json!({"model": "m", "labels": ["a", "b"]}),
        "kserve" => serde_json::json!({"endpoint": "http://127.0.0.1:1", "model": "m"}),
        "http" => serde_json::json!({
            "url": "https://example.com/", "labels": {"form": "list", "at": "/labels", "name": "/name"},
        }),
        "huggingface" => serde_json::json!({"model": "m"}),
        _ => serde_json::json!({}),
    }
}

#[test]
fn every_provider_is_made_by_its_name_and_says_which_variable_is_missing() {
    let names: HashSet<&str> = PROVIDERS.iter().map(|p| p.name).collect();
    assert_eq!(names.len(), PROVIDERS.len());
    let complete =
        Environment::of([("AWS_REGION", "us-east-1"), ("VISION_ENDPOINT", "https://x.example.com")]);
    let network = net();
    for registration in PROVIDERS {
        let name = registration.name;
        assert_eq!(registry::find(name).map(|r| r.name), Some(name));
        let provider = registration.adapter(&options(name), &complete).unwrap().provider;
        assert_eq!(provider.name(), name);
        let settings = CredentialSettings::default();
        let credential = registration.credential(&options(name), &settings, &complete, &network);
        match name {
            "kserve" | "http" => assert_eq!(credential.unwrap().status().kind, "none"),
            _ => assert!(credential.err().unwrap().to_string().contains("export "), "{name}"),
        }
        let unknown =
            registration.adapter(&serde_json::json!({"no_such_option": 1}), &complete).err().unwrap();
        assert!(unknown.to_string().contains("no_such_option") || name == "http", "{name}: {unknown}");
    }
    assert!(registry::find("nobody").is_none());
    let nowhere = Environment::of::<&str, &str>([]);
    for (name, variable) in
        [("aws", "AWS_REGION"), ("azure", "VISION_ENDPOINT"), ("azure-v3", "VISION_ENDPOINT")]
    {
        let error = registry::find(name).unwrap().adapter(&serde_json::json!({}), &nowhere).err().unwrap();
        assert!(error.to_string().contains(variable), "{error}");
    }
}

#[tokio::test]
async fn a_services_key_goes_to_its_own_hosts_alone() {
    let environment = Environment::of([
        ("OPENAI_API_KEY", "sk"),
        ("AZURE_OPENAI_API_KEY", "az"),
        ("HF_TOKEN", "hf"),
        ("MINE", "my"),
    ]);
    let network = net();
    let kind = |name: &str, address: serde_json::Value, key: Option<&str>| {
        let settings =
            CredentialSettings { key: key.map(|key| key.parse().unwrap()), ..CredentialSettings::default() };
        let registration = registry::find(name).unwrap();
        let credential = registration.credential(&address, &settings, &environment, &network).unwrap();
        credential.status()
    };
    let openai = |url: &str, key| kind("openai", serde_json::json!({"endpoint": url}), key).source;
    assert_eq!(kind("openai", serde_json::json!({}), None).source, "env::OPENAI_API_KEY");
    assert_eq!(openai("https://api.openai.com/v1", None), "env::OPENAI_API_KEY");
    assert_eq!(openai("https://x.openai.azure.com/openai/v1", None), "env::AZURE_OPENAI_API_KEY");
    assert_eq!(openai("https://API.OpenAI.com/v1", None), "env::OPENAI_API_KEY");
    for other in [
        "http://127.0.0.1:8000/v1",
        "https://api.openai.com.evil.example/v1",
        "https://evil-azure.com/",
        "https://gpu1.westeurope.cloudapp.azure.com/v1",
    ] {
        assert_eq!(openai(other, None), "not needed", "{other}");
        assert_eq!(openai(other, Some("env::MINE")), "env::MINE");
    }
    let hf = |url: &str| kind("huggingface", serde_json::json!({"url": url}), None).source;
    assert_eq!(kind("huggingface", serde_json::json!({"model": "m"}), None).source, "env::HF_TOKEN");
    assert_eq!(hf("https://abc.us-east-1.aws.endpoints.huggingface.cloud"), "env::HF_TOKEN");
    assert_eq!(hf("http://127.0.0.1:8080"), "not needed");
}

#[tokio::test]
async fn keys_are_sent_as_each_provider_wants_them() {
    let environment = Environment::of([("CLARIFAI_PAT", "pat\n"), ("OPENAI_API_KEY", "sk"), ("K", "k")]);
    let network = net();
    let credential = |name: &str, settings: &CredentialSettings| {
        registry::find(name)
            .unwrap()
            .credential(&serde_json::json!({}), settings, &environment, &network)
            .unwrap()
    };
    let none = CredentialSettings::default();
    assert_eq!(header(&*credential("clarifai", &none), "authorization").await.unwrap(), "Key pat");
    assert_eq!(header(&*credential("openai", &none), "authorization").await.unwrap(), "Bearer sk");
    let own = CredentialSettings {
        key: Some(SecretSource::Env("K".to_owned())),
        header: Some("X-Api-Key".to_owned()),
        ..CredentialSettings::default()
    };
    assert_eq!(header(&*credential("http", &own), "x-api-key").await.unwrap(), "k");
    let token = CredentialSettings { header: None, prefix: Some("Token ".to_owned()), ..own };
    assert_eq!(header(&*credential("http", &token), "authorization").await.unwrap(), "Token k");
}
