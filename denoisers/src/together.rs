//! Batches of several callers, classified at once.

use tokio::sync::oneshot;

use crate::{Batch, Classifier, ClassifyError};

/// Pictures that a classifier gets at once.
pub(crate) const TOGETHER: usize = 32;

/// Probabilities of each picture.
pub(crate) type Classified = Result<Vec<Vec<f32>>, ClassifyError>;

/// A batch that nobody has classified yet.
pub(crate) struct Waiting {
    pub(crate) batch: Batch,
    pub(crate) reply: oneshot::Sender<Classified>,
}

/// Classifies batches of one size, at most [`TOGETHER`] pictures at once or a single batch.
pub(crate) fn together(classifier: &mut dyn Classifier, mut waiting: Vec<Waiting>) {
    while !waiting.is_empty() {
        let mut count = 0;
        let fits = |w: &&Waiting| {
            count += w.batch.count();
            count <= TOGETHER
        };
        let some = waiting.iter().take_while(fits).count().max(1);
        let rest = waiting.split_off(some);
        let (batches, replies): (Vec<Batch>, Vec<_>) =
            waiting.into_iter().map(|w| (w.batch, w.reply)).unzip();
        waiting = rest;
        let counts: Vec<usize> = batches.iter().map(Batch::count).collect();
        let joined = match <[Batch; 1]>::try_from(batches) {
            Ok([batch]) => batch,
            Err(batches) => {
                let size = (batches[0].height(), batches[0].width());
                let data = batches.into_iter().flat_map(Batch::into_data).collect();
                Batch::trusted(data, counts.iter().sum(), size)
            }
        };
        let mut found = classifier.classify(joined).map_err(|error| error.to_string());
        for (count, reply) in counts.into_iter().zip(replies) {
            let answer = match &mut found {
                Ok(all) => Ok(all.drain(..count.min(all.len())).collect()),
                Err(reason) => Err(ClassifyError::Failed { reason: reason.clone() }),
            };
            // A receiver that has gone in the meantime does not need the result.
            drop(reply.send(answer));
        }
    }
}
