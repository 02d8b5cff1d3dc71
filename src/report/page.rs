//! The page.

use smoothgate_providers::Money;

use super::canvas::Frame;
use super::chart::{self, class};
use super::error::ReportError;
use super::figures::{Figures, Share};
use super::histogram;
use super::markup::{Markup, grouped, interval, percent};
use super::palette;
use super::series::{Cast, Measure, Picture, Series};
use super::thumbnails::Thumbnail;
use super::{strip, votes};
use crate::tables::TableCache;

/// Strips of one series at most: a data set of thousands would make a page that no one can open.
const STRIPS: usize = 24;

/// Pictures of one series at most whose votes are drawn with the boundary of their test, and whose copies are shown.
pub const FIGURES: usize = 6;

/// A self-contained HTML page about several series: it loads nothing and runs nothing.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Its heading.
    pub title: &'a str,
    /// What it is about, at most [`super::MAX_SERIES`].
    pub series: &'a [Series],
    /// Radii of the table, each finite and at least 0.
    pub radii: &'a [f64],
    /// List price of one call; without it no cost is shown.
    pub price: Option<Money>,
    /// Where tables of tests are kept, whose boundaries are drawn.
    pub tables: TableCache,
}

impl Page<'_> {
    /// Writes the page.
    ///
    /// # Errors
    /// [`ReportError::TooManySeries`].
    pub fn html(&self) -> Result<String, ReportError> {
        chart::check(self.series.len())?;
        let figures: Vec<Figures> = self.series.iter().map(|one| Figures::of(one, self.radii)).collect();
        let mut m = Markup::after("<!DOCTYPE html>\n");
        m.element("html", &[("lang", &"en")], |m| {
            m.element("head", &[], |m| self.head(m));
            m.element("body", &[], |m| {
                m.element("main", &[], |m| {
                    self.heading(m);
                    self.curves(m);
                    self.at_radii(m, &figures);
                    self.overview(m, &figures);
                    self.usage(m, &figures);
                    self.votes(m);
                    self.walks(m);
                    self.copies(m);
                    Self::notes(m, &figures);
                });
            });
        });
        Ok(m.finish())
    }

    fn head(&self, m: &mut Markup) {
        m.leaf("meta", &[("charset", &"utf-8")]);
        m.leaf("meta", &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")]);
        m.leaf("meta", &[("name", &"color-scheme"), ("content", &"light dark")]);
        let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
        m.leaf("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &policy)]);
        m.words("title", &[], self.title);
        m.style(&palette::DRAWING);
        m.style(&palette::PAGE);
    }

    fn heading(&self, m: &mut Markup) {
        m.words("h1", &[("dir", &"auto")], self.title);
        let pictures: usize = self.series.iter().map(|one| one.pictures().len()).sum();
        let words = format!("{} series, {} results", self.series.len(), grouped(pictures as u64));
        m.words("p", &[("class", &"quiet")], words);
    }

    fn curves(&self, m: &mut Markup) {
        let measure = chart::measure_of(self.series);
        section(m, &format!("{measure} against radius"), |m| {
            // Text in a drawing shrinks with it: a narrow screen gets a drawing of its own.
            for (id, kind, width, height) in
                [("wide", "wide", 860.0, 460.0), ("narrow", "narrow", 380.0, 360.0)]
            {
                let title = format!("{}: {} against L2 radius", self.title, measure.to_lowercase());
                m.element("div", &[("class", &kind)], |m| {
                    chart::draw(m, self.series, &Frame { id: id.to_owned(), width, height, title });
                });
            }
            m.words(
                "p",
                &[("class", &"quiet")],
                "Share of pictures certified at a radius or more. Bands: 95 % Clopper-Pearson intervals at each radius.",
            );
        });
    }

    fn at_radii(&self, m: &mut Markup, figures: &[Figures]) {
        section(m, "At radii", |m| {
            table(m, |m| {
                m.element("thead", &[], |m| {
                    m.element("tr", &[], |m| {
                        m.words("th", &[("scope", &"col")], "series");
                        for radius in self.radii {
                            m.words(
                                "th",
                                &[("scope", &"col"), ("class", &"number")],
                                format!("r = {radius}"),
                            );
                        }
                    });
                });
                m.element("tbody", &[], |m| {
                    for (at, (one, figures)) in self.series.iter().zip(figures).enumerate() {
                        m.element("tr", &[], |m| {
                            name(m, at, one);
                            for (_, share) in &figures.at {
                                share_cell(m, share);
                            }
                        });
                    }
                });
            });
            let words = "Below each share: its 95 % Clopper-Pearson interval over the pictures, in percent.";
            m.words("p", &[("class", &"quiet")], words);
        });
    }

    fn overview(&self, m: &mut Markup, figures: &[Figures]) {
        let calls_known =
            figures.iter().any(|one| one.usage.as_ref().is_some_and(|usage| usage.unit == "calls"));
        let mut heads = vec!["pictures", "measures", "average radius", "abstained", "failed"];
        if calls_known {
            heads.extend(["calls", "calls a picture"]);
        }
        let cost_known = self.price.is_some() || self.series.iter().any(|one| one.spend().is_some());
        if cost_known {
            heads.push("cost");
        }
        section(m, "Overview", |m| {
            table(m, |m| {
                m.element("thead", &[], |m| {
                    m.element("tr", &[], |m| {
                        m.words("th", &[("scope", &"col")], "series");
                        for head in &heads {
                            m.words("th", &[("scope", &"col"), ("class", &"number")], head);
                        }
                    });
                });
                m.element("tbody", &[], |m| {
                    for (at, (one, figures)) in self.series.iter().zip(figures).enumerate() {
                        m.element("tr", &[], |m| {
                            name(m, at, one);
                            self.overview_cells(m, one, figures, calls_known, cost_known);
                        });
                    }
                });
            });
            for (at, one) in self.series.iter().enumerate() {
                let setting = one.setting().to_string();
                if !setting.is_empty() {
                    m.element("p", &[("class", &"quiet setting")], |m| {
                        swatch(m, at);
                        m.words("bdi", &[], one.name());
                        m.text(format!(": {setting}"));
                    });
                }
            }
        });
    }

    fn overview_cells(
        &self,
        m: &mut Markup,
        one: &Series,
        figures: &Figures,
        calls_known: bool,
        cost_known: bool,
    ) {
        let mut cell = |text: String| m.words("td", &[("class", &"number")], text);
        cell(grouped(one.pictures().len() as u64));
        cell(figures.measure.word().to_owned());
        cell(format!("{:.4}", figures.average_radius));
        cell(percent(figures.abstained.value));
        cell(grouped(figures.failed as u64));
        let calls = figures.usage.as_ref().filter(|usage| usage.unit == "calls");
        let unknown = || "unknown".to_owned();
        if calls_known {
            cell(calls.map_or_else(unknown, |usage| grouped(usage.total)));
            cell(calls.map_or_else(unknown, |usage| format!("{:.1}", usage.mean())));
        }
        if cost_known {
            let listed = calls.zip(self.price).and_then(|(usage, price)| price.times(usage.total));
            cell(figures.cost(one).or(listed).map_or_else(unknown, |cost| cost.to_string()));
        }
    }

    fn usage(&self, m: &mut Markup, figures: &[Figures]) {
        let known: Vec<_> = self
            .series
            .iter()
            .zip(figures)
            .enumerate()
            .filter_map(|(at, (one, figures))| Some((at, one, figures.usage.as_ref()?)))
            .collect();
        let all = || known.iter().flat_map(|(_, _, usage)| usage.each.iter().copied());
        let (Some(least), Some(most)) = (all().min(), all().max()) else { return };
        let any_calls = known.iter().any(|(_, _, usage)| usage.unit == "calls");
        section(m, if any_calls { "Calls a picture" } else { "Votes a picture" }, |m| {
            m.element("div", &[("class", &"grid-of")], |m| {
                for (at, one, usage) in known {
                    m.element("figure", &[], |m| {
                        m.element("figcaption", &[], |m| {
                            swatch(m, at);
                            m.words("bdi", &[], one.name());
                            let median = usage.median();
                            let words = format!("mean {:.1}, median {median}", usage.mean());
                            m.words("span", &[("class", &"quiet")], words);
                        });
                        histogram::draw(m, at, &one.name(), usage, least, most);
                    });
                }
            });
        });
    }

    fn votes(&self, m: &mut Markup) {
        let cast =
            |one: &Series| one.pictures().iter().filter_map(|p| Some(p.cast.as_ref()?.cast.len())).max();
        let Some(longest) = self.series.iter().filter_map(cast).max() else { return };
        section(m, "Votes in index order", |m| {
            m.element("p", &[("class", &"quiet key")], |m| {
                let kinds = [
                    (Cast::For, "for the label"),
                    (Cast::Other, "for another"),
                    (Cast::NoLabel, "for no label"),
                    (Cast::Failed, "failed"),
                ];
                for (kind, words) in kinds {
                    m.element("span", &[], |m| {
                        let (class, height) = strip::look(kind);
                        m.element("svg", &[("viewBox", &"0 0 10 10"), ("aria-hidden", &"true")], |m| {
                            let (y, height) = (10.0 - height, height);
                            let shape: [(&'static str, &dyn std::fmt::Display); 5] = [
                                ("class", &class),
                                ("x", &0),
                                ("y", &y),
                                ("width", &10),
                                ("height", &height),
                            ];
                            m.leaf("rect", &shape);
                        });
                        m.text(words);
                    });
                }
                m.words("span", &[], "\u{2502} end of the selection votes");
            });
            for (at, one) in self.series.iter().enumerate() {
                strips(m, at, one, longest);
            }
        });
    }

    /// Votes against the label with the test's boundary.
    fn walks(&self, m: &mut Markup) {
        let with_tests =
            |one: &Series| one.pictures().iter().any(|p| p.cast.as_ref().is_some_and(|c| c.tested.is_some()));
        if !self.series.iter().any(with_tests) {
            return;
        }
        section(m, "Votes and the test's boundary", |m| {
            let words = "The line counts the votes against the label after each vote. The test certifies as soon as the line is \
                         in the lower region and gives up as soon as it is in the upper one. The regions are those for the \
                         strongest rival as it then was; tests that do not go by counts have none.";
            m.words("p", &[("class", &"quiet")], words);
            for (at, one) in self.series.iter().enumerate().filter(|(_, one)| with_tests(one)) {
                heading(m, at, one);
                let tested =
                    |picture: &&Picture| picture.cast.as_ref().is_some_and(|cast| cast.tested.is_some());
                let shown = one.pictures().iter().filter(tested).take(FIGURES);
                for (number, picture) in shown.enumerate() {
                    self.walk(m, &format!("votes-{at}-{number}"), picture);
                }
                more(m, one.pictures().iter().filter(tested).count(), FIGURES);
            }
        });
    }

    fn walk(&self, m: &mut Markup, id: &str, picture: &Picture) {
        let Some(cast) = &picture.cast else { return };
        let walk = cast.tested.as_ref().and_then(|tested| tested.walk(&self.tables));
        for (kind, width, height) in [("wide", 860.0, 330.0), ("narrow", 380.0, 330.0)] {
            let title = format!("Votes of {}", picture.name);
            let frame = Frame { id: format!("{id}-{kind}"), width, height, title };
            m.element("div", &[("class", &format!("{kind} walk"))], |m| {
                votes::draw(m, &frame, picture, cast, walk.as_ref());
            });
        }
    }

    /// Pictures with copies of them.
    fn copies(&self, m: &mut Markup) {
        let shown = |one: &Series| one.pictures().iter().any(|picture| picture.thumbnails.is_some());
        if !self.series.iter().any(shown) {
            return;
        }
        section(m, "Pictures and copies", |m| {
            let words = "The picture as it was certified, and its first copies: with noise, above, and denoised, as the \
                         provider was asked about them, below. They were made again from the seed of the certificate.";
            m.words("p", &[("class", &"quiet")], words);
            for (at, one) in self.series.iter().enumerate().filter(|(_, one)| shown(one)) {
                heading(m, at, one);
                for picture in one.pictures() {
                    copies(m, picture);
                }
            }
        });
    }

    fn notes(m: &mut Markup, figures: &[Figures]) {
        let any = |measure| figures.iter().any(|figures| figures.measure == measure);
        section(m, "How to read this", |m| {
            m.element("ul", &[], |m| {
                if any(Measure::Accuracy) {
                    m.words(
                        "li",
                        &[],
                        "Certified accuracy at r: the share of all pictures whose certified label is the right one and whose \
                         certified radius is r or more.",
                    );
                }
                if any(Measure::Agreement) {
                    m.words(
                        "li",
                        &[],
                        "Certified agreement at r: the share of all pictures whose certified label is the one that the provider \
                         gives the picture without noise, and whose certified radius is r or more. Papers on vision APIs call \
                         it accuracy, since nothing else says what is right.",
                    );
                }
                if any(Measure::Share) {
                    m.words(
                        "li",
                        &[],
                        "Certified share at r: the share of all pictures with any certified label and a radius of r or more. \
                         The log does not say which labels are right, so this is not an accuracy.",
                    );
                }
                for words in [
                    "Average radius (ACR): the mean over all pictures of the certified radius, 0 where nothing that counts \
                     is certified.",
                    "Abstentions and failures count as pictures that are not certified. Calls are those of pictures that \
                     got a verdict.",
                    "Intervals are about the choice of pictures. Each certificate may besides be wrong with probability \
                     alpha, as its test was set.",
                    "Radii are L2 distances in units of [0, 1] pixel values at the working resolution. A certificate is \
                     about the smoothed pipeline, not about a single call to the provider.",
                ] {
                    m.words("li", &[], words);
                }
            });
            let version = concat!("smoothgate ", env!("CARGO_PKG_VERSION"));
            m.words("p", &[("class", &"quiet")], version);
        });
    }
}

fn section(m: &mut Markup, title: &str, inside: impl FnOnce(&mut Markup)) {
    m.element("section", &[], |m| {
        m.words("h2", &[], title);
        inside(m);
    });
}

/// A table that scrolls by itself where the screen is narrower than it.
fn table(m: &mut Markup, inside: impl FnOnce(&mut Markup)) {
    m.element("div", &[("class", &"scroll"), ("tabindex", &0)], |m| m.element("table", &[], inside));
}

/// The colour and line of a series.
fn swatch(m: &mut Markup, at: usize) {
    m.words("i", &[("class", &format!("swatch {}", class(at)))], "");
}

/// The head of a series' row.
fn name(m: &mut Markup, at: usize, series: &Series) {
    m.element("th", &[("scope", &"row")], |m| {
        m.element("div", &[], |m| {
            swatch(m, at);
            m.words("bdi", &[("title", &series.name())], series.name());
        });
    });
}

fn share_cell(m: &mut Markup, share: &Share) {
    let title = format!("{} of {} pictures", share.count, share.of);
    m.element("td", &[("class", &"number"), ("title", &title)], |m| {
        m.text(percent(share.value));
        m.words("small", &[], interval(share.lower, share.upper));
    });
}

fn strips(m: &mut Markup, at: usize, series: &Series, longest: usize) {
    let with_votes: Vec<&Picture> =
        series.pictures().iter().filter(|picture| picture.cast.is_some()).collect();
    if with_votes.is_empty() {
        return;
    }
    heading(m, at, series);
    m.element("div", &[("class", &"strips")], |m| {
        for picture in with_votes.iter().take(STRIPS) {
            let Some(votes) = &picture.cast else { continue };
            m.words("bdi", &[("class", &"picture"), ("title", &picture.name)], &picture.name);
            m.element("div", &[("class", &"verdict")], |m| {
                let label = votes.label.as_deref().unwrap_or("no label");
                let words = match (picture.verdict.is_claim(), picture.radius > 0.0) {
                    (true, true) => format!(" {:.3}", (picture.radius * 1000.0).floor() / 1000.0),
                    (true, false) => String::new(),
                    (false, _) => format!(" {}", picture.verdict.word()),
                };
                m.words("bdi", &[("title", &label)], label);
                m.words("span", &[("class", &"quiet")], words);
            });
            m.element("div", &[("class", &"votes")], |m| strip::draw(m, votes, longest));
        }
    });
    more(m, with_votes.len(), STRIPS);
}

/// The name of a series above what belongs to it.
fn heading(m: &mut Markup, at: usize, series: &Series) {
    m.element("h3", &[], |m| {
        swatch(m, at);
        m.words("bdi", &[], series.name());
    });
}

/// Says that not all are shown.
fn more(m: &mut Markup, all: usize, shown: usize) {
    if all > shown {
        m.words("p", &[("class", &"quiet")], format!("The first {shown} of {all} pictures."));
    }
}

fn copies(m: &mut Markup, picture: &Picture) {
    let Some(thumbnails) = &picture.thumbnails else { return };
    m.element("figure", &[("class", &"copies")], |m| {
        m.element("figcaption", &[], |m| m.words("bdi", &[], &picture.name));
        m.element("div", &[], |m| {
            m.element("div", &[], |m| {
                image(m, &thumbnails.picture, &format!("{}: the picture", picture.name), "picture");
            });
            for (draw, (noisy, clean)) in thumbnails.copies.iter().enumerate() {
                m.element("div", &[], |m| {
                    image(m, noisy, &format!("{}: copy {draw} with noise", picture.name), "");
                    let says =
                        picture.cast.as_ref().and_then(|cast| cast.cast.get(draw)).map_or("", |cast| {
                            match cast {
                                Cast::For => "for the label",
                                Cast::Other => "for another",
                                Cast::NoLabel => "for no label",
                                Cast::Failed => "failed",
                            }
                        });
                    image(
                        m,
                        clean,
                        &format!("{}: copy {draw} denoised", picture.name),
                        &format!("{draw}: {says}"),
                    );
                });
            }
        });
    });
}

fn image(m: &mut Markup, thumbnail: &Thumbnail, alt: &str, words: &str) {
    let attributes: [(&'static str, &dyn std::fmt::Display); 4] =
        [("src", &thumbnail.uri), ("alt", &alt), ("width", &thumbnail.width), ("height", &thumbnail.height)];
    m.leaf("img", &attributes);
    if !words.is_empty() {
        m.words("span", &[("class", &"quiet")], words);
    }
}
