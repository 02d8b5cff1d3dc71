//! What a client is told of failures inside. The words of the upstream, the ledger and the file system are the operator's.

use std::time::Duration;

use smoothgate_providers::served::{Refusal, RefusalClass};
use smoothgate_providers::{AskError, JournalError, OutcomeClass};

use crate::certifier::CertifyError;
use crate::engine::EngineError;
use crate::ledger::LedgerError;

/// How long to stay away from an upstream that fails.
const OUTAGE: Duration = Duration::from_secs(5);

/// The upstream was asked about the picture itself, and this came of it. `None` for an answer, and for one that is no vote: it is the
/// upstream's word about the picture, and the picture abstains. What may pass is a throttle, since SDKs repeat other failures for minutes.
pub(super) fn unanswered(class: OutcomeClass) -> Option<Refusal> {
    if class == OutcomeClass::Unusable {
        return None;
    }
    let refusal = Refusal::from_upstream_class(class)?;
    Some(match refusal.class {
        RefusalClass::Throttled | RefusalClass::Unavailable => Refusal::throttled(OUTAGE, refusal.message),
        _ => refusal,
    })
}

/// A defect, or something that only the operator can mend.
pub(super) fn internal() -> Refusal {
    Refusal::new(RefusalClass::Internal, "this server failed; its operator finds the reason in its log")
}

/// The server is told to stop.
pub(super) fn interrupted() -> Refusal {
    let what = "the server is stopping; what was answered is kept, ask again to go on";
    Refusal::throttled(Duration::from_secs(5), what)
}

/// The time of the request has run out.
pub(super) fn late(deadline: Duration) -> Refusal {
    let what = format!(
        "the certificate was not finished within {}; what was answered is kept, ask again to go on",
        humantime::format_duration(deadline)
    );
    Refusal::throttled(Duration::from_secs(1), what)
}

/// Too many are in front.
pub(super) fn busy(pause: Duration) -> Refusal {
    Refusal::throttled(pause, "too many pictures are waiting: come back later")
}

/// No memory is free for what is sent or fetched.
pub(super) fn full() -> Refusal {
    let what = "too much is being sent to this server at once: come back later";
    Refusal::throttled(Duration::from_secs(2), what)
}

pub(super) fn ledger(error: &LedgerError) -> Refusal {
    match error {
        LedgerError::Budget(_) => spent(),
        LedgerError::Busy { .. } => busy(Duration::from_secs(1)),
        error => {
            tracing::error!(%error, "the ledger");
            internal()
        }
    }
}

pub(super) fn certify(error: &CertifyError) -> Refusal {
    match error {
        _ if error.is_budget() => spent(),
        CertifyError::Ledger(error) => ledger(error),
        CertifyError::Engine(error) => engine(error),
        CertifyError::Stored { .. } | CertifyError::Document(_) => {
            tracing::error!(%error, "no certificate");
            internal()
        }
    }
}

fn engine(error: &EngineError) -> Refusal {
    match error {
        EngineError::Interrupted => interrupted(),
        EngineError::TooFine { .. } | EngineError::Unacceptable { .. } => {
            Refusal::new(RefusalClass::PictureTooLarge, error.to_string())
        }
        EngineError::ModelChanged { .. } => {
            let what = "the upstream API changed its model in the middle of the certificate: ask again";
            Refusal {
                retry_after: Some(Duration::from_secs(1)),
                ..Refusal::new(RefusalClass::Unavailable, what)
            }
        }
        EngineError::Stopped { .. }
        | EngineError::Ask(AskError::Stopped { .. } | AskError::Credential(_)) => {
            tracing::error!(%error, "the upstream");
            let what =
                "this server's access to the upstream API does not work; its operator has to mend that";
            Refusal::new(RefusalClass::Internal, what)
        }
        EngineError::Ask(AskError::Journal(JournalError::Budget(_))) => spent(),
        error => {
            tracing::error!(%error, "no certificate");
            internal()
        }
    }
}

/// A budget of the server's, or the caller's.
fn spent() -> Refusal {
    Refusal::new(RefusalClass::QuotaSpent, "the budget of this route or of the caller is used up")
}
