//! What is learnt from: pictures in folders and archives, whole and upright.

use std::{fs, path::Path};

use image::{Rgb, RgbImage};
use smoothgate_denoisers::training::{DataError, Source, Split};

#[test]
fn folders_and_archives_hold_the_same_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let set = [1, 2, 3].map(|i| RgbImage::from_fn(9, 9, |x, y| Rgb([(i * (x + 9 * y)) as u8, i as u8, 90])));
    for (name, picture) in ["b/x.png", "a/y.PNG", "a/deep/z.png"].into_iter().zip(&set) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(path).unwrap();
    }
    fs::write(root.join("README.md"), "no picture").unwrap();
    let read = |path: &Path| path.display().to_string().parse::<Source>().unwrap().read(Split::Train);
    let found = read(&root).unwrap();
    let expected: Vec<_> = [("a/deep/z.png", 2, 1), ("a/y.PNG", 1, 0), ("b/x.png", 0, 0)].into();
    assert_eq!(found.classes, ["a", "b", "deep"]);
    assert_eq!(
        found.all.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        expected.iter().map(|e| e.0).collect::<Vec<_>>()
    );
    assert_eq!(found.all[1].rgb, *set[1].as_raw());
    assert_eq!(found.all.iter().map(|p| p.class).collect::<Vec<_>>(), [Some(2), Some(0), Some(1)]);

    let plain = folder.path().join("data.tar");
    let mut archive = tar::Builder::new(fs::File::create(&plain).unwrap());
    archive.append_dir_all(".", &root).unwrap();
    archive.finish().unwrap();
    let packed = folder.path().join("data.tar.gz");
    let mut gz =
        flate2::write::GzEncoder::new(fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    std::io::copy(&mut fs::File::open(&plain).unwrap(), &mut gz).unwrap();
    gz.finish().unwrap();
    for archive in [&plain, &packed] {
        let inside = read(archive).unwrap();
        assert_eq!(inside.classes, found.classes);
        assert!(inside.all.iter().zip(&found.all).all(|(a, b)| a.rgb == b.rgb && a.class == b.class));
    }

    // Added to, it holds a file twice: the later one counts.
    let mut archive = tar::Builder::new(fs::File::create(&plain).unwrap());
    for name in ["b/x.png", "a/y.png"] {
        let file = found.all.iter().find(|p| p.class != Some(0)).unwrap();
        archive.append_path_with_name(root.join(&file.name), name).unwrap();
    }
    let last = found.all.iter().find(|p| p.class == Some(0)).unwrap();
    archive.append_path_with_name(root.join(&last.name), "b/x.png").unwrap();
    archive.finish().unwrap();
    let inside = read(&plain).unwrap();
    let names: Vec<&str> = inside.all.iter().map(|p| p.name.as_str()).collect();
    assert!(names == ["a/y.png", "b/x.png"] && inside.all[1].rgb == last.rgb, "{names:?}");

    fs::write(root.join("a/bad.png"), b"\x89PNG\r\n\x1a\nrubbish").unwrap();
    assert!(matches!(read(&root), Err(DataError::Picture { name, .. }) if name == "a/bad.png"));
    assert!(matches!(read(&folder.path().join("nothing")), Err(DataError::Read { .. })));
    fs::create_dir(folder.path().join("empty")).unwrap();
    assert!(matches!(read(&folder.path().join("empty")), Err(DataError::Empty { .. })));
    fs::write(&packed, b"\x1f\x8brubbish").unwrap();
    assert!(matches!(read(&packed), Err(DataError::Read { .. })));
}

/// Decoders of these formats make up what is missing. And what is learnt from is seen as everybody else sees it.
#[test]
fn pictures_are_whole_and_upright() {
    let folder = tempfile::tempdir().unwrap();
    let picture = RgbImage::from_fn(48, 32, |x, y| Rgb([(5 * x) as u8, (7 * y) as u8, 90]));
    let encoded = |format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let read = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).unwrap();
        let found = Source::Folder(folder.path().to_path_buf()).read(Split::Train);
        fs::remove_file(folder.path().join(name)).unwrap();
        found
    };
    for (name, format) in [("x.jpg", image::ImageFormat::Jpeg), ("x.webp", image::ImageFormat::WebP)] {
        let bytes = encoded(format);
        assert_eq!(read(name, &bytes).unwrap().all[0].height, 32);
        let cut = read(name, &bytes[..bytes.len() * 6 / 10]).unwrap_err().to_string();
        assert!(cut.contains(name) && cut.contains("ends early"), "{cut}");
    }
    // A segment of metadata that says: turn by a quarter (TIFF 6.0 with one entry, tag 0x0112, value 6).
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let exif = [&b"Exif\0\0"[..], tiff].concat();
    let jpeg = encoded(image::ImageFormat::Jpeg);
    let segment = [&[0xff, 0xe1], &(exif.len() as u16 + 2).to_be_bytes()[..], &exif].concat();
    let turned = read("x.jpg", &[&jpeg[..2], &segment, &jpeg[2..]].concat()).unwrap();
    let plain = read("x.jpg", &jpeg).unwrap();
    let (turned, plain) = (&turned.all[0], &plain.all[0]);
    assert_eq!((turned.height, turned.width), (48, 32));
    let at = |rgb: &[u8], width: usize, row: usize, column: usize| rgb[(row * width + column) * 3];
    // By the quarter to the right, the first row becomes the last column.
    for column in 0..48 {
        assert_eq!(at(&turned.rgb, 32, column, 31), at(&plain.rgb, 48, 0, column));
    }
}
