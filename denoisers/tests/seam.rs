//! What the seam promises: any size, results independent of batch and threads, identities, errors that name their cause.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::{collections::HashMap, fs, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use smoothgate_denoisers::{
    Batch, ClassifyError, DenoiseError, Denoiser, Device, Engine, OpenError, Options, Precision,
    WeightsError, open, open_classifier,
};

fn cpu() -> Options {
    Options::on(Device::Cpu)
}

fn at(precision: Precision) -> Options {
    let mut options = cpu();
    options.precision = precision;
    options
}

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).display().to_string()
}

/// Values from -0.5 to 1.5 that look random and are always the same.
fn noisy(count: usize, height: usize, width: usize) -> Batch {
    let mut state = 0x9E37_79B9_u32;
    let values = (0..count * 3 * height * width).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 0.5
    });
    Batch::new(values.collect(), count, height, width).unwrap()
}

fn denoise_in_parts(denoiser: &mut dyn Denoiser, batch: &Batch, part: usize) -> Vec<u32> {
    let parts = batch.data().chunks(part * batch.picture_len());
    parts
        .flat_map(|values| {
            let count = values.len() / batch.picture_len();
            let part = Batch::new(values.to_vec(), count, batch.height(), batch.width()).unwrap();
            denoiser.denoise(part, 0.25).unwrap().into_data()
        })
        .map(f32::to_bits)
        .collect()
}

/// Contract line 2: a draw's result is a function of that draw, never of a batch size or a thread.
#[test]
fn results_do_not_depend_on_batch_split_or_threads() {
    let models = ["photo".to_owned(), data("dncnn-kair.safetensors")];
    for (model, precision) in
        models.iter().flat_map(|model| Precision::ALL.map(|precision| (model, precision)))
    {
        for (height, width) in [(32, 32), (17, 45)] {
            let batch = noisy(8, height, width);
            let kernels = std::iter::once(at(precision));
            let others = Device::present().into_iter().skip(1).map(Options::on);
            // Other devices have their own kernels, in single precision only.
            for options in kernels.chain(others.filter(|_| precision == Precision::F32)) {
                let mut denoiser = open(model, &options).unwrap();
                let all = denoise_in_parts(&mut *denoiser, &batch, 8);
                for threads in [1, 2, 3] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    for part in [1, 3, 8] {
                        let bits = pool.install(|| denoise_in_parts(&mut *denoiser, &batch, part));
                        let how = format!("batches of {part}, {threads} threads, {options:?}");
                        assert_eq!(bits, all, "{model} {height}x{width}, {how}");
                    }
                }
            }
        }
    }
}

/// A picture so large that its features are computed in bands, by threads that share them.
#[test]
fn large_pictures_are_the_same_for_any_number_of_threads() {
    let batch = noisy(1, 300, 700);
    let [few, many] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| open("photo", &at(Precision::Bf16)).unwrap().denoise(batch.clone(), 0.25).unwrap())
    });
    assert_eq!(few, many);
}

#[test]
fn class_probabilities_do_not_depend_on_batch_split_or_threads() {
    for device in Device::present() {
        let mut classifier = open_classifier("things64", &Options::on(device)).unwrap();
        let batch = noisy(5, 64, 64);
        let all = classifier.classify(batch.clone()).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        for (picture, expected) in batch.pictures().zip(&all) {
            let single = Batch::new(picture.to_vec(), 1, 64, 64).unwrap();
            let probabilities = pool.install(|| classifier.classify(single).unwrap());
            assert_eq!(&probabilities[0], expected, "{device}");
            let sum: f32 = expected.iter().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }
    }
}

#[test]
fn any_size_is_denoised_and_keeps_its_shape() {
    for model in ["none".to_owned(), "photo".to_owned(), data("dncnn-denoised-smoothing.safetensors")] {
        let mut denoiser = open(&model, &cpu()).unwrap();
        for (height, width) in [(1, 1), (1, 9), (7, 2), (8, 8), (13, 31)] {
            let batch = noisy(2, height, width);
            let clean = denoiser.denoise(batch.clone(), 0.5).unwrap();
            assert_eq!((clean.count(), clean.height(), clean.width()), (2, height, width));
            assert!(clean.data().iter().all(|v| v.is_finite()));
            assert_eq!(clean == batch, model == "none", "{model} {height}x{width}");
        }
        assert!(denoiser.preferred_batch(1, 1) >= 1 && denoiser.preferred_batch(9999, 9999) >= 1);
    }
}

/// A picture whose size is a multiple of 8 already, and the same picture cut short, agree far from the cut.
#[test]
fn padding_leaves_the_far_side_alone() {
    let mut denoiser = open("photo", &cpu()).unwrap();
    let (height, width, cut) = (16, 160, 157);
    let whole = noisy(1, height, width);
    let shortened = whole.data().chunks(width).flat_map(|row| row[..cut].to_vec()).collect();
    let shortened = Batch::new(shortened, 1, height, cut).unwrap();
    let (whole, shortened) =
        (denoiser.denoise(whole, 0.25).unwrap(), denoiser.denoise(shortened, 0.25).unwrap());
    for (a, b) in whole.data().chunks(width).zip(shortened.data().chunks(cut)) {
        assert!(a[..16].iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn sigma_matters_to_the_unet_and_must_be_a_standard_deviation() {
    let mut denoiser = open("auto", &cpu()).unwrap();
    let batch = noisy(1, 8, 8);
    assert_ne!(denoiser.denoise(batch.clone(), 0.1).unwrap(), denoiser.denoise(batch.clone(), 0.9).unwrap());
    for model in ["none", "photo"] {
        let mut denoiser = open(model, &cpu()).unwrap();
        for sigma in [f64::NAN, f64::INFINITY, -0.1] {
            assert!(matches!(denoiser.denoise(batch.clone(), sigma), Err(DenoiseError::Sigma(_))));
        }
    }
    assert_eq!(denoiser.trained_sigma(), Some(0.02..=1.0));
}

#[test]
fn identities_are_of_the_content() {
    let id = |model: &str| open(model, &cpu()).unwrap().id().clone();
    assert_eq!(id("auto"), id("photo"));
    assert_ne!(id("photo").hash(), id("none").hash());
    assert_eq!(id(&data("dncnn-kair.safetensors")).name(), "dncnn-5");
    assert!(id("photo").to_string().starts_with("unet@"));
    // The precision is part of what the model is, and its name says so.
    let rounded = open("photo", &at(Precision::Bf16)).unwrap().id().clone();
    assert_ne!(rounded.hash(), id("photo").hash());
    assert_eq!((rounded.name(), Precision::of_name(rounded.name())), ("unet-bf16", Precision::Bf16));

    // The same weights from a file are the same model; one bit of one weight makes another.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.safetensors");
    let mut bytes =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/photo.safetensors")).unwrap();
    fs::write(&path, &bytes).unwrap();
    assert_eq!(id(path.to_str().unwrap()), id("photo"));
    *bytes.last_mut().unwrap() ^= 0x01;
    fs::write(&path, &bytes).unwrap();
    assert_ne!(id(path.to_str().unwrap()), id("photo"));
}

/// Of two networks with the same tensors, one may compute something else.
#[test]
fn identities_are_of_everything_that_changes_results() {
    let folder = tempfile::tempdir().unwrap();
    let with = |model: &str, more: Option<(&str, &str)>| {
        let bytes = fs::read(data(model)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let mut metadata = header.metadata().clone().unwrap_or_default();
        metadata.extend(more.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
        let path = folder.path().join("model.safetensors");
        fs::write(&path, safetensors::serialize(tensors, Some(metadata)).unwrap()).unwrap();
        path.display().to_string()
    };
    let denoiser =
        |more| open(&with("dncnn-denoised-smoothing.safetensors", more), &cpu()).unwrap().id().clone();
    assert_eq!(
        denoiser(None),
        open(&data("dncnn-denoised-smoothing.safetensors"), &cpu()).unwrap().id().clone()
    );
    assert_eq!(denoiser(Some(("author", "somebody"))), denoiser(None));
    assert_ne!(denoiser(Some(("bn_eps", "0.001"))), denoiser(None));
    let classifier =
        |more| open_classifier(&with("cifar-resnet-8.safetensors", more), &cpu()).unwrap().id().clone();
    let classes = (0..10).map(|i| format!("class {i}")).collect::<Vec<_>>().join("|");
    assert_ne!(classifier(Some(("classes", &classes))), classifier(None));
    assert_ne!(classifier(Some(("mean", "0.5,0.5,0.5"))), classifier(None));
    assert_ne!(classifier(Some(("std", "0.5,0.5,0.5"))), classifier(Some(("mean", "0.5,0.5,0.5"))));
}

/// Writes f32 zeros of these shapes, opens them, and gives the error.
fn open_zeros(tensors: &[(&str, Vec<usize>)], metadata: &[(&str, &str)]) -> OpenError {
    let zeros = vec![0; 4 * 4096];
    let views = tensors.iter().map(|(name, shape)| {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let file = tempfile::NamedTempFile::with_suffix(".safetensors").unwrap();
    fs::write(file.path(), safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
    open(file.path().to_str().unwrap(), &cpu()).map(|_| ()).unwrap_err()
}

#[test]
fn wrong_tensors_are_named() {
    let first = ("dncnn.0.weight", vec![4, 3, 3, 3]);
    let error = open_zeros(&[first.clone(), ("dncnn.2.weight", vec![3, 5, 3, 3])], &[]);
    assert!(matches!(&error, OpenError::Weights(WeightsError::Shape { name, expected, .. })
        if name == "dncnn.2.weight" && *expected == [3, 4, 3, 3]));

    let last = ("dncnn.3.weight", vec![3, 4, 3, 3]);
    let error = open_zeros(&[first.clone(), ("dncnn.1.weight", vec![4]), last.clone()], &[]);
    assert!(
        matches!(&error, OpenError::Weights(WeightsError::Missing { name, .. }) if name == "dncnn.1.bias")
    );

    let error = open_zeros(&[first.clone(), last.clone(), ("stranger", vec![2])], &[]);
    assert!(
        matches!(&error, OpenError::Weights(WeightsError::Unexpected { names, .. }) if *names == ["stranger"])
    );

    let empty = ("dncnn.0.weight", vec![0, 3, 3, 3]);
    let error = open_zeros(&[empty, ("dncnn.2.weight", vec![3, 0, 3, 3])], &[]);
    assert!(matches!(&error, OpenError::Weights(WeightsError::Empty { shape, .. }) if shape.contains(&0)));

    let error = open_zeros(std::slice::from_ref(&first), &[("arch", "unet"), ("channels", "8,16,24")]);
    assert!(matches!(&error, OpenError::Weights(WeightsError::Missing { name, shape, .. })
        if name == "head.weight" && *shape == [8, 13, 3, 3]));

    for (key, value) in [("channels", "8,16"), ("blocks", "1,0,1"), ("channels", "x"), ("arch", "vit")] {
        let metadata = if key == "arch" { vec![(key, value)] } else { vec![("arch", "unet"), (key, value)] };
        let error = open_zeros(std::slice::from_ref(&first), &metadata);
        assert!(error.to_string().contains(&format!("`{value}`")), "{error}");
    }
}

#[test]
fn files_that_are_no_model_are_refused() {
    assert!(matches!(open("resnet", &cpu()), Err(OpenError::Unknown { .. })));
    let error = |name: &str| open(name, &cpu()).map(|_| ()).unwrap_err();
    assert!(matches!(error("/nowhere/x.safetensors"), OpenError::Weights(WeightsError::Read { .. })));
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(error(folder.path().to_str().unwrap()), OpenError::Weights(WeightsError::File { .. })));
    let path = folder.path().join("bad.safetensors");
    for bytes in [&b""[..], b"hello", &[0xFF; 64]] {
        fs::write(&path, bytes).unwrap();
        let error = error(path.to_str().unwrap());
        assert!(matches!(error, OpenError::Weights(WeightsError::Format { .. })), "{error}");
    }
    assert!(matches!(
        open_classifier("things64", &cpu()).unwrap().classify(noisy(1, 32, 32)),
        Err(ClassifyError::Size { found: (32, 32), expected: (64, 64) })
    ));
}

/// Our kernels against Candle's, on sizes large enough for every way of sharing work, at the ends of the range of noise.
#[test]
fn own_kernels_agree_with_candle() {
    let mut options = cpu();
    options.engine = Engine::Candle;
    for (count, height, width, sigma) in [(1, 96, 200, 0.02), (2, 61, 64, 1.0), (9, 32, 32, 0.25)] {
        let batch = noisy(count, height, width);
        for model in ["photo".to_owned(), data("dncnn-denoised-smoothing.safetensors")] {
            let own = open(&model, &cpu()).unwrap().denoise(batch.clone(), sigma).unwrap();
            let candle = open(&model, &options).unwrap().denoise(batch.clone(), sigma).unwrap();
            let difference =
                own.data().iter().zip(candle.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{model} {count}x{height}x{width}, sigma {sigma}: largest difference {difference:e}");
            assert!(difference < 5e-5, "{difference:e}");
        }
    }
}

/// A denoiser in bf16 cleans nearly as well, and where there is no arithmetic for it the error says what would do.
#[test]
fn bf16_is_close_to_f32_and_for_own_kernels_only() {
    let batch = noisy(1, 64, 48);
    let [exact, rounded] = Precision::ALL
        .map(|precision| open("photo", &at(precision)).unwrap().denoise(batch.clone(), 0.5).unwrap());
    let squares = exact.data().iter().zip(rounded.data()).map(|(a, b)| f64::from(a - b).powi(2));
    let error = (squares.sum::<f64>() / exact.data().len() as f64).sqrt();
    println!("root mean square of the difference: {error:.1e}");
    assert!(error > 0.0 && error < 0.01, "{error}");

    let mut candle = at(Precision::Bf16);
    candle.engine = Engine::Candle;
    let error = open("photo", &candle).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Precision { .. }) && error.to_string().contains("f32"), "{error}");
    assert!(open("none", &at(Precision::Bf16)).is_ok());
}

/// Every device that is there computes the same as the CPU, within the rounding of another order of sums.
#[test]
fn every_device_present_agrees_with_the_cpu() {
    let batch = noisy(3, 24, 40);
    let expected = open("photo", &cpu()).unwrap().denoise(batch.clone(), 0.25).unwrap();
    for device in [Device::Cuda(0), Device::Metal] {
        match open("photo", &Options::on(device)) {
            Ok(mut denoiser) => {
                let clean = denoiser.denoise(batch.clone(), 0.25).unwrap();
                let differences = clean.data().iter().zip(expected.data()).map(|(a, b)| (a - b).abs());
                assert!(differences.fold(0.0, f32::max) < 1e-4, "{device}");
            }
            Err(OpenError::Device(error)) => println!("SKIPPED: {error}"),
            Err(error) => panic!("{device}: {error}"),
        }
    }
}
