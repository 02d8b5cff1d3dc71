//! The law against theory, the stream against a second implementation, the fast paths against the slow one.

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;
use statrs::distribution::{ChiSquared, ContinuousCDF};
use statrs::function::erf::erfc;

use super::law::{Prefix, UNDECIDED};
use super::*;

fn noise(law: &NoiseLaw, seed: u64, index: u64, n: usize) -> Vec<i32> {
    let mut out = vec![0; n];
    draw(law, &Seed::from_integer(seed), index, &mut out);
    out
}

/// Values of `tests/data/noise/golden.py`: Python, mpmath, its own ChaCha8, thresholds in 50-digit arithmetic.
#[test]
fn draws_equal_the_second_implementation() {
    struct Golden(f64, Grid, u64, [i32; 12], [i32; 12], i64, i64);
    let golden = [
        Golden(
            0.25,
            Grid::Levels8,
            0,
            [7, 23, 171, -20, -44, -6, -11, -53, 11, 158, 80, -46],
            [-59, 142, 49, 83, -56, -79, -5, -104, -57, -1, -136, -100],
            2092,
            -1_678_536,
        ),
        Golden(
            1.0,
            Grid::Levels8,
            u64::MAX,
            [-114, -367, 545, -386, 164, -46, -145, 14, 162, 659, 206, -115],
            [-202, -192, -147, -145, -262, 507, 510, -135, 263, 284, 196, -8],
            -1491,
            -14_291_424,
        ),
        Golden(
            0.25,
            Grid::Levels16,
            0,
            [5918, -5171, -1622, -13619, 40407, -11882, 20701, -179, -10063, 5736, 26160, -5075],
            [7519, -14523, 27565, 4971, -18457, -11822, 10828, 34158, 13795, 965, -18619, 4451],
            479_091,
            -251_567_040,
        ),
        Golden(
            1.0,
            Grid::Levels16,
            7,
            [-19114, 77622, 84766, 106_128, 65636, 122_042, -45651, -54319, -94108, -67519, 12669, -32752],
            [-62728, -36806, 47184, -2253, 90403, -110_079, 50439, -43222, 91941, -3161, -53330, 29269],
            1_872_795,
            3_024_210_810,
        ),
    ];
    for Golden(sigma, grid, index, first, last, sum, weighted) in golden {
        let values = noise(&NoiseLaw::new(sigma, grid).unwrap(), 1, index, 2500);
        assert_eq!(values[..12], first);
        assert_eq!(values[2488..], last);
        assert_eq!(values.iter().map(|&v| i64::from(v)).sum::<i64>(), sum);
        assert_eq!(values.iter().zip(1..).map(|(&v, j)| i64::from(v) * j).sum::<i64>(), weighted);
    }
}

/// ChaCha8 keyed with zeros, nonce 0: the keystream of the eSTREAM test vectors (ECRYPT set 1, 256-bit key).
#[test]
fn generator_is_chacha8() {
    let mut bytes = [0; 16];
    ChaCha8Rng::from_seed([0; 32]).fill_bytes(&mut bytes);
    assert_eq!(
        bytes,
        [0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6, 0x7f, 0x5b, 0xb8, 0xe8, 0x1f, 0x09, 0xa5, 0xa1]
    );
}

/// Pearson's test of 400 000 draws against `Phi` from `erfc`, in cells of equal width that hold at least 50 expected
/// values; the seed is fixed, so the test either always passes or never.
#[test]
fn law_is_the_discretised_gaussian() {
    const N: usize = 400_000;
    for grid in [Grid::Levels8, Grid::Levels16] {
        for sigma in [0.12, 0.25, 0.5, 1.0] {
            let law = NoiseLaw::new(sigma, grid).unwrap();
            let values = noise(&law, 20, 3, N);
            let scale = f64::from(grid.steps()) * sigma * std::f64::consts::SQRT_2;
            let tail = |k: f64| 0.5 * erfc((k - 0.5) / scale);
            // Cells [start, start + cell) of values.
            let cell = (0.05 * f64::from(grid.steps()) * sigma).ceil() as i32;
            let half = (4.0 * f64::from(grid.steps()) * sigma) as i32 / cell * cell;
            let cells = (2 * half / cell) as usize;
            let mut counts = vec![0_u32; cells + 2];
            for v in values {
                let place = (v + half).div_euclid(cell) + 1;
                counts[place.clamp(0, cells as i32 + 1) as usize] += 1;
            }
            let edge = |i: usize| f64::from(-half + i as i32 * cell);
            let (mut statistic, mut degrees) = (0.0, -1.0);
            let (mut expected, mut observed) = (0.0, 0.0);
            for (i, &count) in counts.iter().enumerate() {
                let upper = if i == cells + 1 { 0.0 } else { tail(edge(i)) };
                let lower = if i == 0 { 1.0 } else { tail(edge(i - 1)) };
                expected += (lower - upper) * N as f64;
                observed += f64::from(count);
                if expected >= 50.0 {
                    statistic += (observed - expected).powi(2) / expected;
                    degrees += 1.0;
                    (expected, observed) = (0.0, 0.0);
                }
            }
            let limit = ChiSquared::new(degrees).unwrap().inverse_cdf(0.999);
            assert!(degrees > 100.0, "too few cells to see anything: {degrees}");
            assert!(statistic < limit, "{grid:?} sigma {sigma}: {statistic} >= {limit} ({degrees} degrees)");
        }
    }
}

/// Signs and neighbours: a generator whose parts overlap would pass the test of single values.
#[test]
fn values_are_uncorrelated_within_and_between_draws() {
    let n = 200_000;
    for grid in [Grid::Levels8, Grid::Levels16] {
        let law = NoiseLaw::new(0.5, grid).unwrap();
        let scale = 0.5 * f64::from(grid.steps());
        let a: Vec<f64> = noise(&law, 5, 0, n).iter().map(|&v| f64::from(v) / scale).collect();
        let b: Vec<f64> = noise(&law, 5, 1, n).iter().map(|&v| f64::from(v) / scale).collect();
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / (n as f64).sqrt();
        // Each is standard normal but for terms of 1/sqrt(n).
        for z in [dot(&a, &b), dot(&a[1..], &a[..n - 1]), dot(&a[2..], &a[..n - 2]), dot(&a, &vec![1.0; n])] {
            assert!(z.abs() < 4.0, "{grid:?}: {z}");
        }
    }
}

#[test]
fn masses_equal_50_digit_arithmetic() {
    // P(|K| = k) * 2^63 by mpmath, rounded to integers; for k = 0 P(K = 0) * 2^63.
    let golden = [
        (0.25, Grid::Levels8, MASSES_8),
        (0.01, Grid::Levels8, MASSES_8_LEAST),
        (1.0, Grid::Levels16, MASSES_16),
    ];
    for (sigma, grid, masses) in golden {
        let law = NoiseLaw::new(sigma, grid).unwrap();
        for &(k, mass) in masses {
            let ours = if k == 0 { law.mass(0) / 2 } else { law.mass(k) };
            let z = f64::from(k) / (sigma * f64::from(grid.steps()));
            let allowed = (16.0 + 8.0 * z * z) * 2_f64.powi(-53) * mass as f64 + 1.0;
            assert!((ours as f64 - mass as f64).abs() <= allowed || k == 0, "{grid:?} {k}: {ours} != {mass}");
            assert!(ours.abs_diff(mass) as f64 <= 2_f64.powi(63 - 48), "{grid:?} {k}: {ours} != {mass}");
        }
    }
}

#[test]
fn law_is_symmetric_and_whole() {
    for grid in [Grid::Levels8, Grid::Levels16] {
        let law = NoiseLaw::new(0.25, grid).unwrap();
        let m = law.max_magnitude();
        let mut total = u128::from(law.mass(0));
        for k in 1..=m {
            assert_eq!(law.mass(k), law.mass(-k));
            assert!(law.mass(k) > 0);
            total += 2 * u128::from(law.mass(k));
        }
        assert_eq!(total, 1 << 64);
        assert_eq!(law.mass(m + 1), 0);
    }
}

#[test]
fn tv_bound_is_small_enough_to_ignore_for_a_picture() {
    for sigma in [0.02, 0.12, 0.25, 0.5, 1.0] {
        let values = f64::from(224 * 224 * 3);
        assert!(values * NoiseLaw::new(sigma, Grid::Levels8).unwrap().tv_bound() < 1e-9);
        assert!(values * NoiseLaw::new(sigma, Grid::Levels16).unwrap().tv_bound() < 1e-8);
    }
}

/// The leading bits alone give what all 64 bits give, whatever the remaining bits are, at and around every threshold.
#[test]
fn leading_bits_never_contradict_the_search() {
    for (sigma, grid) in [
        (0.01, Grid::Levels8),
        (0.25, Grid::Levels8),
        (2.0, Grid::Levels8),
        (0.01, Grid::Levels16),
        (0.02, Grid::Levels16),
        (0.25, Grid::Levels16),
        (1.0, Grid::Levels16),
    ] {
        let law = NoiseLaw::new(sigma, grid).unwrap();
        let full = |v: u64| law.search(v, 0, i32::MAX);
        let shift = if matches!(law.prefix, Prefix::Direct(_)) { 48 } else { 32 };
        let bounds = |prefix: u64| match &law.prefix {
            Prefix::Direct(table) => match table[prefix as usize] {
                UNDECIDED => (0, law.max_magnitude()),
                k => (i32::from(k), i32::from(k)),
            },
            Prefix::Curve(curve) => curve.bounds(prefix as u32),
        };
        let mut thresholds: Vec<u64> = vec![0, (1 << 63) - 1];
        let mut above = 0_u64;
        for k in (1..=law.max_magnitude()).rev() {
            above += law.mass(k);
            thresholds.push(above);
        }
        for t in thresholds {
            for v in [t.saturating_sub(1), t, t.saturating_sub(1 << shift), t + (1 << shift)] {
                let prefix = (v >> shift).min((1 << (63 - shift)) - 1);
                let (low, high) = bounds(prefix);
                let most = full(prefix << shift);
                let least = full((prefix << shift) | ((1 << shift) - 1));
                assert!(
                    low <= least && most <= high,
                    "{sigma} {grid:?} {prefix}: {low} {least} {most} {high}"
                );
            }
        }
        // And they must decide nearly always, or the second stream would cost more than it saves.
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let n = 100_000;
        let undecided = (0..n).filter(|_| {
            let (low, high) = bounds(rng.next_u64() >> (shift + 1));
            low != high
        });
        let undecided = undecided.count();
        assert!(undecided < n / 20, "{sigma} {grid:?}: {undecided} of {n}");
    }
}

/// A whole draw by the definition: leading bits, then the next remaining word if they do not decide.
#[test]
fn streams_are_inversion_of_64_bits() {
    for (sigma, grid, bits) in [(1.0, Grid::Levels8, 16), (1.0, Grid::Levels16, 32)] {
        let law = NoiseLaw::new(sigma, grid).unwrap();
        let seed = Seed::from_integer(9);
        let stream = |context: &str| {
            let mut rng = ChaCha8Rng::from_seed(blake3::derive_key(context, seed.as_bytes()));
            rng.set_stream(4);
            rng
        };
        let mut leading = vec![0; 100_000 * bits / 8];
        stream("smoothgate 1 noise leading bits").fill_bytes(&mut leading);
        let mut remaining = stream("smoothgate 1 noise remaining bits");
        let mut used = 0;
        let values = noise(&law, 9, 4, 100_000);
        for (value, bytes) in values.into_iter().zip(leading.chunks_exact(bits / 8)) {
            let prefix = bytes.iter().rev().fold(0_u64, |u, &b| u << 8 | u64::from(b));
            let decided = match &law.prefix {
                Prefix::Direct(table) => table[prefix as usize & 0x7FFF] != UNDECIDED,
                Prefix::Curve(curve) => {
                    let (low, high) = curve.bounds(prefix as u32 & 0x7FFF_FFFF);
                    low == high
                }
            };
            let rest = if decided { 0 } else { remaining.next_u64() >> bits };
            used += u32::from(!decided);
            let magnitude = law.search(prefix << (64 - bits) | rest, 0, i32::MAX);
            assert_eq!(value, if prefix >> (bits - 1) == 1 { -magnitude } else { magnitude });
        }
        assert!(used > 20, "the second stream was hardly used: {used}");
    }
}

#[test]
fn draws_do_not_depend_on_order_or_threads() {
    let law = NoiseLaw::new(0.25, Grid::Levels8).unwrap();
    let forward: Vec<_> = (0..64).map(|i| noise(&law, 3, i, 1000)).collect();
    let mut backward: Vec<_> = (0..64).rev().map(|i| noise(&law, 3, i, 1000)).collect();
    backward.reverse();
    let parallel: Vec<_> = (0..64_u64).into_par_iter().map(|i| noise(&law, 3, i, 1000)).collect();
    assert_eq!(forward, backward);
    assert_eq!(forward, parallel);
    let distinct: std::collections::HashSet<_> = forward.iter().collect();
    assert_eq!(distinct.len(), 64);
}

proptest! {
    #[test]
    fn chunks_make_the_same_draw(
        sizes in prop::collection::vec(0_usize..3000, 1..8), wide: bool, index: u64,
    ) {
        let grid = if wide { Grid::Levels16 } else { Grid::Levels8 };
        let law = NoiseLaw::new(0.2, grid).unwrap();
        let whole = noise(&law, 11, index, sizes.iter().sum());
        let seed = Seed::from_integer(11);
        let mut stream = Draw::new(&law, &seed, index);
        let mut pieces = Vec::new();
        for size in sizes {
            let mut piece = vec![0; size];
            stream.fill(&mut piece);
            pieces.extend(piece);
        }
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn seeds_survive_text_and_json(bytes: [u8; 32]) {
        let seed = Seed::from_bytes(bytes);
        prop_assert_eq!(seed.to_string().parse::<Seed>().unwrap(), seed);
        let json = serde_json::to_string(&seed).unwrap();
        prop_assert_eq!(serde_json::from_str::<Seed>(&json).unwrap(), seed);
    }

    #[test]
    fn any_text_is_a_seed_or_an_error(text: String) {
        let _ = text.parse::<Seed>();
    }
}

#[test]
fn seeds_are_numbers_or_64_digits() {
    let one = "b5e473ed303e2b7a35f4ace9717b52473c5d0a3f3316c9b12690fbdf4e2113a1";
    assert_eq!("1".parse::<Seed>().unwrap().to_string(), one);
    assert_eq!(one.to_uppercase().parse::<Seed>().unwrap(), Seed::from_integer(1));
    assert_ne!(Seed::from_integer(1), Seed::from_integer(2));
    assert_ne!(Seed::fresh().unwrap(), Seed::fresh().unwrap());
    for bad in ["", "-1", "1.5", "0x10", "18446744073709551616", &one[1..], "+1", " 1", &"é".repeat(32)] {
        assert!(matches!(bad.parse::<Seed>(), Err(NoiseError::Seed(_))), "{bad}");
    }
}

#[test]
fn sigma_out_of_range_is_an_error() {
    for sigma in [0.0, -0.25, 0.009, 2.01, f64::NAN, f64::INFINITY] {
        let error = NoiseLaw::new(sigma, Grid::Levels8).unwrap_err();
        assert!(error.to_string().contains("between 0.01 and 2"), "{error}");
    }
}

const MASSES_8: &[(i32, u64)] = &[
    (0, 57_718_515_275_532_345),
    (1, 115_422_829_543_693_604),
    (2, 115_380_237_002_726_842),
    (10, 114_025_542_820_651_231),
    (64, 69_742_247_405_096_955),
    (100, 33_732_250_844_415_279),
    (200, 841_677_745_557_789),
    (300, 1_793_274_256_443),
    (400, 326_248_052),
    (500, 5_068),
    (560, 2),
];
const MASSES_8_LEAST: &[(i32, u64)] = &[
    (0, 1_433_784_455_586_848_328),
    (1, 2_657_939_771_049_714_890),
    (2, 2_116_595_930_806_042_952),
    (3, 1_448_069_317_067_792_005),
    (5, 429_780_073_988_919_823),
    (8, 22_242_727_486_623_402),
    (13, 7_648_530_894_288),
    (20, 181_319),
    (23, 10),
];
const MASSES_16: &[(i32, u64)] = &[
    (0, 56_366_315_461_668),
    (1, 112_732_630_910_109),
    (2, 112_732_630_870_428),
    (100, 112_732_498_654_022),
    (10_000, 111_417_666_345_238),
    (65_280, 68_375_797_005_740),
    (130_560, 15_256_702_536_615),
    (261_120, 37_817_584_626),
    (391_680, 1_716_916),
    (522_240, 1),
];
