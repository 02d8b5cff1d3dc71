//! Where a test ends, seen from the votes that were cast: what is drawn beside them.

/// How many votes against the label end a test at the vote it has come to, the strongest rival being as strong as it is
/// (or, for fewer votes against than it has, having all of them).
///
/// A test that goes by counts certifies and gives up in half-planes of them, so one number a radius says it all: the test
/// does at this vote what its votes against the label, held against these numbers, say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    /// For each radius of the test, lowest first, the most votes against the label with which this vote certifies it;
    /// `None` where no number does. A test that is not about given radii has one entry, for any radius.
    pub certify: Vec<Option<usize>>,
    /// The fewest votes against the label with which the test ends here without the next radius; `None` where no number
    /// of the votes so far does.
    pub give_up: Option<usize>,
}

impl Boundary {
    /// No number of votes against the label decides anything about these many radii.
    pub(super) fn open(radii: usize) -> Self {
        Self { certify: vec![None; radii], give_up: None }
    }
}
