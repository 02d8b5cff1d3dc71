//! Drawings as pixels.
//!
//! What is drawn here are the drawings of this module, in the part of SVG that they use: shapes, paths, text on a line,
//! groups that are moved, and a style sheet of classes. Text is drawn with an embedded font, so a drawing gives the same
//! bytes on every machine.

mod sheet;
mod text;

use std::io::Cursor;
use std::str::FromStr;
use std::sync::LazyLock;

use image::{ImageFormat, RgbImage};
use roxmltree::{Document, Node};
use zeno::{Cap, Command, Join, Mask, PathBuilder, PathData, Stroke, Style, Transform, Vector};

use self::sheet::{Anchor, Look, Sheet};
use super::error::ReportError;
use super::palette;

/// Pixels a unit of the drawing, so that it is sharp on dense screens and on paper.
const SCALE: f32 = 2.0;

/// More pixels a side than any of our drawings has.
const MOST: f32 = 20_000.0;

/// The paper.
const WHITE: image::Rgb<u8> = image::Rgb([255; 3]);

static SHEET: LazyLock<Sheet> = LazyLock::new(|| Sheet::light(&palette::DRAWING));

/// A drawing of this module as a PNG of twice its size, in its light colours. Letters outside Latin, Greek and Cyrillic
/// are shown as boxes.
///
/// # Errors
/// [`ReportError::Png`] for what is no drawing of this module.
pub fn png(svg: &str) -> Result<Vec<u8>, ReportError> {
    let failed = |error: &dyn std::fmt::Display| ReportError::Png(error.to_string());
    let document = Document::parse(svg).map_err(|e| failed(&e))?;
    let root = document.root_element();
    let side = |name| {
        let length = number(root, name).filter(|&length| length > 0.0 && length * SCALE <= MOST);
        length.map(|length| (length * SCALE).ceil() as u32).ok_or_else(|| failed(&format!("no {name}")))
    };
    let mut canvas = Canvas { pixels: RgbImage::from_pixel(side("width")?, side("height")?, WHITE) };
    canvas.children(root, (0.0, 0.0));
    let mut bytes = Cursor::new(Vec::new());
    canvas.pixels.write_to(&mut bytes, ImageFormat::Png).map_err(|e| failed(&e))?;
    Ok(bytes.into_inner())
}

fn number(node: Node<'_, '_>, name: &str) -> Option<f32> {
    node.attribute(name).and_then(|value| f32::from_str(value).ok()).filter(|value| value.is_finite())
}

/// Pixels under construction.
struct Canvas {
    pixels: RgbImage,
}

impl Canvas {
    /// Draws what is inside a node, moved by so much.
    fn children(&mut self, node: Node<'_, '_>, at: (f32, f32)) {
        for child in node.children().filter(Node::is_element) {
            self.element(child, at);
        }
    }

    fn element(&mut self, node: Node<'_, '_>, at: (f32, f32)) {
        let look = SHEET.look(node.attribute("class").unwrap_or_default());
        let value = |name| number(node, name).unwrap_or(0.0);
        let mut path: Vec<Command> = Vec::new();
        match node.tag_name().name() {
            "g" => return self.children(node, moved(node, at)),
            "text" => {
                let Some(words) = node.text() else { return };
                let width = text::width(words, look.bold) * look.size;
                let left = match look.anchor {
                    Anchor::Start => 0.0,
                    Anchor::Middle => -width / 2.0,
                    Anchor::End => -width,
                };
                text::outline(words, look.bold, look.size, (value("x") + left, value("y")), &mut path);
            }
            "rect" => {
                // The only rectangle without a size in numbers is the paper, which is white already.
                let (Some(width), Some(height)) = (number(node, "width"), number(node, "height")) else {
                    return;
                };
                path.add_rect((value("x"), value("y")), width, height);
            }
            "line" => {
                path.move_to((value("x1"), value("y1")));
                path.line_to((value("x2"), value("y2")));
            }
            "circle" => {
                path.add_circle((value("cx"), value("cy")), value("r"));
            }
            "path" => {
                let Some(data) = node.attribute("d") else { return };
                path.extend(data.commands());
            }
            _ => return,
        }
        let is_line = node.tag_name().name() == "line";
        let fill = look.fill.filter(|_| !is_line);
        let mut stroke = Stroke::new(look.width);
        stroke.join(if look.round { Join::Round } else { Join::Miter }).cap(Cap::Butt).dash(&look.dash, 0.0);
        let fill = |canvas: &mut Self| {
            if let Some(colour) = fill {
                canvas.paint(&path, zeno::Fill::NonZero.into(), colour, &look, at);
            }
        };
        if !look.stroke_first {
            fill(self);
        }
        if let Some(colour) = look.stroke {
            self.paint(&path, stroke.into(), colour, &look, at);
        }
        if look.stroke_first {
            fill(self);
        }
    }

    /// Lays a colour over the pixels of a shape.
    fn paint(&mut self, path: &[Command], style: Style<'_>, colour: [u8; 3], look: &Look, at: (f32, f32)) {
        let transform = Transform::translation(at.0, at.1).then_scale(SCALE, SCALE);
        let (mask, place) = Mask::new(path).style(style).transform(Some(transform)).render();
        let (width, height) = (i64::from(self.pixels.width()), i64::from(self.pixels.height()));
        for (row, line) in mask.chunks_exact(place.width.max(1) as usize).enumerate() {
            let y = i64::from(place.top) + row as i64;
            for (column, &cover) in line.iter().enumerate().filter(|&(_, &cover)| cover > 0) {
                let x = i64::from(place.left) + column as i64;
                if !(0..width).contains(&x) || !(0..height).contains(&y) {
                    continue;
                }
                let alpha = f32::from(cover) / 255.0 * look.opacity;
                let pixel = self.pixels.get_pixel_mut(x as u32, y as u32);
                for (value, over) in pixel.0.iter_mut().zip(colour) {
                    let mixed = f32::from(*value) * (1.0 - alpha) + f32::from(over) * alpha;
                    *value = mixed.round() as u8;
                }
            }
        }
    }
}

/// Where a group is moved to.
fn moved(group: Node<'_, '_>, at: (f32, f32)) -> (f32, f32) {
    let by = group.attribute("transform").and_then(|text| text.strip_prefix("translate(")?.strip_suffix(')'));
    let mut by = by.into_iter().flat_map(|by| by.split(' ')).filter_map(|value| f32::from_str(value).ok());
    (at.0 + by.next().unwrap_or(0.0), at.1 + by.next().unwrap_or(0.0))
}

/// A point of a path.
fn point(x: f32, y: f32) -> Vector {
    Vector::new(x, y)
}
