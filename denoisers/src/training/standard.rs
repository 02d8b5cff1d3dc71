//! Weights that are learnt by their direction and length apart: what batch normalisation does for learning, without batches.
//!
//! Each output channel's weights are brought to mean 0 and a fixed deviation, and multiplied by a gain of their own, before the network
//! runs with them (scaled weight standardisation, Brock et al. 2021, "Characterizing signal propagation to close the performance gap
//! in unnormalized `ResNets`", section 4.2; without batches after Qiao et al. 2019). The length of the learnt weights then changes
//! nothing but how far a step turns them, as under batch normalisation. The network that runs, and the file that is saved, have
//! plain weights.

use crate::graph::Conv;

/// Added to the variance of a channel's weights.
const EPSILON: f64 = 1e-12;

/// Values and their gradients.
pub(super) struct Values {
    pub(super) values: Vec<f32>,
    pub(super) gradient: Vec<f32>,
}

impl Values {
    fn new(values: Vec<f32>) -> Self {
        Self { gradient: vec![0.0; values.len()], values }
    }
}

/// What is learnt of one convolution's weights.
pub(super) struct Standard {
    /// In the order of [`Conv::weight`].
    pub(super) weight: Values,
    /// `[out]`.
    pub(super) gain: Values,
    /// The deviation of a channel's weights whose gain is 1.
    pub(super) deviation: f64,
}

/// Mean and root of the variance.
fn moments(row: &[f32]) -> (f64, f64) {
    let count = row.len() as f64;
    let mean = row.iter().map(|w| f64::from(*w)).sum::<f64>() / count;
    let variance = row.iter().map(|w| (f64::from(*w) - mean).powi(2)).sum::<f64>() / count;
    (mean, (variance + EPSILON).sqrt())
}

impl Standard {
    /// Begins with a convolution's weights, of which it takes away each channel's mean, and nothing else. `branch` is the factor in all of them
    /// that becomes the gain; of channels whose weights are smaller or larger than most, as those of a network that has learnt are, the gain
    /// is so, too.
    pub(super) fn begin(conv: &mut Conv, branch: f64) -> Self {
        let weight: Vec<f32> = conv.weight.iter().map(|w| (f64::from(*w) / branch) as f32).collect();
        let (_, deviation) = moments(&weight);
        let row = weight.len() / conv.out_channels;
        let gain = weight.chunks_exact(row).map(|row| (branch * moments(row).1 / deviation) as f32).collect();
        let this = Self { weight: Values::new(weight), gain: Values::new(gain), deviation };
        this.fill(&mut conv.weight);
        this
    }

    /// Writes the weights that the network runs with.
    pub(super) fn fill(&self, to: &mut [f32]) {
        to.copy_from_slice(&self.weight.values);
        self.of(&self.gain.values, to);
    }

    /// The same for other learnt weights, in place, and gains.
    pub(super) fn of(&self, gain: &[f32], weight: &mut [f32]) {
        for (row, gain) in weight.chunks_exact_mut(self.row()).zip(gain) {
            let (mean, root) = moments(row);
            let factor = f64::from(*gain) * self.deviation / root;
            for w in row {
                *w = ((f64::from(*w) - mean) * factor) as f32;
            }
        }
    }

    /// Weights of one output channel.
    fn row(&self) -> usize {
        self.weight.values.len() / self.gain.values.len()
    }

    /// Computes both gradients from that of the weights that the network runs with. With `z = (w - mean) / root` and
    /// `c = gain deviation`: that of w is `c / root (g - mean(g) - z mean(g z))`, that of the gain `deviation sum(g z)`.
    pub(super) fn back(&mut self, gradient: &[f32]) {
        let (row, deviation) = (self.row(), self.deviation);
        let gains = self.gain.values.iter().zip(&mut self.gain.gradient);
        let weights = self.weight.values.chunks_exact(row).zip(self.weight.gradient.chunks_exact_mut(row));
        for (((gain, of_gain), (w, of_w)), g) in gains.zip(weights).zip(gradient.chunks_exact(row)) {
            let (mean, root) = moments(w);
            let z = |w: f32| (f64::from(w) - mean) / root;
            let count = row as f64;
            let mean_g = g.iter().map(|g| f64::from(*g)).sum::<f64>() / count;
            let mean_gz = g.iter().zip(w).map(|(g, w)| f64::from(*g) * z(*w)).sum::<f64>() / count;
            *of_gain = (deviation * mean_gz * count) as f32;
            let factor = f64::from(*gain) * deviation / root;
            for ((to, g), w) in of_w.iter_mut().zip(g).zip(w) {
                *to = (factor * (f64::from(*g) - mean_g - z(*w) * mean_gz)) as f32;
            }
        }
    }

    pub(super) fn scale_gradients(&mut self, factor: f32) {
        self.weight.gradient.iter_mut().chain(&mut self.gain.gradient).for_each(|g| *g *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Conv;

    /// A convolution of 2 x 5 weights.
    fn conv() -> Conv {
        let mut conv = Conv::select(5, 2, 1, 0);
        conv.weight = vec![0.3, -0.1, 0.8, 0.05, -0.6, 0.2, 0.25, -0.9, 0.4, 0.1];
        conv
    }

    #[test]
    fn weights_have_mean_0_and_the_deviation_that_gain_says() {
        let mut conv = conv();
        let (_, deviation) = moments(&conv.weight);
        let mut standard = Standard::begin(&mut conv, 0.1);
        standard.gain.values = vec![1.0, -2.0];
        let mut weight = conv.weight.clone();
        standard.fill(&mut weight);
        for (row, gain) in weight.chunks_exact(5).zip([1.0, 2.0]) {
            let (mean, root) = moments(row);
            assert!(
                mean.abs() < 1e-7 && (root / (10.0 * deviation * gain) - 1.0).abs() < 1e-6,
                "{mean} {root}"
            );
        }
        // The length of what is learnt changes nothing.
        standard.weight.values.iter_mut().for_each(|w| *w *= 7.0);
        let mut longer = weight.clone();
        standard.fill(&mut longer);
        assert!(longer.iter().zip(&weight).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn a_network_that_has_learnt_loses_its_means_and_nothing_else() {
        let mut conv = conv();
        conv.weight[5..].iter_mut().for_each(|w| *w *= 0.01);
        let before = conv.weight.clone();
        Standard::begin(&mut conv, 0.1);
        for (row, before) in conv.weight.chunks_exact(5).zip(before.chunks_exact(5)) {
            let (mean, root) = moments(before);
            let same = |(w, b): (&f32, &f32)| (f64::from(*w) - f64::from(*b) + mean).abs() < 1e-5 * root;
            assert!(row.iter().zip(before).all(same), "{row:?} {before:?}");
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let mut conv = conv();
        let mut standard = Standard::begin(&mut conv, 1.0);
        standard.gain.values = vec![1.5, -0.5];
        // The loss is a fixed linear function of the weights that the network runs with.
        let slope = [0.4, -1.0, 0.3, 0.7, 0.2, -0.6, 0.9, 0.1, 0.5, -0.3];
        let loss = |standard: &Standard| {
            let mut weight = vec![0.0; 10];
            standard.fill(&mut weight);
            weight.iter().zip(slope).map(|(w, s)| f64::from(*w) * f64::from(s)).sum::<f64>()
        };
        standard.back(&slope);
        let step = 1e-3;
        for i in 0..12 {
            let mut at = |step: f32| {
                let (weight, gain) = (&mut standard.weight.values, &mut standard.gain.values);
                let value = weight.iter_mut().chain(gain).nth(i).unwrap();
                *value += step;
                let loss = loss(&standard);
                let (weight, gain) = (&mut standard.weight.values, &mut standard.gain.values);
                *weight.iter_mut().chain(gain).nth(i).unwrap() -= step;
                loss
            };
            let expected = (at(step) - at(-step)) / f64::from(2.0 * step);
            let gradients = standard.weight.gradient.iter().chain(&standard.gain.gradient);
            let found = f64::from(*gradients.into_iter().nth(i).unwrap());
            assert!((found - expected).abs() < 1e-3, "{i}: {found} instead of {expected}");
        }
    }
}
