//! The votes of one picture in index order, above them the votes against its label with the test's boundary.

use std::fmt::Write as _;

use super::axis::ticks;
use super::canvas::{Frame, Place};
use super::error::ReportError;
use super::markup::{Markup, px, shortened};
use super::series::{Cast, Picture, Series, Votes};
use super::strip;
use super::walk::{Says, Step, Walk};
use crate::tables::TableCache;

const LEFT: f64 = 44.0;
/// From the right edge.
const RIGHT: f64 = 14.0;
const TOP: f64 = 56.0;
/// From the bottom edge: strip, axis, its title and the key.
const BELOW: f64 = 116.0;
const STRIP: f64 = 16.0;

/// Levels that are drawn beyond the highest that matters.
const HEADROOM: usize = 1;

/// The votes of the picture called `name`, or of the first picture with votes, as an SVG document that needs nothing else.
///
/// # Errors
/// [`ReportError::NoVotes`].
pub fn votes(series: &[Series], name: Option<&str>, tables: &TableCache) -> Result<String, ReportError> {
    let wanted = |picture: &&Picture| picture.cast.is_some() && name.is_none_or(|name| picture.name == name);
    let picture = series.iter().flat_map(Series::pictures).find(wanted);
    let none = || ReportError::NoVotes { picture: name.map(str::to_owned) };
    let picture = picture.ok_or_else(none)?;
    let cast = picture.cast.as_ref().ok_or_else(none)?;
    let walk = cast.tested.as_ref().and_then(|tested| tested.walk(tables));
    let title = format!("Votes of {}", picture.name);
    let frame = Frame { id: "votes".to_owned(), width: 860.0, height: 360.0, title };
    let figure = Figure::new(&frame, picture, cast, walk.as_ref());
    Ok(frame.alone(&figure.about(), |m| figure.draw(m)))
}

/// Draws one SVG element on a page.
pub(super) fn draw(m: &mut Markup, frame: &Frame, picture: &Picture, cast: &Votes, walk: Option<&Walk>) {
    let figure = Figure::new(frame, picture, cast, walk);
    frame.draw(m, Place::Page, &figure.about(), |m| figure.draw(m));
}

/// One picture's votes in a frame.
struct Figure<'a> {
    frame: &'a Frame,
    picture: &'a Picture,
    cast: &'a Votes,
    walk: Option<&'a Walk>,
    /// The highest level that is drawn.
    most: usize,
}

impl<'a> Figure<'a> {
    fn new(frame: &'a Frame, picture: &'a Picture, cast: &'a Votes, walk: Option<&'a Walk>) -> Self {
        let levels = |step: &Step| {
            let boundary = step.boundary.as_ref();
            let certify = boundary.into_iter().flat_map(|b| b.certify.iter().flatten().copied()).max();
            let give_up = boundary.and_then(|b| b.give_up);
            [Some(step.against), certify, give_up].into_iter().flatten().max().unwrap_or(0)
        };
        let steps = walk.map_or(&[][..], |walk| &walk.steps);
        let most = steps.iter().map(levels).max().unwrap_or(0) + HEADROOM;
        Self { frame, picture, cast, walk, most }
    }

    fn right(&self) -> f64 {
        self.frame.width - RIGHT
    }

    fn bottom(&self) -> f64 {
        self.frame.height - BELOW
    }

    fn votes(&self) -> usize {
        self.cast.cast.len().max(1)
    }

    /// The left edge of vote `index`, and the right one of the vote before it.
    fn x(&self, index: usize) -> f64 {
        LEFT + index as f64 / self.votes() as f64 * (self.right() - LEFT)
    }

    /// The height of a level; boundaries lie half a level beside it.
    fn y(&self, level: f64) -> f64 {
        self.bottom() - (level + 0.5) / (self.most as f64 + 1.0) * (self.bottom() - TOP)
    }

    fn about(&self) -> String {
        format!(
            "{}: {}. {}. A step line shows the votes against the label after each vote, between the region where the test \
             certifies, below, and the region where it gives up, above.",
            self.picture.name,
            self.verdict(),
            strip::words(self.cast)
        )
    }

    fn verdict(&self) -> String {
        let label = self.cast.label.as_deref().unwrap_or("no label");
        let radius = (self.picture.radius * 1e4).floor() / 1e4;
        match (self.picture.verdict.is_claim(), self.picture.radius > 0.0) {
            (true, true) => format!("{label}, certified to {radius} at vote {}", self.cast.cast.len()),
            (true, false) => {
                format!("{label}, {} at vote {}", self.picture.verdict.word(), self.cast.cast.len())
            }
            (false, _) => {
                format!("{label}?, {} at vote {}", self.picture.verdict.word(), self.cast.cast.len())
            }
        }
    }

    fn draw(&self, m: &mut Markup) {
        let width = self.frame.width;
        let heading = shortened(&format!("{}: {}", self.picture.name, self.verdict()), (width - 8.0) / 13.0);
        m.words("text", &[("class", &"heading"), ("x", &2), ("y", &16)], heading);
        m.words("text", &[("class", &"axis-title"), ("x", &2), ("y", &40)], "Votes against the label");
        if let Some(walk) = self.walk {
            self.regions(m, walk);
        }
        self.axes(m);
        self.strip(m);
        if let Some(walk) = self.walk {
            self.path(m, walk);
        }
        self.key(m);
    }

    fn axes(&self, m: &mut Markup) {
        let (left, right) = (px(LEFT), px(self.right()));
        for tick in ticks(self.most as f64, 5).into_iter().filter(|tick| tick.fract() == 0.0) {
            if tick > self.most as f64 {
                continue;
            }
            let y = px(self.y(tick));
            m.leaf("line", &[("class", &"grid"), ("x1", &left), ("x2", &right), ("y1", &y), ("y2", &y)]);
            let at = px(self.y(tick) + 4.0);
            m.words("text", &[("class", &"tick end"), ("x", &px(LEFT - 7.0)), ("y", &at)], tick);
        }
        let below = self.bottom() + STRIP + 8.0;
        let few = if self.frame.width < 500.0 { 5 } else { 9 };
        for tick in ticks(self.votes() as f64, few) {
            if tick.fract() != 0.0 || tick > self.votes() as f64 {
                continue;
            }
            let x = px(self.x(tick as usize));
            m.leaf(
                "line",
                &[("class", &"axis"), ("x1", &x), ("x2", &x), ("y1", &px(below)), ("y2", &px(below + 4.0))],
            );
            m.words("text", &[("class", &"tick middle"), ("x", &x), ("y", &px(below + 17.0))], tick);
        }
        let (x, y) = (px(f64::midpoint(LEFT, self.right())), px(below + 36.0));
        let title = "Votes so far, in index order";
        m.words("text", &[("class", &"axis-title middle"), ("x", &x), ("y", &y)], title);
    }

    /// The votes themselves, below the axis of the levels.
    fn strip(&self, m: &mut Markup) {
        let foot = self.bottom() + STRIP + 6.0;
        for (start, length, cast) in strip::runs(&self.cast.cast) {
            let (class, height) = strip::look(cast);
            let height = height * STRIP / strip::HEIGHT;
            let (x, width) = (px(self.x(start)), px(self.x(start + length) - self.x(start)));
            let (y, height) = (px(foot - height), px(height));
            m.leaf(
                "rect",
                &[("class", &class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)],
            );
        }
        if self.cast.selection > 0 && self.cast.selection < self.votes() {
            let (x, y1, y2) = (px(self.x(self.cast.selection)), px(TOP - 8.0), px(foot));
            m.leaf("line", &[("class", &"split"), ("x1", &x), ("x2", &x), ("y1", &y1), ("y2", &y2)]);
            let x = px(self.x(self.cast.selection) + 5.0);
            m.words("text", &[("class", &"tick"), ("x", &x), ("y", &px(TOP - 1.0))], "the label is chosen");
        }
    }

    /// Where the test certifies each of its radii, and where it gives up.
    fn regions(&self, m: &mut Markup, walk: &Walk) {
        for rung in 0..walk.radii.len().max(1) {
            let most = |step: &Step| step.boundary.as_ref()?.certify.get(rung).copied()?;
            let edge = |step: &Step| most(step).map(|most| self.y(most as f64 + 0.5));
            self.region(m, "certify", walk, edge, self.y(-0.5));
        }
        let least = |step: &Step| step.boundary.as_ref()?.give_up;
        let edge = |step: &Step| least(step).map(|least| self.y(least as f64 - 0.5));
        self.region(m, "give-up", walk, edge, TOP);
    }

    /// Everything between `edge` and `foot`, a column a vote.
    fn region(
        &self,
        m: &mut Markup,
        class: &'static str,
        walk: &Walk,
        edge: impl Fn(&Step) -> Option<f64>,
        foot: f64,
    ) {
        let edges: Vec<Option<f64>> = walk.steps.iter().map(edge).collect();
        let mut path = String::new();
        let mut at = 0;
        for run in edges.chunk_by(|a, b| a == b) {
            if let Some(Some(edge)) = run.first() {
                let (from, to) = (px(self.x(at)), px(self.x(at + run.len())));
                let _infallible = write!(path, "M{from} {}V{}H{to}V{}Z", px(foot), px(*edge), px(foot));
            }
            at += run.len();
        }
        if !path.is_empty() {
            m.leaf("path", &[("class", &format!("region {class}")), ("d", &path)]);
        }
    }

    fn path(&self, m: &mut Markup, walk: &Walk) {
        let mut path = String::new();
        for (at, step) in walk.steps.iter().enumerate().filter(|(_, step)| !step.selection) {
            let y = px(self.y(step.against as f64));
            if path.is_empty() {
                let _infallible = write!(path, "M{} {y}H{}", px(self.x(at)), px(self.x(at + 1)));
            } else {
                let _infallible = write!(path, "V{y}H{}", px(self.x(at + 1)));
            }
        }
        if !path.is_empty() {
            m.leaf("path", &[("class", &"path"), ("d", &path)]);
        }
        // Where the drawn boundary says that something is decided.
        for (at, (says, step)) in walk.says().into_iter().zip(&walk.steps).enumerate() {
            let words = match says {
                Says::GoOn => continue,
                Says::GivesUp => "the test gives up".to_owned(),
                Says::Certifies(rung) => match walk.radii.get(rung).or(walk.certified.as_ref()) {
                    Some(radius) => format!("certified: radius {radius}"),
                    None => "certified".to_owned(),
                },
            };
            let (x, y) = (px(f64::midpoint(self.x(at), self.x(at + 1))), px(self.y(step.against as f64)));
            m.element("circle", &[("class", &"mark"), ("cx", &x), ("cy", &y), ("r", &5)], |m| {
                m.words("title", &[], format!("vote {}: {words}", at + 1));
            });
        }
    }

    fn key(&self, m: &mut Markup) {
        let (mut x, mut y) = (LEFT, self.frame.height - 30.0);
        let mut entry = |m: &mut Markup, class: &str, height: f64, words: &str| {
            let width = 24.0 + words.chars().count() as f64 * 6.9;
            if x + width > self.right() + 8.0 {
                (x, y) = (LEFT, y + 19.0);
            }
            let shape: [(&'static str, &dyn std::fmt::Display); 5] = [
                ("class", &class),
                ("x", &px(x)),
                ("y", &px(y - height)),
                ("width", &10),
                ("height", &px(height)),
            ];
            m.leaf("rect", &shape);
            m.words("text", &[("class", &"tick"), ("x", &px(x + 15.0)), ("y", &px(y))], words);
            x += width;
        };
        let bounded = self.walk.is_some_and(|walk| walk.steps.iter().any(|step| step.boundary.is_some()));
        if bounded {
            entry(m, "region certify", 10.0, "certifies");
            entry(m, "region give-up", 10.0, "gives up");
        }
        let kinds = [
            (Cast::For, "for the label"),
            (Cast::Other, "for another"),
            (Cast::NoLabel, "for no label"),
            (Cast::Failed, "failed"),
        ];
        for (kind, words) in kinds {
            if self.cast.cast.contains(&kind) {
                let (class, height) = strip::look(kind);
                entry(m, class, height, words);
            }
        }
    }
}
