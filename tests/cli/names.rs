//! Names of pictures, classes and certificates.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{LOG, PICTURES, code, program, rows, smoothgate, text};

/// A set of two classes that a map makes the provider answer as their folders are called.
#[test]
fn labels_that_are_written_as_folders_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (class, picture) in [("hot_dog", "coffee.jpg"), ("n01534433_junco", "spider.png")] {
        fs::create_dir_all(at("set").join(class)).unwrap();
        fs::copy(Path::new(PICTURES).join(picture), at("set").join(class).join(picture)).unwrap();
    }
    fs::write(at("map.toml"), "hot_dog = [\"espresso\"]\nn01534433_junco = [\"spider\"]\n").unwrap();
    let (set, question) = (at("set").display().to_string(), format!("map:{}", at("map.toml").display()));
    let evaluate = |format: &str| {
        let arguments =
            ["evaluate", &set, "--question", &question, "--radius", "0.1", "--seed", "3", "--quiet"];
        program(dir.path()).args(arguments).args(["--format", format]).output().unwrap()
    };
    let out = evaluate("jsonl");
    let all = rows(&out);
    let of = |field: &str| all.iter().map(|row| row[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("label"), ["hot_dog", "n01534433_junco"], "{}", text(&out.stderr));
    assert_eq!((of("truth"), of("correct")), (vec!["hot dog".into(), "junco".into()], vec![true.into(); 2]));
    fs::write(at("rows.jsonl"), &out.stdout).unwrap();
    let report = program(dir.path())
        .arg("report")
        .arg(at("rows.jsonl"))
        .args(["--radii", "0.1", "--format", "json"])
        .output();
    let report = report.unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let one = &report["series"][0];
    assert_eq!((&one["measure"], &one["at"][0]["count"]), (&"certified accuracy".into(), &2.into()));
    let table = text(&evaluate("tsv").stdout);
    let judged: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    let judged: Vec<[&str; 3]> = judged.iter().map(|row| [row[1], row[2], row[4]]).collect();
    assert_eq!(judged, [["0", "0", "1"], ["1", "1", "1"]], "{table}");
}

#[test]
fn a_picture_has_one_certificate_in_a_folder_and_two_pictures_have_two() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    for folder in ["set/cat", "set/dog", "a", "b"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    for (n, file) in
        ["set/cat/x.png", "set/cat/y.png", "set/dog/x.png", "a/x.png", "b/x.png"].iter().enumerate()
    {
        let pixel = |x: u32, y: u32| image::Rgb([(x * 3) as u8, (y * 2) as u8, (n * 40) as u8]);
        image::RgbImage::from_fn(64, 64, pixel).save(at(file)).unwrap();
    }
    let files = |folder: &str| {
        let entries = fs::read_dir(at(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let run = |command: &str, pictures: &str, out: &str, more: &[&str]| {
        let (pictures, out) = (at(pictures), at(out));
        let short = ["--out", &out, "--seed", "1", "--denoiser", "none", "--n0", "1", "--n", "10", "--quiet"];
        let done = smoothgate(&[&[command, &pictures], &short[..], more].concat());
        assert!(code(&done) <= 1, "{}", text(&done.stderr));
    };
    run("evaluate", "set", "sampled", &["--skip", "2"]);
    assert_eq!(files("sampled"), ["0000-cat-x.png.json", "0002-dog-x.png.json"]);
    run("evaluate", "set", "sampled", &[]);
    assert_eq!(files("sampled"), ["0000-cat-x.png.json", "0001-cat-y.png.json", "0002-dog-x.png.json"]);

    // Of the same name in the same place: neither takes the other's, whatever is done again.
    for folder in ["a", "b", "a", "b"] {
        run("certify", folder, "both", &[]);
    }
    let both = files("both");
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(both[1], "0000-x.png.json");
    assert!(both[0].starts_with("0000-x.png-"), "{both:?}");
}

#[test]
fn the_true_class_is_the_folders_name_also_where_the_path_does_not_say_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("wrongclass");
    fs::create_dir(&folder).unwrap();
    fs::copy(Path::new(PICTURES).join("coffee.jpg"), folder.join("coffee.jpg")).unwrap();
    let certify = |pictures: &str| {
        let arguments = [
            "certify", pictures, "--truth", "@folder", "--format", "tsv", "--seed", "2", "--n0", "2", "--n",
            "20", "--quiet",
        ];
        program(dir.path()).current_dir(&folder).args(arguments).output().unwrap()
    };
    for pictures in ["coffee.jpg", ".", "./coffee.jpg", "*.jpg"] {
        let out = certify(pictures);
        let table = text(&out.stdout);
        let fields: Vec<&str> = table.lines().nth(1).unwrap().split('\t').collect();
        assert_eq!([fields[1], fields[2], fields[4]], ["wrongclass", "espresso", "0"], "{pictures}: {table}");
    }
    let out = certify("-");
    assert_eq!(code(&out), 2);
    assert!(text(&out.stderr).contains("give its true class by `--truth LABEL`"), "{}", text(&out.stderr));
}

#[cfg(unix)]
#[test]
fn names_break_no_row_and_move_no_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("a\tb\u{1b}[2J.jpg");
    fs::copy(Path::new(PICTURES).join("coffee.jpg"), &picture).unwrap();
    let picture = picture.to_str().unwrap();
    for (format, tabs) in [("tsv", 3), ("table", 0)] {
        let out = text(&smoothgate(&["label", picture, "--top", "1", "--format", format]).stdout);
        assert!(out.contains("a b\u{fffd}[2J.jpg"), "{out:?}");
        assert_eq!(out.matches('\t').count(), tabs, "{out:?}");
    }
    let state = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| text(&program(state.path()).args(arguments).output().unwrap().stdout);
    let table = run(&["certify", picture, "--n0", "2", "--n", "20", "--seed", "1"]);
    let shown = run(&["runs", "show", "1"]);
    for out in [table, shown] {
        assert!(out.contains("a b\u{fffd}[2J.jpg") && !out.contains(['\t', '\u{1b}']), "{out:?}");
    }
    // A record of a stranger.
    let log = dir.path().join("log.jsonl");
    let record = fs::read_to_string(LOG).unwrap().lines().next().unwrap().to_owned();
    let record = record.replace("\"demo\"", "\"de\\u001b[2Jmo\"").replace("\"dog\"", "\"d\\u001b[2Jog\"");
    fs::write(&log, record).unwrap();
    for format in ["table", "tsv"] {
        let replay = ["replay", log.to_str().unwrap(), "--alpha", "0.05", "--format", format, "--quiet"];
        let out = text(&smoothgate(&replay).stdout);
        assert!(out.contains("de\u{fffd}[2Jmo") && out.contains("d\u{fffd}[2Jog"), "{out:?}");
        assert!(!out.contains('\u{1b}'), "{out:?}");
    }
}
