use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use proptest::prelude::*;

use super::meter::TIMER;
use super::*;

fn quota(calls_per_second: u32, pictures_per_second: impl Into<Option<u32>>) -> Option<Quota> {
    let pictures_per_second = pictures_per_second.into();
    (calls_per_second > 0).then(|| Quota {
        calls_per_minute: calls_per_second * 60,
        pictures_per_minute: pictures_per_second.map(|p| p * 60),
    })
}

/// The instants at which `n` waiting asks get their permission. The clock is Tokio's paused one, whose timers
/// fire up to 1 ms late, as real ones do; `late` adds to that.
async fn permissions(limiter: &Limiter, n: usize, late: impl Fn(usize) -> Duration) -> Vec<Duration> {
    let start = Instant::now();
    let mut seen = Vec::new();
    for i in 0..n {
        tokio::time::sleep(late(i)).await;
        limiter.call().await;
        seen.push(start.elapsed());
    }
    seen
}

fn fullest_second(times: &[Duration]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, time) in times.iter().enumerate() {
        while time.saturating_sub(times[first]) > Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

#[tokio::test(start_paused = true)]
async fn the_whole_quota_is_used_and_no_window_is_overfull() {
    for (rate, n) in [(1, 20), (30, 900), (200, 2000), (1000, 5000)] {
        let limiter = Limiter::new(quota(rate, None), None);
        let burst = (f64::from(rate) * TIMER).max(1.0) as usize;
        let times = permissions(&limiter, n, |_| Duration::ZERO).await;
        assert!(fullest_second(&times) <= rate as usize + burst, "{rate}/s: {}", fullest_second(&times));
        let ideal = (n - 1) as f64 / f64::from(rate);
        let taken = times[n - 1].as_secs_f64();
        assert!(taken <= ideal * 1.01 + 0.002, "{rate}/s: {taken} s for {ideal} s of quota");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever the asks' timing, no second holds more than limit + burst.
    #[test]
    fn no_second_holds_more_than_limit_and_burst(
        rate in 1u32..400,
        burst in 1u32..5,
        gaps in proptest::collection::vec(prop_oneof![6 => Just(0u64), 2 => 0u64..20, 1 => 0u64..3000], 300),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limiter = Limiter::new(quota(rate, None), Some(burst));
            let times = permissions(&limiter, gaps.len(), |i| Duration::from_millis(gaps[i])).await;
            prop_assert!(fullest_second(&times) <= (rate + burst) as usize);
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served() {
    let limiter = Limiter::new(quota(100, None), None);
    let mut asks: FuturesUnordered<_> = (0..200)
        .map(|i| {
            let l = &limiter;
            async move {
                l.call().await;
                i
            }
        })
        .collect();
    let mut order: Vec<i32> = Vec::new();
    while let Some(i) = asks.next().await {
        order.push(i);
    }
    let out_of_place = order.iter().zip(0..).map(|(i, place)| (i - place).abs()).max();
    assert!(out_of_place <= Some(1), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn pictures_have_a_limit_of_their_own() {
    let limiter = Limiter::new(quota(1000, Some(32)), Some(1));
    let start = Instant::now();
    for _ in 0..20 {
        limiter.call().await;
        limiter.pictures(16).await;
    }
    let taken = start.elapsed().as_secs_f64();
    assert!((9.9..10.1).contains(&taken), "320 pictures at 32/s in {taken} s");
}

#[tokio::test(start_paused = true)]
async fn throttling_lowers_the_rate_once_a_round_and_it_recovers() {
    let limiter = Limiter::new(quota(100, None), None);
    let seen = limiter.subscribe();
    let allowed = || seen.borrow().allowed.unwrap();
    assert!((allowed() - 100.0).abs() < 1e-9);
    let sent = Instant::now();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..50 {
        limiter.throttled("test", sent, None); // All in flight together: one lesson.
    }
    assert!((allowed() - 50.0).abs() < 1e-9 && seen.borrow().cuts == 1);

    let times = permissions(&limiter, 100, |_| Duration::ZERO).await;
    assert!(fullest_second(&times) <= 51, "the lower rate holds from its first second");
    let mut last = allowed();
    for _ in 0..30 {
        tokio::time::sleep(PERIOD).await;
        limiter.answered();
        limiter.answered(); // The second one comes too early to count.
        assert!(allowed() >= last && allowed() - last < 2.1);
        last = allowed();
    }
    assert!((last - 100.0).abs() < 1e-9, "{last}");
    for _ in 0..100 {
        tokio::time::sleep(PERIOD).await;
        limiter.throttled("test", Instant::now(), None);
    }
    assert!(allowed() >= 100.0 * LEAST_SHARE, "never stops for good");
}

/// An API that takes 40 calls a second of the 100 that its quota promises.
#[tokio::test(start_paused = true)]
async fn the_rate_settles_near_what_the_api_takes() {
    let limiter = Limiter::new(quota(100, None), None);
    let (mut second, mut taken, mut throttled) = (0, 0, 0);
    let start = Instant::now();
    for _ in 0..4000 {
        limiter.call().await;
        let now = start.elapsed().as_secs();
        if now > second {
            (second, taken) = (now, 0);
        }
        taken += 1;
        if taken > 40 {
            throttled += u32::from(second >= 20);
            limiter.throttled("test", Instant::now(), None);
        } else {
            limiter.answered();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!((75.0..105.0).contains(&seconds), "4000 calls in {seconds} s");
    assert!(throttled <= 300, "{throttled} of 3200 throttled");
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_throttling_teaches_one() {
    let limiter = Limiter::new(None, None);
    let times = permissions(&limiter, 500, |_| Duration::from_millis(2)).await;
    assert!(times[499] < Duration::from_millis(1600));
    assert_eq!(limiter.subscribe().borrow().allowed, None);
    limiter.throttled("test", Instant::now(), None);
    let learned = limiter.subscribe().borrow().allowed.unwrap();
    assert!((150.0..260.0).contains(&learned), "half of about 500/s or 333/s: {learned}");
    for _ in 0..600 {
        tokio::time::sleep(PERIOD).await;
        limiter.answered();
    }
    assert_eq!(limiter.subscribe().borrow().allowed, None, "and forgets it in the end");
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_everyone() {
    let limiter = Limiter::new(None, None);
    limiter.throttled("test", Instant::now(), Some(Duration::from_secs(7)));
    let start = Instant::now();
    limiter.call().await;
    assert!(start.elapsed() >= Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_takes_nothing() {
    let limiter = Limiter::new(quota(1, None), None);
    let start = Instant::now();
    limiter.call().await;
    for _ in 0..10 {
        let wait = tokio::time::timeout(Duration::from_millis(10), limiter.call());
        assert!(wait.await.is_err());
    }
    // Those behind a cancelled ask move up.
    let (_, second) = tokio::join!(tokio::time::timeout(Duration::from_millis(10), limiter.call()), async {
        limiter.call().await;
        start.elapsed()
    });
    assert!(second <= Duration::from_millis(1010), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn an_ask_that_is_not_polled_holds_up_nobody() {
    let limiter = Limiter::new(quota(10, None), None);
    limiter.call().await;
    let mut idle = std::pin::pin!(limiter.call());
    assert!(futures::poll!(idle.as_mut()).is_pending());
    let start = Instant::now();
    for _ in 0..10 {
        limiter.call().await;
    }
    assert!(start.elapsed() <= Duration::from_millis(1300), "{:?}", start.elapsed());
    idle.await;
}
