//! How many calls a picture took.

use super::axis::ticks;
use super::chart::class;
use super::figures::Usage;
use super::markup::{Markup, grouped, px};

/// Bars at most.
const BARS: u64 = 24;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 348.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 150.0;

/// Pictures in each of equally wide bins.
pub(super) struct Bins {
    /// The least count of the first bin.
    pub start: u64,
    /// How many counts a bin covers.
    pub step: u64,
    /// Pictures a bin.
    pub pictures: Vec<usize>,
}

impl Bins {
    /// Bins for counts from `least` to `most`, of a width that is 1, 2 or 5 times a power of ten.
    pub(super) fn of(each: &[u64], least: u64, most: u64) -> Self {
        let steps = (0..20)
            .flat_map(|power| [1u64, 2, 5].map(|digit| digit.saturating_mul(10u64.saturating_pow(power))));
        let enough = |step: &u64| most / step - least / step < BARS;
        let step = steps.into_iter().find(enough).unwrap_or(u64::MAX);
        let first = least / step;
        let mut pictures = vec![0; usize::try_from(most / step - first).unwrap_or(0) + 1];
        for count in each {
            if let Some(bin) =
                usize::try_from((count / step).saturating_sub(first)).ok().and_then(|at| pictures.get_mut(at))
            {
                *bin += 1;
            }
        }
        Self { start: first * step, step, pictures }
    }
}

/// Draws the histogram of one series; `least` and `most` are those of all series, so that they can be compared.
pub(super) fn draw(m: &mut Markup, at: usize, name: &str, usage: &Usage, least: u64, most: u64) {
    let bins = Bins::of(&usage.each, least, most);
    let tallest = bins.pictures.iter().copied().max().unwrap_or(0);
    let y_ticks = ticks(tallest as f64, 4);
    let top = y_ticks.last().copied().unwrap_or(1.0);
    let y = |count: f64| BOTTOM - count / top * (BOTTOM - TOP);
    let bar = (RIGHT - LEFT) / bins.pictures.len() as f64;
    let view = format!("0 0 {WIDTH} {HEIGHT}");
    let about =
        format!("{name}: {} a picture, mean {:.1}, median {}", usage.unit, usage.mean(), usage.median());
    m.element(
        "svg",
        &[("class", &"histogram"), ("viewBox", &view), ("role", &"img"), ("aria-label", &about)],
        |m| {
            m.words("text", &[("class", &"tick"), ("x", &"2"), ("y", &"11")], "pictures");
            for tick in y_ticks.iter().filter(|tick| tick.fract() == 0.0) {
                let (x1, x2, at) = (px(LEFT), px(RIGHT), px(y(*tick)));
                let class = if *tick == 0.0 { "axis" } else { "grid" };
                m.leaf("line", &[("class", &class), ("x1", &x1), ("x2", &x2), ("y1", &at), ("y2", &at)]);
                let at = px(y(*tick) + 4.0);
                m.words("text", &[("class", &"tick end"), ("x", &px(LEFT - 6.0)), ("y", &at)], tick);
            }
            for (bin, &count) in bins.pictures.iter().enumerate().filter(|&(_, &count)| count > 0) {
                let from = bins.start + bin as u64 * bins.step;
                let x = LEFT + bin as f64 * bar;
                let gap = (bar * 0.12).min(2.0);
                let (x, width) = (px(x + gap), px((bar - 2.0 * gap).min(60.0)));
                let (top, height) = (px(y(count as f64)), px(BOTTOM - y(count as f64)));
                let class = format!("bar {}", class(at));
                let shape: [(&'static str, &dyn std::fmt::Display); 5] =
                    [("class", &class), ("x", &x), ("y", &top), ("width", &width), ("height", &height)];
                m.element("rect", &shape, |m| {
                    let range = if bins.step == 1 {
                        from.to_string()
                    } else {
                        format!("{from}\u{2013}{}", from + bins.step - 1)
                    };
                    m.words("title", &[], format!("{range} {}: {count} pictures", usage.unit));
                });
            }
            let every = bins.pictures.len().div_ceil(6);
            for bin in (0..bins.pictures.len()).step_by(every) {
                let x = px(LEFT + (bin as f64 + 0.5) * bar);
                let from = grouped(bins.start + bin as u64 * bins.step);
                m.words("text", &[("class", &"tick middle"), ("x", &x), ("y", &px(BOTTOM + 16.0))], from);
            }
            let (x, y) = (px(f64::midpoint(LEFT, RIGHT)), px(HEIGHT - 6.0));
            m.words(
                "text",
                &[("class", &"tick middle"), ("x", &x), ("y", &y)],
                format!("{} a picture", usage.unit),
            );
        },
    );
}
