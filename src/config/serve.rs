//! `[serve]` and `[routes]`: what the proxy listens on, and what it does with which request.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smoothgate_denoisers::Precision;
use smoothgate_providers::served::{self, Feature};

use super::guard::{self, GuardSettings, RawAccess, RawFetch, RawLimits, RawTls};
use super::raw::written;
use super::source::{Source, nearest};
use super::{Config, ConfigError, Defaults};
use crate::engine::level_of_claim;
use crate::ledger::Cap;
use crate::picture::{Encoder, Fit, WorkingSize};
use crate::plan::{About, TestChoice, TestName};
use crate::question::{CleanLabels, Question};
use crate::stats::Method;
use crate::units::{Alpha, Radius, Sigma};

/// What is written under `[serve]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawServe {
    /// Where to listen: `"127.0.0.1:8080"`. Port 0 takes any free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Where the operator asks for `/metrics` and for the reasons of `/readyz`: `"127.0.0.1:9464"`. By default where clients
    /// ask, if that address is loopback, else nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Once told to stop: how long to go on as before, with `/readyz` failing, so that a load balancer sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<String>,
    /// After that: how long requests may go on to end, without new ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
    /// After that: how long calls that are out are waited for, without new ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle: Option<String>,
    /// Most connections at once; others wait to be accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,
    /// Most pictures of one upstream that are certified at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active: Option<usize>,
    /// Most pictures of one upstream that wait for their turn; more are told to come back later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_waiting: Option<usize>,
    /// Most memory for bodies and copies of pictures, in MiB; more are told to come back later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory_mib: Option<u64>,
    /// Most pixels of a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<u64>,
    /// Who may use it.
    pub access: RawAccess,
    /// TLS.
    pub tls: RawTls,
    /// How much it takes from a connection.
    pub limits: RawLimits,
    /// What it fetches.
    pub fetch: RawFetch,
}

/// What is written under `[routes.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawRoute {
    /// The formats of the requests: `["google", "aws"]`. By default all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api: Vec<String>,
    /// What their path begins with: `"/team-a"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The model that they name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whose they are: ids of keys, as `smoothgate keys list` shows them. By default anybody's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub callers: Vec<String>,
    /// Whom to ask: an instance, a provider or `local`. By default `provider` of `[defaults]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// What clients ask for when they ask this route: `labels`, or `moderation` (the default of a `level:` question).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<Answers>,
    /// What is asked of each answer. By default `clean-labels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// Standard deviation of the noise, in units of [0, 1] pixel values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    /// Probability with which a certificate may be wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The test: `table`, `table1`, `anytime`, `cohen` or `fixed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<TestName>,
    /// Radii to certify, rising. By default half of sigma and sigma, where no other test is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub radius: Vec<f64>,
    /// Votes at most, for `table`, `table1` and `anytime`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_max: Option<usize>,
    /// `anytime` stops where the next 25 votes would gain less radius than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_radius_gain: Option<f64>,
    /// Selection votes of `cohen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n0: Option<usize>,
    /// Estimation votes of `cohen`, all votes of `fixed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
    /// The denoiser: `auto`, `none`, a built-in name or a safetensors file. By default that of `[defaults]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denoiser: Option<String>,
    /// Working size: `N`, `WxH` or `native`. By default what the upstream works on, else 224.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<WorkingSizeText>,
    /// How a picture of another shape is fitted: `crop` or `stretch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<RawFit>,
    /// How copies are encoded: `png` or `jpeg:QUALITY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode: Option<String>,
    /// What is replied where nothing is certified: `empty`, `error` or `plain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_abstain: Option<OnAbstain>,
    /// How long a finished certificate is served again to the caller that sends the same picture: `"10m"`; `"0s"` never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse: Option<String>,
    /// Most time for a request; what was answered by then is kept for the next one: `"60s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Copies that the denoiser gets at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Calls in flight for one picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// Calls in flight beyond those that the test is sure to need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead: Option<usize>,
    /// What may be spent on this route under its present settings, in all.
    pub budget: Cap,
}

/// A working size as it is written: a number or a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum WorkingSizeText {
    /// Pixels a side.
    Side(u32),
    /// `N`, `WxH` or `native`.
    Text(String),
}

/// [`Fit`] as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawFit {
    /// Keep the proportions and cut the longer side.
    Crop,
    /// Keep everything.
    Stretch,
}

/// What clients ask a route for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Answers {
    /// What is in the picture.
    Labels,
    /// Whether it is safe to show.
    Moderation,
}

impl Answers {
    /// The same as wire formats name it.
    pub fn feature(self) -> Feature {
        match self {
            Self::Labels => Feature::Labels,
            Self::Moderation => Feature::Moderation,
        }
    }
}

/// What is replied where nothing is certified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnAbstain {
    /// An answer without labels.
    #[default]
    Empty,
    /// The API's own error.
    Error,
    /// What the upstream says about the picture as it is, marked as uncertified in header and label.
    Plain,
}

/// What the proxy listens on, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where the operator asks for counts and reasons. `None`: where clients do, if that is loopback, else nowhere.
    pub admin: Option<SocketAddr>,
    /// How long it goes on as before once it is told to stop, saying that it is not ready.
    pub drain: Duration,
    /// How long requests may go on to end after that.
    pub finish: Duration,
    /// How long calls that are out are waited for after that.
    pub settle: Duration,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most pictures of one upstream that are certified at once.
    pub max_active: usize,
    /// Most pictures of one upstream that wait for their turn.
    pub max_waiting: usize,
    /// Most bytes for bodies and copies of pictures.
    pub max_memory: u64,
    /// Most pixels of a picture.
    pub max_pixels: u64,
    /// Who may use it, how much it takes from anyone, and what it fetches.
    pub guard: GuardSettings,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin: None,
            drain: Duration::ZERO,
            finish: Duration::from_secs(15),
            settle: Duration::from_secs(10),
            max_connections: 1024,
            max_active: 16,
            max_waiting: 256,
            max_memory: 768 << 20,
            max_pixels: 64_000_000,
            guard: GuardSettings::default(),
        }
    }
}

/// Which requests a route is for, whom it asks, and its policy.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// Its name.
    pub name: String,
    /// The formats of the requests. Empty means all.
    pub api: Vec<String>,
    /// What their path begins with.
    pub path: Option<String>,
    /// The model that they name.
    pub model: Option<String>,
    /// Whose they are. Empty means anybody's.
    pub callers: Vec<String>,
    /// Whom it asks.
    pub upstream: String,
    /// What clients ask it for.
    pub answers: Answers,
    /// What is asked of each answer.
    pub question: Question,
    /// Standard deviation of the noise.
    pub sigma: Sigma,
    /// Probability with which a certificate may be wrong.
    pub alpha: Alpha,
    /// The statistical test.
    pub method: Method,
    /// The denoiser: a built-in name or a file.
    pub denoiser: String,
    /// With how many bits it computes.
    pub precision: Precision,
    /// Working size. `None`: what the upstream works on.
    pub size: Option<WorkingSize>,
    /// How a picture of another shape is fitted.
    pub fit: Fit,
    /// How copies are encoded.
    pub encoder: Encoder,
    /// What is replied where nothing is certified.
    pub on_abstain: OnAbstain,
    /// How long a finished certificate is served again. Zero: never.
    pub reuse: Duration,
    /// Most time for a request.
    pub deadline: Duration,
    /// What may be spent on it in all.
    pub budget: Cap,
    /// Copies that the denoiser gets at once.
    pub batch: usize,
    /// Calls in flight for one picture.
    pub concurrency: usize,
    /// Calls in flight beyond those that the test is sure to need.
    pub ahead: usize,
}

/// How long a finished certificate is served again where the route does not say: long enough for an SDK's retries.
const REUSE: Duration = Duration::from_mins(10);
const DEADLINE: Duration = Duration::from_mins(2);

impl RouteSettings {
    /// A route for every request, with the default policy.
    ///
    /// # Errors
    /// None for defaults that were checked; the type is that of the general case.
    pub fn of_defaults(
        name: &str,
        upstream: &str,
        defaults: &Defaults,
    ) -> Result<Self, crate::stats::StatsError> {
        let sigma = sigma(defaults);
        let alpha = defaults.alpha.unwrap_or(Alpha::FIELD);
        let question = usual_question();
        let choice = TestChoice { radius: usual_radii(sigma), ..TestChoice::default() };
        Ok(Self {
            name: name.to_owned(),
            api: vec![],
            path: None,
            model: None,
            callers: vec![],
            upstream: upstream.to_owned(),
            answers: Answers::Labels,
            method: choice.method(about(&question, sigma, alpha))?,
            question,
            sigma,
            alpha,
            denoiser: defaults.denoiser.clone().unwrap_or_else(|| "auto".to_owned()),
            precision: defaults.precision.unwrap_or_default(),
            size: None,
            fit: Fit::Crop,
            encoder: Encoder::Png,
            on_abstain: OnAbstain::default(),
            reuse: REUSE,
            deadline: DEADLINE,
            budget: Cap::default(),
            batch: 16,
            concurrency: 32,
            ahead: 0,
        })
    }
}

fn sigma(defaults: &Defaults) -> Sigma {
    defaults.sigma.unwrap_or(Sigma::FIELD)
}

/// Which labels of the clean picture survive the noise: as many labels as clients are used to, on one set of votes.
fn usual_question() -> Question {
    Question::CleanLabels(CleanLabels::default())
}

/// Half of sigma, and sigma: what most pictures that can be certified at all reach, for few votes.
fn usual_radii(sigma: Sigma) -> Vec<Radius> {
    [sigma.get() / 2.0, sigma.get()].into_iter().filter_map(|radius| Radius::new(radius).ok()).collect()
}

fn about(question: &Question, sigma: Sigma, alpha: Alpha) -> About {
    let alpha = level_of_claim(alpha.get(), 1, question, question.most_claims());
    About { label: question.label_rule(), topk: question.topk(), sigma: sigma.get(), alpha, recorded: None }
}

/// Checks `[serve]`.
pub(super) fn serve(source: &Source<'_>, raw: &RawServe) -> Result<ServeSettings, ConfigError> {
    let default = ServeSettings::default();
    let wrong = |key: &str, problem: &str| source.at(&["serve", key], format!("`{key}`: {problem}"));
    let address = |key: &str, text: &Option<String>| {
        let parsed: Option<Result<SocketAddr, _>> = text.as_deref().map(str::parse);
        parsed.transpose().map_err(|_| {
            let text = text.as_deref().unwrap_or_default();
            wrong(key, &format!("`{text}` is no address with a port: write for instance \"127.0.0.1:8080\""))
        })
    };
    let time = |key, text: &Option<String>, default| {
        super::check::duration(source, &["serve"], key, text.as_ref(), default)
    };
    for (key, value) in [
        ("max_connections", raw.max_connections.map(|n| n as u64)),
        ("max_active", raw.max_active.map(|n| n as u64)),
        ("max_memory_mib", raw.max_memory_mib),
        ("max_pixels", raw.max_pixels),
    ] {
        if value == Some(0) {
            return Err(wrong(key, "must be at least 1"));
        }
    }
    Ok(ServeSettings {
        listen: address("listen", &raw.listen)?.unwrap_or(default.listen),
        admin: address("admin", &raw.admin)?,
        drain: time("drain", &raw.drain, default.drain)?,
        finish: time("finish", &raw.finish, default.finish)?,
        settle: time("settle", &raw.settle, default.settle)?,
        max_connections: raw.max_connections.unwrap_or(default.max_connections),
        max_active: raw.max_active.unwrap_or(default.max_active),
        max_waiting: raw.max_waiting.unwrap_or(default.max_waiting),
        max_memory: raw.max_memory_mib.map_or(default.max_memory, |mib| mib.saturating_mul(1 << 20)),
        max_pixels: raw.max_pixels.unwrap_or(default.max_pixels),
        guard: guard::guard(
            source,
            guard::Raw { access: &raw.access, tls: &raw.tls, limits: &raw.limits, fetch: &raw.fetch },
        )?,
    })
}

/// Checks `[routes.NAME]` against the rest of the file.
pub(super) fn route(
    source: &Source<'_>,
    name: &str,
    raw: &RawRoute,
    config: &Config,
) -> Result<RouteSettings, ConfigError> {
    let at = |key: &str, problem: String| source.at(&["routes", name, key], format!("`{key}`: {problem}"));
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        let problem = format!("`{name}` cannot be the name of a route: use letters, digits, `-` and `_`");
        return Err(source.at(&["routes", name], problem));
    }
    let known: Vec<String> = served::all().iter().map(|api| api.name().to_owned()).collect();
    if let Some(unknown) = raw.api.iter().find(|api| !known.contains(api)) {
        let hint = nearest(unknown, &known).map_or_else(String::new, |n| format!("did you mean `{n}`? "));
        return Err(at(
            "api",
            format!("no format is called `{unknown}`: {hint}There are {}", known.join(", ")),
        ));
    }
    if raw.path.as_ref().is_some_and(|path| !path.starts_with('/')) {
        return Err(at("path", "must begin with `/`".to_owned()));
    }
    let defaults = &config.defaults;
    let upstream = raw.upstream.as_deref().or(defaults.provider.as_deref()).unwrap_or("local");
    if upstream != "local"
        && let Err(error) = config.instance(upstream)
    {
        return Err(at("upstream", error.to_string()));
    }
    let question = match &raw.question {
        None => usual_question(),
        Some(text) => question(source, text).map_err(|error| at("question", error.to_string()))?,
    };
    let sigma = match raw.sigma {
        Some(sigma) => Sigma::new(sigma).map_err(|error| at("sigma", error.to_string()))?,
        None => self::sigma(defaults),
    };
    let alpha = match raw.alpha {
        Some(alpha) => Alpha::new(alpha).map_err(|error| at("alpha", error.to_string()))?,
        None => defaults.alpha.unwrap_or(Alpha::FIELD),
    };
    let method = method(source, name, raw, &question, sigma, alpha)?;
    let implied = if matches!(question, Question::Level(_)) { Answers::Moderation } else { Answers::Labels };
    let time = |key, text: &Option<String>, default| {
        super::check::duration(source, &["routes", name], key, text.as_ref(), default)
    };
    let size: Option<Result<WorkingSize, _>> = raw.size.as_ref().map(|size| match size {
        WorkingSizeText::Side(side) => side.to_string().parse(),
        WorkingSizeText::Text(text) => text.parse(),
    });
    for (key, value) in [("batch", raw.batch), ("concurrency", raw.concurrency)] {
        if value == Some(0) {
            return Err(at(key, "must be at least 1".to_owned()));
        }
    }
    let on_abstain = raw.on_abstain.unwrap_or_default();
    if on_abstain == OnAbstain::Plain && config.ledger.answers == crate::ledger::Retention::UntilCertified {
        let problem = "`plain` needs the clean answer after the certificate is stored, and `answers = \"until-certified\"` \
                       of [ledger] overwrites it: choose another of the two";
        return Err(at("on_abstain", problem.to_owned()));
    }
    let encoder: Result<Option<Encoder>, _> = raw.encode.as_deref().map(str::parse).transpose();
    let denoiser = match &raw.denoiser {
        Some(name) => super::check::denoiser(source, name),
        None => defaults.denoiser.clone().unwrap_or_else(|| "auto".to_owned()),
    };
    Ok(RouteSettings {
        name: name.to_owned(),
        api: raw.api.clone(),
        path: raw.path.clone(),
        model: raw.model.clone(),
        callers: raw.callers.clone(),
        upstream: upstream.to_owned(),
        answers: raw.answers.unwrap_or(implied),
        question,
        sigma,
        alpha,
        method,
        denoiser,
        precision: defaults.precision.unwrap_or_default(),
        size: size.transpose().map_err(|error| at("size", error.to_string()))?,
        fit: match raw.fit {
            Some(RawFit::Stretch) => Fit::Stretch,
            Some(RawFit::Crop) | None => Fit::Crop,
        },
        encoder: encoder.map_err(|error| at("encode", error.to_string()))?.unwrap_or(Encoder::Png),
        on_abstain,
        reuse: time("reuse", &raw.reuse, REUSE)?,
        deadline: time("deadline", &raw.deadline, DEADLINE)?,
        budget: raw.budget,
        batch: raw.batch.unwrap_or(16),
        concurrency: raw.concurrency.unwrap_or(32),
        ahead: raw.ahead.unwrap_or(0),
    })
}

/// A question; the file of `map:FILE` is looked for beside the configuration.
fn question(source: &Source<'_>, text: &str) -> Result<Question, crate::question::QuestionError> {
    match text.trim().strip_prefix("map:") {
        Some(file) => Question::load(&format!("map:{}", source.beside(&PathBuf::from(file)).display())),
        None => Question::load(text),
    }
}

fn method(
    source: &Source<'_>,
    name: &str,
    raw: &RawRoute,
    question: &Question,
    sigma: Sigma,
    alpha: Alpha,
) -> Result<Method, ConfigError> {
    let at = |key: &str, problem: String| source.at(&["routes", name, key], format!("`{key}`: {problem}"));
    let radius: Result<Vec<Radius>, _> = raw.radius.iter().map(|&radius| Radius::new(radius)).collect();
    let mut choice = TestChoice {
        test: raw.test,
        radius: radius.map_err(|error| at("radius", error.to_string()))?,
        n_max: raw.n_max,
        max_radius_gain: raw.max_radius_gain,
        n0: raw.n0,
        n: raw.n,
    };
    let tables = matches!(raw.test, Some(TestName::Table | TestName::Table1));
    let unsaid = raw.test.is_none() && raw.n0.is_none() && raw.n.is_none() && question.topk().is_none();
    if choice.radius.is_empty() && (tables || unsaid) {
        choice.radius = usual_radii(sigma);
    }
    let key = if raw.test.is_some() { "test" } else { "radius" };
    choice.check(question.topk().is_some()).map_err(|error| at(key, error.to_string()))?;
    choice.method(about(question, sigma, alpha)).map_err(|error| at(key, error.to_string()))
}

impl RawServe {
    /// The same with defaults in the place of what was not said.
    pub(super) fn written_out(settings: &ServeSettings) -> Self {
        let (access, tls, limits, fetch) = guard::written_out(&settings.guard);
        Self {
            listen: Some(settings.listen.to_string()),
            admin: settings.admin.map(|address| address.to_string()),
            drain: Some(written(settings.drain)),
            finish: Some(written(settings.finish)),
            settle: Some(written(settings.settle)),
            max_connections: Some(settings.max_connections),
            max_active: Some(settings.max_active),
            max_waiting: Some(settings.max_waiting),
            max_memory_mib: Some(settings.max_memory >> 20),
            max_pixels: Some(settings.max_pixels),
            access,
            tls,
            limits,
            fetch,
        }
    }
}

impl RawRoute {
    /// The same with defaults in the place of what was not said.
    pub(super) fn written_out(self, settings: &RouteSettings) -> Self {
        let radius = match &settings.method {
            Method::Table(ladder) | Method::Table1(ladder) => ladder.radii.clone(),
            _ => self.radius,
        };
        Self {
            upstream: Some(settings.upstream.clone()),
            answers: Some(settings.answers),
            question: self.question.or_else(|| Some(settings.question.to_string())),
            sigma: Some(settings.sigma.get()),
            alpha: Some(settings.alpha.get()),
            radius,
            denoiser: Some(settings.denoiser.clone()),
            fit: self.fit.or(Some(RawFit::Crop)),
            encode: Some(settings.encoder.to_string()),
            on_abstain: Some(settings.on_abstain),
            reuse: Some(written(settings.reuse)),
            deadline: Some(written(settings.deadline)),
            batch: Some(settings.batch),
            concurrency: Some(settings.concurrency),
            ahead: Some(settings.ahead),
            ..self
        }
    }
}
