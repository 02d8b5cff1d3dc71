//! Azure's credentials.

use smoothgate_providers::credentials::Environment;
use smoothgate_providers::credentials::azure::{self, AzureSettings};

use crate::common::{header, net};
use crate::support::{Server, reply};

#[tokio::test]
async fn azure_keys_applications_and_identities() {
    let server = Server::start(|_, _| reply(200, r#"{"access_token":"tok","expires_in":"3599"}"#)).await;
    let url = server.url("");
    let find = |variables: &[(&str, &str)], managed_identity| {
        let settings = AzureSettings { key: None, managed_identity };
        azure::find(&settings, &Environment::of(variables.iter().copied()), &net())
    };
    let key = find(&[("VISION_KEY", "0123")], false).unwrap();
    assert_eq!(header(&*key, "ocp-apim-subscription-key").await.unwrap(), "0123");

    let entra = [
        ("AZURE_TENANT_ID", "ten"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_CLIENT_SECRET", "s+/="),
        ("AZURE_AUTHORITY_HOST", url.as_str()),
    ];
    let application = find(&entra, false).unwrap();
    assert_eq!(header(&*application, "authorization").await.unwrap(), "Bearer tok");
    let seen = server.seen();
    assert_eq!(seen[0].line, "POST /ten/oauth2/v2.0/token HTTP/1.1");
    assert_eq!(
        &seen[0].body[..],
        b"client_id=app&client_secret=s%2B%2F%3D&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default\
          &grant_type=client_credentials" as &[u8]
    );
    let half = find(&entra[..2], false).err().unwrap().to_string();
    assert!(half.contains("export AZURE_CLIENT_SECRET="), "{half}");

    let endpoint = format!("{url}/msi/token");
    let app_service =
        find(&[("IDENTITY_ENDPOINT", &endpoint), ("IDENTITY_HEADER", "inside")], false).unwrap();
    assert_eq!(header(&*app_service, "authorization").await.unwrap(), "Bearer tok");
    let machine = find(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &url)], true).unwrap();
    assert_eq!(header(&*machine, "authorization").await.unwrap(), "Bearer tok");
    let seen = server.seen();
    let resource = "resource=https%3A%2F%2Fcognitiveservices.azure.com";
    assert_eq!(seen[1].line, format!("GET /msi/token?api-version=2019-08-01&{resource} HTTP/1.1"));
    assert_eq!(seen[1].headers["x-identity-header"], "inside");
    assert_eq!(
        seen[2].line,
        format!("GET /metadata/identity/oauth2/token?api-version=2018-02-01&{resource} HTTP/1.1")
    );
    assert_eq!(seen[2].headers["metadata"], "true");

    let none = find(&[], false).err().unwrap().to_string();
    assert!(none.contains("export VISION_KEY="), "{none}");
    assert!(azure::endpoint(None, &Environment::of([("VISION_ENDPOINT", "https://x")])).is_ok());
    let none = azure::endpoint(None, &Environment::of::<&str, &str>([])).unwrap_err().to_string();
    assert!(none.contains("export VISION_ENDPOINT="), "{none}");
}
