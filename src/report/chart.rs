//! Certified accuracy against radius, as a step curve.

use std::fmt::Write as _;

use super::axis::ticks;
use super::canvas::{Frame, Place};
use super::error::ReportError;
use super::figures::{Share, largest_radius};
use super::markup::{Markup, percent, px, shortened, width};
use super::palette::COLOURS;
use super::series::{Measure, Series};

/// Six colours by three kinds of line: more series cannot be told apart.
pub const MAX_SERIES: usize = 3 * COLOURS;

/// Steps closer than this, in pixels, are drawn as one.
const FINEST: f64 = 0.25;

/// From the end of a line to its label.
const GAP: f64 = 9.0;

/// The class of series number `at`.
pub(super) fn class(at: usize) -> String {
    format!("s{} d{}", at % COLOURS, at / COLOURS % 3)
}

/// The curve of each series with its interval as a band, as an SVG document that needs nothing else.
///
/// The x axis is the L2 radius in units of \[0, 1\] pixel values; the y axis the share of pictures certified (for accuracy:
/// with the right label) at that radius or more. A series is labelled where its line ends.
///
/// # Errors
/// [`ReportError::TooManySeries`] beyond [`MAX_SERIES`].
pub fn curve(series: &[Series], title: &str) -> Result<String, ReportError> {
    check(series.len())?;
    let frame = Frame { id: "curve".to_owned(), width: 860.0, height: 480.0, title: title.to_owned() };
    Ok(frame.alone(&described(series), |m| inside(m, series, &frame)))
}

pub(super) fn check(given: usize) -> Result<(), ReportError> {
    if given > MAX_SERIES { Err(ReportError::TooManySeries { given, most: MAX_SERIES }) } else { Ok(()) }
}

/// What the y axis shows.
pub(super) fn measure_of(series: &[Series]) -> &'static str {
    let all = |measure| series.iter().all(|one| one.measure() == measure);
    if all(Measure::Accuracy) {
        "Certified accuracy"
    } else if all(Measure::Agreement) {
        "Certified accuracy, right being the clean answer"
    } else if all(Measure::Share) {
        "Certified share"
    } else {
        "Certified accuracy or share"
    }
}

/// Draws one SVG element on a page.
pub(super) fn draw(m: &mut Markup, series: &[Series], frame: &Frame) {
    frame.draw(m, Place::Page, &described(series), |m| inside(m, series, frame));
}

fn inside(m: &mut Markup, series: &[Series], frame: &Frame) {
    let lines = Line::all(series);
    let plot = Plot::new(&lines, &Scale::of(series), frame.width, frame.height);
    plot.draw(m, measure_of(series), &lines);
}

/// A series as it is drawn.
pub(super) struct Line<'a> {
    /// The series.
    pub series: &'a Series,
    /// What it is labelled with.
    pub label: String,
    /// Its colour and kind of line.
    pub look: usize,
}

impl<'a> Line<'a> {
    /// Each series under its name, in a look of its own.
    fn all(series: &'a [Series]) -> Vec<Self> {
        let line = |(look, one): (usize, &'a Series)| {
            let alike = series.iter().all(|other| other.measure() == one.measure());
            // Beside lines that measure something else, what it measures.
            let label =
                if alike { one.name().clone() } else { format!("{} ({})", one.name(), one.measure().word()) };
            Self { series: one, label, look }
        };
        series.iter().enumerate().map(line).collect()
    }
}

/// The curve in words: where each starts, its value half way, and where it ends.
pub(super) fn described(series: &[Series]) -> String {
    let mut words = String::from("Step curves against the L2 radius, with 95 percent bands.");
    for one in series {
        let n = one.pictures().len();
        let last = one.counted_radii().last().copied().unwrap_or(0.0);
        let at = |radius: f64| percent(one.count_at(radius) as f64 / n as f64);
        let _infallible = write!(
            words,
            " {}: {} {} of {n} pictures at radius 0, {} at {:.3}, none beyond {last:.3}.",
            one.name(),
            one.measure().name(),
            at(0.0),
            at(last / 2.0),
            last / 2.0
        );
    }
    words
}

/// How far the axes go: the same for drawings that are compared.
pub(super) struct Scale {
    /// Where the x axis ends.
    end: f64,
    /// Where the y axis ends.
    all: f64,
}

impl Scale {
    pub(super) fn of(series: &[Series]) -> Self {
        let top = largest_radius(series);
        // Half the axis is enough where no band leaves it.
        let highest = |one: &Series| Share::new(one.count_at(0.0), one.pictures().len()).upper;
        Self {
            end: if top > 0.0 { top * 1.02 } else { 1.0 },
            all: if series.iter().all(|one| highest(one) <= 0.5) { 0.5 } else { 1.0 },
        }
    }
}

/// The rectangle of the curves and its scales.
pub(super) struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    end: f64,
    all: f64,
    x_ticks: Vec<f64>,
    font: f64,
    label_width: f64,
}

impl Plot {
    /// A plot in a rectangle of this size whose upper left corner is the origin.
    pub(super) fn new(lines: &[Line<'_>], scale: &Scale, w: f64, h: f64) -> Self {
        let (font, left) = (13.0, 50.0);
        let label_width = w * 0.3;
        let &Scale { end, all } = scale;
        // As far right as leaves room for every label behind the end of its line.
        let right = lines.iter().map(|line| {
            let needed = (width(&line.label) * font).min(label_width) + GAP + 4.0;
            let share = line.series.counted_radii().last().map_or(1.0, |last| (last / end).max(0.2));
            left + (w - needed - left) / share
        });
        let right = right.fold(w - 12.0, f64::min);
        let most = if right - left < 350.0 { 5 } else { 8 };
        let mut x_ticks = ticks(end, most);
        x_ticks.retain(|&tick| tick <= end);
        Self { left, right, top: 34.0, bottom: h - 50.0, end, all, x_ticks, font, label_width }
    }

    /// Axes, bands, lines and labels.
    pub(super) fn draw(&self, m: &mut Markup, y_title: &str, lines: &[Line<'_>]) {
        self.axes(m, y_title);
        for line in lines {
            self.band(m, line, lines.len());
        }
        for line in lines {
            self.line(m, line);
        }
        self.labels(m, lines);
    }

    /// Ends the x axis where another plot's ends, so that both can be compared.
    pub(super) fn ends_with(mut self, right: f64) -> Self {
        self.right = self.right.min(right);
        self
    }

    /// Where the x axis ends, in pixels.
    pub(super) fn right(&self) -> f64 {
        self.right
    }

    fn x(&self, radius: f64) -> f64 {
        self.left + radius / self.end * (self.right - self.left)
    }

    fn y(&self, share: f64) -> f64 {
        self.bottom - share / self.all * (self.bottom - self.top)
    }

    fn axes(&self, m: &mut Markup, y_title: &str) {
        let (left, right, bottom) = (px(self.left), px(self.right), px(self.bottom));
        m.words("text", &[("class", &"axis-title"), ("x", &"2"), ("y", &"16")], y_title);
        for share in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0].map(|part| part * self.all) {
            let y = px(self.y(share));
            let class = if share == 0.0 { "axis" } else { "grid" };
            m.leaf("line", &[("class", &class), ("x1", &left), ("x2", &right), ("y1", &y), ("y2", &y)]);
            let (x, y) = (px(self.left - 7.0), px(self.y(share) + 4.0));
            let text = format!("{:.0}\u{a0}%", share * 100.0);
            m.words("text", &[("class", &"tick end"), ("x", &x), ("y", &y)], text);
        }
        for &radius in &self.x_ticks {
            let x = px(self.x(radius));
            let (y1, y2) = (&bottom, px(self.bottom + 5.0));
            m.leaf("line", &[("class", &"axis"), ("x1", &x), ("x2", &x), ("y1", y1), ("y2", &y2)]);
            m.words("text", &[("class", &"tick middle"), ("x", &x), ("y", &px(self.bottom + 19.0))], radius);
        }
        let (x, y) = (px(f64::midpoint(self.left, self.right)), px(self.bottom + 40.0));
        m.words(
            "text",
            &[("class", &"axis-title middle"), ("x", &x), ("y", &y)],
            "L2 radius, in units of [0, 1] pixel values",
        );
    }

    /// The radii at which the curve falls, and the count from just beyond the one before up to it.
    fn steps(&self, series: &Series) -> Vec<(f64, usize)> {
        let radii = series.counted_radii();
        let mut steps: Vec<(f64, usize)> = Vec::new();
        for (at, &radius) in radii.iter().enumerate() {
            let count = radii.len() - at;
            // Too near the last fall to see: drawn as part of it.
            if steps.last().is_none_or(|&(last, _)| radius > last && self.x(radius) - self.x(last) >= FINEST)
            {
                steps.push((radius, count));
            }
        }
        steps
    }

    fn line(&self, m: &mut Markup, &Line { series, look, .. }: &Line<'_>) {
        let n = series.pictures().len() as f64;
        let steps = self.steps(series);
        let first = steps.first().map_or(0, |&(_, count)| count);
        let mut path = format!("M{} {}", px(self.left), px(self.y(first as f64 / n)));
        for (i, &(radius, _)) in steps.iter().enumerate() {
            let after = steps.get(i + 1).map_or(0, |&(_, count)| count);
            let _infallible = write!(path, "H{}V{}", px(self.x(radius)), px(self.y(after as f64 / n)));
        }
        if steps.is_empty() {
            let _infallible = write!(path, "H{}", px(self.right));
        }
        m.leaf("path", &[("class", &format!("line {}", class(look))), ("d", &path)]);
    }

    fn band(&self, m: &mut Markup, &Line { series, look, .. }: &Line<'_>, among: usize) {
        let n = series.pictures().len();
        // Beyond the last radius there is no line: what no picture reaches may be out of the test's reach.
        let mut steps = self.steps(series);
        if steps.is_empty() {
            steps.push((self.end, 0));
        }
        let mut path = String::new();
        let mut below = Vec::new();
        let mut from = self.left;
        for &(radius, count) in &steps {
            let (share, to) = (Share::new(count, n), self.x(radius));
            let start = if path.is_empty() { "M" } else { "L" };
            let _infallible = write!(path, "{start}{} {}H{}", px(from), px(self.y(share.upper)), px(to));
            below.push((from, to, self.y(share.lower)));
            from = to;
        }
        for (from, to, y) in below.into_iter().rev() {
            let _infallible = write!(path, "L{} {}H{}", px(to), px(y), px(from));
        }
        path.push('Z');
        let class = format!("band {} {}", if among > 3 { "many" } else { "few" }, class(look));
        m.leaf("path", &[("class", &class), ("d", &path)]);
    }

    /// Each name at the end of its line, moved up or down until no two overlap.
    fn labels(&self, m: &mut Markup, lines: &[Line<'_>]) {
        let line_height = self.font + 3.0;
        let mut wanted: Vec<Label> = lines
            .iter()
            .map(|&Line { series: one, ref label, look }| {
                let end = one.counted_radii().last().copied();
                let count = end.map_or(0, |end| one.count_at(end));
                let text = shortened(label, self.label_width / self.font);
                Label {
                    at: look,
                    x: end.map_or(self.right, |end| self.x(end)),
                    y: self.y(count as f64 / one.pictures().len() as f64),
                    width: width(&text) * self.font,
                    text,
                }
            })
            .collect();
        wanted.sort_by(|a, b| a.y.total_cmp(&b.y));
        let mut placed: Vec<(f64, f64, f64)> = Vec::new();
        for label in &wanted {
            let x = label.x + GAP;
            let free = |y: f64| {
                let apart = |&(left, right, other): &(f64, f64, f64)| {
                    (other - y).abs() >= line_height || left > x + label.width || right < x
                };
                (self.top - 8.0..=self.bottom + 2.0).contains(&y) && placed.iter().all(apart)
            };
            let offsets = (0..600).map(|i| f64::from((i + 1) / 2) * if i % 2 == 0 { 1.0 } else { -1.0 });
            let y = offsets.map(|by| label.y + by).find(|&y| free(y)).unwrap_or(label.y);
            placed.push((x, x + label.width, y));
            if (y - label.y).abs() > 3.0 {
                let path = format!("M{} {}L{} {}", px(label.x), px(label.y), px(x - 2.0), px(y));
                m.leaf("path", &[("class", &format!("leader {}", class(label.at))), ("d", &path)]);
            }
            let class = format!("label {}", class(label.at));
            let (x, y) = (px(x), px(y + self.font * 0.34));
            m.words("text", &[("class", &class), ("x", &x), ("y", &y)], &label.text);
        }
    }
}

/// A name and where its line ends.
struct Label {
    at: usize,
    x: f64,
    y: f64,
    width: f64,
    text: String,
}
