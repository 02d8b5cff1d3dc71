//! The style sheet of drawings, as far as pixels need it: classes, in the order of the sheet.

/// How an element is drawn.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub fill: Option<[u8; 3]>,
    pub stroke: Option<[u8; 3]>,
    /// Of the stroke.
    pub width: f32,
    pub opacity: f32,
    /// Lengths of dashes and gaps; empty for a whole line.
    pub dash: Vec<f32>,
    /// Are corners round?
    pub round: bool,
    /// Is the stroke under the filling?
    pub stroke_first: bool,
    /// Of text.
    pub size: f32,
    pub bold: bool,
    pub anchor: Anchor,
}

/// Which point of a text is where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Default for Look {
    /// What SVG says without any rule.
    fn default() -> Self {
        Self {
            fill: Some([0; 3]),
            stroke: None,
            width: 1.0,
            opacity: 1.0,
            dash: Vec::new(),
            round: false,
            stroke_first: false,
            size: 16.0,
            bold: false,
            anchor: Anchor::Start,
        }
    }
}

/// Rules: the classes that an element must have, and what then holds of it.
pub(super) struct Sheet {
    rules: Vec<(Vec<String>, String, String)>,
}

impl Sheet {
    /// The rules of the sheet before its first `@media`: those for paper.
    pub(super) fn light(css: &str) -> Self {
        let css = css.split('@').next().unwrap_or_default();
        let mut rules = Vec::new();
        for rule in css.split('}') {
            let Some((selectors, body)) = rule.split_once('{') else { continue };
            for selector in selectors.split(',').filter_map(|selector| selector.trim().strip_prefix('.')) {
                let classes: Vec<String> = selector.split('.').map(str::to_owned).collect();
                for (name, value) in body.split(';').filter_map(|declared| declared.split_once(':')) {
                    rules.push((classes.clone(), name.trim().to_owned(), value.trim().to_owned()));
                }
            }
        }
        Self { rules }
    }

    /// The look of an element of these classes.
    pub(super) fn look(&self, classes: &str) -> Look {
        let has = |class: &String| classes.split(' ').any(|own| own == class);
        let mut look = Look::default();
        for (_, name, value) in self.rules.iter().filter(|(wanted, ..)| wanted.iter().all(has)) {
            let length = || value.trim_end_matches("px").parse::<f32>().ok();
            match name.as_str() {
                "fill" => look.fill = colour(value),
                "stroke" => look.stroke = colour(value),
                "stroke-width" => look.width = length().unwrap_or(look.width),
                "opacity" => look.opacity = length().unwrap_or(look.opacity),
                "stroke-dasharray" => {
                    look.dash = value.split(' ').filter_map(|dash| dash.parse().ok()).collect();
                }
                "stroke-linejoin" => look.round = value == "round",
                "paint-order" => look.stroke_first = value == "stroke",
                "font-size" => look.size = length().unwrap_or(look.size),
                "font-weight" => look.bold = value.parse::<u32>().is_ok_and(|weight| weight >= 600),
                "text-anchor" => {
                    look.anchor = match value.as_str() {
                        "middle" => Anchor::Middle,
                        "end" => Anchor::End,
                        _ => Anchor::Start,
                    }
                }
                _ => {}
            }
        }
        look
    }
}

/// `#rgb` or `#rrggbb`; nothing else is a colour of ours.
fn colour(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#')?;
    let value = |digits: &str| u8::from_str_radix(digits, 16).ok();
    match digits.len() {
        3 => {
            let mut colour = [0; 3];
            for (value_of, digit) in colour.iter_mut().zip(digits.chars()) {
                *value_of = value(&digit.to_string())? * 17;
            }
            Some(colour)
        }
        6 => Some([value(digits.get(..2)?)?, value(digits.get(2..4)?)?, value(digits.get(4..)?)?]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_rules_of_more_classes_win_and_dark_ones_are_left_out() {
        let sheet = Sheet::light(
            ".a,.b.c{fill:#fff;stroke-width:2.5}.b{fill:#0072b2;stroke-dasharray:7 3}@media(x){.b{fill:#000}}",
        );
        let look = sheet.look("b x");
        assert_eq!((look.fill, look.dash), (Some([0, 0x72, 0xb2]), vec![7.0, 3.0]));
        assert!((look.width - 1.0).abs() < 1e-6);
        assert_eq!(sheet.look("a").fill, Some([255; 3]));
        assert!((sheet.look("c b").width - 2.5).abs() < 1e-6);
        assert_eq!(colour("none").or(colour("#12")).or(colour("#12345é")), None);
    }
}
