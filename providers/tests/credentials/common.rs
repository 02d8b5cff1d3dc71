//! What the tests of credentials share.

use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use smoothgate_providers::credentials::{Credential, CredentialError};
use smoothgate_providers::transport::Network;

use crate::support::network;

pub(crate) fn fixture(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)).unwrap()
}

pub(crate) fn net() -> Network {
    Network::new(network()).unwrap()
}

/// The header `name` of a request that `credential` has authorized.
pub(crate) async fn header(credential: &dyn Credential, name: &str) -> Result<String, CredentialError> {
    let mut request = Request::post("https://example.com/").body(Bytes::new()).unwrap();
    credential.authorization().await?.apply(&mut request, SystemTime::now())?;
    Ok(request.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default())
}
