//! Training runs: they learn, they are the same however often they are interrupted, and nothing bad harms a checkpoint.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use smoothgate_denoisers::{
    Batch, Options, open, open_classifier,
    training::{
        Augment, Cadence, DataError, Ended, Event, Learner, Objective, OptimizerKind, Part, Picture,
        Pictures, Run, Schedule, Settings, Sgd, SigmaLaw, Surrogate, TrainError, Trainer,
    },
};

/// Pictures of two classes: smooth, and striped.
fn pictures(count: usize, side: usize) -> Pictures {
    let value = |i: usize, y: usize, x: usize, c: usize| {
        let smooth = 40 + (3 * i + 5 * y + 2 * x + 30 * c) % 160;
        if i % 2 == 1 && y % 4 < 2 { 255 - smooth } else { smooth }
    };
    let picture = |i: usize| Picture {
        name: format!("{i:03}"),
        height: side,
        width: side,
        rgb: (0..side * side * 3).map(|k| value(i, k / 3 / side, k / 3 % side, k % 3) as u8).collect(),
        class: Some(i % 2),
    };
    let classes = vec!["smooth".to_owned(), "striped".to_owned()];
    Pictures { classes, all: (0..count).map(picture).collect() }
}

fn settings(objective: Objective) -> Settings {
    Settings {
        objective,
        sigma: "0.05..0.5".parse().unwrap(),
        sigma_law: SigmaLaw::Sqrt,
        divide_by_sigma: matches!(objective, Objective::Mse | Objective::Hybrid { .. }),
        mse_weight: 0.0,
        surrogate_noise: 0.0,
        temperature: 1.0,
        picture_clip: None,
        adversary: 0.0,
        steps: 10,
        batch: 3,
        patch: 16,
        seed: 7,
        optimizer: OptimizerKind::adam(),
        rate: 2e-3,
        schedule: Schedule::Cosine,
        warmup: 2,
        average: 0.9,
        clip: Some(1.0),
        augment: Augment { flip: true, turn: true, shift: 2 },
        validation_sigma: vec![0.1, 0.25],
        data: String::new(),
        validation: String::new(),
        network: String::new(),
        surrogates: vec![],
        judge: None,
        answered: false,
        standardized: false,
    }
}

fn metadata(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn denoiser(settings: Settings) -> Trainer {
    let unet = metadata(&[("arch", "unet"), ("channels", "8,12,16"), ("blocks", "1,1,1")]);
    let learner = Learner::create(unet, 1).unwrap();
    let (train, validation) = pictures(9, 24).hold_out(2);
    Trainer::new(settings, learner, vec![], train, validation).unwrap()
}

fn classifier(settings: Settings) -> Trainer {
    trainer_of(new_classifier(), settings)
}

fn new_classifier() -> Learner {
    let classes = [("arch", "cifar-resnet"), ("depth", "8"), ("width", "4"), ("classes", "smooth|striped")];
    Learner::create_classifier(metadata(&classes), 1).unwrap()
}

fn standardized() -> Learner {
    let mut learner = new_classifier();
    learner.standardize();
    learner
}

fn trainer_of(learner: Learner, settings: Settings) -> Trainer {
    let (train, validation) = pictures(24, 32).hold_out(8);
    Trainer::new(settings, learner, vec![], train, validation).unwrap()
}

const CADENCE: Cadence = Cadence { log: 2, save: 4, validate: 5 };

/// Small networks have little to share: threads would only wait for each other on a busy machine.
fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}

/// Goes on with a run, or begins it, and stops it at this step.
fn go(trainer: Trainer, folder: &Path, until: u64) -> Ended {
    let stop = AtomicBool::new(false);
    let mut run = Run::resume(trainer, folder, CADENCE).unwrap();
    run.go(&stop, |event| {
        if let Event::Step { measured, .. } = event {
            stop.store(measured.step >= until, Ordering::Relaxed);
        }
    })
    .unwrap()
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap()
}

/// The tensors of a file, whatever the order of its metadata.
fn tensors(folder: &Path, name: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = read(folder, name);
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> = file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect();
    all.sort();
    all
}

#[test]
fn an_interrupted_run_gives_the_weights_of_an_undisturbed_one() {
    let sgd = OptimizerKind::Sgd { momentum: 0.9, weight_decay: 1e-3 };
    let clean = || Settings { patch: 32, average: 0.0, optimizer: sgd, ..settings(Objective::Classes) };
    let averaged = || Settings { average: 0.9, ..clean() };
    let classifiers = tempfile::tempdir().unwrap();
    let file = learn_classes(classifiers.path());
    // With all that a denoiser's run can depend on: two classifiers in turn, noise before them, an adversary, and a judge.
    let through = || {
        let objective = Objective::Hybrid { mse_steps: 2 };
        let stability =
            Settings { mse_weight: 3.0, surrogate_noise: 0.1, adversary: 0.2, ..settings(objective) };
        let stability = Settings { patch: 32, picture_clip: Some(1.0), temperature: 2.0, ..stability };
        let unet = metadata(&[("arch", "unet"), ("channels", "8,12,16"), ("blocks", "1,1,1")]);
        let other = file.replace("last.", "best.");
        let surrogates = [&file, &other].map(|file| Surrogate::open(file).unwrap()).into();
        let (train, validation) = pictures(9, 32).hold_out(2);
        let learner = Learner::create(unet, 1).unwrap();
        let trainer = Trainer::new(stability, learner, surrogates, train, validation).unwrap();
        trainer.judged_by(Surrogate::open(&file).unwrap()).unwrap()
    };
    let trainers: [&(dyn Fn() -> Trainer + Sync); 4] =
        [&|| denoiser(settings(Objective::Mse)), &|| classifier(clean()), &through, &|| {
            trainer_of(standardized(), averaged())
        }];
    for trainer in trainers {
        let folder = tempfile::tempdir().unwrap();
        let [whole, broken] = ["whole", "broken"].map(|name| folder.path().join(name));
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool(1).install(|| go(trainer(), &whole, 99)), Ended::Complete);
        // Stopped twice, with other numbers of threads, and once killed between checkpoints.
        assert_eq!(pool(3).install(|| go(trainer(), &broken, 3)), Ended::Stopped);
        assert_eq!(pool(2).install(|| go(trainer(), &broken, 6)), Ended::Stopped);
        let state = read(&broken, "state.safetensors");
        assert_eq!(pool(2).install(|| go(trainer(), &broken, 7)), Ended::Stopped);
        fs::write(broken.join("state.safetensors"), state).unwrap();
        assert_eq!(pool(3).install(|| go(trainer(), &broken, 99)), Ended::Complete);
        for file in ["state.safetensors", "last.safetensors", "best.safetensors"] {
            assert_eq!(tensors(&whole, file), tensors(&broken, file), "{file}");
        }
        let lines = |folder: &Path| -> Vec<serde_json::Value> {
            let text = String::from_utf8(read(folder, "log.jsonl")).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let steps =
            |folder: &Path| lines(folder).iter().map(|l| l["step"].as_u64().unwrap()).collect::<Vec<_>>();
        assert_eq!(steps(&whole), [2, 4, 5, 6, 8, 10, 10]);
        assert_eq!(steps(&broken), steps(&whole));
        // Means of all steps since the line before, wherever the run was interrupted; only how fast it was differs.
        for (whole, broken) in lines(&whole).iter().zip(lines(&broken)) {
            for key in ["loss", "norm", "psnr", "rate", "score", "validation"] {
                assert_eq!(whole[key], broken[key], "{key} of {broken}");
            }
        }
        assert!(lines(&whole)[2]["validation"][1]["sigma"] == 0.25);
    }
}

#[test]
fn a_denoiser_learns_to_denoise() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let long = Settings { steps: 150, batch: 4, rate: 3e-3, ..settings(Objective::Mse) };
        let mut scores = Vec::new();
        let cadence = Cadence { log: 10, save: 1000, validate: 25 };
        let mut run = Run::start(denoiser(long), folder.path(), cadence).unwrap();
        let ended = run.go(&AtomicBool::new(false), |event| {
            if let Event::Validated { validation, .. } = event {
                scores.extend(validation.score);
            }
        });
        assert_eq!(ended.unwrap(), Ended::Complete);
        assert!(scores.last().unwrap() > &(scores[0] + 0.5), "{scores:?}");
        let denoiser =
            open(folder.path().join("best.safetensors").to_str().unwrap(), &Options::default()).unwrap();
        assert_eq!(denoiser.trained_sigma(), Some(0.05..=0.5));
    });
}

#[test]
fn every_architecture_is_saved_as_it_was_learnt() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let denoisers = [
            [("arch", "dncnn"), ("depth", "4"), ("width", "8")],
            [("arch", "ffdnet"), ("depth", "4"), ("width", "8")],
            [("arch", "drunet"), ("channels", "4,6,8,10"), ("blocks", "1")],
        ];
        for (i, sizes) in denoisers.iter().enumerate() {
            let learner = Learner::create(metadata(sizes), 1).unwrap();
            let trainer =
                Trainer::new(settings(Objective::Mse), learner, vec![], pictures(9, 24), Pictures::default());
            let out = folder.path().join(i.to_string());
            go(trainer.unwrap(), &out, 99);
            let file = out.join("last.safetensors");
            let file = file.to_str().unwrap();
            let again = Learner::open(file).unwrap();
            assert!(
                again.parameters().any(|p| p.part == Part::Bias && p.values.iter().any(|v| *v != 0.0)),
                "{sizes:?}"
            );
            let clean = Batch::new(vec![0.5; 3 * 16 * 16], 1, 16, 16).unwrap();
            let result = open(file, &Options::default()).unwrap().denoise(clean.clone(), 0.2).unwrap();
            let mut learner = again;
            assert_eq!(learner.forward(clean, &[0.2]).unwrap(), result, "{sizes:?}");
        }
    });
}

#[test]
fn standardised_weights_are_saved_as_plain_ones() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut learner = standardized();
        let pixels = |i: usize| (0..3 * 32 * 32).map(move |k| ((k * 7 + i * 31) % 97) as f32 / 97.0);
        let batch = || Batch::new((0..2).flat_map(pixels).collect(), 2, 32, 32).unwrap();
        let mut sgd = Sgd::default();
        (sgd.momentum, sgd.weight_decay) = (0.9, 1e-3);
        for _ in 0..3 {
            learner.cross_entropy(batch(), &[0, 1]).unwrap();
            sgd.step(&mut learner, 0.1);
        }
        let path = folder.path().join("plain.safetensors");
        learner.save(&path).unwrap();
        let mut plain = Learner::open_classifier(path.to_str().unwrap()).unwrap();
        assert!(learner.parameters().any(|p| p.part == Part::Gain));
        assert!(plain.parameters().all(|p| p.part != Part::Gain));
        let loss = learner.cross_entropy(batch(), &[0, 1]).unwrap();
        assert_eq!(plain.cross_entropy(batch(), &[0, 1]).unwrap().to_bits(), loss.to_bits());
    });
}

#[test]
fn a_new_network_takes_over_what_it_shares_with_another() {
    let unet = |blocks: &str, seed| {
        let sizes = metadata(&[("arch", "unet"), ("channels", "8,12,16"), ("blocks", blocks)]);
        Learner::create(sizes, seed).unwrap()
    };
    let (large, mut small) = (unet("2,2,3", 1), unet("2,1,1", 2));
    let values = |learner: &Learner| -> HashMap<String, Vec<f32>> {
        learner.parameters().map(|p| (format!("{}.{}", p.layer, p.part), p.values.to_vec())).collect()
    };
    let count = small.parameters().count();
    assert_eq!(small.adopt(&large), (count, count));
    let all = values(&large);
    assert!(values(&small).iter().all(|(name, values)| all[name] == *values));
    // What the other one lacks, or has in another shape, stays.
    let (mut wide, before) = (unet("3,2,3", 3), values(&unet("3,2,3", 3)));
    assert_eq!(wide.adopt(&large).0, large.parameters().count());
    let after = values(&wide);
    assert_eq!(after["enc1.2.conv1.weight"], before["enc1.2.conv1.weight"]);
    assert_eq!(after["tail.weight"], all["tail.weight"]);
    assert_eq!(new_classifier().adopt(&large), (0, new_classifier().parameters().count()));
}

/// What the classifier below and the denoiser that learns through it have in common.
fn common() -> Settings {
    let augment = Augment { flip: true, turn: false, shift: 2 };
    let sigma = "0..0.2".parse().unwrap();
    let classes = settings(Objective::Classes);
    Settings {
        patch: 32,
        batch: 8,
        augment,
        sigma,
        sigma_law: SigmaLaw::Uniform,
        divide_by_sigma: false,
        ..classes
    }
}

/// A denoiser that learns by squared error first, and then through a classifier.
fn hybrid() -> Settings {
    let objective = Objective::Hybrid { mse_steps: 20 };
    let sigma = "0.5".parse().unwrap();
    Settings { objective, sigma, steps: 40, validation_sigma: vec![0.5], ..common() }
}

/// Trains a classifier that knows the two classes; its file.
fn learn_classes(folder: &Path) -> String {
    let folder = folder.join("classifier");
    let classes = Settings { steps: 60, rate: 1e-2, ..common() };
    let mut run = Run::start(classifier(classes), &folder, CADENCE).unwrap();
    let mut accuracy = 0.0;
    run.go(&AtomicBool::new(false), |event| {
        if let Event::Validated { validation, .. } = event {
            accuracy = validation.at[0].accuracy.unwrap();
        }
    })
    .unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
    folder.join("last.safetensors").to_str().unwrap().to_owned()
}

#[test]
fn a_classifier_learns_and_a_denoiser_learns_through_it() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = learn_classes(folder.path());
        let file = file.as_str();
        let second = folder.path().join("denoiser");
        let labels = open_classifier(file, &Options::default()).unwrap().labels().to_vec();
        assert_eq!(labels, ["smooth", "striped"]);

        let hybrid = hybrid();
        let unet = metadata(&[("arch", "unet"), ("channels", "8,12,16"), ("blocks", "1,1,1")]);
        let surrogates = || vec![Surrogate::open(file).unwrap(), Surrogate::open(file).unwrap()];
        let new = |settings: Settings| {
            let learner = Learner::create(unet.clone(), 1).unwrap();
            let (train, validation) = pictures(24, 32).hold_out(8);
            Trainer::new(settings, learner, surrogates(), train, validation)
        };
        let mut run = Run::start(new(hybrid.clone()).unwrap(), &second, CADENCE).unwrap();
        let (mut losses, mut quality) = (Vec::new(), None);
        run.go(&AtomicBool::new(false), |event| match event {
            Event::Step { measured, .. } => losses.push((measured.loss, measured.psnr.is_some())),
            Event::Validated { validation, .. } => quality = validation.at.first().copied(),
            _ => {}
        })
        .unwrap();
        assert!(losses[..20].iter().all(|l| l.1) && losses[20..].iter().all(|l| !l.1));
        let quality = quality.unwrap();
        assert!(
            quality.psnr.is_some() && quality.accuracy.is_some_and(|accuracy| accuracy > 0.7),
            "{quality:?}"
        );
        let small = Settings { patch: 16, ..hybrid.clone() };
        assert!(matches!(new(small), Err(TrainError::Input { height: 32, .. })));

        // Answers of somebody else, who says the opposite of what the classifier does: the loss is that of being wrong.
        let turned = |answered: bool| {
            let learner = Learner::create(unet.clone(), 1).unwrap();
            let (mut train, validation) = pictures(24, 32).hold_out(8);
            let answer = |name: &str| {
                (name != "001")
                    .then(|| if name.ends_with(['0', '2', '4', '6', '8']) { "striped" } else { "smooth" })
            };
            assert_eq!(train.answered(answer, &labels), 1);
            let stable = Settings {
                objective: Objective::Stability,
                sigma: "0.05".parse().unwrap(),
                answered,
                ..hybrid.clone()
            };
            Trainer::new(stable, learner, surrogates(), train, validation).unwrap().step().unwrap().loss
        };
        let (own, others) = (turned(false), turned(true));
        assert!(others > own + 0.5, "{own} {others}");

        // The squared error beside it: loss and gradients are the sums; with a weight that leaves nothing else, those of the error.
        let first_at = |objective, mse_weight, surrogate_noise, temperature| {
            let one = Settings {
                objective,
                mse_weight,
                surrogate_noise,
                temperature,
                clip: None,
                batch: 1,
                ..hybrid.clone()
            };
            let learner = Learner::create(unet.clone(), 1).unwrap();
            let (train, validation) = pictures(24, 32).hold_out(8);
            Trainer::new(one, learner, surrogates(), train, validation).unwrap().step().unwrap()
        };
        let first = |objective, mse_weight, noise| first_at(objective, mse_weight, noise, 1.0);
        let (alone, error) = (first(Objective::Stability, 0.0, 0.0), first(Objective::Mse, 0.0, 0.0));
        // A classifier that is sure of the picture teaches nothing until it is hot enough to doubt it.
        let hot = first_at(Objective::Stability, 0.0, 0.0, 1e6);
        assert!((hot.loss - 2f64.ln()).abs() < 1e-4 && hot.norm > 1e3 * alone.norm, "{alone:?} {hot:?}");
        let (both, heavy) = (first(Objective::Stability, 50.0, 0.0), first(Objective::Stability, 1e6, 0.0));
        assert!(alone.psnr.is_none() && both.psnr == error.psnr && both.psnr.is_some());
        assert!((both.loss - alone.loss - 50.0 * error.loss).abs() < 1e-9, "{alone:?} {error:?} {both:?}");
        assert!((heavy.norm / 1e6 / error.norm - 1.0).abs() < 1e-2, "{error:?} {heavy:?}");
        // Noise before the classifier changes what it says, the same way in every run.
        let [noisy, again] = [(); 2].map(|()| first(Objective::Stability, 0.0, 0.5));
        assert!(
            noisy == again && (noisy.loss - alone.loss).abs() > 1e-3 * alone.loss,
            "{alone:?} {noisy:?} {again:?}"
        );

        // An adversary moves the noisy picture the way in which the loss rises, the farther the more.
        let against = |adversary, temperature| {
            let one = Settings {
                objective: Objective::Stability,
                adversary,
                temperature,
                mse_weight: 1.0,
                clip: None,
                ..hybrid.clone()
            };
            let learner = Learner::create(unet.clone(), 1).unwrap();
            let (train, validation) = pictures(24, 32).hold_out(8);
            Trainer::new(one, learner, surrogates(), train, validation).unwrap().step().unwrap()
        };
        let losses = [0.0, 0.2, 1.0].map(|adversary| against(adversary, 20.0).loss);
        assert!(losses.is_sorted_by(|a, b| a < b), "{losses:?}");
        assert_eq!(against(1.0, 20.0), against(1.0, 20.0));
    });
}

/// A judge's answers take the place of the first classifier's in a validation, and nothing is learnt through it.
#[test]
fn a_judge_chooses_and_teaches_nothing() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = learn_classes(folder.path());
        let other = folder.path().join("other.safetensors");
        new_classifier().save(&other).unwrap();
        let (file, other) = (file.as_str(), other.to_str().unwrap());
        let unet = metadata(&[("arch", "unet"), ("channels", "8,12,16"), ("blocks", "1,1,1")]);
        let begin = |objective, through: Option<&str>, judge: Option<&str>| {
            let learner = Learner::create(unet.clone(), 1).unwrap();
            let (train, validation) = pictures(24, 32).hold_out(8);
            let through = through.map(|file| Surrogate::open(file).unwrap()).into_iter().collect();
            let settings = Settings { objective, ..hybrid() };
            let trainer = Trainer::new(settings, learner, through, train, validation).unwrap();
            match judge {
                Some(judge) => trainer.judged_by(Surrogate::open(judge).unwrap()).unwrap(),
                None => trainer,
            }
        };
        let stability = Objective::Stability;
        let mut judged = begin(stability, Some(file), Some(other));
        let by_judge = judged.validate().unwrap();
        let by_other = begin(stability, Some(other), None).validate().unwrap();
        let by_first = begin(stability, Some(file), None).validate().unwrap();
        assert!(by_judge == by_other && by_judge != by_first, "{by_judge:?} {by_first:?}");
        assert_eq!(judged.settings().judge.as_deref(), Some(Surrogate::open(other).unwrap().id()));
        assert_eq!(judged.step().unwrap(), begin(stability, Some(file), None).step().unwrap());
        // Squared error alone can have one, too.
        assert_eq!(begin(Objective::Mse, None, Some(file)).validate().unwrap(), by_first);
        assert!(begin(Objective::Mse, None, None).validate().unwrap().at[0].accuracy.is_none());
        let classes = classifier(Settings { patch: 32, ..settings(Objective::Classes) });
        let refused = classes.judged_by(Surrogate::open(other).unwrap()).err().unwrap();
        assert!(matches!(refused, TrainError::Task { needed: "denoiser" }));
    });
}

#[test]
fn what_does_not_fit_is_refused_and_a_run_is_not_overwritten() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let mse = || settings(Objective::Mse);
        go(denoiser(mse()), folder.path(), 4);
        let refused = |result: Result<Run, TrainError>| match result {
            Err(TrainError::State { reason, .. }) => reason,
            Err(other) => other.to_string(),
            Ok(_) => "accepted".into(),
        };
        let start = refused(Run::start(denoiser(mse()), folder.path(), CADENCE));
        assert!(start.contains("at step 4") && start.contains("resume"), "{start}");
        let other = Settings { rate: 1e-3, ..mse() };
        let other = refused(Run::resume(denoiser(other), folder.path(), CADENCE));
        assert!(other.contains("rate was 0.002, is 0.001"), "{other}");
        let running = Run::resume(denoiser(mse()), folder.path(), CADENCE).unwrap();
        let second = refused(Run::resume(denoiser(mse()), folder.path(), CADENCE));
        assert!(second.contains("another process"), "{second}");
        drop(running);
        fs::write(folder.path().join("state.safetensors"), b"rubbish").unwrap();
        assert!(refused(Run::resume(denoiser(mse()), folder.path(), CADENCE)).contains("no checkpoint"));
        // What a run left is kept, too, when its checkpoint was deleted.
        fs::remove_file(folder.path().join("state.safetensors")).unwrap();
        let left = refused(Run::start(denoiser(mse()), folder.path(), CADENCE));
        assert!(left.contains("`last.safetensors` of another run"), "{left}");

        let new = |settings: Settings, pictures: Pictures| {
            let learner = Learner::create(metadata(&[("arch", "unet"), ("channels", "8,8,8")]), 1).unwrap();
            Trainer::new(settings, learner, vec![], pictures, Pictures::default()).err().unwrap()
        };
        assert!(matches!(
            new(Settings { patch: 20, ..mse() }, pictures(2, 32)),
            TrainError::Size { multiple: 8, .. }
        ));
        assert!(matches!(new(mse(), pictures(2, 8)), TrainError::Data(DataError::Small { patch: 16, .. })));
        assert!(matches!(new(mse(), Pictures::default()), TrainError::Settings { .. }));
        for batch in [usize::MAX, 1 << 40] {
            let error = new(Settings { batch, ..mse() }, pictures(2, 32)).to_string();
            assert!(error.contains("smaller batch"), "{error}");
        }
        assert!(matches!(new(settings(Objective::Stability), pictures(2, 32)), TrainError::Settings { .. }));
        assert!(matches!(new(settings(Objective::Classes), pictures(2, 32)), TrainError::Task { .. }));
        for idle in [
            Settings { mse_weight: 1.0, ..mse() },
            Settings { surrogate_noise: 0.1, ..mse() },
            Settings { temperature: 4.0, ..mse() },
            Settings { picture_clip: Some(1.0), ..mse() },
            Settings { adversary: 1.0, ..mse() },
        ] {
            let error = new(idle, pictures(2, 32)).to_string();
            assert!(error.contains("belong to the stability objective"), "{error}");
        }
        for (idle, reason) in [
            (settings(Objective::Hybrid { mse_steps: 10 }), "fewer than the run"),
            (settings(Objective::Hybrid { mse_steps: 0 }), "at least 1 step"),
            (Settings { divide_by_sigma: true, ..settings(Objective::Stability) }, "no squared error"),
            (Settings { divide_by_sigma: true, ..settings(Objective::Classes) }, "no squared error"),
            (Settings { answered: true, ..mse() }, "belong to the stability objective"),
        ] {
            let error = new(idle, pictures(2, 32)).to_string();
            assert!(error.contains(reason), "{error}");
        }
        let cut = |mut pictures: Pictures| {
            pictures.all[1].rgb.pop();
            pictures
        };
        assert!(matches!(new(mse(), cut(pictures(2, 32))), TrainError::Data(DataError::Picture { .. })));
        let small = Settings { patch: 16, ..settings(Objective::Classes) };
        let (learner, set) = (new_classifier(), pictures(4, 32));
        let error = Trainer::new(small, learner, vec![], set.clone(), set).err().unwrap().to_string();
        assert!(error.contains("another size"), "{error}");
        let memnet = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/memnet.safetensors");
        assert!(Learner::open(memnet.to_str().unwrap()).err().unwrap().to_string().contains("not trained"));
        for (key, value) in [("arch", "memnet"), ("arch", "vgg"), ("channels", "1,2")] {
            let mut unet = metadata(&[("arch", "unet")]);
            unet.insert(key.into(), value.into());
            assert!(Learner::create(unet, 1).is_err());
        }
        for idle in [
            ("dncnn", "depth", "1"),
            ("ffdnet", "depth", "1"),
            ("dncnn", "bn_eps", "0.1"),
            ("unet", "sigma", "0.7"),
        ] {
            let (arch, key, value) = idle;
            let error =
                Learner::create(metadata(&[("arch", arch), (key, value)]), 1).err().unwrap().to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
        let misspelt = Learner::create(metadata(&[("arch", "unet"), ("chanels", "8,8,8")]), 1);
        let error = misspelt.err().unwrap().to_string();
        assert!(error.contains("`chanels`") && error.contains("blocks, channels"), "{error}");
    });
}

/// What is at its usual value is not written down, and what the network is told of its pictures is no setting that one gives.
#[test]
fn a_run_goes_on_with_everything_that_it_began_with() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let classes = || Settings { patch: 32, ..settings(Objective::Classes) };
        let refused =
            |trainer: Trainer, out: &str| match Run::resume(trainer, &folder.path().join(out), CADENCE) {
                Err(TrainError::State { reason, .. }) => reason,
                Err(other) => other.to_string(),
                Ok(_) => "accepted".into(),
            };
        go(trainer_of(standardized(), classes()), &folder.path().join("standardized"), 4);
        let plain = refused(classifier(classes()), "standardized");
        assert!(plain.contains("standardized was true, is absent"), "{plain}");

        let coloured = |mean: Option<&str>, validated| {
            let mut network = metadata(&[("arch", "cifar-resnet"), ("depth", "8"), ("width", "4")]);
            network.extend(metadata(&[("classes", "smooth|striped")]));
            network.extend(mean.map(|mean| ("mean".to_owned(), mean.to_owned())));
            let learner = Learner::create_classifier(network, 1).unwrap();
            let (train, _) = pictures(24, 32).hold_out(8);
            Trainer::new(classes(), learner, vec![], train, pictures(validated, 32)).unwrap()
        };
        go(coloured(Some("0.5,0.5,0.5"), 4), &folder.path().join("coloured"), 4);
        let usual = refused(coloured(None, 4), "coloured");
        assert!(usual.contains("network was"), "{usual}");
        let more = refused(coloured(Some("0.5,0.5,0.5"), 6), "coloured");
        assert!(more.contains("validation was"), "{more}");
        assert_eq!(refused(coloured(Some("0.5,0.5,0.5"), 4), "coloured"), "accepted");
    });
}

/// The weights that a run began with are not there any more when it goes on: only their deviations count.
#[test]
fn standardised_weights_go_on_from_other_beginnings() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let [whole, broken] = ["whole", "broken"].map(|name| folder.path().join(name));
        let classes = || Settings { patch: 32, ..settings(Objective::Classes) };
        go(trainer_of(standardized(), classes()), &whole, 99);
        go(trainer_of(standardized(), classes()), &broken, 3);
        let mut other = new_classifier();
        other.update(|_, part, values, _| {
            if part == Part::Weight {
                for value in values {
                    *value *= 3.0;
                }
            }
        });
        other.standardize();
        assert_eq!(go(trainer_of(other, classes()), &broken, 99), Ended::Complete);
        for file in ["last.safetensors", "best.safetensors"] {
            assert_eq!(tensors(&whole, file), tensors(&broken, file), "{file}");
        }
    });
}

#[test]
fn without_pictures_to_measure_on_nothing_is_called_best() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let unet = metadata(&[("arch", "unet"), ("channels", "8,12,16"), ("blocks", "1,1,1")]);
        let learner = Learner::create(unet, 1).unwrap();
        let pictures = pictures(9, 24);
        let trainer =
            Trainer::new(settings(Objective::Mse), learner, vec![], pictures, Pictures::default()).unwrap();
        let mut run = Run::start(trainer, folder.path(), CADENCE).unwrap();
        let mut validated = 0;
        let ended = run.go(&AtomicBool::new(false), |event| {
            validated += usize::from(matches!(event, Event::Validated { .. }));
        });
        assert_eq!((ended.unwrap(), validated), (Ended::Complete, 0));
        assert!(folder.path().join("last.safetensors").exists());
        assert!(!folder.path().join("best.safetensors").exists());
    });
}

/// The last step's loss is of the weights before it: what it left is looked at before it takes the place of anything.
#[test]
fn divergence_leaves_the_last_checkpoint() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let wild = Settings {
            clip: None,
            warmup: 0,
            schedule: Schedule::Step { every: 4, factor: 1e15 },
            ..settings(Objective::Mse)
        };
        let often = Cadence { log: 1, save: 1, validate: 1 };
        let mut run = Run::start(denoiser(wild.clone()), folder.path(), often).unwrap();
        let mut kept = Vec::new();
        let files = ["state.safetensors", "last.safetensors", "best.safetensors"];
        let ended = run.go(&AtomicBool::new(false), |event| {
            if let Event::Saved { step } = event {
                kept = vec![(step, files.map(|file| read(folder.path(), file)))];
            }
        });
        let Err(TrainError::Diverged { step, .. }) = ended else { panic!("{ended:?}") };
        // The fifth step was too long; the sixth would have been the first to say so.
        assert_eq!((step, kept[0].0), (6, 4));
        assert!(kept[0].1 == files.map(|file| read(folder.path(), file)));
        drop(run);
        let run = Run::resume(denoiser(wild), folder.path(), CADENCE).unwrap();
        assert_eq!(run.trainer().steps_made(), 4);

        // Where it is the run's last step, too, and for a classifier, whose answers are numbers whatever its features are.
        let last = Settings { steps: 1, patch: 32, rate: 1e30, warmup: 0, ..settings(Objective::Classes) };
        let out = folder.path().join("last");
        let mut run = Run::start(classifier(last), &out, often).unwrap();
        let ended = run.go(&AtomicBool::new(false), |_| {});
        assert!(matches!(ended, Err(TrainError::Diverged { step: 2, .. })), "{ended:?}");
        assert!(files.iter().all(|file| !out.join(file).exists()));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_harms_nothing() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let mse = || settings(Objective::Mse);
        go(denoiser(mse()), folder.path(), 4);
        let before = read(folder.path(), "state.safetensors");
        // Whatever is written to this file meets a full disk.
        let partial = folder.path().join("state.safetensors.partial");
        std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
        let mut run = Run::resume(denoiser(mse()), folder.path(), CADENCE).unwrap();
        let error = run.go(&AtomicBool::new(false), |_| {}).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            error.to_string().contains("state.safetensors") && source.contains("space"),
            "{error}: {source}"
        );
        drop(run);
        assert_eq!(before, read(folder.path(), "state.safetensors"));
        assert!(partial.symlink_metadata().is_err(), "half a file does not stay");
        // A run whose last weights could not be written is not complete.
        let partial = folder.path().join("last.safetensors.partial");
        std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
        let mut run = Run::resume(denoiser(mse()), folder.path(), Cadence { save: 99, ..CADENCE }).unwrap();
        assert!(
            run.go(&AtomicBool::new(false), |_| {}).unwrap_err().to_string().contains("last.safetensors")
        );
        drop(run);
        assert!(partial.symlink_metadata().is_err(), "half a file does not stay");
        assert_eq!(go(denoiser(mse()), folder.path(), 99), Ended::Complete);
        let whole = folder.path().join("whole");
        go(denoiser(mse()), &whole, 99);
        assert_eq!(tensors(folder.path(), "last.safetensors"), tensors(&whole, "last.safetensors"));
    });
}
