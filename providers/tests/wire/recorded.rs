//! Requests recorded from the official SDKs, where they are at hand.
//!
//! They are not a part of this repository. The test looks for `wire/*.request.txt` in the folder that
//! `SMOOTHGATE_SHARED` names, or else in `../shared` beside the repository, and says so when it finds nothing.

use std::path::{Path, PathBuf};

use smoothgate_providers::served::{self, Call, Source};

use crate::support::Received;

fn folder() -> PathBuf {
    std::env::var_os("SMOOTHGATE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from)
        .join("wire")
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The requests of a file: each after a line `##### request N ... #####`.
fn requests(file: &[u8]) -> Vec<Received> {
    let mut requests = Vec::new();
    let mut rest = file;
    while let Some(at) = find(rest, b"##### request ") {
        rest = &rest[at..];
        let start = find(rest, b"\n").unwrap() + 1;
        let end = find(&rest[start..], b"\n#####").map_or(rest.len(), |end| start + end);
        requests.extend(request(&rest[start..end]));
        rest = &rest[end..];
    }
    requests
}

fn request(message: &[u8]) -> Option<Received> {
    let (at, gap) = [(find(message, b"\r\n\r\n"), 4), (find(message, b"\n\n"), 2)]
        .into_iter()
        .filter_map(|(at, gap)| Some((at?, gap)))
        .min()?;
    let head = String::from_utf8(message[..at].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<(&str, &str)> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect();
    let body = &message[at + gap..];
    let body = body.strip_prefix(b"[chunked body, decoded:]\n").unwrap_or(body);
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    // Without a length, line ends after the body are the file's.
    let length = length.map_or(body.trim_ascii_end().len(), |(_, length)| length.parse().unwrap());
    Some(Received::new(&method, &target, &headers, body[..length.min(body.len())].to_vec()))
}

#[test]
fn requests_recorded_from_the_sdks_are_understood() {
    let folder = folder();
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: no recorded requests in {}; set SMOOTHGATE_SHARED", folder.display());
        return;
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut inquiries, mut refusals) = (0, Vec::new());
    for file in files.iter().filter(|file| file.to_string_lossy().ends_with(".request.txt")) {
        for (number, received) in requests(&std::fs::read(file).unwrap()).iter().enumerate() {
            let name = format!("{} {number}", file.file_name().unwrap().to_string_lossy());
            let api = served::all().into_iter().find(|api| received.with(|i| api.recognises(i)));
            // A token exchange is among the recordings.
            let Some(api) = api else {
                refusals.push(name);
                continue;
            };
            match received.with(|i| api.decode(i)) {
                Ok(Call::Inquiry(inquiry)) => {
                    inquiries += 1;
                    for asked in &inquiry.pictures {
                        if let Source::Bytes(bytes) = &asked.source {
                            assert!(
                                bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.ends_with(b"IEND\xaeB`\x82"),
                                "{name}"
                            );
                        }
                    }
                }
                Ok(Call::Plain(_)) => panic!("{name} asks for a picture"),
                Err(refusal) => refusals.push(format!("{name}: {refusal}")),
            }
        }
    }
    // Refused are the token exchange, captions of Azure, and a raw tensor for KServe.
    let expected = ["google_vision", "azure_imageanalysis", "kserve_v2", "node_sdks"];
    assert!(refusals.iter().all(|r| expected.iter().any(|e| r.starts_with(e))), "{refusals:?}");
    assert!(inquiries >= 25 && refusals.len() == 4, "{inquiries} understood; refused: {refusals:#?}");
}
