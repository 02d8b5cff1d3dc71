//! Another configuration without a restart, and what the log says.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use smoothgate::denoisers::Precision;
use smoothgate::emulate::Plan;
use smoothgate::ledger::{Ledger, Options, Reader, RunId};
use smoothgate::proxy::{Opener, Proxy};
use tempfile::tempdir;

use crate::process::Server;
use crate::served::open_to_all;
use crate::support::{
    Dog, ask, certificate, client, config, emulator, environment, header, picture, route, written,
};

async fn metrics(server: &Server) -> String {
    client().get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_takes_up_new_routes_and_budgets_and_keeps_the_old_ones_where_the_file_is_bad() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let folder = folder.path();
    let file = folder.join("smoothgate.toml");
    let write = |more: &str| std::fs::write(&file, written(&emulator, "finish = \"0s\"", more)).unwrap();
    write(&route("budget = { calls = 5 }"));
    let server = Server::start(folder).await;
    let (_, reply) = ask("azure", &server.url, &[picture(1)]).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert_eq!(emulator.stats().total.calls, 0);

    // More may be spent on the same run, and there is another route.
    let narrow = "[routes.narrow]\nupstream = \"up\"\ndenoiser = \"none\"\nsize = 80\nquestion = \"clean-top\"\nradius = [0.125]\npath = \"/team\"";
    write(&format!("{}\n{narrow}", route("budget = { calls = 5000 }")));
    server.signal("-HUP");
    let reply = loop {
        let (_, reply) = ask("azure", &server.url, &[picture(1)]).await;
        if reply.status != 403 {
            break reply;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((reply.status.as_u16(), header(&reply.headers, "route")), (200, "all"), "{reply:?}");
    let (_, narrow) = ask("azure", &format!("{}/team", server.url), &[picture(1)]).await;
    assert_eq!(header(&narrow.headers, "route"), "narrow");

    std::fs::write(&file, "[routes.all\n").unwrap();
    server.signal("-HUP");
    while !metrics(&server).await.contains("smoothgate_configuration_loaded 0") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, still) = ask("azure", &server.url, &[picture(2)]).await;
    assert_eq!(still.status, 200);
    let id = still.headers["x-smoothgate-request-id"].to_str().unwrap().to_owned();
    server.signal("-TERM");
    server.end(folder).await;

    let reader = Reader::open(folder.join("ledger.db")).unwrap();
    let calls = |run| reader.run(RunId(run)).unwrap().summary.spend.calls;
    assert_eq!(calls(1) + calls(2), emulator.stats().total.pictures);
    assert!(reader.run(RunId(3)).is_err(), "the run of the first route is the same one");

    // The log: JSON lines, one for each request under its id, and why the last file was not taken.
    let log = std::fs::read_to_string(folder.join("log")).unwrap();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of_request: Vec<&Value> = lines
        .iter()
        .filter(|line| line["span"]["request_id"] == id.as_str() && line["target"] == "smoothgate::requests")
        .collect();
    let request = of_request.iter().find(|line| line["message"] == "request").unwrap();
    assert_eq!(
        (&request["status"], &request["api"], &request["route"]),
        (&200.into(), &"azure".into(), &"all".into())
    );
    assert!(of_request.iter().any(|line| line["message"] == "certificate"), "{log}");
    assert!(log.contains("could not be loaded anew") && log.contains("smoothgate.toml"), "{log}");
    assert!(!log.contains(smoothgate::emulate::DEFAULT_KEY), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_precision_of_the_defaults_is_another_denoiser() {
    let emulator = emulator(Plan::default(), Arc::new(Dog)).await;
    let folder = tempdir().unwrap();
    let with = |defaults: &str| {
        let route = route("").replace("denoiser = \"none\"", "denoiser = \"cifar10\"");
        config(&emulator, &format!("{route}\n{defaults}"))
    };
    let (before, after) = (with(""), with("[defaults]\nprecision = \"bf16\"\n"));
    let ledger = Options { patient: false, ..Options::default() };
    let ledger = Ledger::open(folder.path().join("ledger.db"), &ledger).unwrap();
    let environment = environment();
    let opened = Opener::new(&before, &environment, &before.serve, ledger.clone()).open(&before.routes).await;
    let proxy = Proxy::start(open_to_all(&before, opened.unwrap())).await.unwrap();
    let denoiser = async |n| {
        let (_, reply) = ask("azure", &proxy.url(), &[picture(n)]).await;
        let certificate = certificate(&proxy.url(), header(&reply.headers, "certificate")).await;
        Precision::of_name(&certificate.denoiser.name)
    };
    assert_eq!(denoiser(1).await, Precision::F32);
    let opener = Opener::new(&after, &environment, &after.serve, ledger);
    let opened = opener.taking_over(&proxy.routes(), &before).open(&after.routes).await.unwrap();
    proxy.replace(opened.routes);
    assert_eq!(denoiser(2).await, Precision::Bf16);
}
