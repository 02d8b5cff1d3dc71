//! What servers write to standard error.

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use crate::traces;

/// How and how much is logged.
#[derive(Clone, Debug, Args)]
pub(super) struct LogOptions {
    /// The form of the log on standard error
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    log: Form,
    /// How much of it: `error`, `warn`, `info` (a line for every request), `debug`, or such words for parts of the program
    #[arg(long, value_name = "LEVEL", default_value = "warn,smoothgate=info", value_parser = targets)]
    log_level: Targets,
}

/// The form of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A word by itself is a level: as the name of a part of the program, a misspelt one would turn off all others.
fn targets(text: &str) -> Result<Targets, String> {
    let unknown = |word: &&str| !word.contains('=') && word.trim().parse::<LevelFilter>().is_err();
    if let Some(word) = text.split(',').find(unknown) {
        return Err(format!(
            "`{word}` is no level: `error`, `warn`, `info`, `debug`, `trace`, `off`, or `PART=LEVEL`"
        ));
    }
    text.parse().map_err(|error| format!("{error}"))
}

impl LogOptions {
    /// Begins to write, with spans also told to `traces`. Once a process; later calls change nothing.
    pub(super) fn start(&self, traces: Option<impl Layer<Registry> + Send + Sync>) {
        let writer = std::io::stderr;
        let form = match self.log {
            Form::Text => layer().with_writer(writer).with_ansi(false).boxed(),
            Form::Json => {
                layer().with_writer(writer).json().flatten_event(true).with_span_list(false).boxed()
            }
        };
        let level = self.log_level.clone().with_target(traces::TARGET, LevelFilter::OFF);
        if tracing_subscriber::registry().with(traces).with(form.with_filter(level)).try_init().is_err() {
            tracing::debug!("there is a log already");
        }
    }
}
