//! AWS' credentials.

use smoothgate_providers::credentials::Environment;
use smoothgate_providers::credentials::aws::{self, AwsSettings};

use crate::common::{header, net};
use crate::support::{Server, reply};

#[tokio::test]
async fn aws_keys_from_the_environment_containers_and_instances() {
    let server = Server::start(|_, seen| {
        let keys = r#"{"AccessKeyId":"ASIA","SecretAccessKey":"sec","Token":"tok","Expiration":"2099-01-01T00:00:00Z"}"#;
        match seen.line.as_str() {
            "PUT /latest/api/token HTTP/1.1" => reply(200, "session"),
            "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1" => reply(200, "role\n"),
            "GET /latest/meta-data/iam/security-credentials/role HTTP/1.1" | "GET /creds HTTP/1.1" => {
                reply(200, keys)
            }
            other => reply(404, other),
        }
    })
    .await;
    let find = |variables: &[(&str, &str)]| {
        let environment = Environment::of(variables.iter().copied());
        let settings = AwsSettings { region: Some("eu-west-1".to_owned()), profile: None };
        aws::find(&settings, "rekognition", &environment, &net())
    };
    let fixed =
        find(&[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")]);
    let fixed = fixed.unwrap();
    let signed = header(&*fixed, "authorization").await.unwrap();
    assert!(signed.contains("Credential=AKID/") && signed.contains("/eu-west-1/rekognition/aws4_request"));
    assert_eq!(header(&*fixed, "x-amz-security-token").await.unwrap(), "t");

    let url = server.url("/creds");
    let container =
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "in")];
    let container = find(&container).unwrap();
    assert!(header(&*container, "authorization").await.unwrap().contains("Credential=ASIA/"));
    assert_eq!(server.seen()[0].headers["authorization"], "in");

    let url = server.url("/");
    let instance = find(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)]).unwrap();
    assert_eq!(header(&*instance, "x-amz-security-token").await.unwrap(), "tok");
    assert!(header(&*instance, "authorization").await.unwrap().contains("Credential=ASIA/"));
    let seen = server.seen();
    assert_eq!(seen.len(), 4, "keys that last are fetched once");
    assert_eq!(seen[1].headers["x-aws-ec2-metadata-token-ttl-seconds"], "21600");
    assert_eq!(seen[3].headers["x-aws-ec2-metadata-token"], "session");

    let error = |variables: &[(&str, &str)]| find(variables).err().unwrap().to_string();
    assert!(error(&[]).contains("export AWS_ACCESS_KEY_ID="));
    assert!(error(&[("AWS_ACCESS_KEY_ID", "AKID")]).contains("export AWS_SECRET_ACCESS_KEY="));
    assert!(error(&[("AWS_PROFILE", "absent")]).contains("profile absent"));
    let disabled =
        [("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str()), ("AWS_EC2_METADATA_DISABLED", "true")];
    assert!(error(&disabled).contains("aws configure"));
    let region =
        aws::region(&AwsSettings::default(), &Environment::of::<&str, &str>([])).unwrap_err().to_string();
    assert!(region.contains("export AWS_REGION="), "{region}");
}
