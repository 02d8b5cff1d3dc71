//! The page.

use smoothgate_providers::Money;

use super::chart::{self, Frame, class};
use super::error::ReportError;
use super::figures::{Figures, Share};
use super::histogram;
use super::markup::{Markup, grouped, interval, percent};
use super::series::{Cast, Measure, Picture, Series};
use super::strip;

/// Strips of one series at most: a data set of thousands would make a page that no one can open.
const STRIPS: usize = 24;

const STYLE: &str = include_str!("page.css");

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
}

impl Page<'_> {
    /// Writes the page.
    ///
    /// # Errors
    /// [`ReportError::TooManySeries`].
    pub fn html(&self) -> Result<String, ReportError> {
        chart::check(self.series)?;
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
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        m.leaf("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &policy)]);
        m.words("title", &[], self.title);
        m.style(chart::STYLE);
        m.style(STYLE);
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
                    chart::draw(m, self.series, &Frame { id, width, height, title }, false);
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
        if self.price.is_some() {
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
                            self.overview_cells(m, one, figures, calls_known);
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

    fn overview_cells(&self, m: &mut Markup, one: &Series, figures: &Figures, calls_known: bool) {
        let mut cell = |text: String| m.words("td", &[("class", &"number")], text);
        cell(grouped(one.pictures().len() as u64));
        cell(match figures.measure {
            Measure::Accuracy => "accuracy".to_owned(),
            Measure::Share => "share".to_owned(),
        });
        cell(format!("{:.4}", figures.average_radius));
        cell(percent(figures.abstained.value));
        cell(grouped(figures.failed as u64));
        let calls = figures.usage.as_ref().filter(|usage| usage.unit == "calls");
        let unknown = || "unknown".to_owned();
        if calls_known {
            cell(calls.map_or_else(unknown, |usage| grouped(usage.total)));
            cell(calls.map_or_else(unknown, |usage| format!("{:.1}", usage.mean())));
        }
        if let Some(price) = self.price {
            let cost = calls.and_then(|usage| price.times(usage.total));
            cell(cost.map_or_else(unknown, |cost| cost.to_string()));
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
                        histogram::draw(m, at, one.name(), usage, least, most);
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
    m.element("h3", &[], |m| {
        swatch(m, at);
        m.words("bdi", &[], series.name());
    });
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
    if with_votes.len() > STRIPS {
        let words = format!("The first {STRIPS} of {} pictures.", with_votes.len());
        m.words("p", &[("class", &"quiet")], words);
    }
}
