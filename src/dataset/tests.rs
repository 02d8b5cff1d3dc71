use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use super::{Class, Dataset, DatasetError, Selection, class_names, same_class};

fn open(place: &Path) -> Result<Dataset, DatasetError> {
    Dataset::open(place.to_str().unwrap(), &BTreeMap::new())
}

fn listed(set: &Dataset) -> Vec<(&str, &str)> {
    set.samples().iter().map(|s| (s.name.as_str(), s.truth.name())).collect()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_folder_a_class_in_the_order_of_names() {
    let dir = tempfile::tempdir().unwrap();
    for file in [
        "dog/b.png",
        "dog/deep/a.JPG",
        "brown_bear/1.webp",
        "n01534433_junco/x.gif",
        "README.md",
        "loose.png",
    ] {
        write(&dir.path().join(file), file.as_bytes());
    }
    let set = open(dir.path()).unwrap();
    assert_eq!(
        listed(&set),
        [
            ("brown_bear/1.webp", "brown bear"),
            ("dog/b.png", "dog"),
            ("dog/deep/a.JPG", "dog"),
            ("n01534433_junco/x.gif", "junco"),
        ]
    );
    assert_eq!(set.samples()[1].read(100).unwrap(), b"dog/b.png");
    assert_eq!(set.samples()[1].read(3).unwrap(), b"dog/", "one more than allowed shows that it is too long");
}

#[test]
fn classes_get_other_names() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("set/n01440764/a.png"), b"");
    let names = dir.path().join("names.txt");
    std::fs::write(&names, "n01440764 tench, Tinca tinca\n").unwrap();
    let set = dir.path().join("set");
    let set = Dataset::open(set.to_str().unwrap(), &class_names(&names).unwrap()).unwrap();
    assert_eq!(listed(&set), [("n01440764/a.png", "tench")]);
    std::fs::write(&names, "n01440764\n").unwrap();
    assert!(class_names(&names).unwrap_err().to_string().contains("names.txt:1:"));
}

#[test]
fn labels_say_classes_by_their_names_and_by_their_folders() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["hot_dog", "n01534433_junco", "n02012849_crane", "n03126707_crane", "n01440764"] {
        write(&dir.path().join(folder).join("x.png"), b"");
    }
    let names = BTreeMap::from([("n01440764".to_owned(), "tench".to_owned())]);
    let set = Dataset::open(dir.path().to_str().unwrap(), &names).unwrap();
    let says = |label: &str| {
        let said = set.classes().iter().filter(|class| class.is(label));
        said.map(Class::folder).collect::<Vec<_>>().join(" ")
    };
    for (label, folders) in [
        ("hot_dog", "hot_dog"),
        ("Hot Dog", "hot_dog"),
        ("hotdog", ""),
        ("junco", "n01534433_junco"),
        ("n01534433_junco", "n01534433_junco"),
        ("n01534433", "n01534433_junco"),
        // The folder's name of the other crane is no word for this one.
        ("n03126707_crane", "n03126707_crane"),
        ("crane", "n02012849_crane n03126707_crane"),
        ("tench", "n01440764"),
        ("n01440764", "n01440764"),
    ] {
        assert_eq!(says(label), folders, "{label}");
    }
    assert!(same_class("hot dog", "hot_dog") && same_class("junco", "n01534433_junco"));
    assert!(!same_class("n02012849_crane", "n03126707_crane") && !same_class("dog", "dogs"));
}

#[cfg(unix)]
#[test]
fn links_to_folders_above_hold_no_pictures_of_their_own() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    write(&root.join("dog/a.png"), b"");
    write(&root.join("cat/b.png"), b"");
    write(&dir.path().join("elsewhere/c.png"), b"");
    symlink(&root, root.join("dog/all")).unwrap();
    symlink("..", root.join("cat/up")).unwrap();
    symlink(dir.path(), root.join("cat/further")).unwrap();
    // A link to what is not above is how sets without copies are laid out.
    symlink(dir.path().join("elsewhere"), root.join("bird")).unwrap();
    let set = open(&root).unwrap();
    assert_eq!(listed(&set), [("bird/c.png", "bird"), ("cat/b.png", "cat"), ("dog/a.png", "dog")]);
}

#[test]
fn a_manifest_names_files_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("p/one, two.png"), b"12");
    let csv = dir.path().join("set.csv");
    std::fs::write(
        &csv,
        "split,Image,LABEL\r\ntest,\"p/one, two.png\",\"a \"\"b\"\"\"\r\ntest,p/x.png,c\r\n",
    )
    .unwrap();
    let set = open(&csv).unwrap();
    assert_eq!(listed(&set), [("p/one, two.png", "a \"b\""), ("p/x.png", "c")]);
    assert_eq!(set.samples()[0].read(9).unwrap(), b"12");
    assert!(matches!(set.samples()[1].read(9), Err(DatasetError::Read { .. })));
    for (text, problem) in [
        ("path,name\na.png,x\n", ":1: the header names no column `label`"),
        ("path,label\na.png\n", ":2: 1 fields where the header names 2"),
        ("path,label\na.png,\n", ":2: an empty path or label"),
        ("path,label\n\n\"a.png,x\n", ":3: a quotation mark is not closed"),
        ("path,label\na.png,x\na.png,y\n", ":3: `a.png` is listed twice"),
    ] {
        std::fs::write(&csv, text).unwrap();
        let error = open(&csv).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn archives_hold_the_same_as_folders() {
    let dir = tempfile::tempdir().unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("./dog/a.png", &b"first"[..]),
        ("cat/b.png", b"second"),
        ("n01534433_junco.png", b"third"),
        ("x.txt", b""),
        // Stored again, as `tar -u` does: the last one counts.
        ("./dog/a.png", b"newer"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, bytes).unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    let plain = dir.path().join("set.tar");
    std::fs::write(&plain, &bytes).unwrap();
    let packed = dir.path().join("set.tar.gz");
    let mut gz =
        flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    gz.write_all(&bytes).unwrap();
    gz.finish().unwrap();
    for place in [plain, packed] {
        let set = open(&place).unwrap();
        assert_eq!(
            listed(&set),
            [("cat/b.png", "cat"), ("dog/a.png", "dog"), ("n01534433_junco.png", "junco")]
        );
        let read: Vec<Vec<u8>> = set.samples().iter().map(|s| s.read(100).unwrap()).collect();
        assert_eq!(read, [&b"second"[..], b"newer", b"third"]);
    }
}

#[test]
fn cifar_records_become_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    for label in [3u8, 9] {
        bytes.push(label);
        bytes.extend((0..3072).map(|i| (i / 1024 * 50 + usize::from(label)) as u8));
    }
    let file = dir.path().join("test_batch.bin");
    std::fs::write(&file, &bytes).unwrap();
    let place = format!("cifar10:{}", dir.path().display());
    let set = Dataset::open(&place, &BTreeMap::new()).unwrap();
    assert_eq!(listed(&set), [("00000-cat", "cat"), ("00001-truck", "truck")]);
    let picture = image::load_from_memory(&set.samples()[1].read(1 << 20).unwrap()).unwrap().to_rgb8();
    assert_eq!((picture.dimensions(), picture.get_pixel(31, 31).0), ((32, 32), [9, 59, 109]));
    // The other layout holds the same.
    let sheets = dir.path().join("sheets");
    std::fs::create_dir(&sheets).unwrap();
    let rows = [3u8, 9].map(|label| (0..3072).map(move |i| (i % 3 * 50 + usize::from(label)) as u8));
    let rows: Vec<u8> = rows.into_iter().flatten().collect();
    image::RgbImage::from_raw(1024, 2, rows).unwrap().save(sheets.join("test_batch.png")).unwrap();
    std::fs::write(sheets.join("test_lables.json"), "[3, 9]").unwrap();
    let of_sheets = format!("cifar10:{}", sheets.display());
    let other = Dataset::open(&of_sheets, &BTreeMap::new()).unwrap();
    assert_eq!(listed(&other), listed(&set));
    for (a, b) in other.samples().iter().zip(set.samples()) {
        assert_eq!(a.read(1 << 20).unwrap(), b.read(1 << 20).unwrap());
    }
    std::fs::write(sheets.join("test_lables.json"), "[3]").unwrap();
    let error = Dataset::open(&of_sheets, &BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains("1 labels"), "{error}");

    bytes[0] = 10;
    std::fs::write(&file, &bytes).unwrap();
    assert!(
        Dataset::open(&place, &BTreeMap::new())
            .unwrap_err()
            .to_string()
            .contains("record 0 has the label 10")
    );
    std::fs::write(&file, &bytes[1..]).unwrap();
    assert!(Dataset::open(&place, &BTreeMap::new()).unwrap_err().to_string().contains("no whole number"));
}

#[test]
fn selections_are_even_over_classes_and_repeatable() {
    let dir = tempfile::tempdir().unwrap();
    for class in 0..4 {
        for n in 0..(10 + 10 * class) {
            write(&dir.path().join(format!("c{class}/{n:02}.png")), b"");
        }
    }
    let set = open(dir.path()).unwrap();
    let twenty = Selection { sample: Some(22), seed: 3, ..Selection::default() };
    let taken = set.select(&twenty);
    for class in 0..4 {
        let n = taken.iter().filter(|sample| sample.truth.name() == format!("c{class}")).count();
        assert!((5..=6).contains(&n), "{n} of class {class}");
    }
    let names = |samples: Vec<super::Sample>| samples.into_iter().map(|s| s.name).collect::<Vec<_>>();
    assert_eq!(names(set.select(&twenty)), names(taken.clone()));
    assert_ne!(names(set.select(&Selection { seed: 4, ..twenty })), names(taken.clone()));
    // More samples of the same seed hold the fewer ones.
    let more = names(set.select(&Selection { sample: Some(60), ..twenty }));
    assert!(names(taken).iter().all(|name| more.contains(name)));
    // Small classes are taken wholly, the rest comes from the others.
    assert_eq!(set.select(&Selection { sample: Some(90), ..twenty }).len(), 90);
    assert_eq!(set.select(&Selection { skip: 20, max: Some(3), ..Selection::default() }).len(), 3);
    assert_eq!(set.select(&Selection { skip: 20, ..Selection::default() })[1].index, 20);
}

#[test]
fn what_is_no_data_set_is_said() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(open(dir.path()), Err(DatasetError::Empty { .. })));
    assert!(matches!(open(&dir.path().join("x.bin")), Err(DatasetError::Kind { .. })));
    assert!(matches!(open(&dir.path().join("x.tar")), Err(DatasetError::Read { .. })));
    let torn = dir.path().join("torn.tar");
    std::fs::write(&torn, [1u8; 700]).unwrap();
    assert!(open(&torn).is_err());
}
