//! What the operator permits to fetch.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;
use reqwest::header::HeaderValue;
use smoothgate_providers::served::Source;

/// Buckets of these are read without credentials, as anyone can read them.
const GOOGLE_STORAGE: &str = "https://storage.googleapis.com";

/// One line of the list of what may be fetched.
///
/// | rule | permits |
/// |---|---|
/// | `images.example.com` | `https` to this host at port 443 |
/// | `*.example.com` | the hosts below `example.com`, at any depth, not `example.com` itself |
/// | `images.example.com:8443` | `https` to this host at this port |
/// | `http://images.example.com` | plain `http`, which anyone on the way can change |
/// | `gs://BUCKET` | public objects of a bucket of Google Cloud Storage |
/// | `s3://REGION/BUCKET` | public objects of a bucket of Amazon S3 |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Host { scheme: &'static str, below: bool, host: String, port: u16 },
    Google { bucket: String },
    S3 { region: String, bucket: String },
}

/// A text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no rule for what may be fetched ({problem}): write a host (`images.example.com`), the hosts below one \
     (`*.example.com`), `gs://BUCKET` or `s3://REGION/BUCKET`"
)]
pub struct RuleError {
    text: String,
    problem: &'static str,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        parse(text).map(Self).map_err(|problem| RuleError { text: text.to_owned(), problem })
    }
}

fn parse(text: &str) -> Result<Kind, &'static str> {
    let word = |text: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let dots = text.starts_with('.') || text.contains("..");
        if !text.is_empty() && text.bytes().all(letters) && !dots {
            Ok(text.to_owned())
        } else {
            Err("no bucket is named")
        }
    };
    if let Some(bucket) = text.strip_prefix("gs://") {
        return Ok(Kind::Google { bucket: word(bucket)? });
    }
    if let Some(rest) = text.strip_prefix("s3://") {
        let (region, bucket) = rest.split_once('/').ok_or("an S3 bucket needs its region")?;
        return Ok(Kind::S3 { region: word(region)?, bucket: word(bucket)? });
    }
    let (scheme, rest) = match text.split_once("://") {
        None | Some(("https", _)) => ("https", text.strip_prefix("https://").unwrap_or(text)),
        Some(("http", rest)) => ("http", rest),
        Some(_) => return Err("its scheme is none of https, http, gs, s3"),
    };
    let (below, rest) = match rest.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.contains(['*', '/', '?', '#', '@', '\\']) || rest.is_empty() || rest.ends_with(':') {
        return Err("it is no host");
    }
    // The same parser that reads the addresses of requests, so that both mean the same host.
    let url = Url::parse(&format!("{scheme}://{rest}/")).map_err(|_| "it is no host")?;
    let host = url.host_str().ok_or("it is no host")?.to_owned();
    let is_address = bare(&host).parse::<IpAddr>().is_ok();
    if below && (is_address || !host.contains('.')) {
        return Err("below an address or a top-level domain there are hosts of anyone");
    }
    Ok(Kind::Host { scheme, below, host, port: url.port_or_known_default().ok_or("it has no port")? })
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Google { bucket } => write!(f, "gs://{bucket}"),
            Kind::S3 { region, bucket } => write!(f, "s3://{region}/{bucket}"),
            Kind::Host { scheme, below, host, port } => {
                write!(f, "{scheme}://{}{host}:{port}", if *below { "*." } else { "" })
            }
        }
    }
}

impl serde::Serialize for Rule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Rule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Rule {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FetchRule".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "What may be fetched: a host, *.HOST, gs://BUCKET or s3://REGION/BUCKET.",
        })
    }
}

/// Where to fetch a picture from, and under which of the rules. `None` where none permits it.
pub(super) fn target(rules: &[Rule], source: &Source) -> Option<Url> {
    match source {
        Source::Bytes(_) => None,
        Source::Url(text) => match text.strip_prefix("gs://") {
            Some(rest) => google(rules, rest),
            None => Url::parse(text).ok().filter(|url| permits(rules, url)),
        },
        Source::Object { bucket, name, version } => s3(rules, bucket, name, version.as_deref()),
    }
}

/// Do the rules permit this address, one that a redirect names included?
pub(super) fn permits(rules: &[Rule], url: &Url) -> bool {
    let plain = url.username().is_empty() && url.password().is_none();
    let (Some(given), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return false };
    let fits = |rule: &Rule| match &rule.0 {
        Kind::Host { scheme, below, host, port: at } => {
            let named = if *below {
                given.strip_suffix(host.as_str()).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
            } else {
                given == host
            };
            named && url.scheme() == *scheme && port == *at
        }
        Kind::Google { .. } | Kind::S3 { .. } => false,
    };
    plain && rules.iter().any(fits)
}

fn google(rules: &[Rule], rest: &str) -> Option<Url> {
    let (bucket, name) = rest.split_once('/').filter(|(_, name)| !name.is_empty())?;
    let fits = |rule: &Rule| matches!(&rule.0, Kind::Google { bucket: known } if known == bucket);
    rules.iter().any(fits).then(|| object(GOOGLE_STORAGE, bucket, name)).flatten()
}

fn s3(rules: &[Rule], bucket: &str, name: &str, version: Option<&str>) -> Option<Url> {
    let region = rules.iter().find_map(|rule| match &rule.0 {
        Kind::S3 { region, bucket: known } if known == bucket => Some(region),
        _ => None,
    })?;
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    // With the bucket in the path, because a bucket with dots in its name fits no certificate as a host.
    let mut url = object(&format!("https://s3.{region}.{domain}"), bucket, name)?;
    if let Some(version) = version {
        url.query_pairs_mut().append_pair("versionId", version);
    }
    Some(url)
}

/// The address of an object, whose name may hold anything, `..` and `?` included.
fn object(base: &str, bucket: &str, name: &str) -> Option<Url> {
    // A dot segment would be resolved away, and with it the bucket that was checked, also where its dots are encoded.
    if name.split('/').any(|part| part == "." || part == "..") {
        return None;
    }
    let mut path = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
    Url::parse(&format!("{base}/{bucket}/{path}")).ok()
}

/// Where a redirect leads, if the rules permit it.
pub(super) fn next(rules: &[Rule], from: &Url, location: &HeaderValue) -> Option<Url> {
    let to = from.join(location.to_str().ok()?).ok()?;
    permits(rules, &to).then_some(to)
}

/// The host without the brackets of an IPv6 address.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
