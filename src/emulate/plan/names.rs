//! The name that was probably meant.

/// The name that differs from `word` by the fewest letters, if they are few enough for a slip.
pub(super) fn closest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let near = names.iter().map(|name| (strsim::osa_distance(word, name), *name)).min()?;
    (near.0 <= word.chars().count().max(3) / 3 + 1).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_other_words() {
        assert_eq!(closest("latancy", &["seed", "latency"]), Some("latency"));
        assert_eq!(closest("gogole", &["aws", "google"]), Some("google"));
        assert_eq!(closest("colour", &["seed", "latency"]), None);
        assert_eq!(closest("x", &[]), None);
    }
}
