//! Adam (Kingma and Ba 2015, algorithm 1).

use super::Learner;

/// The optimiser and its running averages.
#[derive(Clone, Debug)]
pub struct Adam {
    /// Decay of the average of gradients, in 0..1.
    pub beta1: f64,
    /// Decay of the average of squared gradients, in 0..1.
    pub beta2: f64,
    /// Added to the root of the average square.
    pub epsilon: f64,
    steps: i32,
    moments: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Default for Adam {
    /// 0.9, 0.999 and 1e-8, as in the paper.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, steps: 0, moments: Vec::new() }
    }
}

impl Adam {
    /// Moves the learner's parameters against their gradients, at this learning rate.
    pub fn step(&mut self, learner: &mut Learner, rate: f64) {
        self.steps += 1;
        let (beta1, beta2) = (self.beta1 as f32, self.beta2 as f32);
        // Both bias corrections, on the rate and on epsilon's scale.
        let first = 1.0 - self.beta1.powi(self.steps);
        let second = (1.0 - self.beta2.powi(self.steps)).sqrt();
        let (rate, epsilon) = ((rate * second / first) as f32, (self.epsilon * second) as f32);
        let moments = &mut self.moments;
        learner.update(|index, values, gradient| {
            if moments.len() == index {
                moments.push((vec![0.0; values.len()], vec![0.0; values.len()]));
            }
            let (mean, square) = &mut moments[index];
            for (((value, g), m), s) in values.iter_mut().zip(gradient).zip(mean).zip(square) {
                *m = beta1 * *m + (1.0 - beta1) * g;
                *s = beta2 * *s + (1.0 - beta2) * g * g;
                *value -= rate * *m / (s.sqrt() + epsilon);
            }
        });
    }
}
