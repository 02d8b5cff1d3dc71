//! Every format end to end.

use std::sync::Arc;

use smoothgate::certificate::Outcome as End;
use smoothgate::emulate::Plan;
use smoothgate::providers::Outcome;
use tempfile::tempdir;

use crate::support::{APIS, Dog, ask, certificate, config, emulator, header, picture, proxy, route};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_format_gets_a_certified_answer_of_its_own_shape() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let proxy = proxy(&config(&emulator, &route("")), folder.path()).await;
    for (n, api) in (0..).zip(APIS) {
        let before = emulator.stats().total.pictures;
        let (outcomes, reply) = ask(api, &proxy.url(), &[picture(n)]).await;
        assert_eq!(reply.status, 200, "{api}: {reply:?}");
        let [Outcome::Answered(answer)] = outcomes.as_slice() else { panic!("{api}: {outcomes:?}") };
        let certificate = certificate(&proxy.url(), header(&reply.headers, "certificate")).await;
        assert_eq!(certificate.outcome(), End::Certified, "{api}");
        let names: Vec<&str> = answer.labels.iter().map(|label| label.name.as_str()).collect();
        assert_eq!(
            names,
            [certificate.claims[0].label.as_deref().unwrap()],
            "{api}: nothing but what is certified"
        );
        assert_eq!(header(&reply.headers, "outcome"), "certified", "{api}");
        assert_eq!(header(&reply.headers, "radius").parse(), Ok(certificate.claims[0].radius), "{api}");
        assert_eq!(header(&reply.headers, "votes"), certificate.draws().to_string(), "{api}");
        assert_eq!((header(&reply.headers, "sigma"), header(&reply.headers, "alpha")), ("0.25", "0.001"));
        let calls = emulator.stats().total.pictures - before;
        assert_eq!(header(&reply.headers, "calls"), calls.to_string(), "{api}");
        assert_eq!(header(&reply.headers, "evidence"), "new", "{api}");
        // The score is the lower bound of the probability, as far as the format has scores.
        if api != "openai" {
            let (score, bound) = (answer.labels[0].score.unwrap(), certificate.claims[0].p_lower.unwrap());
            assert!((score - bound).abs() < 1e-6, "{api}: {score} {bound}");
        }
    }
}
