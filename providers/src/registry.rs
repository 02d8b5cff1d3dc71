//! Every provider by name: one line each.

use std::sync::Arc;

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::credentials::aws::AwsSettings;
use crate::credentials::azure::AzureSettings;
use crate::credentials::google::GoogleSettings;
use crate::credentials::keys::{AZURE_OPENAI, CLARIFAI, HUGGING_FACE, Key, OPENAI};
use crate::credentials::{self, CredentialError, Environment, Fixed, SecretSource, Shared};
use crate::transport::Network;
use crate::{Provider, RequestError};
use crate::{aws, azure, azure_v3, clarifai, google, http, huggingface, kserve, openai};

/// The providers, in the order in which they are listed.
pub static PROVIDERS: &[Registration] = &[
    Registration {
        name: "google",
        title: "Google Cloud Vision",
        scheme: Scheme::Google,
        make: make_google,
        schema: schema::<google::Options>,
    },
    Registration {
        name: "aws",
        title: "AWS Rekognition",
        scheme: Scheme::Aws,
        make: make_aws,
        schema: schema::<aws::Options>,
    },
    Registration {
        name: "azure",
        title: "Azure AI Vision 4.0",
        scheme: Scheme::Azure,
        make: make_azure,
        schema: schema::<azure::Options>,
    },
    Registration {
        name: "azure-v3",
        title: "Azure AI Vision 3.2",
        scheme: Scheme::Azure,
        make: make_azure_v3,
        schema: schema::<azure_v3::Options>,
    },
    Registration {
        name: "clarifai",
        title: "Clarifai",
        scheme: Scheme::Key(&CLARIFAI),
        make: make_clarifai,
        schema: schema::<clarifai::Options>,
    },
    Registration {
        name: "openai",
        title: "OpenAI and compatible",
        scheme: Scheme::Hosted(&OPENAI_HOSTS),
        make: make_openai,
        schema: schema::<openai::Options>,
    },
    Registration {
        name: "huggingface",
        title: "Hugging Face",
        scheme: Scheme::Hosted(&HUGGING_FACE_HOSTS),
        make: make_huggingface,
        schema: schema::<huggingface::Options>,
    },
    Registration {
        name: "kserve",
        title: "KServe v2 and Triton",
        scheme: Scheme::Header,
        make: make_kserve,
        schema: schema::<kserve::Options>,
    },
    Registration {
        name: "http",
        title: "Any JSON API",
        scheme: Scheme::Header,
        make: make_http,
        schema: schema::<http::Options>,
    },
];

/// Of Azure those under which its services are, and no more: a name under `cloudapp.azure.com` is anybody's.
static OPENAI_HOSTS: Hosted = Hosted {
    address: "endpoint",
    hosts: &[
        ("api.openai.com", &OPENAI),
        (".openai.azure.com", &AZURE_OPENAI),
        (".cognitiveservices.azure.com", &AZURE_OPENAI),
        (".services.ai.azure.com", &AZURE_OPENAI),
    ],
};
static HUGGING_FACE_HOSTS: Hosted = Hosted {
    address: "url",
    hosts: &[(".huggingface.co", &HUGGING_FACE), (".huggingface.cloud", &HUGGING_FACE)],
};

/// The provider of this name.
pub fn find(name: &str) -> Option<&'static Registration> {
    PROVIDERS.iter().find(|registration| registration.name == name)
}

/// One provider.
pub struct Registration {
    /// Its name on the command line and in the configuration.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// How it is called.
    pub scheme: Scheme,
    make: Make,
    schema: fn() -> Schema,
}

type Make = fn(&Value, &Environment) -> Result<Adapter, ProviderError>;

/// An adapter with the options it was made from.
pub struct Adapter {
    /// The adapter.
    pub provider: Arc<dyn Provider>,
    /// All of its options: the defaults, and what was looked for in the environment, are written out.
    pub options: Value,
}

impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adapter").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Options that change no answer: who pays and how fast, not what is asked of whom.
const WITHOUT_EFFECT: [&str; 3] = ["price", "calls_per_minute", "pictures_per_call"];

impl Adapter {
    /// The options that may change an answer. A certificate is about these.
    pub fn identity(&self) -> Value {
        let mut options = self.options.clone();
        if let Value::Object(fields) = &mut options {
            fields.retain(|name, _| !WITHOUT_EFFECT.contains(&name.as_str()));
        }
        options
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registration({})", self.name)
    }
}

/// Which credentials a provider takes.
#[derive(Clone, Copy, Debug)]
pub enum Scheme {
    /// [`credentials::google`].
    Google,
    /// [`credentials::aws`].
    Aws,
    /// [`credentials::azure`].
    Azure,
    /// A key.
    Key(&'static Key),
    /// A service that others can serve too.
    Hosted(&'static Hosted),
    /// Whatever header the configuration names, or none.
    Header,
}

/// A service that others can serve too. Its key goes to its own hosts alone; a server of one's own gets a key only where
/// the configuration names one.
#[derive(Debug)]
pub struct Hosted {
    /// The option with the address. The first of `hosts` where it is not given.
    pub address: &'static str,
    /// The service's hosts, or with a dot before them the domains that its hosts are in, and the key of each.
    pub hosts: &'static [(&'static str, &'static Key)],
}

/// What the configuration may say about an instance's credentials. Whatever is not said is looked for in the
/// environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialSettings {
    /// Where the key is: `env::NAME` or `file::PATH`. For Google also the JSON of a service account or of `gcloud`.
    pub key: Option<SecretSource>,
    /// The header that carries the key, for the providers `http` and `kserve`. `Authorization` where it is not given.
    pub header: Option<String>,
    /// What stands before the key in the header, for instance `Bearer `.
    pub prefix: Option<String>,
    /// The AWS profile.
    pub profile: Option<String>,
    /// Google: exchange a service account's signature for an access token instead of sending it itself.
    pub token_exchange: bool,
    /// Azure: use the identity of the machine.
    pub managed_identity: bool,
}

/// Why a provider cannot be set up. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Its options are not what it takes.
    #[error("options of provider `{provider}`{}: {problem}", option(at.as_ref()))]
    Options {
        /// The provider's name.
        provider: &'static str,
        /// Which option, where it is one of several. Fields of fields with dots: `body.form`.
        at: Option<String>,
        /// What is wrong with them.
        problem: String,
    },
    /// Its options make no valid request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Its address, region or credentials are missing or unusable.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

fn option(at: Option<&String>) -> String {
    at.map_or_else(String::new, |at| format!(", `{at}`"))
}

impl Registration {
    /// The JSON Schema of its options.
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }

    /// The adapter with these options (an object; `{}` for the defaults). A region or address that is not given is
    /// looked for in `environment`.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub fn adapter(&self, options: &Value, environment: &Environment) -> Result<Adapter, ProviderError> {
        (self.make)(options, environment)
    }

    /// The credentials of an instance with these options, complete or an error that says what to set. Nothing is sent.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn credential(
        &self,
        options: &Value,
        settings: &CredentialSettings,
        environment: &Environment,
        network: &Network,
    ) -> Result<Shared, CredentialError> {
        let key = settings.key.as_ref();
        let none = || -> Result<Shared, CredentialError> { Ok(Arc::new(Fixed::none())) };
        let text = |name: &str| options[name].as_str();
        match self.scheme {
            Scheme::Google => {
                let settings =
                    GoogleSettings { credentials: key.cloned(), token_exchange: settings.token_exchange };
                credentials::google::find(&settings, environment, network)
            }
            Scheme::Aws => {
                let region = text("region").map(str::to_owned);
                let settings = AwsSettings { region, profile: settings.profile.clone() };
                credentials::aws::find(&settings, "rekognition", environment, network)
            }
            Scheme::Azure => {
                let settings =
                    AzureSettings { key: key.cloned(), managed_identity: settings.managed_identity };
                credentials::azure::find(&settings, environment, network)
            }
            Scheme::Key(kind) => kind.find(key, environment),
            Scheme::Hosted(Hosted { address, hosts }) => {
                let url = text(address).and_then(|url| url.parse::<::http::Uri>().ok());
                let host = url.as_ref().and_then(|url| url.host()).map(str::to_ascii_lowercase);
                let is = |own: &str| {
                    let same = |host: &String| host == own || own.starts_with('.') && host.ends_with(own);
                    host.as_ref().is_none_or(same)
                };
                let own = hosts.iter().find(|(own, _)| is(own));
                match own.or_else(|| key.and(hosts.first())) {
                    Some((_, kind)) => kind.find(key, environment),
                    None => none(),
                }
            }
            Scheme::Header => {
                let Some(key) = key else { return none() };
                let name = settings.header.as_deref().unwrap_or("authorization");
                let name = name.parse().map_err(|_| CredentialError::Unusable {
                    from: format!("header = \"{name}\""),
                    problem: "it is no name of a header".to_owned(),
                })?;
                let prefix = settings.prefix.as_deref();
                let prefix =
                    prefix.unwrap_or(if name == ::http::header::AUTHORIZATION { "Bearer " } else { "" });
                credentials::keys::header(name, prefix, key, environment)
            }
        }
    }
}

fn schema<O: JsonSchema>() -> Schema {
    schemars::schema_for!(O)
}

fn read<O: DeserializeOwned>(provider: &'static str, options: &Value) -> Result<O, ProviderError> {
    serde_path_to_error::deserialize(options).map_err(|error| {
        let at = Some(error.path().to_string()).filter(|path| path != ".");
        ProviderError::Options { provider, at, problem: error.inner().to_string() }
    })
}

/// The adapter made of `options`, together with them written out.
fn adapter<O: Serialize, P: Provider>(
    provider: &'static str,
    options: O,
    make: impl FnOnce(O) -> Result<P, RequestError>,
) -> Result<Adapter, ProviderError> {
    let written = serde_json::to_value(&options).map_err(|error| ProviderError::Options {
        provider,
        at: None,
        problem: error.to_string(),
    })?;
    Ok(Adapter { provider: Arc::new(make(options)?), options: written })
}

fn make_google(options: &Value, _: &Environment) -> Result<Adapter, ProviderError> {
    adapter("google", read("google", options)?, google::Google::new)
}

fn make_aws(options: &Value, environment: &Environment) -> Result<Adapter, ProviderError> {
    let mut read: aws::Options = read("aws", options)?;
    if options.get("region").is_none() {
        read.region = credentials::aws::region(&AwsSettings::default(), environment)?;
    }
    adapter("aws", read, aws::Aws::new)
}

fn make_azure(options: &Value, environment: &Environment) -> Result<Adapter, ProviderError> {
    let mut read: azure::Options = read("azure", options)?;
    read.endpoint = azure_endpoint(&read.endpoint, environment)?;
    adapter("azure", read, |options| azure::Azure::new(&options))
}

fn make_azure_v3(options: &Value, environment: &Environment) -> Result<Adapter, ProviderError> {
    let mut read: azure_v3::Options = read("azure-v3", options)?;
    read.endpoint = azure_endpoint(&read.endpoint, environment)?;
    adapter("azure-v3", read, |options| azure_v3::AzureV3::new(&options))
}

fn azure_endpoint(configured: &str, environment: &Environment) -> Result<String, CredentialError> {
    credentials::azure::endpoint(Some(configured).filter(|url| !url.is_empty()), environment)
}

fn make_clarifai(options: &Value, _: &Environment) -> Result<Adapter, ProviderError> {
    adapter("clarifai", read("clarifai", options)?, clarifai::Clarifai::new)
}

fn make_openai(options: &Value, _: &Environment) -> Result<Adapter, ProviderError> {
    adapter("openai", read("openai", options)?, openai::OpenAi::new)
}

fn make_huggingface(options: &Value, _: &Environment) -> Result<Adapter, ProviderError> {
    adapter("huggingface", read("huggingface", options)?, huggingface::HuggingFace::new)
}

fn make_kserve(options: &Value, _: &Environment) -> Result<Adapter, ProviderError> {
    adapter("kserve", read("kserve", options)?, kserve::Kserve::new)
}

fn make_http(options: &Value, _: &Environment) -> Result<Adapter, ProviderError> {
    adapter("http", read("http", options)?, http::HttpApi::new)
}
