//! Progress on a terminal, nothing in pipes.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::printable;

/// A progress line on standard error, or nothing where nobody looks at it.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    quiet: bool,
}

impl Progress {
    /// A line that counts `pictures`.
    pub(super) fn new(pictures: usize, quiet: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(pictures as u64), ProgressDrawTarget::stderr());
        if quiet || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        } else {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let style =
            ProgressStyle::with_template("{bar:24} {pos}/{len} pictures, {msg} ({elapsed}, {eta} left)");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { bar, quiet }
    }

    /// Shows where the current picture is.
    pub(super) fn votes(&self, picture: &str, at: crate::engine::Progress) {
        self.bar.set_message(format!("{}: vote {} of at most {}", printable(picture), at.votes, at.most));
    }

    /// One picture is done. `print` runs with the line out of the way.
    pub(super) fn done<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.inc(1);
        self.bar.suspend(print)
    }

    /// Says what must not be missed.
    pub(super) fn warn(&self, words: &str) {
        self.bar.suspend(|| tell!("{words}"));
    }

    /// Says something beside the results, unless only results are wanted.
    pub(super) fn say(&self, words: &str) {
        if !self.quiet {
            self.bar.suspend(|| tell!("{words}"));
        }
    }

    /// Takes the line away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The line of a training run.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    bar: ProgressBar,
}

impl Steps {
    /// A line that counts to `steps`, from `made`.
    pub(super) fn new(steps: u64, made: u64, quiet: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
        if quiet || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} steps, {msg}") {
            bar.set_style(style);
        }
        bar.set_position(made);
        Self { bar }
    }

    /// A step was made.
    pub(super) fn made(&self, step: u64, loss: f64, pictures_per_second: f64, left: Duration) {
        self.bar.set_position(step);
        let left = indicatif::HumanDuration(left);
        self.bar.set_message(format!("loss {loss:.3e}, {pictures_per_second:.0} pictures/s, {left} left"));
    }

    /// Runs `print` with the line out of the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the line away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
