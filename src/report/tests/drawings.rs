//! Drawings as files: well-formed, readable by any program, the same as pixels.

use super::{elements, one, page, parse};
use crate::report::{Field, ReportError, Series, curve, panels, png, votes};
use crate::stats::{cp_lower, cp_upper};
use crate::tables::TableCache;

/// A certificate with `against` votes against its label, then `agree` for it, under a one-bound table of radius sigma.
fn certificate(votes: &str, outcome: &str) -> String {
    format!(
        r#"{{"format":"smoothgate certificate 2","alpha":0.001,"noise":{{"sigma":0.25}},"denoiser":{{"name":"unet"}},
        "provider":"local","claims":[{{"outcome":"{outcome}","label":{},"radius":{},"question":"top1","labels":["dog","cat"],
        "test":{{"sigma":0.25,"alpha":0.000999,"label":"leader","method":{{"test":"table1","radii":[0.25],"n_max":120}}}},
        "votes":[{votes}]}}]}}"#,
        if outcome == "certified" { "\"dog\"" } else { "null" },
        if outcome == "certified" { 0.25 } else { 0.0 },
    )
}

fn certified() -> Vec<Series> {
    parse("dog.png", certificate(&vec!["0"; 46].join(","), "certified").as_bytes()).unwrap()
}

/// Colours of the pixels along a line of a PNG, with how often they occur.
fn pixels(png: &[u8]) -> image::RgbImage {
    image::load_from_memory_with_format(png, image::ImageFormat::Png).unwrap().to_rgb8()
}

/// Several denoisers share an architecture, which is what a certificate calls them.
#[test]
fn documents_name_the_denoiser_by_its_hash() {
    let named = |blake3: &str| {
        let text = certificate(&vec!["0"; 46].join(","), "certified");
        let text = text.replace(r#"{"name":"unet"}"#, &format!(r#"{{"name":"unet","blake3":"{blake3}"}}"#));
        parse("dog.png", text.as_bytes()).unwrap()[0].setting().denoiser.clone().unwrap()
    };
    let built_in = smoothgate_denoisers::open("cifar10", &smoothgate_denoisers::Options::default()).unwrap();
    assert_eq!(named(&built_in.id().hash().to_hex()), "cifar10");
    assert_eq!(named(&"ab".repeat(32)), "unet@abababab");
    assert_eq!(named(""), "unet");
}

#[test]
fn a_png_is_the_drawing_twice_as_large_and_not_blank() {
    let series = [one("cohen.tsv"), one("rows.jsonl")];
    for (svg, size) in [
        (curve(&series, "t").unwrap(), (1720, 960)),
        (panels(&series, Field::Denoiser, "t").unwrap(), (1720, 632)),
        (votes(&certified(), None, &TableCache::none()).unwrap(), (1720, 720)),
    ] {
        let pixels = pixels(&png(&svg).unwrap());
        assert_eq!(pixels.dimensions(), size);
        let mut colours = std::collections::HashMap::new();
        for pixel in pixels.pixels() {
            *colours.entry(pixel.0).or_insert(0usize) += 1;
        }
        // White paper in light colours, on which something is drawn in many shades.
        let white = colours[&[255, 255, 255]];
        assert!(
            white * 4 > pixels.len() / 3 && colours.len() > 100,
            "{white} white, {} colours",
            colours.len()
        );
    }
}

#[test]
fn the_pixels_are_where_the_drawing_says() {
    let series = [one("cohen.tsv")];
    let svg = curve(&series, "t").unwrap();
    let pixels = pixels(&png(&svg).unwrap());
    // The line begins at (50, 192.4) in blue (#0072b2) and ends on the axis at 430.
    let blue = |x: u32, y: u32| pixels.get_pixel(2 * x, 2 * y).0 == [0x00, 0x72, 0xb2];
    assert!((190..=194).any(|y| blue(80, y)));
    assert!(!(200..=260).any(|y| blue(80, y)));
    // Letters are drawn: dark pixels in the title of the y axis, at the upper left.
    let dark = |x: u32, y: u32| pixels.get_pixel(x, y).0.iter().all(|&value| value < 80);
    let letters = (4..260).flat_map(|x| (10..36).map(move |y| (x, y))).filter(|&(x, y)| dark(x, y)).count();
    assert!(letters > 200, "{letters} dark pixels");
}

#[test]
fn a_drawing_alone_has_colours_that_every_program_knows() {
    let series = [one("cohen.tsv"), one("rows.jsonl")];
    for svg in [
        curve(&series, "t").unwrap(),
        panels(&series, Field::Test, "t").unwrap(),
        votes(&certified(), None, &TableCache::none()).unwrap(),
    ] {
        let document = roxmltree::Document::parse(&svg).unwrap();
        assert!(!svg.contains("var("), "CSS variables are for browsers only");
        assert!(!svg.replace("http://www.w3.org/2000/svg", "").contains("http"), "nothing is loaded");
        // Every class that gives a colour has one in light and one in dark.
        let style = document.descendants().find(|node| node.has_tag_name("style")).unwrap().text().unwrap();
        let (light, dark) = style.split_once("@media(prefers-color-scheme:dark){").unwrap();
        for rule in [".page{fill:", ".line.s0{", ".path", ".certify{fill:", ".tick{fill:"] {
            let found = |sheet: &str| sheet.contains(rule) || sheet.contains(&rule.replace('{', ","));
            assert!(found(light) && found(dark), "{rule} in {style}");
        }
        // Somebody who cannot see it hears what it is.
        let root = document.root_element();
        assert_eq!(root.attribute("role"), Some("img"));
        for id in root.attribute("aria-labelledby").unwrap().split(' ') {
            let said = document.descendants().find(|node| node.attribute("id") == Some(id)).unwrap();
            assert!(!said.text().unwrap().is_empty());
        }
    }
}

#[test]
fn bands_are_clopper_pearson_at_every_step_and_hold_the_line() {
    let svg = curve(&[one("cohen.tsv")], "t").unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let path = |class: &str| {
        let node = document.descendants().find(|node| node.attribute("class") == Some(class)).unwrap();
        node.attribute("d").unwrap().to_owned()
    };
    // Heights as the plot of this size has them: y = 430 - 396 share.
    let share = |y: f64| (430.0 - y) / 396.0;
    let band = path("band few s0 d0");
    let corner =
        |part: &str| part.split(['H', 'L', 'Z']).next().unwrap().split(' ').nth(1).unwrap().parse::<f64>();
    let heights: Vec<f64> = band.split(['M', 'L']).skip(1).map(|part| share(corner(part).unwrap())).collect();
    // Upper edges of the counts 3, 2, 1 of 5 from the left, then lower edges back from the right.
    let (upper, lower) = heights.split_at(3);
    for (at, count) in [3, 2, 1].into_iter().enumerate() {
        let (low, high) = (cp_lower(count, 5, 0.025).unwrap(), cp_upper(count, 5, 0.025).unwrap());
        assert!((upper[at] - high).abs() < 1e-4 && (lower[2 - at] - low).abs() < 1e-4, "{band}");
        let line = count as f64 / 5.0;
        assert!(lower[2 - at] < line && line < upper[at]);
    }
}

#[test]
fn panels_hold_the_same_series_in_the_same_look() {
    let row = |denoiser: &str, test: &str, radius: f64| {
        format!(
            "{{\"idx\":0,\"outcome\":\"certified\",\"label\":\"x\",\"radius\":{radius},\"denoiser\":\"{denoiser}\",\"test\":\
             \"{test}\"}}\n"
        )
    };
    let log = row("a", "new", 0.3) + &row("a", "old", 0.2) + &row("b", "new", 0.1) + &row("b", "old", 0.1);
    let series = parse("log", log.as_bytes()).unwrap();
    let svg = panels(&series, Field::Denoiser, "t").unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let texts = |class: &str| -> Vec<String> {
        let of_class = document
            .descendants()
            .filter(|node| node.attribute("class").is_some_and(|c| c.starts_with(class)));
        of_class.map(|node| node.text().unwrap().to_owned()).collect()
    };
    assert_eq!(texts("heading"), ["a", "b"]);
    let mut labels = texts("label s0");
    labels.extend(texts("label s1"));
    assert_eq!(labels, ["log: new", "log: new", "log: old", "log: old"]);
    let many = (0..30).map(|at| row(&at.to_string(), "t", 0.1)).collect::<String>();
    let many = parse("log", many.as_bytes()).unwrap();
    assert!(matches!(panels(&many, Field::Denoiser, "t"), Err(ReportError::TooManyPanels { given: 30, .. })));
}

#[test]
fn votes_are_drawn_with_the_boundary_and_the_end_of_their_test() {
    let svg = votes(&certified(), None, &TableCache::none()).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let of_class = |class: &str| {
        document.descendants().filter(move |node| node.attribute("class") == Some(class)).collect::<Vec<_>>()
    };
    let marks = of_class("mark");
    assert_eq!(marks.len(), 1);
    let words = marks[0].first_element_child().unwrap().text().unwrap();
    assert_eq!(words, "vote 46: certified: radius 0.25");
    assert!(
        of_class("region certify").len() > 1 && of_class("region give-up").len() > 1,
        "in drawing and key"
    );
    assert!(svg.contains("dog, certified to 0.25 at vote 46"));

    let against =
        parse("dog.png", certificate(&["1", "0", "0", "1"].join(","), "abstained").as_bytes()).unwrap();
    let svg = votes(&against, Some("dog.png"), &TableCache::none());
    // `parse` names no picture: a document does not hold its picture's name.
    assert!(matches!(svg, Err(ReportError::NoVotes { picture: Some(name) }) if name == "dog.png"));
    assert!(matches!(
        votes(&[one("cohen.tsv")], None, &TableCache::none()),
        Err(ReportError::NoVotes { picture: None })
    ));
    elements(&votes(&against, None, &TableCache::none()).unwrap());
}

#[test]
fn a_document_of_a_stranger_does_not_make_a_report_build_tables_for_minutes() {
    for (from, to) in [("\"n_max\":120", "\"n_max\":1000000"), ("[0.25]", "[0.5,0.25]"), ("0.000999", "-3")] {
        let document = certificate(&vec!["0"; 46].join(","), "certified").replace(from, to);
        let series = parse("log", document.as_bytes()).unwrap();
        let svg = votes(&series, None, &TableCache::none()).unwrap();
        assert!(!svg.contains("class=\"path\""), "{to}");
        elements(&svg);
        elements(&page(&series, "t"));
    }
}

#[test]
fn a_page_shows_the_boundary_of_every_picture_with_a_test() {
    let html = page(&certified(), "t");
    assert!(html.contains("certified: radius 0.25") && html.contains("Votes and the test&#39;s boundary"));
    let ids = elements_with_ids(&html);
    let mut unique = ids.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(ids.len(), unique.len(), "{ids:?}");
    // The old documents of these tests have no whole test in them: votes without a boundary.
    assert!(!page(&[one("certificates")], "t").contains("boundary"));
}

fn elements_with_ids(html: &str) -> Vec<String> {
    let body = html.trim_start_matches("<!DOCTYPE html>\n");
    let document = roxmltree::Document::parse(body).unwrap();
    document.descendants().filter_map(|node| node.attribute("id")).map(str::to_owned).collect()
}
