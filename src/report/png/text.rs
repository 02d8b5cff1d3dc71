//! Letters of the embedded font as outlines.

use std::sync::LazyLock;

use ttf_parser::{Face, GlyphId, OutlineBuilder};
use zeno::Command;

use super::point;

static REGULAR: LazyLock<Option<Face<'static>>> =
    LazyLock::new(|| Face::parse(include_bytes!("../font/DejaVuSansCondensed.ttf"), 0).ok());
static BOLD: LazyLock<Option<Face<'static>>> =
    LazyLock::new(|| Face::parse(include_bytes!("../font/DejaVuSansCondensed-Bold.ttf"), 0).ok());

fn face(bold: bool) -> Option<&'static Face<'static>> {
    if bold { BOLD.as_ref() } else { REGULAR.as_ref() }
}

/// The glyph of a letter, a box for one that the font does not have, and its width in units of the font size.
fn glyph(face: &Face<'_>, letter: char) -> (GlyphId, f32) {
    let glyph = face.glyph_index(letter).unwrap_or(GlyphId(0));
    let advance = face.glyph_hor_advance(glyph).unwrap_or(0);
    (glyph, f32::from(advance) / f32::from(face.units_per_em()))
}

/// How wide a text is, in units of the font size.
pub(super) fn width(text: &str, bold: bool) -> f32 {
    face(bold).map_or(0.0, |face| text.chars().map(|letter| glyph(face, letter).1).sum())
}

/// Adds the outlines of a text that begins at `at` on its base line.
pub(super) fn outline(text: &str, bold: bool, size: f32, at: (f32, f32), path: &mut Vec<Command>) {
    let Some(face) = face(bold) else { return };
    let mut x = at.0;
    for letter in text.chars() {
        let (glyph, advance) = glyph(face, letter);
        let scale = size / f32::from(face.units_per_em());
        face.outline_glyph(glyph, &mut Placed { path, scale, x, y: at.1 });
        x += advance * size;
    }
}

/// Takes an outline to its place: fonts count upwards, drawings downwards.
struct Placed<'a> {
    path: &'a mut Vec<Command>,
    scale: f32,
    x: f32,
    y: f32,
}

impl Placed<'_> {
    fn at(&self, x: f32, y: f32) -> zeno::Vector {
        point(self.x + x * self.scale, self.y - y * self.scale)
    }
}

impl OutlineBuilder for Placed<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.push(Command::MoveTo(self.at(x, y)));
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.push(Command::LineTo(self.at(x, y)));
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path.push(Command::QuadTo(self.at(x1, y1), self.at(x, y)));
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.path.push(Command::CurveTo(self.at(x1, y1), self.at(x2, y2), self.at(x, y)));
    }

    fn close(&mut self) {
        self.path.push(Command::Close);
    }
}
