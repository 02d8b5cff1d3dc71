//! Rows: one line a claim, of which a picture has one unless it was asked more, as a table, as JSON lines or as the field's tab-separated values.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::certificate::{Certificate, Claim, Outcome};
use crate::dataset::Class;
use crate::question::Question;
use crate::report::{Picture, Verdict};
use crate::stats::Reason;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON object a claim
    Jsonl,
    /// Tab separated, with a header: `idx label predict radius correct time`, as this field's plot scripts read it; of `replay` one
    /// column a field
    Tsv,
}

/// What happened to one picture.
pub(super) struct Row {
    /// The picture's name as given.
    pub image: String,
    /// The picture's number in its data set, or among all pictures, from 0.
    pub index: usize,
    /// The certificate, or why there is none.
    pub result: Result<Certificate, String>,
    /// Calls sent, retries included.
    pub calls: u64,
    /// The true class, where it was given.
    pub truth: Option<Class>,
    /// All classes of the data set, where the picture is from one.
    pub classes: Option<Arc<[Class]>>,
    /// From reading the file to the verdict.
    pub time: Duration,
    /// What the row shares with all others of the run.
    pub common: Common,
}

/// What all rows of a run have in common, for pictures that got no certificate.
#[derive(Clone)]
pub(super) struct Common {
    pub sigma: f64,
    pub alpha: f64,
    /// Each question, with its test's name.
    pub asked: Vec<(String, &'static str)>,
    pub provider: String,
    pub denoiser: String,
}

/// The machine-readable row. The names and their order are an interface: fields may be added at the end.
#[derive(Serialize)]
struct Line<'a> {
    image: &'a str,
    outcome: &'a str,
    label: Option<&'a str>,
    radius: Option<f64>,
    radius_original: Option<f64>,
    p_lower: Option<f64>,
    sigma: f64,
    alpha: f64,
    question: String,
    test: &'a str,
    votes: u64,
    calls: u64,
    failed_votes: u64,
    counts: BTreeMap<&'a str, u64>,
    seed: Option<String>,
    provider: &'a str,
    model_versions: &'a [String],
    denoiser: &'a str,
    working_size: Option<[u32; 2]>,
    error: Option<&'a str>,
    picture_hash: Option<&'a str>,
    unused_calls: u64,
    /// Which of the picture's claims, from 0, and how many there are. Calls are counted in the line of the first.
    claim: usize,
    claims: usize,
    abstained: Option<Reason>,
    truth: Option<&'a str>,
    /// Whether the label says the truth, where that is known. The truth's name alone does not always tell: classes have other
    /// names, and two may share one.
    correct: Option<bool>,
}

impl Row {
    /// One line a claim, or one a question for a picture without a certificate: it failed in the series of each.
    fn lines(&self) -> Vec<Line<'_>> {
        let claims = self.result.as_ref().map_or(&[][..], |certificate| certificate.claims.as_slice());
        let claims: Vec<Option<&Claim>> = match &self.result {
            Err(_) => vec![None; self.common.asked.len()],
            Ok(_) if claims.is_empty() => vec![None],
            Ok(_) => claims.iter().map(Some).collect(),
        };
        let of = claims.len();
        claims.into_iter().enumerate().map(|(at, claim)| self.line(at, of, claim)).collect()
    }

    fn line<'l>(&'l self, at: usize, of: usize, claim: Option<&'l Claim>) -> Line<'l> {
        let common = &self.common;
        let certificate = self.result.as_ref().ok();
        let asked = common.asked.get(at);
        // Calls are the picture's, and counted once.
        let of_picture = |calls: u64| if at == 0 { calls } else { 0 };
        Line {
            image: &self.image,
            outcome: claim.map_or("failed", |claim| word(claim.outcome)),
            label: claim.and_then(|claim| claim.label.as_deref()),
            radius: claim.map(|claim| claim.radius),
            radius_original: claim.map(|claim| claim.radius_original),
            p_lower: claim.and_then(|claim| claim.p_lower),
            sigma: common.sigma,
            alpha: common.alpha,
            question: claim.map_or_else(
                || asked.map(|asked| asked.0.clone()).unwrap_or_default(),
                |claim| shown(&claim.question),
            ),
            test: claim.map_or(asked.map_or("", |asked| asked.1), |claim| claim.test.method.name()),
            votes: claim.map_or(0, |claim| claim.votes.len() as u64),
            calls: of_picture(self.calls),
            failed_votes: claim.map_or(0, Claim::failed_votes),
            counts: claim.map(Claim::counts_by_label).unwrap_or_default(),
            seed: certificate.map(|c| c.noise.seed.to_string()),
            provider: &common.provider,
            model_versions: certificate.map_or(&[], |c| c.model_versions.as_slice()),
            denoiser: &common.denoiser,
            working_size: certificate.map(|c| [c.picture.width, c.picture.height]),
            error: self.result.as_ref().err().map(String::as_str),
            picture_hash: certificate.map(|c| c.picture.hash.as_str()),
            unused_calls: of_picture(self.unused_calls()),
            claim: at,
            claims: of,
            abstained: claim.and_then(|claim| claim.abstained),
            truth: self.truth.as_ref().map(Class::name),
            correct: self
                .truth
                .is_some()
                .then(|| self.correct(claim.and_then(|claim| claim.label.as_deref()))),
        }
    }

    /// The true class as the field's programs write it: its number in the data set where there is one, else its name; -1 where
    /// it is not known.
    fn true_class(&self) -> String {
        let Some(truth) = &self.truth else { return "-1".to_owned() };
        match &self.classes {
            Some(classes) => number(classes, |class| class == truth),
            None => printable(truth.name()),
        }
    }

    /// The label as the field's programs write it: as the class that it says (a label that says none of the set gets the
    /// number after the last), else as it is; -1 for none.
    fn class(&self, label: Option<&str>) -> String {
        let Some(label) = label else { return "-1".to_owned() };
        match &self.classes {
            // Of two classes of one name, it is the one that it is right about.
            Some(_) if self.truth.as_ref().is_some_and(|truth| truth.is(label)) => self.true_class(),
            Some(classes) => number(classes, |class| class.is(label)),
            None => printable(label),
        }
    }

    /// Calls that are behind no vote of their own and no clean answer: sent ahead of the decision, or sent again.
    pub(super) fn unused_calls(&self) -> u64 {
        self.result.as_ref().map_or(0, |certificate| {
            self.calls.saturating_sub(certificate.draws() + u64::from(certificate.asked_clean()))
        })
    }

    /// The row as reports count it: one picture a question, in the order of the questions.
    pub(super) fn pictures(&self, questions: usize) -> Vec<Picture> {
        let Ok(certificate) = &self.result else {
            let failed = Picture {
                name: self.image.clone(),
                verdict: Verdict::Failed,
                correct: self.truth.is_some().then_some(false),
                ..Picture::default()
            };
            return vec![failed; questions];
        };
        let picture = |claims: &[Claim]| {
            let each = claims.iter().map(|claim| Picture {
                name: self.image.clone(),
                verdict: match claim.outcome {
                    Outcome::Certified => Verdict::Certified,
                    Outcome::Predicted => Verdict::Predicted,
                    Outcome::Abstained => Verdict::Abstained,
                },
                label: claim.label.clone(),
                radius: claim.radius,
                correct: self.truth.is_some().then(|| self.correct(claim.label.as_deref())),
                calls: Some(self.calls),
                votes: Some(claim.votes.len() as u64),
                ..Picture::default()
            });
            Picture::of_claims(each)
        };
        certificate.questions().filter_map(|(_, claims)| picture(claims)).collect()
    }

    /// Does the claimed label say the true class? Without a true class: is there a claim at all?
    fn correct(&self, label: Option<&str>) -> bool {
        let Some(label) = label else { return false };
        self.truth.as_ref().is_none_or(|truth| truth.is(label))
    }
}

/// The number of the first class that is meant, or the one after the last.
fn number(classes: &[Class], is_meant: impl Fn(&Class) -> bool) -> String {
    classes.iter().position(is_meant).unwrap_or(classes.len()).to_string()
}

/// A name or the words of a stranger, without what would move the cursor, colour the terminal or break a row of a table.
pub(super) fn printable(text: &str) -> String {
    let harmless = |c: char| match c {
        '\t' | '\n' | '\r' => ' ',
        c if c.is_control() => '\u{fffd}',
        // These turn the direction of what follows.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    };
    text.chars().map(harmless).collect()
}

/// What `tell!` does: words for people on standard error, in one piece. That nobody reads there any more ends nothing: calls are
/// out that are paid for.
pub(super) fn tell(words: std::fmt::Arguments<'_>) {
    let mut lines: Vec<String> = words.to_string().split('\n').map(printable).collect();
    lines.push(String::new());
    _ = std::io::stderr().lock().write_all(lines.join("\n").as_bytes());
}

/// A question as rows name it: as it was asked, or about one of several labels.
fn shown(question: &Question) -> String {
    if question.most_claims() > 1 { question.to_string() } else { question.asked().to_string() }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Certified => "certified",
        Outcome::Predicted => "predicted",
        Outcome::Abstained => "abstained",
    }
}

/// One JSON document on a line of its own.
pub(super) fn json_line(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// Writes rows to standard output.
pub(super) struct Printer {
    format: Format,
    width: usize,
    questions: usize,
    started: bool,
}

impl Printer {
    /// A printer whose first column fits the longest of `names`, for a run of so many questions.
    pub(super) fn new<'a>(format: Format, questions: usize, names: impl Iterator<Item = &'a str>) -> Self {
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0).clamp(7, 60);
        Self { format, width, questions, started: false }
    }

    /// Prints the lines of one row and flushes them, so that a reader of a pipe sees them now.
    pub(super) fn print(&mut self, row: &Row) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        for (at, line) in row.lines().iter().enumerate() {
            // Only there does a line say of which question it is.
            if at > 0 && row.result.is_err() && self.format != Format::Jsonl {
                break;
            }
            match self.format {
                Format::Jsonl => json_line(&mut out, line)?,
                Format::Tsv => self.tsv(&mut out, row, line)?,
                Format::Table => {
                    let claim = row.result.as_ref().ok().and_then(|certificate| certificate.claims.get(at));
                    self.table(&mut out, row, line, claim)?;
                }
            }
            self.started = true;
        }
        out.flush()
    }

    fn tsv(&self, out: &mut impl Write, row: &Row, line: &Line<'_>) -> std::io::Result<()> {
        if !self.started {
            writeln!(out, "idx\tlabel\tpredict\tradius\tcorrect\ttime")?;
        }
        // The columns are the field's, and none is for this.
        if let Some(error) = line.error {
            tell!("{}: {error}", row.image);
        }
        let seconds = row.time.as_secs_f64();
        let (hours, rest) = ((seconds / 3600.0).floor(), seconds % 3600.0);
        writeln!(
            out,
            "{}\t{}\t{}\t{:.6}\t{}\t{hours}:{:02}:{:09.6}",
            row.index,
            row.true_class(),
            row.class(line.label),
            line.radius.unwrap_or(0.0),
            u8::from(row.correct(line.label)),
            (rest / 60.0).floor(),
            rest % 60.0
        )
    }

    fn table(
        &self,
        out: &mut impl Write,
        row: &Row,
        line: &Line<'_>,
        claim: Option<&Claim>,
    ) -> std::io::Result<()> {
        let width = self.width;
        if !self.started {
            writeln!(
                out,
                "{:width$}  {:<9}  {:<20}  {:>8}  {:>8}  {:>9}",
                "picture", "outcome", "label", "radius", "original", "votes"
            )?;
        }
        write!(out, "{:width$}  {:<9}", printable(&row.image), line.outcome)?;
        let Some(claim) = claim else {
            return writeln!(out, "  {}", printable(line.error.unwrap_or_default()));
        };
        let radius =
            |r: f64| if r > 0.0 { format!("{:.4}", (r * 1e4).floor() / 1e4) } else { "-".to_owned() };
        let (top, agree) = claim.counts().first().map_or(("-", 0), |&(label, votes)| (label, votes));
        let label = match &claim.label {
            Some(label) => printable(label),
            None => format!("({}?)", printable(top)),
        };
        write!(
            out,
            "  {label:<20}  {:>8}  {:>8}  {:>9}",
            radius(claim.radius),
            radius(claim.radius_original),
            format!("{agree}/{}", claim.votes.len()),
        )?;
        // Of several questions, which one it is.
        if self.questions > 1 { writeln!(out, "  {}", printable(&line.question)) } else { writeln!(out) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row without a certificate: what it says of labels needs none.
    fn row(truth: &str, classes: Option<&[&str]>) -> Row {
        let class = |name: &str| Class::new(name.to_owned());
        Row {
            image: "x.png".to_owned(),
            index: 0,
            result: Err("no".to_owned()),
            calls: 0,
            truth: Some(class(truth)),
            classes: classes.map(|classes| classes.iter().map(|name| class(name)).collect()),
            time: Duration::ZERO,
            common: Common {
                sigma: 0.25,
                alpha: 0.001,
                asked: vec![("top1".to_owned(), "cohen")],
                provider: "local".to_owned(),
                denoiser: "none".to_owned(),
            },
        }
    }

    #[test]
    fn a_label_is_right_whether_it_is_written_as_the_class_or_as_its_folder() {
        let classes = ["cat", "hot_dog", "n01534433_junco"];
        let hot_dog = row("hot_dog", Some(&classes));
        for (label, number, right) in [
            ("hot_dog", "1", true),
            ("Hot dog", "1", true),
            ("cat", "0", false),
            ("junco", "2", false),
            ("x", "3", false),
        ] {
            let said = (hot_dog.class(Some(label)), hot_dog.correct(Some(label)));
            assert_eq!(said, (number.to_owned(), right), "{label}");
        }
        let junco = row("n01534433_junco", None);
        assert!(junco.correct(Some("junco")) && junco.correct(Some("n01534433_junco")));
        assert!(!junco.correct(Some("n01530575_brambling")) && !junco.correct(None));
        assert_eq!(junco.lines()[0].correct, Some(false), "a failure is not right");
    }

    #[test]
    fn of_two_classes_of_one_name_a_right_label_is_the_true_one() {
        let cranes = ["n02012849_crane", "n03126707_crane"];
        let second = row(cranes[1], Some(&cranes));
        assert_eq!((second.true_class(), second.class(Some("crane"))), ("1".to_owned(), "1".to_owned()));
        assert_eq!((second.class(Some(cranes[0])), second.correct(Some(cranes[0]))), ("0".to_owned(), false));
    }

    #[test]
    fn names_of_strangers_keep_their_place_in_a_table() {
        assert_eq!(printable("a\tb\r\n\u{1b}[2Jé\u{9b}"), "a b  \u{fffd}[2Jé\u{fffd}");
    }
}
