//! Whether the proxy can do its work, found out without a paid call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Mutex;

use super::route::Route;
use crate::ledger::Ledger;

/// Most time for a write to the ledger.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a write stands for later questions: whoever asks often does not make the disk work.
const FRESH: Duration = Duration::from_secs(1);

/// What `GET /healthz` says: the process answers.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub(super) struct Health {
    /// Always true.
    pub(super) alive: bool,
}

/// What `GET /readyz` says. The status is 200 where it is ready, else 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Readiness {
    /// Every check is passed.
    pub(super) ready: bool,
    /// The checks by name: `accepting` (it was not told to stop), `ledger` (a record can be written), `models` (every
    /// denoiser is loaded and runs), `upstreams` (credentials are there and were not rejected).
    pub(super) checks: BTreeMap<&'static str, Check>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Check {
    /// Passed.
    pub(super) ok: bool,
    /// What is wrong: only where the operator alone can ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
}

impl Readiness {
    /// The same without the reasons, which are not for everybody.
    pub(super) fn without_reasons(mut self) -> Self {
        for check in self.checks.values_mut() {
            check.problem = None;
        }
        self
    }
}

/// Looks.
pub(super) struct Doctor {
    ledger: Ledger,
    last: Mutex<Option<(Instant, Option<String>)>>,
}

impl Doctor {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { ledger, last: Mutex::default() }
    }

    pub(super) async fn look(&self, accepting: bool, routes: &[Arc<Route>]) -> Readiness {
        let stopping = (!accepting).then(|| "the server was told to stop".to_owned());
        let models =
            routes.iter().find(|route| !route.certifier.engine().denoiser().is_alive()).map(|route| {
                format!("the denoiser of route `{}` has died; only a restart brings it back", route.name())
            });
        let upstreams = routes.iter().find_map(|route| {
            let reason = route.upstream.endpoint.stopped()?;
            Some(format!("nothing is sent to `{}` any more: {reason}", route.upstream.name()))
        });
        let problems = [
            ("accepting", stopping),
            ("ledger", self.ledger().await),
            ("models", models),
            ("upstreams", upstreams),
        ];
        let checks: BTreeMap<_, _> = problems
            .into_iter()
            .map(|(name, problem)| (name, Check { ok: problem.is_none(), problem }))
            .collect();
        Readiness { ready: checks.values().all(|check| check.ok), checks }
    }

    /// Why nothing can be written into the ledger.
    async fn ledger(&self) -> Option<String> {
        let mut last = self.last.lock().await;
        if let Some((at, problem)) = &*last
            && at.elapsed() < FRESH
        {
            return problem.clone();
        }
        let problem = match tokio::time::timeout(PATIENCE, self.ledger.probe()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("a record takes longer than {} s", PATIENCE.as_secs())),
        };
        *last = Some((Instant::now(), problem.clone()));
        problem
    }
}
