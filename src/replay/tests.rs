//! Replay of hand-written records.
