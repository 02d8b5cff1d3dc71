//! The pages say what the program does: providers, options, configuration keys, commands.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use smoothgate::config::Config;
use smoothgate::providers::registry::PROVIDERS;

fn help(arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_smoothgate")).args(arguments).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

/// The names in backticks in the first column of the page's first table.
fn first_column(page: &str) -> BTreeSet<String> {
    let table =
        page.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = table.skip(2).filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_provider_has_a_page_with_all_of_its_options_and_no_others() {
    let pages: BTreeSet<String> = fs::read_dir("docs/providers")
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let names: BTreeSet<String> = PROVIDERS.iter().map(|provider| provider.name.to_owned()).collect();
    assert_eq!(pages, names, "pages in docs/providers and lines in the registry");
    for provider in PROVIDERS {
        let page = fs::read_to_string(format!("docs/providers/{}.md", provider.name)).unwrap();
        let schema = provider.schema().to_value();
        let options: BTreeSet<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(first_column(&page), options, "docs/providers/{}.md", provider.name);
    }
}

#[test]
fn every_key_of_the_configuration_is_on_its_page_and_in_the_example() {
    let page = fs::read_to_string("docs/configuration.md").unwrap();
    let schema = Config::schema();
    for table in [
        "RawDefaults",
        "RawLedger",
        "RawNetwork",
        "RawRetry",
        "RawInstance",
        "CredentialSettings",
        "RawServe",
        "RawAccess",
        "RawTls",
        "RawLimits",
        "RawFetch",
        "RawRoute",
    ] {
        for key in schema["$defs"][table]["properties"].as_object().unwrap().keys() {
            let tables =
                ["retry", "budget", "credentials", "network", "options", "access", "tls", "limits", "fetch"];
            let named = page.contains(&format!("`{key}`")) || tables.contains(&key.as_str());
            assert!(named, "`{key}` of {table} is not in docs/configuration.md");
        }
    }
    for key in [
        "sigma",
        "ask_above",
        "ca_file",
        "proxy",
        "price",
        "rate",
        "budget",
        "credentials",
        "routes",
        "reuse",
    ] {
        assert!(Config::EXAMPLE.contains(key), "{key}");
    }
}

#[test]
fn every_command_is_in_the_readme() {
    let readme = fs::read_to_string("README.md").unwrap();
    let help = help(&["--help"]);
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(readme.contains(&format!("| `{name}")), "`{name}` is not in the README's table of commands");
    }
}
