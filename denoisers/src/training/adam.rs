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
    pub(super) steps: u64,
    pub(super) means: Vec<Vec<f32>>,
    pub(super) squares: Vec<Vec<f32>>,
}

impl Default for Adam {
    /// 0.9, 0.999 and 1e-8, as in the paper.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, steps: 0, means: Vec::new(), squares: Vec::new() }
    }
}

impl Adam {
    /// Moves the learner's parameters against their gradients, at this learning rate.
    pub fn step(&mut self, learner: &mut Learner, rate: f64) {
        self.steps += 1;
        let (beta1, beta2) = (self.beta1 as f32, self.beta2 as f32);
        // Both bias corrections, on the rate and on epsilon's scale.
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let first = 1.0 - self.beta1.powi(steps);
        let second = (1.0 - self.beta2.powi(steps)).sqrt();
        let (rate, epsilon) = ((rate * second / first) as f32, (self.epsilon * second) as f32);
        let (means, squares) = (&mut self.means, &mut self.squares);
        learner.update(|index, _, values, gradient| {
            if means.len() == index {
                means.push(vec![0.0; values.len()]);
                squares.push(vec![0.0; values.len()]);
            }
            let (mean, square) = (&mut means[index], &mut squares[index]);
            for (((value, g), m), s) in values.iter_mut().zip(gradient).zip(mean).zip(square) {
                *m = beta1 * *m + (1.0 - beta1) * g;
                *s = beta2 * *s + (1.0 - beta2) * g * g;
                *value -= rate * *m / (s.sqrt() + epsilon);
            }
        });
    }
}
