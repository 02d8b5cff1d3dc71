//! What all drawings have in common: size, title, description, and what a file needs that stands alone.

use std::fmt::Display;

use super::markup::{Markup, px};
use super::palette;

/// How large a drawing is and what it is called.
pub(super) struct Frame {
    /// What begins its element ids: unique in a page.
    pub id: String,
    /// In pixels.
    pub width: f64,
    /// In pixels.
    pub height: f64,
    /// For those who cannot see it.
    pub title: String,
}

/// Where a drawing stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a file of its own: with a style sheet and a background.
    Alone,
    /// On a page that has the style sheet.
    Page,
}

impl Frame {
    /// One SVG element of this size with whatever `inside` draws. `about` says in words what can be seen.
    pub(super) fn draw(&self, m: &mut Markup, place: Place, about: &str, inside: impl FnOnce(&mut Markup)) {
        let (title, desc) = (format!("{}-title", self.id), format!("{}-desc", self.id));
        let view = format!("0 0 {} {}", px(self.width), px(self.height));
        let labelled = format!("{title} {desc}");
        let (w, h) = (px(self.width), px(self.height));
        let mut attributes: Vec<(&'static str, &dyn Display)> =
            vec![("class", &"drawing"), ("viewBox", &view), ("role", &"img"), ("aria-labelledby", &labelled)];
        if place == Place::Alone {
            let size: [(&'static str, &dyn Display); 3] =
                [("xmlns", &"http://www.w3.org/2000/svg"), ("width", &w), ("height", &h)];
            attributes.extend(size);
        }
        m.element("svg", &attributes, |m| {
            m.words("title", &[("id", &title)], &self.title);
            m.words("desc", &[("id", &desc)], about);
            if place == Place::Alone {
                m.style(&palette::DRAWING);
                m.leaf("rect", &[("class", &"page"), ("width", &"100%"), ("height", &"100%")]);
            }
            inside(m);
        });
    }

    /// The drawing as a document that needs nothing else.
    pub(super) fn alone(&self, about: &str, inside: impl FnOnce(&mut Markup)) -> String {
        let mut m = Markup::after("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.draw(&mut m, Place::Alone, about, inside);
        m.finish()
    }
}
