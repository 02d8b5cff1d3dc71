//! Certified accuracy against radius, as a step curve.

use std::fmt::Write as _;

use super::axis::ticks;
use super::error::ReportError;
use super::figures::{Share, largest_radius};
use super::markup::{Markup, percent, px, shortened, width};
use super::series::{Measure, Series};

/// Six colours by three kinds of line: more series cannot be told apart.
pub const MAX_SERIES: usize = 18;

/// Steps closer than this, in pixels, are drawn as one.
const FINEST: f64 = 0.25;

/// From the end of a line to its label.
const GAP: f64 = 9.0;

/// Colours and lines, for a page and for a drawing alone. The colours follow Okabe and Ito's palette for colour-blind
/// readers, darkened on white and lightened on black until lines have a contrast of 3 or more.
pub(super) const STYLE: &str = include_str!("chart.css");

/// How large a drawing is and what it is called.
pub(super) struct Frame {
    /// What begins its element ids: unique in a page.
    pub id: &'static str,
    /// In pixels.
    pub width: f64,
    /// In pixels.
    pub height: f64,
    /// For those who cannot see it.
    pub title: String,
}

/// The class of series number `at`.
pub(super) fn class(at: usize) -> String {
    format!("s{} d{}", at % 6, at / 6 % 3)
}

/// The curve of each series with its interval as a band, as an SVG document that needs nothing else.
///
/// The x axis is the L2 radius in units of \[0, 1\] pixel values; the y axis the share of pictures certified (for accuracy:
/// with the right label) at that radius or more. A series is labelled where its line ends.
///
/// # Errors
/// [`ReportError::TooManySeries`] beyond [`MAX_SERIES`].
pub fn curve(series: &[Series], title: &str) -> Result<String, ReportError> {
    check(series)?;
    let mut m = Markup::after("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    draw(&mut m, series, &Frame { id: "curve", width: 860.0, height: 480.0, title: title.to_owned() }, true);
    Ok(m.finish())
}

pub(super) fn check(series: &[Series]) -> Result<(), ReportError> {
    let given = series.len();
    if given > MAX_SERIES { Err(ReportError::TooManySeries { given, most: MAX_SERIES }) } else { Ok(()) }
}

/// What the y axis shows.
pub(super) fn measure_of(series: &[Series]) -> &'static str {
    let all = |measure| series.iter().all(|one| one.measure() == measure);
    if all(Measure::Accuracy) {
        "Certified accuracy"
    } else if all(Measure::Share) {
        "Certified share"
    } else {
        "Certified accuracy or share"
    }
}

/// Draws one SVG element; `alone` gives it a style sheet and a background of its own.
pub(super) fn draw(m: &mut Markup, series: &[Series], frame: &Frame, alone: bool) {
    let plot = Plot::new(series, frame);
    let (title, about) = (format!("{}-title", frame.id), format!("{}-desc", frame.id));
    let view = format!("0 0 {} {}", px(frame.width), px(frame.height));
    let labelled = format!("{title} {about}");
    let mut attributes: Vec<(&'static str, &dyn std::fmt::Display)> =
        vec![("class", &"curve"), ("viewBox", &view), ("role", &"img"), ("aria-labelledby", &labelled)];
    let (w, h) = (px(frame.width), px(frame.height));
    if alone {
        let size: [(&'static str, &dyn std::fmt::Display); 3] =
            [("xmlns", &"http://www.w3.org/2000/svg"), ("width", &w), ("height", &h)];
        attributes.extend(size);
    }
    m.element("svg", &attributes, |m| {
        m.words("title", &[("id", &title)], &frame.title);
        m.words("desc", &[("id", &about)], described(series));
        if alone {
            m.style(STYLE);
            m.leaf("rect", &[("class", &"page"), ("width", &"100%"), ("height", &"100%")]);
        }
        plot.axes(m, measure_of(series));
        for (at, one) in series.iter().enumerate() {
            plot.band(m, at, one, series.len());
        }
        for (at, one) in series.iter().enumerate() {
            plot.line(m, at, one);
        }
        plot.labels(m, series);
    });
}

/// The curve in words: where each starts, its value half way, and where it ends.
fn described(series: &[Series]) -> String {
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

/// The rectangle of the curves and its scales.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Where the x axis ends.
    end: f64,
    /// Where the y axis ends.
    all: f64,
    x_ticks: Vec<f64>,
    font: f64,
    label_width: f64,
}

impl Plot {
    fn new(series: &[Series], frame: &Frame) -> Self {
        let (font, left) = (13.0, 50.0);
        let label_width = frame.width * 0.3;
        let top = largest_radius(series);
        let end = if top > 0.0 { top * 1.02 } else { 1.0 };
        // As far right as leaves room for every label behind the end of its line.
        let right = series.iter().map(|one| {
            let needed = (width(&label(one, series)) * font).min(label_width) + GAP + 4.0;
            let share = one.counted_radii().last().map_or(1.0, |last| (last / end).max(0.2));
            left + (frame.width - needed - left) / share
        });
        let right = right.fold(frame.width - 12.0, f64::min);
        let most = if right - left < 350.0 { 5 } else { 8 };
        let mut x_ticks = ticks(end, most);
        x_ticks.retain(|&tick| tick <= end);
        let (top, bottom) = (34.0, frame.height - 50.0);
        // Half the axis is enough where no band leaves it.
        let highest = |one: &Series| Share::new(one.count_at(0.0), one.pictures().len()).upper;
        let all = if series.iter().all(|one| highest(one) <= 0.5) { 0.5 } else { 1.0 };
        Self { left, right, top, bottom, end, all, x_ticks, font, label_width }
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
        m.words("text", &[("class", &"axis-title middle"), ("x", &x), ("y", &y)], "L2 radius");
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

    fn line(&self, m: &mut Markup, at: usize, series: &Series) {
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
        m.leaf("path", &[("class", &format!("line {}", class(at))), ("d", &path)]);
    }

    fn band(&self, m: &mut Markup, at: usize, series: &Series, among: usize) {
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
        let class = format!("band {} {}", if among > 3 { "many" } else { "few" }, class(at));
        m.leaf("path", &[("class", &class), ("d", &path)]);
    }

    /// Each name at the end of its line, moved up or down until no two overlap.
    fn labels(&self, m: &mut Markup, series: &[Series]) {
        let line_height = self.font + 3.0;
        let mut wanted: Vec<Label> = series
            .iter()
            .enumerate()
            .map(|(at, one)| {
                let end = one.counted_radii().last().copied();
                let count = end.map_or(0, |end| one.count_at(end));
                let text = shortened(&label(one, series), self.label_width / self.font);
                Label {
                    at,
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

/// What a line is labelled with: its name and, beside lines that measure something else, what it measures.
fn label(one: &Series, series: &[Series]) -> String {
    let alike = series.iter().all(|other| other.measure() == one.measure());
    match one.measure() {
        Measure::Share if !alike => format!("{} (share)", one.name()),
        _ => one.name().to_owned(),
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
