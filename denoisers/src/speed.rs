//! What this machine can do at most.

use crate::{kernels, precision::Precision};

/// Multiplications and additions a second that the threads of the current rayon pool can do together with the instructions the kernels of
/// this precision are made of, in units of 1e9, measured in some hundredths of a second. Where the processor has no instructions for
/// bf16 it is that of f32.
pub fn peak(precision: Precision) -> f64 {
    kernels::measure_peak(precision)
}

/// The instructions that kernels of this precision are made of on this machine.
pub fn instructions(precision: Precision) -> &'static str {
    kernels::instructions(precision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_peak() {
        for precision in Precision::ALL {
            let peak = peak(precision);
            assert!(peak.is_finite() && peak > 0.1, "{precision}: {peak}");
            assert!(!instructions(precision).is_empty());
        }
    }
}
