//! Colours, once for paper and once for dark screens.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// The series' colours follow Okabe and Ito's palette for colour-blind readers, darkened on white and lightened on black
/// until lines have a contrast of 3 or more.
struct Palette {
    page: &'static str,
    ink: &'static str,
    quiet: &'static str,
    rule: &'static str,
    series: [&'static str; 6],
}

const LIGHT: Palette = Palette {
    page: "#fff",
    ink: "#1b1f23",
    quiet: "#5c646c",
    rule: "#d9dde1",
    series: ["#0072b2", "#d55e00", "#00805f", "#c2619b", "#8a6d00", "#4a4f55"],
};

const DARK: Palette = Palette {
    page: "#14171a",
    ink: "#e8eaed",
    quiet: "#a4abb3",
    rule: "#343a40",
    series: ["#56b4e9", "#ff8a3d", "#2fc79a", "#e39ac8", "#e6c84a", "#c3c8cd"],
};

/// How many colours there are.
pub(super) const COLOURS: usize = LIGHT.series.len();

/// Where votes are for the label, and where a test certifies.
pub(super) const FOR: usize = 0;
/// Where votes are for another label, and where a test gives up.
pub(super) const AGAINST: usize = 1;

impl Palette {
    /// The rules of a drawing. Colours are written out in each: drawing programs know no CSS variables.
    fn rules(&self) -> String {
        let Self { page, ink, quiet, rule, series } = self;
        let mut css = format!(
            ".page{{fill:{page}}}.axis{{stroke:{quiet}}}.grid{{stroke:{rule}}}.tick{{fill:{quiet}}}\
             .axis-title,.heading{{fill:{ink}}}.label,.on{{stroke:{page}}}\
             .for,.certify{{fill:{}}}.other,.give-up{{fill:{}}}.none{{fill:{quiet}}}.failed{{fill:{ink}}}\
             .split,.path{{stroke:{ink}}}.mark{{fill:{ink};stroke:{page}}}",
            series[FOR], series[AGAINST]
        );
        for (at, colour) in series.iter().enumerate() {
            let _infallible = write!(
                css,
                ".line.s{at},.leader.s{at}{{stroke:{colour}}}.band.s{at},.bar.s{at},.label.s{at}{{fill:{colour}}}"
            );
        }
        css
    }

    /// Variables for what is no drawing.
    fn variables(&self) -> String {
        let Self { page, ink, quiet, rule, series } = self;
        let mut css = format!(":root{{--page:{page};--ink:{ink};--quiet:{quiet};--rule:{rule}");
        for (at, colour) in series.iter().enumerate() {
            let _infallible = write!(css, ";--c{at}:{colour}");
        }
        css + "}"
    }
}

fn themed(of: impl Fn(&Palette) -> String) -> String {
    format!("{}@media(prefers-color-scheme:dark){{{}}}", of(&LIGHT), of(&DARK))
}

/// The style sheet of a drawing, alone or on a page.
pub(super) static DRAWING: LazyLock<String> =
    LazyLock::new(|| include_str!("drawing.css").replace('\n', "") + &themed(Palette::rules));

/// The style sheet of the page around drawings.
pub(super) static PAGE: LazyLock<String> =
    LazyLock::new(|| themed(Palette::variables) + include_str!("page.css"));
