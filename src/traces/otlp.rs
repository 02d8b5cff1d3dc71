//! Traces over OTLP: HTTP with protobuf, by the client that asks upstreams, set up by the standard variables.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, Uri};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Status, TracerProvider as _};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use smoothgate_providers::credentials::Environment;
use smoothgate_providers::transport::{SettingsError, tls};
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::TARGET;
use crate::proxy::observer::{Event, Observer, word};

/// The variables that name the collector, the narrower first.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// Most time for an export where no variable says, as the specification has it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most time to send what is left at the end.
const FLUSH: Duration = Duration::from_secs(5);

/// Why no traces can be sent. The user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// A variable has a value that this program does not serve.
    #[error("{variable} is not one that traces can be sent by: {wanted}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What it may be.
        wanted: &'static str,
    },
    /// The exporter does not start.
    #[error("traces cannot be sent: {0}")]
    Exporter(String),
    /// TLS does not start.
    #[error("traces cannot be sent: {0}")]
    Tls(#[from] SettingsError),
}

/// The way to a collector. What is still here when it is dropped is lost: [`end`](Self::end) sends it.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// As `environment` says; `None` where it names no collector. Exports run on `runtime`.
    ///
    /// What is read here decides whether and where; sampling, batches, headers and the names of this service are read by the
    /// SDK from the environment of the process.
    ///
    /// # Errors
    /// [`TracesError`] names the variable, never its value: headers and addresses may hold credentials.
    pub fn from_environment(
        environment: &Environment,
        runtime: &Handle,
    ) -> Result<Option<Self>, TracesError> {
        let said =
            |name: &str| environment.get(name).map(|value| value.trim().to_owned()).filter(|v| !v.is_empty());
        if said("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let wanted = match said("OTEL_TRACES_EXPORTER").as_deref() {
            Some("none") => return Ok(None),
            Some("otlp") => true,
            None => false,
            Some(_) => {
                return Err(TracesError::Variable {
                    variable: "OTEL_TRACES_EXPORTER",
                    wanted: "otlp or none",
                });
            }
        };
        let endpoint = ENDPOINTS.iter().find_map(|name| said(name).map(|value| (*name, value)));
        match &endpoint {
            None if !wanted => return Ok(None),
            Some((variable, address)) if !is_address(address) => {
                let wanted = "an address like http://127.0.0.1:4318, without a user or a password";
                return Err(TracesError::Variable { variable, wanted });
            }
            _ => {}
        }
        for variable in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            if said(variable).is_some_and(|protocol| protocol != "http/protobuf") {
                return Err(TracesError::Variable { variable, wanted: "http/protobuf" });
            }
        }
        let timeout = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]
            .iter()
            .find_map(|name| said(name)?.parse().ok().map(Duration::from_millis));
        let client = Client::new(runtime.clone(), timeout.unwrap_or(TIMEOUT))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .build()
            .map_err(|error| TracesError::Exporter(error.to_string()))?;
        let named = said("OTEL_SERVICE_NAME").is_some()
            || said("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|text| text.contains("service.name="));
        let resource = Resource::builder();
        let resource = if named { resource } else { resource.with_service_name("smoothgate") };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Some(Self { provider }))
    }

    /// Collects the spans of [`TARGET`], and nothing else: no line of the log and no span of another library.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'l> LookupSpan<'l> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("smoothgate"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::DEBUG))
    }

    /// Sends what is left, for five seconds at most. Blocks: not to be called from a task.
    pub fn end(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "the last traces may not have been sent");
        }
    }
}

fn is_address(text: &str) -> bool {
    let Ok(address) = text.parse::<Uri>() else { return false };
    let scheme = matches!(address.scheme_str(), Some("http" | "https"));
    scheme && address.authority().is_some_and(|authority| !authority.as_str().contains('@'))
}

/// Sends exports by the client that upstreams are asked with: one TLS, no second HTTP library.
#[derive(Clone, Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

impl Client {
    fn new(runtime: Handle, timeout: Duration) -> Result<Self, TracesError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(None)?)
            .user_agent(concat!("smoothgate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .build()
            .map_err(|error| TracesError::Exporter(error.without_url().to_string()))?;
        Ok(Self { client, runtime })
    }

    async fn send(
        client: reqwest::Client,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, reqwest::Error> {
        let reply = client.execute(reqwest::Request::try_from(request)?).await?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = reply.status();
        *response.headers_mut() = reply.headers().clone();
        // Collectors say little; what they say is not needed.
        Ok(response)
    }
}

impl HttpClient for Client {
    /// The exporter has a thread of its own; the client needs the runtime's.
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> BoxFuture<'f, Result<Response<Bytes>, HttpError>>
    where
        's: 'f,
        Self: 'f,
    {
        let sent = self.runtime.spawn(Self::send(self.client.clone(), request));
        Box::pin(async move {
            match sent.await? {
                Ok(reply) => {
                    if !reply.status().is_success() {
                        tracing::warn!(status = reply.status().as_u16(), "traces were not taken");
                    }
                    Ok(reply)
                }
                Err(error) => {
                    let error = error.without_url();
                    tracing::warn!(%error, "traces were not sent");
                    Err(error.into())
                }
            }
        })
    }
}

/// The parent that the headers name. A header that is none changes nothing.
pub(super) fn adopt(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        // Where nobody collects this span, there is nothing to set.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&HeaderExtractor(headers)));
    }
}

/// Writes what is known of a request, a picture or a call at its end onto the span in which it is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks;

impl Observer for Marks {
    fn observe(&self, event: &Event<'_>) {
        let span = Span::current();
        match *event {
            Event::Request { api, route, request_id, status, pictures, .. } => {
                span.set_attribute("smoothgate.api", api.to_owned());
                span.set_attribute("smoothgate.request_id", request_id.to_owned());
                span.set_attribute("smoothgate.pictures", pictures as i64);
                if let Some(route) = route {
                    span.set_attribute("smoothgate.route", route.to_owned());
                }
                match status {
                    Some(status) => {
                        span.set_attribute("http.response.status_code", i64::from(status));
                        if status >= 500 {
                            span.set_attribute("error.type", status.to_string());
                            span.set_status(Status::error(""));
                        }
                    }
                    None => span.set_attribute("error.type", "gone"),
                }
            }
            Event::Certified { outcome, evidence, votes, calls, .. } => {
                span.set_attribute("smoothgate.outcome", word(outcome));
                span.set_attribute("smoothgate.evidence", evidence.name());
                span.set_attribute("smoothgate.votes", votes as i64);
                span.set_attribute("smoothgate.calls", calls as i64);
            }
            Event::Refused { class, .. } => span.set_attribute("error.type", word(class)),
            Event::Attempt { upstream, class, billed, status, .. } => {
                span.set_attribute("smoothgate.upstream", upstream.to_owned());
                span.set_attribute("smoothgate.class", word(class));
                span.set_attribute("smoothgate.billed", word(billed));
                if let Some(status) = status {
                    span.set_attribute("http.response.status_code", i64::from(status));
                }
            }
            Event::Spent { .. } | Event::Vote { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(variables: &[(&str, &str)]) -> Result<Option<Traces>, TracesError> {
        let environment = Environment::of(variables.iter().copied());
        Traces::from_environment(&environment, &Handle::current())
    }

    #[tokio::test]
    async fn nothing_is_sent_unless_a_collector_is_named() {
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_TRACES_EXPORTER", "none")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_SDK_DISABLED", "TRUE")],
        ] {
            assert!(opened(variables).unwrap().is_none(), "{variables:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_served_is_named_without_its_value() {
        for (variable, value) in [
            ("OTEL_TRACES_EXPORTER", "hunter2"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "hunter2:1"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://me:hunter2@collector.example"),
        ] {
            let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), (variable, value)];
            let error = opened(&variables).unwrap_err().to_string();
            assert!(error.contains(variable) && !error.contains("hunter2"), "{error}");
        }
    }
}
