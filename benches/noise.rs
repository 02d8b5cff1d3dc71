//! One draw of 224x224x3 noise values on one core, beside the ziggurat of `rand_distr` over the same generator.
//! `cargo bench --bench noise`; the ratio of the medians is what counts, not the time.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_distr::StandardNormal;
use smoothgate::noise::{Grid, NoiseLaw, Seed, draw};
use std::hint::black_box;

const VALUES: usize = 224 * 224 * 3;

fn noise(c: &mut Criterion) {
    let mut group = c.benchmark_group("noise");
    group.throughput(Throughput::Elements(VALUES as u64));

    let mut rng = ChaCha8Rng::from_seed([7; 32]);
    let mut floats = vec![0_f32; VALUES];
    group.bench_function("peer: ziggurat f32 over ChaCha8", |b| {
        b.iter(|| {
            for value in &mut floats {
                *value = 0.25 * rng.sample::<f32, _>(StandardNormal);
            }
            black_box(&floats);
        });
    });
    let mut bytes = vec![0_u8; 8 * VALUES];
    group.bench_function("floor: 64 bits of ChaCha8", |b| {
        b.iter(|| {
            rng.fill_bytes(&mut bytes);
            black_box(&bytes);
        });
    });

    let seed = Seed::from_integer(1);
    let mut values = vec![0_i32; VALUES];
    for (grid, name) in [(Grid::Levels8, "8-bit grid"), (Grid::Levels16, "16-bit grid")] {
        for sigma in [0.25, 1.0] {
            let Ok(law) = NoiseLaw::new(sigma, grid) else { continue };
            let mut index = 0;
            group.bench_function(format!("{name}, sigma {sigma}"), |b| {
                b.iter(|| {
                    index += 1;
                    draw(&law, &seed, index, &mut values);
                    black_box(&values);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, noise);
criterion_main!(benches);
