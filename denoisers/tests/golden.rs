//! Networks against the same forward pass in PyTorch (double precision, rounded to f32 at the end), within 1e-4.
//!
//! The goldens of photo and things64, where `UNet` and `Things64` are the modules that the architecture files describe:
//! ```python
//! torch.manual_seed(1)
//! net = UNet().eval()
//! net.load_state_dict({k: v.float() for k, v in load_file("denoisers/weights/photo.safetensors").items()})
//! x, sigma = torch.rand(2, 3, 24, 16) + 0.25 * torch.randn(2, 3, 24, 16), torch.tensor([0.25, 0.25])
//! y = net.double()(x.double(), sigma.double()).float()
//! save_file({"x": x, "sigma": sigma[:1], "y": y}, "photo.golden.safetensors")
//!
//! net = Things64().eval()
//! net.load_state_dict({k: v.float() for k, v in load_file("denoisers/weights/things64.safetensors").items()}, strict=False)
//! x = torch.rand(2, 3, 64, 64) * 0.5 + 0.5 * torch.rand(2, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
//! save_file({"x": x, "y": net.double()(x.double()).softmax(1).float()}, "things64.golden.safetensors")
//! ```
//! The DnCNN goldens, random weights under both naming schemes:
//! ```python
//! def layers(release):
//!     c = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
//!     for _ in range(3):
//!         c += [nn.Conv2d(8, 8, 3, padding=1, bias=not release), nn.BatchNorm2d(8, eps=1e-4), nn.ReLU()]
//!     return nn.Sequential(*c, nn.Conv2d(8, 3, 3, padding=1, bias=not release))
//! torch.manual_seed(7)
//! x = torch.rand(2, 3, 11, 9) + 0.25 * torch.randn(2, 3, 11, 9)
//! for name, prefix, release in ("denoised-smoothing", "module.dncnn", True), ("kair", "model", False):
//!     net = layers(release).eval()
//!     for bn in (m for m in net if isinstance(m, nn.BatchNorm2d)):
//!         for t in bn.weight, bn.running_var: t.data.uniform_(0.005, 1.5)
//!         for t in bn.bias, bn.running_mean: t.data.normal_()
//!     y = (x.double() - net.double()(x.double())).float()
//!     tensors = {f"{prefix}.{k}": v.float() if v.is_floating_point() else v for k, v in net.state_dict().items()}
//!     save_file(tensors, f"dncnn-{name}.safetensors")
//!     save_file({"x": x, "y": y}, f"dncnn-{name}.golden.safetensors")
//! ```
//! The goldens of the other denoisers, random weights, where `FFDNet(width, depth)`, `DRUNet(channels, blocks)` and `MemNet(channels, memory blocks,
//! residual blocks)` are the modules that the architecture files describe:
//! ```python
//! def save(name, net, metadata=None, prefix=""):
//!     for bn in (m for m in net.eval().modules() if isinstance(m, nn.BatchNorm2d)):
//!         for t in bn.weight, bn.running_var: t.data.uniform_(0.5, 1.5)
//!         for t in bn.bias, bn.running_mean: t.data.normal_(0, 0.5)
//!     x = torch.rand(2, 3, 16, 24) + 0.25 * torch.randn(2, 3, 16, 24)
//!     tensors = {prefix + k: v.float() if v.is_floating_point() else v for k, v in net.state_dict().items()}
//!     save_file(tensors, f"{name}.safetensors", metadata)
//!     save_file({"x": x, "y": net.double()(x.double(), 0.25).float()}, f"{name}.golden.safetensors")
//! torch.manual_seed(13)
//! save("ffdnet", FFDNet(8, 4))
//! save("drunet", DRUNet([4, 6, 8, 10], 2), {"channels": "4,6,8,10", "blocks": "2"})
//! save("memnet", MemNet(6, 2, 3), None, "module.")
//! ```
//! The goldens of the classifiers, random weights, where `CifarResnet(blocks, width, option_a)` has its linear layer under `linear` with
//! option A and under `fc` without, and `Lite(stages, stem, head, classes)` takes stages of `(repeats, kernel, stride, expansion, channels)`:
//! ```python
//! def save(name, net, x, metadata=None, prefix=""):
//!     for bn in (m for m in net.eval().modules() if isinstance(m, nn.BatchNorm2d)):
//!         for t in bn.weight, bn.running_var: t.data.uniform_(0.5, 1.5)
//!         for t in bn.bias, bn.running_mean: t.data.normal_(0, 0.5)
//!     for p in (p for n, p in net.named_parameters() if p.dim() > 1): p.data.normal_(0, ((2 if p.dim() > 2 else 0.2) / p[0].numel()) ** 0.5)
//!     x[1] **= 4
//!     tensors = {prefix + k: v.float() if v.is_floating_point() else v for k, v in net.state_dict().items()}
//!     save_file(tensors, f"{name}.safetensors", metadata)
//!     save_file({"x": x, "y": net.double()(x.double()).softmax(1).float()}, f"{name}.golden.safetensors")
//! torch.manual_seed(11)
//! x = torch.rand(2, 3, 32, 32)
//! save("cifar-resnet-8", CifarResnet(1, 4, True), x.clone(), prefix="1.")
//! save("cifar-resnet-14", CifarResnet(2, 4, False), x)
//! stages = [(1, 3, 1, 1, 8), (2, 3, 2, 3, 12), (2, 5, 2, 2, 12), (1, 5, 1, 2, 16), (1, 5, 2, 2, 16), (1, 3, 2, 2, 20)]
//! text = ";".join(",".join(map(str, s)) for s in stages)
//! save("efficientnet-lite", Lite(stages, 8, 20, 7), torch.rand(2, 3, 64, 64), {"size": "64", "stages": text})
//! ```
//! The goldens of `resnet`, by the same `save`, where `Resnet` is torchvision's with another number of blocks and another width, behind
//! the normalisation of `ImageNet`:
//! ```python
//! class Block(nn.Module):
//!     def __init__(s, i, o, stride, deep):
//!         super().__init__()
//!         m = o // 4 if deep else o
//!         k1, s1 = (1, 1) if deep else (3, stride)
//!         s.conv1, s.bn1 = nn.Conv2d(i, m, k1, s1, k1 // 2, bias=False), nn.BatchNorm2d(m)
//!         s.conv2, s.bn2 = nn.Conv2d(m, m, 3, stride if deep else 1, 1, bias=False), nn.BatchNorm2d(m)
//!         if deep: s.conv3, s.bn3 = nn.Conv2d(m, o, 1, bias=False), nn.BatchNorm2d(o)
//!         s.downsample = None
//!         if stride > 1 or i != o: s.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
//!         s.deep = deep
//!     def forward(s, x):
//!         y = s.bn2(s.conv2(s.bn1(s.conv1(x)).relu()))
//!         if s.deep: y = s.bn3(s.conv3(y.relu()))
//!         return (y + (x if s.downsample is None else s.downsample(x))).relu()
//! class Resnet(nn.Module):
//!     def __init__(s, blocks, width, deep, classes):
//!         super().__init__()
//!         s.conv1, s.bn1, i = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), width
//!         for l, n in enumerate(blocks):
//!             o = (width << l) * (4 if deep else 1)
//!             part = (Block(i if k == 0 else o, o, 2 if l and not k else 1, deep) for k in range(n))
//!             setattr(s, f"layer{l + 1}", nn.Sequential(*part))
//!             i = o
//!         s.fc = nn.Linear(i, classes)
//!     def forward(s, x):
//!         x = (x - torch.tensor([.485, .456, .406]).view(3, 1, 1)) / torch.tensor([.229, .224, .225]).view(3, 1, 1)
//!         x = nn.functional.max_pool2d(s.bn1(s.conv1(x)).relu(), 3, 2, 1)
//!         for l in range(4): x = getattr(s, f"layer{l + 1}")(x)
//!         return s.fc(x.mean((2, 3)))
//! torch.manual_seed(17)
//! save("resnet-basic", Resnet((2, 1, 1, 1), 4, False, 7), torch.rand(2, 3, 64, 64), {"size": "64"})
//! save("resnet-deep", Resnet((1, 1, 2, 1), 4, True, 7), torch.rand(2, 3, 64, 64), {"size": "64"})
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a helper that fails is a test that fails, and it says what it measured"
)]

use std::{
    env,
    path::{Path, PathBuf},
};

use safetensors::SafeTensors;
use smoothgate_denoisers::{Batch, Device, Engine, Options, open, open_classifier};

const TOLERANCE: f32 = 1e-4;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Shape and values of one tensor of a golden file.
fn tensor(file: &str, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(data(file)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (view.shape().to_vec(), values)
}

fn batch(golden: &str) -> Batch {
    let (shape, x) = tensor(golden, "x");
    Batch::new(x, shape[0], shape[2], shape[3]).unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Our kernels on the processor, and Candle's on every device that is present.
fn backends() -> Vec<Options> {
    let candle = |device| {
        let mut options = Options::on(device);
        options.engine = Engine::Candle;
        options
    };
    std::iter::once(Options::on(Device::Cpu)).chain(Device::present().into_iter().map(candle)).collect()
}

fn check_denoiser(model: &str, golden: &str, sigma: f64) {
    for backend in backends() {
        let mut denoiser = open(model, &backend).unwrap();
        let noisy = batch(golden);
        let clean = denoiser.denoise(noisy.clone(), sigma).unwrap();
        let difference = largest_difference(clean.data(), &tensor(golden, "y").1);
        println!("{golden} on {} ({:?}): largest difference {difference:e}", backend.device, backend.engine);
        assert!(difference <= TOLERANCE, "{golden}, {backend:?}: {difference:e}");
        // A network that does nothing would pass a comparison with a golden that does nothing.
        assert!(largest_difference(clean.data(), noisy.data()) > 100.0 * TOLERANCE);
    }
}

#[test]
fn built_in_photo_equals_pytorch() {
    let sigma = f64::from(tensor("photo.golden.safetensors", "sigma").1[0]);
    check_denoiser("photo", "photo.golden.safetensors", sigma);
}

/// The 32-bit weights are too large to keep beside the tests.
#[test]
fn full_precision_unet_equals_pytorch() {
    let shared = env::var_os("SMOOTHGATE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let weights = shared.join("models/unet.safetensors");
    if !weights.exists() {
        println!(
            "SKIPPED: {} is not there; set SMOOTHGATE_SHARED to the folder of models/",
            weights.display()
        );
        return;
    }
    let sigma = f64::from(tensor("unet.golden.safetensors", "sigma").1[0]);
    check_denoiser(weights.to_str().unwrap(), "unet.golden.safetensors", sigma);
}

#[test]
fn dncnn_of_the_papers_release_equals_pytorch() {
    let model = data("dncnn-denoised-smoothing.safetensors");
    check_denoiser(model.to_str().unwrap(), "dncnn-denoised-smoothing.golden.safetensors", 0.25);
}

#[test]
fn dncnn_of_kair_equals_pytorch() {
    check_denoiser(data("dncnn-kair.safetensors").to_str().unwrap(), "dncnn-kair.golden.safetensors", 0.25);
}

#[test]
fn ffdnet_drunet_and_memnet_equal_pytorch() {
    for name in ["ffdnet", "drunet", "memnet"] {
        let file = data(&format!("{name}.safetensors"));
        check_denoiser(file.to_str().unwrap(), &format!("{name}.golden.safetensors"), 0.25);
    }
}

fn check_classifier(model: &str, golden: &str) -> Vec<String> {
    let mut labels = Vec::new();
    for backend in backends() {
        let mut classifier = open_classifier(model, &backend).unwrap();
        let probabilities = classifier.classify(batch(golden)).unwrap();
        assert_eq!(probabilities.len(), 2);
        assert!(probabilities.iter().all(|p| p.len() == classifier.labels().len()));
        let difference = largest_difference(&probabilities.concat(), &tensor(golden, "y").1);
        println!("{golden} on {} ({:?}): largest difference {difference:e}", backend.device, backend.engine);
        assert!(difference <= TOLERANCE, "{golden}, {backend:?}: {difference:e}");
        // Classifiers that say the same of everything would be equal too.
        assert!(largest_difference(&probabilities[0], &probabilities[1]) > 100.0 * TOLERANCE);
        labels = classifier.labels().to_vec();
    }
    labels
}

#[test]
fn things64_equals_pytorch() {
    let labels = check_classifier("things64", "things64.golden.safetensors");
    assert_eq!((labels.len(), labels[0].as_str()), (64, "goldfish"));
}

#[test]
fn cifar_resnets_with_both_shortcuts_equal_pytorch() {
    for name in ["cifar-resnet-8", "cifar-resnet-14"] {
        let file = data(&format!("{name}.safetensors"));
        let labels = check_classifier(file.to_str().unwrap(), &format!("{name}.golden.safetensors"));
        assert_eq!((labels.len(), labels[9].as_str()), (10, "truck"));
    }
}

#[test]
fn efficientnet_lite_equals_pytorch() {
    let file = data("efficientnet-lite.safetensors");
    let labels = check_classifier(file.to_str().unwrap(), "efficientnet-lite.golden.safetensors");
    assert_eq!(labels, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[test]
fn resnets_equal_pytorch() {
    for name in ["resnet-basic", "resnet-deep"] {
        let file = data(&format!("{name}.safetensors"));
        let labels = check_classifier(file.to_str().unwrap(), &format!("{name}.golden.safetensors"));
        assert_eq!(labels, ["0", "1", "2", "3", "4", "5", "6"]);
    }
}
