//! Certifies one picture with the built-in classifier: `cargo run --release --example certify [PICTURE]`.

use std::sync::Arc;

use smoothgate::certificate::Certificate;
use smoothgate::denoisers::{DenoiserHandle, Device, Options, open};
use smoothgate::engine::{Engine, Forgetful, Settings};
use smoothgate::noise::Seed;
use smoothgate::picture::{PictureOptions, WorkingImage, WorkingSize};
use smoothgate::units::Sigma;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).unwrap_or("examples/pictures/coffee.jpg".into());
    let endpoint = Arc::new(smoothgate::local::open(Device::Auto)?);
    let denoiser = DenoiserHandle::spawn(open("auto", &Options::default())?)?;
    let engine = Engine::new(endpoint, denoiser, Settings::new(Sigma::new(0.25)?));

    let options = PictureOptions { size: WorkingSize::Square(64), ..PictureOptions::default() };
    let image = Arc::new(WorkingImage::open(path.as_ref(), &options)?);
    let seed = Seed::fresh()?; // only now: after the picture is fixed
    let evidence = engine.gather(image.clone(), seed, &Forgetful, &|_| {}).await?;
    let certificate = Certificate::new(&engine, &image, seed, &evidence);

    #[expect(clippy::print_stdout, reason = "an example prints its result")]
    {
        println!("{}", certificate.statement);
    }
    Ok(())
}
