//! Stochastic gradient descent with momentum, as `PyTorch` defines it.

use super::{Learner, Part};

/// The optimiser and its velocities: `v = momentum v + g + weight_decay w`, `w = w - rate v`.
#[derive(Clone, Debug, Default)]
pub struct Sgd {
    /// In 0..1.
    pub momentum: f64,
    /// Of weights; biases and gains are left alone.
    pub weight_decay: f64,
    pub(super) velocities: Vec<Vec<f32>>,
}

impl Sgd {
    /// Moves the learner's parameters against their gradients, at this learning rate.
    pub fn step(&mut self, learner: &mut Learner, rate: f64) {
        let (momentum, rate) = (self.momentum as f32, rate as f32);
        let velocities = &mut self.velocities;
        learner.update(|index, part, values, gradient| {
            let decay = if part == Part::Weight { self.weight_decay as f32 } else { 0.0 };
            if velocities.len() == index {
                velocities.push(vec![0.0; values.len()]);
            }
            for ((value, g), v) in values.iter_mut().zip(gradient).zip(&mut velocities[index]) {
                *v = momentum * *v + g + decay * *value;
                *value -= rate * *v;
            }
        });
    }
}
