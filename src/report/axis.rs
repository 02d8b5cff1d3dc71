//! Round numbers along an axis.

use super::figures::tidy;

/// Ticks from 0 in steps of 1, 2, 2.5 or 5 times a power of ten, `most` or fewer, the last at `top` or just above it.
/// For a `top` of 0 or less, ticks for 1.
pub(super) fn ticks(top: f64, most: usize) -> Vec<f64> {
    let top = if top > 0.0 && top.is_finite() { top } else { 1.0 };
    let least = top / most.saturating_sub(1).max(1) as f64;
    let power = 10f64.powi(least.log10().floor() as i32);
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|&step| step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power);
    let count = (top / step - 1e-9).ceil().max(1.0) as usize;
    let round = |tick: f64| if step > 1e-6 { tidy(tick) } else { tick };
    (0..=count).map(|i| round(i as f64 * step)).collect()
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(ticks(0.3751, 6), [0.0, 0.1, 0.2, 0.3, 0.4]);
        assert_eq!(ticks(1.0, 6), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(ticks(0.0, 3), [0.0, 0.5, 1.0]);
        for top in [1e-9, 0.003, 0.999, 1.0, 7.0, 123.0, 1e6, f64::NAN] {
            for most in [2, 4, 8] {
                let found = ticks(top, most);
                assert!(found.len() >= 2 && found.len() <= most + 1, "{top} {most}: {found:?}");
                assert!(top.is_nan() || found[found.len() - 1] >= top * (1.0 - 1e-6), "{top}: {found:?}");
            }
        }
    }
}
