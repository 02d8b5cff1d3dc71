//! A picture of a run: the journal of its calls, and what is settled about it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use smoothgate_providers::{Attempt, AttemptEnd, AttemptId, Journal, JournalError, Outcome};
use tokio::sync::oneshot;

use super::attempts::{self, End, OpenAttempt};
use super::batch::Batch;
use super::filing::Place;
use super::job::{Job, Kind, unattended};
use super::row::RowError;
use super::run::RunInner;
use super::runs;
use super::stored::StoredPicture;
use super::writer::Writer;
use super::{LedgerError, PictureId, RunId};
use crate::engine::{Memory, Settled};

/// A picture of a run, as the engine and the transport see it.
///
/// The transport records every attempt through [`Journal`]. Which outcome of a draw counts is the engine's to say, since
/// only it knows when no further retry follows: it calls [`settle`](Self::settle) with what the endpoint returned for
/// the draw. Until then a failure on record is one of several attempts, and a resume asks the draw again, with the same
/// bytes. An answer, and a refusal of the picture, need no such decision, for nothing is asked after them: recording one settles
/// its draw in the same transaction, so that no instant exists at which it is paid for, on record, and could be asked again.
pub struct Picture {
    run: Arc<RunInner>,
    place: Arc<Place>,
    stored: StoredPicture,
    /// Draws with an answer on record, -1 for the clean answer: lets [`settle`](Self::settle) of an answer return at
    /// once.
    answered: Mutex<HashSet<i64>>,
    /// Attempts that this handle opened: their end is recorded without looking them up.
    open: Mutex<HashMap<i64, OpenAttempt>>,
}

impl Picture {
    pub(super) fn new(run: Arc<RunInner>, place: Place, stored: StoredPicture) -> Self {
        let is_answer = |settled: &Settled| matches!(settled.outcome, Outcome::Answered(_));
        let mut answered: HashSet<i64> = stored
            .draws
            .iter()
            .filter(|(_, settled)| is_answer(settled))
            .filter_map(|(draw, _)| i64::try_from(*draw).ok())
            .collect();
        answered.extend(stored.clean.as_ref().filter(|settled| is_answer(settled)).map(|_| -1));
        Self { run, place: Arc::new(place), stored, answered: Mutex::new(answered), open: Mutex::default() }
    }

    /// Puts it on record before all that is recorded later, of this picture and of others. Nobody waits for it: should it
    /// fail, the first record about the picture does it, and says what is wrong where that fails as well.
    pub(super) fn file(&self) -> Result<(), LedgerError> {
        let place = Arc::clone(&self.place);
        let filed = move |batch: &mut Batch<'_>| place.picture(batch).map(drop);
        let late = |error| tracing::debug!(%error, "a picture is put on record later");
        self.run.writer.hand_over(late, filed)
    }

    /// The run it belongs to.
    pub fn run(&self) -> RunId {
        self.run.lease.id
    }

    /// Its number in the ledger; `None` before the first record about it.
    pub fn id(&self) -> Option<PictureId> {
        self.place.number().map(PictureId)
    }

    /// Its name in the run.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// The seed of its draws: as given when the picture was first added.
    pub fn seed(&self) -> &[u8; 32] {
        self.place.seed()
    }

    /// What was settled before this process took the picture up. None of it may be asked again, and asking is refused.
    pub fn stored(&self) -> &StoredPicture {
        &self.stored
    }

    /// Records which outcome of a draw counts, `None` for the clean answer. A failure is on record when it returns.
    ///
    /// Call it once for every draw that the endpoint is done with, whatever the outcome, before the vote counts. For an
    /// answer it only checks that the answer was handed over. Settling again with a failure of the same class does nothing.
    ///
    /// # Errors
    /// [`LedgerError::Misuse`] for an answer that was not journaled and for a draw settled otherwise,
    /// [`LedgerError::Changed`] for other bytes than were sent for the draw. Failures of the storage: the vote must not
    /// count.
    pub async fn settle(&self, draw: Option<u64>, settled: &Settled) -> Result<(), LedgerError> {
        let draw = attempts::number(draw)?;
        if matches!(settled.outcome, Outcome::Answered(_)) {
            if self.answered().contains(&draw) {
                return Ok(());
            }
            let name = &self.place.name;
            return Err(LedgerError::Misuse(format!("the answer to draw {draw} of {name} is not on record")));
        }
        let (place, failure) = (Arc::clone(&self.place), settled.clone());
        let given_up = move |batch: &mut Batch<'_>| attempts::give_up(batch, &place, draw, &failure);
        self.place.is_on_record(self.run.writer.submit(Kind::Records, given_up).await?);
        Ok(())
    }

    /// Stores the picture's certificate, as the text given. On the disk when it returns: with it, every answer that it
    /// rests on. Storing the same text again does nothing. Returns the picture's number.
    ///
    /// # Errors
    /// [`LedgerError::Misuse`] where another text is stored already. Failures of the storage.
    pub async fn store_certificate(&self, text: &str) -> Result<PictureId, LedgerError> {
        let (answers, place, text) = (self.run.answers, Arc::clone(&self.place), text.to_owned());
        let certified = move |batch: &mut Batch<'_>| runs::certify(batch, &place, &text, answers);
        let number = self.run.writer.submit(Kind::Publishes, certified).await?;
        self.place.is_on_record(number);
        Ok(PictureId(number))
    }

    /// Returns when all that was handed over so far is on record.
    ///
    /// # Errors
    /// Where the end of a call is not, why.
    pub async fn recorded(&self) -> Result<(), LedgerError> {
        let place = Arc::clone(&self.place);
        self.run.writer.submit(Kind::Asks, move |_: &mut Batch<'_>| Ok(place.check()?)).await
    }

    fn answered(&self) -> MutexGuard<'_, HashSet<i64>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<i64, OpenAttempt>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open_attempt(&self, attempt: &Attempt) -> Result<AttemptId, LedgerError> {
        let draw = attempts::number(attempt.draw)?;
        let (place, attempt) = (Arc::clone(&self.place), attempt.clone());
        let opened = move |batch: &mut Batch<'_>| {
            let open = attempts::open(batch, &place, &attempt, draw)?;
            Ok(Intent { place: Arc::clone(&place), open })
        };
        let writer = &self.run.writer;
        let answer = writer.enqueue(Kind::Spends, Some(Intent::taken_back), opened).await?;
        let open = Unheard { answer: Some(answer), writer }.wait().await?;
        self.place.is_on_record(open.picture);
        self.opened().insert(open.id, open);
        Ok(AttemptId(open.id))
    }

    /// What a call brought is recorded even where something else of the picture is lost: it rests on nothing but its own intent, and
    /// would be paid for again.
    async fn close_attempt(&self, id: i64, end: End) -> Result<(), LedgerError> {
        let (known, answered) = (self.opened().remove(&id), end.is_answer());
        let draw = if let Some(open) = known {
            self.hand_over(open, end)?;
            open.draw
        } else {
            // One that another handle opened.
            let place = Arc::clone(&self.place);
            let closed = move |batch: &mut Batch<'_>| {
                let open = attempts::find(batch, &place, id)?;
                attempts::close(batch, &place, &open, &end)?;
                Ok(open.draw)
            };
            self.run.writer.submit(Kind::Records, closed).await?
        };
        if answered {
            self.answered().insert(draw);
        }
        self.place.check()
    }

    fn hand_over(&self, open: OpenAttempt, end: End) -> Result<(), LedgerError> {
        let (place, lost) = (Arc::clone(&self.place), Arc::clone(&self.place));
        let closed = move |batch: &mut Batch<'_>| {
            let closed = attempts::close(batch, &place, &open, &end);
            if let Err(RowError::Decided(refusal)) = &closed {
                // Before the next record of this very group.
                place.lose(refusal.clone());
            }
            closed
        };
        self.run.writer.hand_over(move |failure| lost.lose(failure), closed)
    }

    /// Where it fails the intent stays open and counts as spent: safe.
    fn take_back(&self, id: i64) -> Result<(), LedgerError> {
        let known = self.opened().remove(&id);
        let Some(open) = known else {
            let name = &self.place.name;
            return Err(LedgerError::Misuse(format!(
                "attempt {id} of {name} is not open and cannot be taken back"
            )));
        };
        let place = Arc::clone(&self.place);
        self.run.writer.post(Intent { place, open }.taken_back())
    }
}

impl Journal for Picture {
    fn open<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<AttemptId, JournalError>> {
        Box::pin(async move { Ok(self.open_attempt(attempt).await?) })
    }

    fn close<'a>(&'a self, id: AttemptId, end: AttemptEnd<'a>) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { Ok(self.close_attempt(id.0, End::of(id.0, &end)?).await?) })
    }

    fn withdraw(&self, id: AttemptId) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move { Ok(self.take_back(id.0)?) })
    }
}

impl Memory for Picture {
    fn recall(&self, draw: Option<u64>) -> Option<Settled> {
        match draw {
            Some(draw) => self.stored.draws.get(&draw).cloned(),
            None => self.stored.clean.clone(),
        }
    }

    fn settle<'a>(
        &'a self,
        draw: Option<u64>,
        settled: &'a Settled,
    ) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { Ok(self.settle(draw, settled).await?) })
    }

    fn attempts(&self) -> u64 {
        self.stored.attempts
    }

    fn as_journal(&self) -> &dyn Journal {
        self
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picture")
            .field("run", &self.run.lease.id)
            .field("name", &self.place.name)
            .finish_non_exhaustive()
    }
}

/// An intent on record whose caller has not heard of it yet.
struct Intent {
    place: Arc<Place>,
    open: OpenAttempt,
}

impl Intent {
    /// The record that takes it back.
    fn taken_back(self) -> Box<dyn Job> {
        unattended(move |batch| attempts::withdraw(batch, &self.place, &self.open))
    }
}

/// Waits for an intent. Dropped while it waits, it takes back what was recorded: the caller was cancelled before it
/// could send anything, and nothing may be charged for that.
struct Unheard<'w> {
    answer: Option<oneshot::Receiver<Result<Intent, LedgerError>>>,
    writer: &'w Writer,
}

impl Unheard<'_> {
    async fn wait(mut self) -> Result<OpenAttempt, LedgerError> {
        let Some(answer) = self.answer.as_mut() else { return Err(LedgerError::Closed) };
        let intent = answer.await;
        self.answer = None;
        Ok(intent.map_err(|_| LedgerError::Closed)??.open)
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        let Some(mut answer) = self.answer.take() else { return };
        // From here on the writer sees that nobody listens; what it sent before lies in the channel.
        answer.close();
        if let Ok(Ok(intent)) = answer.try_recv() {
            // Where the writer has ended the intent stays open and counts as spent: safe.
            let _ = self.writer.post(intent.taken_back());
        }
    }
}
