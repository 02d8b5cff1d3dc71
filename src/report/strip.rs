//! The votes of one picture, in index order.

use super::markup::{Markup, px};
use super::series::{Cast, Votes};

/// Height of a strip in its own units; one vote is one wide.
pub(super) const HEIGHT: f64 = 10.0;

/// Draws a strip, `longest` votes being the full width.
///
/// A vote for the label fills the height; one against it only the lower part, lower still without a label or an answer:
/// the strip can be read without its colours.
pub(super) fn draw(m: &mut Markup, votes: &Votes, longest: usize) {
    let n = votes.cast.len();
    let view = format!("0 0 {} {HEIGHT}", n.max(1));
    let style = format!("width:{}%", px(100.0 * n as f64 / longest.max(1) as f64));
    let about = words(votes);
    let attributes: [(&'static str, &dyn std::fmt::Display); 6] = [
        ("class", &"strip"),
        ("viewBox", &view),
        ("preserveAspectRatio", &"none"),
        ("style", &style),
        ("role", &"img"),
        ("aria-label", &about),
    ];
    m.element("svg", &attributes, |m| {
        m.words("title", &[], &about);
        for (start, length, cast) in runs(&votes.cast) {
            let (class, height) = look(cast);
            let (y, height) = (px(HEIGHT - height), px(height));
            m.leaf(
                "rect",
                &[("class", &class), ("x", &start), ("y", &y), ("width", &length), ("height", &height)],
            );
        }
        if votes.selection > 0 && votes.selection < n {
            let x = votes.selection;
            m.leaf("line", &[("class", &"split"), ("x1", &x), ("x2", &x), ("y1", &0), ("y2", &HEIGHT)]);
        }
    });
}

/// Class and height of a vote.
pub(super) fn look(cast: Cast) -> (&'static str, f64) {
    match cast {
        Cast::For => ("for", HEIGHT),
        Cast::Other => ("other", 0.55 * HEIGHT),
        Cast::NoLabel => ("none", 0.35 * HEIGHT),
        Cast::Failed => ("failed", 0.2 * HEIGHT),
    }
}

/// How many votes of each kind.
pub(super) fn words(votes: &Votes) -> String {
    let count = |kind| votes.cast.iter().filter(|&&cast| cast == kind).count();
    let agree = format!("{} of {} votes", count(Cast::For), votes.cast.len());
    let kinds = [(Cast::Other, "for others"), (Cast::NoLabel, "for no label"), (Cast::Failed, "failed")];
    let rest = kinds.into_iter().map(|(kind, word)| (count(kind), word)).filter(|&(count, _)| count > 0);
    rest.fold(agree, |words, (count, word)| format!("{words}, {count} {word}"))
}

/// Start, length and kind of each run of equal votes.
pub(super) fn runs(cast: &[Cast]) -> Vec<(usize, usize, Cast)> {
    let mut start = 0;
    cast.chunk_by(|a, b| a == b)
        .filter_map(|run| {
            let this = (start, run.len(), *run.first()?);
            start += run.len();
            Some(this)
        })
        .collect()
}
