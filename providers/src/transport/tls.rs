//! TLS with rustls and ring, and the rule for plain `http`.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::SettingsError;

/// The TLS configuration of a client: ring, TLS 1.2 and 1.3, the system's trusted authorities and those of `ca_file`.
///
/// Where the system has no store of authorities (a bare container), Mozilla's list as compiled into the program is
/// used instead.
///
/// # Errors
/// [`SettingsError`] for a CA file that cannot be used.
pub fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, SettingsError> {
    let tls = |error: rustls::Error| SettingsError::Tls(error.to_string());
    let extra = ca_file.map(authorities).transpose()?.unwrap_or_default();
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&crypto))
        .with_safe_default_protocol_versions()
        .map_err(tls)?;
    let mut config = match Verifier::new_with_extra_roots(extra.clone(), crypto) {
        Ok(verifier) => builder
            .dangerous() // rustls' word for any verifier that is not its own; this one asks the system.
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth(),
        Err(error) => {
            tracing::debug!(%error, "no system store of certificate authorities: using the built-in list");
            let mut roots = RootCertStore::empty();
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            for authority in extra {
                roots.add(authority).map_err(tls)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let bad = |problem: String| SettingsError::CaFile { path: path.to_owned(), problem };
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?.collect();
    let found = read.map_err(|error| bad(error.to_string()))?;
    if found.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    let mut check = RootCertStore::empty();
    for authority in &found {
        check.add(authority.clone()).map_err(|error| bad(error.to_string()))?;
    }
    Ok(found)
}

/// Whether an address may be called: `https`, or plain `http` where the host is this machine or `allow_http` is set.
///
/// # Errors
/// A sentence that says why not and what to change.
pub fn check_scheme(url: &http::Uri, allow_http: bool) -> Result<(), String> {
    let host = url.host().unwrap_or_default();
    if host.is_empty() {
        return Err("the address has no host: write it as https://HOST/".to_owned());
    }
    match url.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if allow_http || is_loopback(host) => Ok(()),
        Some("http") => Err(format!(
            "http://{host} would send credentials and pictures in the clear: use https, or set allow_http = true"
        )),
        other => Err(format!("`{}` is no scheme for an API: use https", other.unwrap_or_default())),
    }
}

/// Whether a host name or address is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a host is the metadata service of a cloud's machines: reached over plain `http` on a link that does not
/// leave the machine, and never through a proxy. These are link-local addresses (AWS, Google, Azure, and the several of App Service), and
/// the two that AWS uses with IPv6.
pub(crate) fn is_metadata(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match address.parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_unicast_link_local()
                || matches!(address.segments(), [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23 | 0x254])
        }
        Err(_) => host == "metadata.google.internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, allow: bool) -> bool {
        check_scheme(&url.parse().unwrap(), allow).is_ok()
    }

    #[test]
    fn metadata_services_are_on_links_that_end_at_this_machine() {
        for host in [
            "metadata.google.internal",
            "169.254.169.254",
            "169.254.170.23",
            "169.254.129.3",
            "[fd00:ec2::23]",
            "[fd00:ec2::254]",
            "fe80::1",
        ] {
            assert!(is_metadata(host), "{host}");
        }
        for host in
            ["169.253.169.254", "172.16.1.2", "[fd00:ec2::25]", "metadata.google.internal.example", "8.8.8.8"]
        {
            assert!(!is_metadata(host), "{host}");
        }
    }

    #[test]
    fn plain_http_only_to_this_machine_unless_allowed() {
        for url in ["http://127.0.0.1:80/", "http://localhost/x", "http://[::1]:8080/", "http://127.9.9.9/"] {
            assert!(check(url, false), "{url}");
        }
        for url in [
            "http://example.com/",
            "http://10.0.0.1/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
        ] {
            assert!(!check(url, false), "{url}");
            assert!(check(url, true), "{url}");
        }
        assert!(check("https://example.com/", false));
        assert!(!check("ftp://example.com/", true));
        assert!(!check("/relative", true));
    }

    #[test]
    fn a_ca_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "nothing here").unwrap();
        for path in [empty, folder.path().join("absent.pem")] {
            let error = client_config(Some(&path)).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
