//! Small curves side by side, one for each value of what the series differ in.

use super::canvas::Frame;
use super::chart::{self, Line, Plot, Scale, described, measure_of};
use super::error::ReportError;
use super::markup::{Markup, shortened};
use super::series::{Field, Series};

/// Panels beside one another.
const COLUMNS: usize = 2;

/// Of one panel, in pixels; its heading stands above it.
const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 290.0;
const HEADING: f64 = 26.0;

/// More panels make a drawing that no screen shows.
pub const MAX_PANELS: usize = 24;

/// The curves of [`curve`](super::curve) in panels, one for each value of `by`, on the same axes: as an SVG document that
/// needs nothing else. Series that differ in nothing but `by` have the same look in all of them.
///
/// # Errors
/// [`ReportError::TooManySeries`] in one panel, [`ReportError::TooManyPanels`].
pub fn panels(series: &[Series], by: Field, title: &str) -> Result<String, ReportError> {
    let panels = split(series, by)?;
    let rows = panels.len().div_ceil(COLUMNS);
    let columns = panels.len().clamp(1, COLUMNS);
    let frame = Frame {
        id: "curve".to_owned(),
        width: WIDTH * columns as f64,
        height: (HEADING + HEIGHT) * rows as f64,
        title: title.to_owned(),
    };
    Ok(frame.alone(&described(series), |m| {
        let scale = Scale::of(series);
        let plot = |panel: &Panel<'_>| Plot::new(&panel.lines, &scale, WIDTH, HEIGHT);
        let right = panels.iter().map(|panel| plot(panel).right()).fold(WIDTH, f64::min);
        for (at, panel) in panels.iter().enumerate() {
            let (x, y) = ((at % COLUMNS) as f64 * WIDTH, (at / COLUMNS) as f64 * (HEADING + HEIGHT));
            moved(m, x, y, |m| {
                let heading = shortened(&panel.value, WIDTH / 13.0);
                m.words("text", &[("class", &"heading"), ("x", &2), ("y", &17)], heading);
            });
            moved(m, x, y + HEADING, |m| {
                plot(panel).ends_with(right).draw(m, measure_of(series), &panel.lines);
            });
        }
    }))
}

fn moved(m: &mut Markup, x: f64, y: f64, inside: impl FnOnce(&mut Markup)) {
    m.element("g", &[("transform", &format!("translate({x} {y})"))], inside);
}

/// The series of one value.
struct Panel<'a> {
    value: String,
    lines: Vec<Line<'a>>,
}

fn split(series: &[Series], by: Field) -> Result<Vec<Panel<'_>>, ReportError> {
    let mut panels: Vec<Panel<'_>> = Vec::new();
    let mut looks: Vec<String> = Vec::new();
    for one in series {
        let value = one.setting().get(by).unwrap_or("unknown");
        let label = one.name_without(by);
        let look = looks.iter().position(|known| *known == label).unwrap_or_else(|| {
            looks.push(label.clone());
            looks.len() - 1
        });
        let line = Line { series: one, label, look };
        match panels.iter_mut().find(|panel| panel.value == value) {
            Some(panel) => panel.lines.push(line),
            None => panels.push(Panel { value: value.to_owned(), lines: vec![line] }),
        }
    }
    chart::check(looks.len())?;
    if panels.len() > MAX_PANELS {
        return Err(ReportError::TooManyPanels { given: panels.len(), most: MAX_PANELS });
    }
    Ok(panels)
}
