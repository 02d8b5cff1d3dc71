//! Learning against PyTorch: gradients, optimiser, and the classifier that a denoiser is trained through.
//!
//! `UNet` and `Things64` are the modules that the architecture files describe.
//! ```python
//! torch.manual_seed(3)
//! net = UNet((4, 6, 8), (1, 1, 1)).double()
//! metadata = {"arch": "unet", "channels": "4,6,8", "blocks": "1,1,1"}
//! save_file({k: v.float() for k, v in net.state_dict().items()}, "unet-small.safetensors", metadata)
//! net.load_state_dict({k: v.double() for k, v in load_file("unet-small.safetensors").items()})
//! clean, sigma = torch.rand(3, 3, 16, 8), torch.tensor([0.1, 0.25, 1.0])
//! x = clean + sigma.view(-1, 1, 1, 1) * torch.randn(3, 3, 16, 8)
//! out = {"x": x, "clean": clean, "sigma": sigma}
//! adam = torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-3)
//! for step in range(3):
//!     adam.zero_grad()
//!     loss = F.mse_loss(net(x.double(), sigma.double()), clean.double())
//!     loss.backward()
//!     out[f"loss.{step}"] = loss.detach().float().reshape(1)
//!     if step == 0: out.update({f"gradient.{k}": p.grad.float() for k, p in net.named_parameters()})
//!     adam.step()
//! out.update({f"trained.{k}": p.detach().float() for k, p in net.named_parameters()})
//! save_file(out, "training.golden.safetensors")
//!
//! net = Things64().eval()
//! net.load_state_dict({k: v.float() for k, v in load_file("denoisers/weights/things64.safetensors").items()}, strict=False)
//! x = load_file("things64.golden.safetensors")["x"].double().requires_grad_()
//! loss = F.cross_entropy(net.double()(x), torch.tensor([54, 3]))
//! loss.backward()
//! gradient = x.grad[:, :, ::7, ::5].float().contiguous()
//! save_file({"loss": loss.detach().float().reshape(1), "gradient": gradient}, "surrogate.golden.safetensors")
//! ```
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use smoothgate_denoisers::{
    Batch, Options, open,
    training::{Adam, Learner, Surrogate, TrainError, mean_squared_error},
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn tensor(file: &str, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(data(file)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (view.shape().to_vec(), values)
}

fn batch(file: &str, name: &str) -> Batch {
    let (shape, values) = tensor(file, name);
    Batch::new(values, shape[0], shape[2], shape[3]).unwrap()
}

/// The largest difference, in units of the largest expected value.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

const GOLDEN: &str = "training.golden.safetensors";

fn learner() -> Learner {
    Learner::open(data("unet-small.safetensors").to_str().unwrap()).unwrap()
}

fn step(learner: &mut Learner) -> f64 {
    let sigma: Vec<f64> = tensor(GOLDEN, "sigma").1.into_iter().map(f64::from).collect();
    let result = learner.forward(batch(GOLDEN, "x"), &sigma).unwrap();
    let (loss, gradient) = mean_squared_error(&result, &batch(GOLDEN, "clean")).unwrap();
    learner.backward(&gradient).unwrap();
    loss
}

#[test]
fn gradients_and_adam_equal_pytorch() {
    let mut learner = learner();
    let mut adam = Adam::default();
    adam.epsilon = 1e-3;
    for number in 0..3 {
        let loss = step(&mut learner);
        let expected = f64::from(tensor(GOLDEN, &format!("loss.{number}")).1[0]);
        assert!((loss / expected - 1.0).abs() < 1e-5, "step {number}: {loss} instead of {expected}");
        if number == 0 {
            for p in learner.parameters() {
                let expected = tensor(GOLDEN, &format!("gradient.{}.{}", p.layer, p.part)).1;
                let difference = difference(p.gradient, &expected);
                assert!(difference < 1e-4, "{}.{}: {difference:e}", p.layer, p.part);
            }
        }
        adam.step(&mut learner, 0.01);
    }
    for p in learner.parameters() {
        let difference = difference(p.values, &tensor(GOLDEN, &format!("trained.{}.{}", p.layer, p.part)).1);
        assert!(difference < 1e-4, "{}.{}: {difference:e}", p.layer, p.part);
    }
}

#[test]
fn learning_is_deterministic_and_what_is_saved_is_what_was_learnt() {
    let learn = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut learner, mut adam) = (learner(), Adam::default());
            for _ in 0..4 {
                step(&mut learner);
                adam.step(&mut learner, 1e-3);
            }
            learner
        })
    };
    let (mut learner, other) = (learn(1), learn(3));
    for (a, b) in learner.parameters().zip(other.parameters()) {
        assert_eq!(a.values, b.values, "{}.{}", a.layer, a.part);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("learnt.safetensors");
    learner.save(&path).unwrap();
    let mut saved = open(path.to_str().unwrap(), &Options::default()).unwrap();
    let x = batch(GOLDEN, "x");
    assert_eq!(saved.denoise(x.clone(), 0.5).unwrap(), learner.forward(x, &[0.5; 3]).unwrap());
    assert!(learner.save(&folder.path().join("nowhere/x.safetensors")).is_err());
}

#[test]
fn the_gradient_through_a_classifier_equals_pytorch() {
    let golden = "surrogate.golden.safetensors";
    let mut surrogate = Surrogate::open("things64").unwrap();
    let (loss, gradient) =
        surrogate.cross_entropy(batch("things64.golden.safetensors", "x"), &[54, 3], 1.0).unwrap();
    let expected = f64::from(tensor(golden, "loss").1[0]);
    assert!((loss / expected - 1.0).abs() < 1e-5, "{loss} instead of {expected}");
    let row = gradient.width();
    let picked: Vec<f32> = gradient
        .data()
        .chunks(row * row)
        .flat_map(|plane| {
            plane.chunks(row).step_by(7).flat_map(|row| row.iter().step_by(5).copied()).collect::<Vec<_>>()
        })
        .collect();
    let difference = difference(&picked, &tensor(golden, "gradient").1);
    assert!(difference < 1e-4, "{difference:e}");
}

/// The loss at a temperature is that of the logits over it, and its gradient what the loss changes by.
#[test]
fn a_temperature_divides_the_logits() {
    let mut surrogate = Surrogate::open("things64").unwrap();
    let x = batch("things64.golden.safetensors", "x");
    let labels = [54, 3];
    let classes = surrogate.labels().len() as f64;
    let mut loss = |x: Batch, temperature| surrogate.cross_entropy(x, &labels, temperature).unwrap();
    assert!((loss(x.clone(), 1e6).0 - classes.ln()).abs() < 1e-4);
    let (hot, gradient) = loss(x.clone(), 5.0);
    let square: f64 = gradient.data().iter().map(|g| f64::from(*g).powi(2)).sum();
    let step = 0.02 / square.sqrt();
    let moved = |sign: f64| {
        let data = x.data().iter().zip(gradient.data()).map(|(x, g)| x + (sign * step) as f32 * g);
        Batch::new(data.collect(), x.count(), x.height(), x.width()).unwrap()
    };
    let slope = (loss(moved(1.0), 5.0).0 - loss(moved(-1.0), 5.0).0) / (2.0 * step);
    assert!((slope / square - 1.0).abs() < 0.02, "{slope} {square} at a loss of {hot}");
}

#[test]
fn steps_that_make_no_sense_are_refused() {
    let mut learner = learner();
    let small = Batch::new(vec![0.0; 3 * 8 * 8], 1, 8, 8).unwrap();
    assert!(matches!(learner.backward(&small), Err(TrainError::Order)));
    let odd = Batch::new(vec![0.0; 3 * 8 * 9], 1, 8, 9).unwrap();
    assert!(matches!(learner.forward(odd, &[0.1]), Err(TrainError::Size { multiple: 8, .. })));
    for sigma in [&[][..], &[0.1, 0.1], &[f64::NAN], &[-1.0]] {
        assert!(matches!(learner.forward(small.clone(), sigma), Err(TrainError::Sigma { .. })));
    }
    learner.forward(small, &[0.1]).unwrap();
    let other = Batch::new(vec![0.0; 3 * 16 * 8], 1, 16, 8).unwrap();
    assert!(matches!(learner.backward(&other), Err(TrainError::Order)));
    let mut surrogate = Surrogate::open("things64").unwrap();
    assert!(matches!(surrogate.cross_entropy(other, &[0], 1.0), Err(TrainError::Input { height: 64, .. })));
    let fitting = Batch::new(vec![0.0; 3 * 64 * 64], 1, 64, 64).unwrap();
    assert!(matches!(surrogate.cross_entropy(fitting, &[64], 1.0), Err(TrainError::Labels { .. })));
}

/// The gradient for the noisy pictures is that of the definition, and what a step has left for its way back stays.
#[test]
fn the_gradient_for_the_pictures_leaves_the_step_alone() {
    let (noisy, sigma) = (batch(GOLDEN, "x"), tensor(GOLDEN, "sigma").1);
    let clean = batch(GOLDEN, "clean");
    let sigma: Vec<f64> = sigma.into_iter().map(f64::from).collect();
    let mut learner = learner();
    let gradients = |learner: &Learner| -> Vec<f32> {
        learner.parameters().flat_map(|parameter| parameter.gradient.to_vec()).collect()
    };
    let result = learner.forward(noisy.clone(), &sigma).unwrap();
    let (_, back) = mean_squared_error(&result, &clean).unwrap();
    learner.backward(&back).unwrap();
    let before = gradients(&learner);
    let found =
        learner.toward(noisy.clone(), &sigma, |result| Ok(mean_squared_error(&result, &clean)?.1)).unwrap();
    learner.backward(&back).unwrap();
    assert_eq!(gradients(&learner), before);

    let mut loss_of = |values: Vec<f32>| {
        let noisy = Batch::new(values, noisy.count(), noisy.height(), noisy.width()).unwrap();
        mean_squared_error(&learner.forward(noisy, &sigma).unwrap(), &clean).unwrap().0
    };
    let largest = found.data().iter().fold(0f64, |m, g| m.max(f64::from(g.abs())));
    for at in (0..noisy.data().len()).step_by(67) {
        let [up, down] = [0.02, -0.02].map(|nudge: f32| {
            let mut values = noisy.data().to_vec();
            values[at] += nudge;
            loss_of(values)
        });
        let expected = (up - down) / 0.04;
        let error = (f64::from(found.data()[at]) - expected).abs() / largest;
        assert!(error < 0.02, "{at}: {} instead of {expected}", found.data()[at]);
    }
    let other = Batch::new(vec![0.0; 3 * 8 * 8], 1, 8, 8).unwrap();
    assert!(matches!(learner.toward(noisy, &sigma, |_| Ok(other)), Err(TrainError::Order)));
}
