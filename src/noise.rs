//! Draw `i` of a seed: Gaussian noise on the pixel grid, sampled from its exact discrete law.
//!
//! The guarantee of randomized smoothing (Cohen et al. 2019, Theorem 1) is about *real* Gaussian noise. Noise in
//! floating point leaks the picture through its low-order bits, and there are pictures for which that breaks the
//! certificate (Voracek & Hein, "Sound Randomized Smoothing in Floating-Point Arithmetics", ICLR 2023). Here the
//! picture `x` lies on a grid of spacing `h`, so rounding commutes with adding it: `round(x + g) = x + round(g)`.
//! The noise is therefore the integer `K = round(g / h)`, `g ~ N(0, sigma^2)`, whose law
//!
//! ```text
//! P(K = k) = Phi((k + 1/2) h / sigma) - Phi((k - 1/2) h / sigma)
//! ```
//!
//! is sampled by inversion of a table with 64-bit uniforms, and what is certified is Cohen's smoothed classifier of
//! "round to the grid, then go on", with nothing lost. How far the sampled law is from the exact one is bounded by
//! [`NoiseLaw::tv_bound`]; a certificate adds `values * tv_bound()` to each probability that it bounds.
//!
//! Draw `i` is a function of (seed, `i`) and of nothing else: ChaCha8 keyed by the seed, its nonce is `i`.
//! It does not depend on the order of evaluation, on threads or on the size of the batch, and with the table made by
//! the same arithmetic everywhere, not on the machine either.

mod curve;
mod law;
mod seed;
mod stream;

pub use law::{Grid, MAX_SIGMA, MIN_SIGMA, NoiseLaw};
pub use seed::Seed;
pub use stream::{Draw, RNG_VERSION, draw};

/// What can go wrong before any noise is drawn. All are the caller's to mend, except [`NoiseError::Entropy`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoiseError {
    /// Sigma is not a number in the supported range.
    #[error(
        "sigma is {0}, but it must lie between {MIN_SIGMA} and {MAX_SIGMA} in units of [0,1] pixel values; 0.25 is the usual choice"
    )]
    Sigma(f64),
    /// A seed that is neither a number nor 64 hexadecimal digits.
    #[error(
        "seed {0:?} is neither a whole number from 0 to 18446744073709551615 nor exactly 64 hexadecimal digits"
    )]
    Seed(String),
    /// The operating system gave no entropy for a fresh seed. Not the user's fault; may be retried.
    #[error(
        "the operating system gave no random bytes for a fresh seed ({0}); retry, or give the seed yourself"
    )]
    Entropy(String),
}

#[cfg(test)]
mod tests;
