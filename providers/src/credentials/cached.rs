//! Short-lived tokens: fetched once for all who wait, renewed before they expire.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::time::Instant;

use super::{Authorization, Credential, CredentialError, CredentialStatus};

/// A token is renewed this long before its end, while calls go on with the old one.
const RENEW_BEFORE: Duration = Duration::from_mins(5);
/// A token is not believed to last longer: no service gives one for so long.
const LONGEST: Duration = Duration::from_hours(168);
/// A token this close to its end is not used: the request may arrive after it.
const TOO_LATE: Duration = Duration::from_secs(20);
/// The least time between two attempts to renew a token that is still good, and the age below which a rejected one is
/// taken for what the service would give again.
const APART: Duration = Duration::from_secs(10);

/// Where short-lived tokens come from.
pub trait Fetch: Send + Sync {
    /// A new token.
    ///
    /// # Errors
    /// [`CredentialError`].
    fn fetch(&self) -> BoxFuture<'_, Result<Token, CredentialError>>;

    /// What it is, without asking.
    fn status(&self) -> CredentialStatus;
}

/// A token and how long it lasts.
#[derive(Debug)]
pub struct Token {
    /// What it authorizes with.
    pub authorization: Authorization,
    /// How long it may be used from now on. `None`: for good.
    pub lasts: Option<Duration>,
}

/// A [`Credential`] of short-lived tokens.
pub struct Cached<F>(Arc<Inner<F>>);

struct Inner<F> {
    fetch: F,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// The fetch that is under way. All who wait for it drive it, so it goes on whoever of them is dropped.
    fetching: Option<WeakShared<Fetching>>,
}

type Fetching = BoxFuture<'static, Result<Arc<Authorization>, CredentialError>>;

enum Found {
    AtHand(Arc<Authorization>),
    /// `still_good` would do if the fetch failed.
    UnderWay {
        fetching: Shared<Fetching>,
        still_good: Option<Arc<Authorization>>,
    },
}

struct Held {
    authorization: Arc<Authorization>,
    since: Instant,
    until: Option<Instant>,
    /// No renewal before this.
    renew: Option<Instant>,
}

impl<F: Fetch> std::fmt::Debug for Cached<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cached").field(&self.0.fetch.status()).finish()
    }
}

impl<F: Fetch + 'static> Cached<F> {
    /// Tokens from `fetch`. Nothing is fetched yet.
    pub fn new(fetch: F) -> Self {
        Self(Arc::new(Inner { fetch, state: Mutex::default() }))
    }

    fn find(&self) -> Found {
        let mut state = self.0.lock();
        let now = Instant::now();
        let good = state.held.as_ref().filter(|held| held.until.is_none_or(|until| now + TOO_LATE < until));
        let at_hand = good.map(|held| Arc::clone(&held.authorization));
        let due = good.is_none_or(|held| held.renew.is_some_and(|renew| now >= renew));
        let under_way = state.fetching.as_ref().and_then(WeakShared::upgrade);
        match (at_hand, under_way) {
            (Some(at_hand), _) if !due => Found::AtHand(at_hand),
            // One renews, the others go on with what is still good.
            (Some(at_hand), Some(_)) => Found::AtHand(at_hand),
            (None, Some(fetching)) => Found::UnderWay { fetching, still_good: None },
            (still_good, None) => {
                let inner = Arc::clone(&self.0);
                let fetching = async move { inner.renew().await }.boxed().shared();
                state.fetching = fetching.downgrade();
                Found::UnderWay { fetching, still_good }
            }
        }
    }
}

impl<F: Fetch> Inner<F> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(&self) -> Result<Arc<Authorization>, CredentialError> {
        let fetched = self.fetch.fetch().await;
        let now = Instant::now();
        let mut state = self.lock();
        state.fetching = None;
        match fetched {
            Ok(mut token) => {
                // Services say "never" with the largest number they have, and no clock reaches that.
                token.lasts = token.lasts.map(|lasts| lasts.min(LONGEST));
                let authorization = Arc::new(token.authorization);
                state.held = Some(Held {
                    authorization: Arc::clone(&authorization),
                    since: now,
                    until: token.lasts.map(|lasts| now + lasts),
                    // Half of a very short life, so that such a token is not fetched for every call.
                    renew: token.lasts.map(|lasts| now + lasts.saturating_sub(RENEW_BEFORE).max(lasts / 2)),
                });
                Ok(authorization)
            }
            Err(error) => {
                if let Some(held) = &mut state.held {
                    held.renew = Some(now + APART);
                }
                Err(error)
            }
        }
    }
}

impl<F: Fetch + 'static> Credential for Cached<F> {
    fn authorization(&self) -> BoxFuture<'_, Result<Arc<Authorization>, CredentialError>> {
        Box::pin(async move {
            let (fetching, still_good) = match self.find() {
                Found::AtHand(at_hand) => return Ok(at_hand),
                Found::UnderWay { fetching, still_good } => (fetching, still_good),
            };
            match (fetching.await, still_good) {
                (Err(error), Some(still_good)) => {
                    tracing::warn!(%error, "a token could not be renewed yet; it is still good");
                    Ok(still_good)
                }
                (fetched, _) => fetched,
            }
        })
    }

    fn rejected(&self, used: &Authorization) -> bool {
        let mut state = self.0.lock();
        match &state.held {
            Some(held) if held.authorization.same(used) => {
                let old = held.since.elapsed() >= APART;
                if old {
                    state.held = None;
                }
                old
            }
            _ => true, // Renewed since, or being renewed.
        }
    }

    fn status(&self) -> CredentialStatus {
        self.0.fetch.status()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use secrecy::SecretString;

    use super::*;

    struct Counting {
        fetched: AtomicU32,
        fail: std::sync::atomic::AtomicBool,
    }

    impl Fetch for Counting {
        fn fetch(&self) -> BoxFuture<'_, Result<Token, CredentialError>> {
            Box::pin(async {
                let n = self.fetched.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(300)).await;
                if self.fail.load(Ordering::SeqCst) {
                    return Err(CredentialError::Unreachable { service: "x".into(), problem: "y".into() });
                }
                let authorization = Authorization::bearer(SecretString::from(format!("token-{n}")), "test")?;
                Ok(Token { authorization, lasts: Some(Duration::from_hours(1)) })
            })
        }

        fn status(&self) -> CredentialStatus {
            CredentialStatus { kind: "test", source: "test".to_owned() }
        }
    }

    /// Says "never" as some services do.
    struct Endless;

    impl Fetch for Endless {
        fn fetch(&self) -> BoxFuture<'_, Result<Token, CredentialError>> {
            let authorization = Authorization::bearer(SecretString::from("t".to_owned()), "test");
            Box::pin(async { Ok(Token { authorization: authorization?, lasts: Some(Duration::MAX) }) })
        }

        fn status(&self) -> CredentialStatus {
            CredentialStatus { kind: "test", source: "test".to_owned() }
        }
    }

    #[tokio::test]
    async fn a_token_without_an_end_is_a_token() {
        let cached = Cached::new(Endless);
        for _ in 0..2 {
            cached.authorization().await.unwrap();
        }
    }

    fn cached() -> Cached<Counting> {
        Cached::new(Counting { fetched: AtomicU32::new(0), fail: false.into() })
    }

    #[tokio::test(start_paused = true)]
    async fn one_fetch_for_many_and_renewal_before_the_end() {
        let cached = cached();
        let fetched = || cached.0.fetch.fetched.load(Ordering::SeqCst);
        let all = join_all((0..64).map(|_| cached.authorization())).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(fetched(), 1);

        tokio::time::sleep(Duration::from_mins(50)).await;
        cached.authorization().await.unwrap();
        assert_eq!(fetched(), 1);

        // In the last five minutes one call renews and the others do not wait for it.
        tokio::time::sleep(Duration::from_secs(400)).await;
        let start = Instant::now();
        let (_, others) = tokio::join!(cached.authorization(), async {
            let others = join_all((0..10).map(|_| cached.authorization())).await;
            (others.len(), start.elapsed())
        });
        assert_eq!(others, (10, Duration::ZERO));
        assert_eq!(fetched(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_renewal_costs_nothing_while_the_token_is_good_and_an_expired_one_is_never_used() {
        let cached = cached();
        let first = cached.authorization().await.unwrap();
        cached.0.fetch.fail.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(3400)).await;
        for _ in 0..5 {
            assert!(cached.authorization().await.unwrap().same(&first));
        }
        assert_eq!(cached.0.fetch.fetched.load(Ordering::SeqCst), 2, "renewal is not tried for every call");
        tokio::time::sleep(Duration::from_secs(190)).await;
        assert!(cached.authorization().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_token_is_renewed_once() {
        let cached = cached();
        let first = cached.authorization().await.unwrap();
        assert!(!cached.rejected(&first), "just fetched: another one would be no better");
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(cached.rejected(&first));
        assert!(cached.rejected(&first), "the second call that had used it");
        let second = cached.authorization().await.unwrap();
        assert!(!second.same(&first));
        assert_eq!(cached.0.fetch.fetched.load(Ordering::SeqCst), 2);
    }
}
