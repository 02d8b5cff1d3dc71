//! HTML and SVG, written so that no text of a log can become markup.

use std::fmt::{Display, Write};

/// Markup under construction. Tags and attribute names come from this program only; every text and attribute value is
/// escaped on its way in; elements nest because they are closures. The result is well-formed XML.
pub(super) struct Markup(String);

/// Names and values of attributes.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

impl Markup {
    /// After a fixed beginning.
    pub(super) fn after(beginning: &'static str) -> Self {
        Self(beginning.to_owned())
    }

    /// An element with whatever `inside` adds.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        attributes: Attributes<'_>,
        inside: impl FnOnce(&mut Self),
    ) {
        self.open(tag, attributes, ">");
        inside(self);
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
    }

    /// An element with text alone.
    pub(super) fn words(&mut self, tag: &'static str, attributes: Attributes<'_>, text: impl Display) {
        self.element(tag, attributes, |m| m.text(text));
    }

    /// An element with nothing inside: an SVG shape, or one that is void in HTML.
    pub(super) fn leaf(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.open(tag, attributes, "/>");
    }

    /// Text.
    pub(super) fn text(&mut self, text: impl Display) {
        let _infallible = write!(Escaping(&mut self.0), "{text}");
    }

    /// A style sheet of this program.
    pub(super) fn style(&mut self, sheet: &str) {
        self.0.push_str("<style>");
        self.0.push_str(sheet);
        self.0.push_str("</style>");
    }

    /// What was written.
    pub(super) fn finish(mut self) -> String {
        self.0.push('\n');
        self.0
    }

    fn open(&mut self, tag: &'static str, attributes: Attributes<'_>, end: &'static str) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
        self.0.push_str(end);
    }
}

/// Writes with everything that markup gives a meaning replaced by its reference.
///
/// Characters that XML cannot hold, and those that reorder the text around them, become U+FFFD: a label must neither
/// break the document nor disguise its neighbours.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\t' | '\n' => self.0.push(c),
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {
                    self.0.push('\u{fffd}');
                }
                c if c.is_control() => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// A length or coordinate with two digits behind the point, and none that say nothing.
pub(super) fn px(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A share in percent with one digit.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}\u{a0}%", share * 100.0)
}

/// The ends of an interval in percent, rounded outwards.
pub(super) fn interval(lower: f64, upper: f64) -> String {
    let (lower, upper) = ((lower * 1000.0).floor() / 10.0, (upper * 1000.0).ceil() / 10.0);
    format!("{lower:.1}\u{2013}{upper:.1}")
}

/// A number with its digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// How wide a text is drawn, in units of its font size: about, since no font is at hand.
pub(super) fn width(text: &str) -> f64 {
    let wide = |c: char| c >= '\u{1100}' && !('\u{2000}'..='\u{2bff}').contains(&c);
    text.chars().map(|c| if wide(c) { 1.1 } else { 0.6 }).sum()
}

/// The text, its end replaced by an ellipsis where it is wider than `most` font sizes.
pub(super) fn shortened(text: &str, most: f64) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0.6;
    for c in text.chars() {
        used += width(c.encode_utf8(&mut [0; 4]));
        if used > most {
            break;
        }
        kept.push(c);
    }
    format!("{}\u{2026}", kept.trim_end())
}
