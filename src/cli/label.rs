//! `smoothgate label`: what the provider says about a picture as it is, without noise.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::{Args as ClapArgs, ValueEnum};
use futures::StreamExt as _;
use serde::Serialize;
use smoothgate_denoisers::Device;
use smoothgate_providers::{
    Answer, AskError, EncodedPicture, Endpoint, Journal, JournalError, Likelihood, Outcome, OutcomeClass,
    Unrecorded,
};

use super::inputs::{self, Input};
use super::ledger::{LedgerOptions, Wanted};
use super::options::SizeOptions;
use super::output::{json_line, printable};
use super::plan::{AskOptions, Most};
use super::provider::{ConfigOption, ProviderOptions};
use super::{Ended, Exit, Failure, at_least_one, in_words, runtime};
use crate::engine::encoded;
use crate::ledger::{Begin, PictureSpec, Run, Spec, Spend};
use crate::picture::{Encoder, PictureOptions, WorkingImage, WorkingSize, planes};

/// Options of `label`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Pictures, folders, quoted patterns, or `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    pictures: Vec<String>,
    #[command(flatten)]
    provider: ProviderOptions,
    /// Where the classifier of provider `local` runs: `auto`, `cpu`, `cuda:N` or `metal`
    #[arg(long, default_value = "auto")]
    device: Device,
    #[command(flatten)]
    size: SizeOptions,
    #[command(flatten)]
    ledger: LedgerOptions,
    #[command(flatten)]
    ask: AskOptions,
    /// How pictures are encoded: `png` or `jpeg:QUALITY`
    #[arg(long, default_value = "png")]
    encode: Encoder,
    /// Most labels a picture that are shown
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    top: usize,
    /// How results are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Pictures asked about at once
    #[arg(long, default_value_t = 4, value_parser = at_least_one, help_heading = "Speed")]
    jobs: usize,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON object a picture
    Jsonl,
    /// `image rank label score`, tab separated
    Tsv,
}

/// One picture's answer.
#[derive(Serialize)]
struct Line {
    image: String,
    outcome: String,
    labels: Vec<Shown>,
    levels: std::collections::BTreeMap<String, Likelihood>,
    model_version: Option<String>,
    provider: String,
    error: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    score: Option<f64>,
}

pub(super) fn run(args: &Args, config: &ConfigOption) -> Ended {
    let config = config.load()?;
    let inputs = inputs::resolve(&args.pictures).map_err(Failure::usage)?;
    let opened = args.provider.open(&config, args.device)?;
    let endpoint = opened.endpoint;
    let native = endpoint.describe().native_size.map_or(WorkingSize::Native, WorkingSize::Square);
    let picture = args.size.picture(native);
    let runtime = runtime()?;
    runtime.block_on(async {
        let described = endpoint.describe().clone();
        // One call is what was asked for, whatever it costs.
        if let calls @ 2.. = inputs.len() as u64 {
            let LedgerOptions { max_calls, max_cost, .. } = args.ledger;
            let most = Most { price: described.price, calls, spent: Spend::default(), max_calls, max_cost };
            most.approve(&args.ask, &config.defaults, None)?;
        }
        let wanted = Wanted {
            parameters: Spec::new(&serde_json::json!({
                "command": "label",
                "provider": { "name": described.name, "identity": described.identity },
                "encoder": args.encode.to_string(),
            }))
            .map_err(Failure::ledger)?,
            arguments: serde_json::Value::Null,
            instance: described.name,
            price: described.price,
            budgets: opened.budgets,
            pictures: inputs.len() as u64,
            // Whoever asks again wants to hear it again.
            begin: Begin::New,
        };
        let run = args.ledger.begin(&config, wanted).await?;
        let mut exit = Exit::Success;
        let names = inputs::unique_names(&inputs, Input::name);
        let mut answers = futures::stream::iter(inputs.iter().zip(&names))
            .map(|(input, name)| ask(Arc::clone(&endpoint), run.as_ref(), input, name, picture, args.encode))
            .buffered(args.jobs.max(1));
        let width = inputs.iter().map(|input| input.name().chars().count()).max().unwrap_or(0).clamp(7, 60);
        while let Some((line, ended)) = answers.next().await {
            exit = exit.max(ended);
            print(args, &line, width).context("cannot write the results").map_err(Failure::internal)?;
        }
        drop(answers);
        if let Some(run) = run {
            run.finish(true).await.map_err(Failure::ledger)?;
        }
        Ok(exit)
    })
}

async fn ask(
    endpoint: Arc<dyn Endpoint>,
    run: Option<&Run>,
    input: &Input,
    name: &str,
    options: PictureOptions,
    encoder: Encoder,
) -> (Line, Exit) {
    let mut line = Line {
        image: name.to_owned(),
        outcome: "failed".to_owned(),
        labels: Vec::new(),
        levels: std::collections::BTreeMap::new(),
        model_version: None,
        provider: endpoint.describe().name.clone(),
        error: None,
    };
    let read = input.clone();
    let encoded = tokio::task::spawn_blocking(move || encode(&read, &options, encoder)).await;
    let encoded = encoded.map_err(anyhow::Error::from).and_then(|encoded| encoded);
    let picture = match encoded {
        Ok(picture) => picture,
        Err(error) => {
            line.error = Some(in_words(&error));
            return (line, Exit::Usage);
        }
    };
    let limits = &endpoint.describe().limits;
    if let Err(problem) = limits.check(&picture) {
        line.error = Some(anyhow!("provider {} {problem}", line.provider).to_string());
        return (line, Exit::Usage);
    }
    let recorded = match run {
        None => None,
        Some(run) => {
            let parameters =
                Spec::new(&serde_json::json!({ "bytes": blake3::hash(&picture.bytes).to_hex().as_str() }));
            let spec =
                parameters.map(|parameters| PictureSpec { name: name.to_owned(), parameters, seed: [0; 32] });
            let picture = match spec {
                Ok(spec) => run.picture(spec).await,
                Err(error) => Err(error),
            };
            match picture {
                Ok(picture) => Some(picture),
                Err(error) => {
                    line.error = Some(error.to_string());
                    return (line, Exit::Failure);
                }
            }
        }
    };
    let journal = recorded.as_ref().map_or(&Unrecorded as &dyn Journal, |picture| picture);
    let asked = endpoint.ask(None, picture, journal).await;
    if let Some(picture) = &recorded
        && let Err(error) = picture.recorded().await
    {
        line.error = Some(error.to_string());
        return (line, Exit::Failure);
    }
    match asked {
        Ok(Outcome::Answered(answer)) => {
            answered(&mut line, answer);
            (line, Exit::Success)
        }
        Ok(other) => {
            line.outcome = other.class().to_string();
            line.error = other.reason().map(str::to_owned);
            // As for `certify`: a picture that cannot be read is bad input; whatever else the provider says is its failure.
            let ours = other.class() == OutcomeClass::BadPicture;
            (line, if ours { Exit::Usage } else { Exit::Failure })
        }
        Err(error) => {
            let budget = matches!(&error, AskError::Journal(JournalError::Budget(_)));
            line.error = Some(error.to_string());
            (line, if budget { Exit::Budget } else { Exit::Failure })
        }
    }
}

/// The picture as the engine would encode it, with no noise and no denoiser.
fn encode(input: &Input, options: &PictureOptions, encoder: Encoder) -> anyhow::Result<EncodedPicture> {
    let image = WorkingImage::decode(&input.read(&options.limits)?, options)?;
    Ok(encoded(encoder, &planes(&image), image.width(), image.height())?)
}

fn answered(line: &mut Line, answer: Answer) {
    "answered".clone_into(&mut line.outcome);
    line.labels =
        answer.labels.into_iter().map(|label| Shown { name: label.name, score: label.score }).collect();
    line.levels = answer.levels.into_iter().collect();
    line.model_version = answer.model_version;
}

fn print(args: &Args, line: &Line, width: usize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let score = |shown: &Shown| shown.score.map_or("-".to_owned(), |score| format!("{score:.4}"));
    match args.format {
        Format::Jsonl => json_line(&mut out, line),
        Format::Tsv => {
            if let Some(error) = &line.error {
                tell!("{}: {}: {error}", line.image, line.outcome);
            }
            for (rank, shown) in line.labels.iter().take(args.top).enumerate() {
                let (image, name) = (printable(&line.image), printable(&shown.name));
                writeln!(out, "{image}\t{}\t{name}\t{}", rank + 1, score(shown))?;
            }
            Ok(())
        }
        Format::Table => {
            write!(out, "{:width$}  ", printable(&line.image))?;
            if let Some(error) = &line.error {
                return writeln!(out, "{}: {}", line.outcome, printable(error));
            }
            let labels = line.labels.iter().take(args.top);
            let mut parts: Vec<String> =
                labels.map(|shown| format!("{} {}", printable(&shown.name), score(shown))).collect();
            parts.extend(line.levels.iter().map(|(name, level)| format!("{} {level:?}", printable(name))));
            writeln!(out, "{}", if parts.is_empty() { "no label".to_owned() } else { parts.join(", ") })
        }
    }
}
