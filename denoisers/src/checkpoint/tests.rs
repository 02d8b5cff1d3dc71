//! Files that `PyTorch` 2.15 wrote, in both layouts:
//! ```python
//! class Evil:
//!     def __reduce__(self): return os.system, ("touch /tmp/owned",)
//! tensors = load_file("dncnn-denoised-smoothing.safetensors")
//! release = {"epoch": 3, "arch": "cifar_dncnn", "state_dict": OrderedDict(tensors),
//!            "optimizer": torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))]).state_dict()}
//! a = torch.arange(24.).reshape(2, 3, 4)
//! views = {"turned": a.transpose(0, 2), "half": torch.tensor([0.5, -2.0]).half(), "double": torch.tensor([[0.1]]).double(),
//!          "bf16": torch.tensor([1.5]).bfloat16(), "tail": a.view(-1)[20:], "parameter": torch.nn.Parameter(torch.tensor([7.0])),
//!          "scalar": torch.tensor(3.0), "counter": torch.tensor(5)}
//! for name, value in ("release", release), ("views", views), ("hostile", {"state_dict": {"a": torch.zeros(1), "b": Evil()}}):
//!     torch.save(value, f"{name}.pth")
//!     torch.save(value, f"{name}-legacy.pth", _use_new_zipfile_serialization=False)
//! ```

use super::*;
use crate::{Batch, Options, open};

const VIEWS: [&[u8]; 2] =
    [include_bytes!("../../tests/data/views.pth"), include_bytes!("../../tests/data/views-legacy.pth")];
const HOSTILE: [&[u8]; 2] =
    [include_bytes!("../../tests/data/hostile.pth"), include_bytes!("../../tests/data/hostile-legacy.pth")];

#[test]
fn views_types_and_shared_storages_are_read() {
    for file in VIEWS {
        assert!(recognises(file));
        let named: std::collections::HashMap<String, Weight> = read(file).unwrap().into_iter().collect();
        let tensor = |name: &str| (named[name].shape.as_slice(), named[name].data.as_slice());
        let turned: Vec<f32> = (0..24).map(|i| (i / 6 + 4 * (i / 2 % 3) + 12 * (i % 2)) as f32).collect();
        assert_eq!(tensor("turned"), (&[4, 3, 2][..], &turned[..]));
        assert_eq!(tensor("half"), (&[2][..], &[0.5, -2.0][..]));
        assert_eq!(tensor("double"), (&[1, 1][..], &[0.1][..]));
        assert_eq!(tensor("bf16"), (&[1][..], &[1.5][..]));
        assert_eq!(tensor("tail"), (&[4][..], &[20.0, 21.0, 22.0, 23.0][..]));
        assert_eq!(tensor("parameter"), (&[1][..], &[7.0][..]));
        assert_eq!(tensor("scalar"), (&[][..], &[3.0][..]));
        assert_eq!(named.len(), 7);
    }
}

#[test]
fn a_checkpoint_is_the_network_that_its_safetensors_are() {
    let data = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        open(path.to_str().unwrap(), &Options::default()).unwrap()
    };
    let mut safe = data("dncnn-denoised-smoothing.safetensors");
    let noisy = Batch::new((0..192).map(|i| (i % 17) as f32 / 16.0).collect(), 1, 8, 8).unwrap();
    let expected = safe.denoise(noisy.clone(), 0.25).unwrap();
    for name in ["release.pth", "release-legacy.pth"] {
        let mut model = data(name);
        assert_eq!(model.id(), safe.id(), "{name}");
        assert_eq!(model.denoise(noisy.clone(), 0.25).unwrap(), expected, "{name}");
    }
}

#[test]
fn code_is_named_and_not_run() {
    for file in HOSTILE {
        let reason = read(file).err().unwrap();
        assert!(reason.contains("`posix.system`") && reason.contains("not run"), "{reason}");
    }
    assert!(!std::path::Path::new("/tmp/owned").exists());
}

#[test]
fn damaged_files_are_errors() {
    for file in VIEWS {
        for end in 0..file.len() {
            assert!(read(&file[..end]).is_err(), "{end}");
        }
        // Any change gives tensors or an error; what counts is that it comes to an end.
        for at in 0..file.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut changed = file.to_vec();
                changed[at] ^= mask;
                drop(read(&changed));
            }
        }
    }
}

/// A directory that lists the same bytes of the file under many names.
#[test]
fn entries_that_share_their_bytes_are_refused() {
    let release: &[u8] = include_bytes!("../../tests/data/release.pth");
    let number = |at: usize, bytes: usize| {
        release[at..at + bytes].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let end = release.len() - 22;
    assert!(release[end..].starts_with(b"PK\x05\x06"));
    let (count, size, directory) = (number(end + 10, 2), number(end + 12, 4), number(end + 16, 4));
    // The entry of a storage, for which there are fifty more names of the same length.
    let mut at = directory;
    let mut record = loop {
        let lengths = [28, 30, 32].map(|place| number(at + place, 2));
        let record = release[at..at + 46 + lengths.iter().sum::<usize>()].to_vec();
        at += record.len();
        let name = &record[46..46 + lengths[0]];
        if name.windows(6).any(|part| part == b"/data/") && number(at - record.len() + 24, 4) >= 2000 {
            break record;
        }
    };
    let last = 46 + usize::from(record[28]) - 1;
    let mut file = release[..directory + size].to_vec();
    for letter in 0..50 {
        record[last] = b'A' + letter;
        file.extend(&record);
    }
    let mut tail = release[end..].to_vec();
    let entries = (count as u16 + 50).to_le_bytes();
    let size = ((size + 50 * record.len()) as u32).to_le_bytes();
    tail.splice(8..16, [entries, entries].concat().into_iter().chain(size));
    file.extend(tail);
    let reason = read(&file).err().unwrap();
    assert!(reason.contains("larger together than the file"), "{reason}");
}

/// The length at the beginning of a safetensors file may look like the beginning of a pickle.
#[test]
fn a_length_is_not_taken_for_a_pickle() {
    let zeros = vec![0; 4 * 4 * 3 * 9];
    let layer = |shape: Vec<usize>| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &zeros).unwrap()
    };
    let file = |note: usize| {
        let tensors =
            [("dncnn.0.weight", layer(vec![4, 3, 3, 3])), ("dncnn.2.weight", layer(vec![3, 4, 3, 3]))];
        let metadata = [("note".to_owned(), "x".repeat(note))].into();
        safetensors::serialize(tensors, Some(metadata)).unwrap()
    };
    let file = (0..640).map(file).find(|file| file.starts_with(b"\x80\x02")).unwrap();
    assert!(!recognises(&file));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("note.safetensors");
    std::fs::write(&path, file).unwrap();
    assert!(open(path.to_str().unwrap(), &Options::default()).is_ok());
}

/// What is written by hand to break the reader: no such file takes much memory, time, or stack.
#[test]
fn hostile_pickles_are_errors() {
    let run = |body: &[u8]| machine::run(&[b"\x80\x02", body].concat()).err();
    for body in [
        &b""[..],
        b".",
        b"t.",
        b"(0.",
        b"h\x07.",
        b"}b.",
        b"K\x01K\x02s.",
        b"](K\x01u.",
        b"K\x01Q.",
        b"cos\nsystem\n.",
        b"cbuiltins\neval\n(X\x01\x00\x00\x00atR.",
        b"i\n.",
        b"\x8a\xff\x01.",
        b"X\xff\xff\xff\xff.",
        b"\xff",
    ] {
        assert!(run(body).is_some(), "{}", body.escape_ascii());
    }
    // Nested so deeply that recursion would overflow the stack.
    let deep = [&b")"[..], &b"\x85".repeat(1_000_000), b"."].concat();
    assert!(run(&deep).is_none());
    // More than the machine makes, in a small file.
    let many = [&b")q\x00"[..], &b"h\x00".repeat(5_000_000), b"."].concat();
    assert!(run(&many).unwrap().contains("values"));
    for one in [&b"\x94"[..], b"("] {
        let many = [&b")"[..], &one.repeat(5_000_000), b"."].concat();
        assert!(run(&many).unwrap().contains("values"), "{}", one.escape_ascii());
    }
    // A long name that is asked for again and again: nothing is copied.
    let named = |name: &str| {
        let name = [&b"X"[..], &(name.len() as u32).to_le_bytes(), name.as_bytes(), b"q\x01"].concat();
        let names = [&b"X\x05\x00\x00\x00torchq\x00"[..], &name].concat();
        run(&[&names[..], &b"h\x00h\x01\x93".repeat(200_000), b")."].concat())
    };
    assert_eq!(named("FloatStorage"), None);
    let long = named(&format!("{}Storage", "A".repeat(1 << 20))).unwrap();
    assert!(long.contains("unknown type `AAA") && long.len() < 300, "{long}");
    assert!(named(&"B".repeat(1 << 20)).unwrap().len() < 300);
    // A storage's key of any length.
    let keyed = |length: u32| {
        let key = [&b"X"[..], &length.to_le_bytes(), &b"k".repeat(length as usize)].concat();
        let before = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n";
        let pickle = [&b"\x80\x02"[..], before, &key, b"X\x03\x00\x00\x00cpuK\x04tQ."].concat();
        let pickle = machine::run(&pickle).unwrap();
        let place = pickle.persistent().next().unwrap();
        tensors::storage(&pickle, place).err()
    };
    assert!(keyed(256).is_none() && keyed(257).unwrap().contains("256 bytes"));
    // A tensor far larger than its storage.
    let tensor = |shape: &[u8], stride: &[u8]| {
        let storage =
            &b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
                [..];
        let call =
            [&b"ctorch._utils\n_rebuild_tensor_v2\n("[..], storage, b"K\x00", shape, stride, b"tR"].concat();
        let pickle = [&b"\x80\x02}X\x01\x00\x00\x00a"[..], &call, b"s."].concat();
        let pickle = machine::run(&pickle).unwrap();
        tensors::named(&pickle, |_| Ok(&[0; 16]))
    };
    assert_eq!(tensor(b"K\x04\x85", b"K\x01\x85").unwrap()[0].1.data, [0.0; 4]);
    for (shape, stride) in [
        (&b"J\xff\xff\xff\x7f\x85"[..], &b"K\x00\x85"[..]),
        (b"K\x04\x85", b"K\x02\x85"),
        (b"K\x04\x85", b")"),
        (b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
        (b"K\x02K\x02\x86", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x01\x86"),
    ] {
        assert!(tensor(shape, stride).is_err(), "{}", shape.escape_ascii());
    }
}

/// Which of the two counted would be chance.
#[test]
fn a_name_with_and_without_a_prefix_is_refused() {
    let numbers = vec![0; 4 * 4 * 3 * 9];
    let layer = |shape: Vec<usize>| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &numbers).unwrap()
    };
    let tensors = [
        ("dncnn.0.weight", layer(vec![4, 3, 3, 3])),
        ("module.dncnn.0.weight", layer(vec![4, 3, 3, 3])),
        ("dncnn.2.weight", layer(vec![3, 4, 3, 3])),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("twice.safetensors");
    std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let error = open(path.to_str().unwrap(), &Options::default()).err().unwrap().to_string();
    assert!(error.contains("`dncnn.0.weight` is twice"), "{error}");
}
