//! Recorded answers of an API, for training.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;

/// The first label of each picture in a file of answers, under its path and every end of it; nothing where an end is of
/// several pictures with different labels.
pub(super) fn answers(file: &Path) -> anyhow::Result<HashMap<String, Option<String>>> {
    #[derive(serde::Deserialize)]
    struct Answer {
        image: String,
        labels: Vec<Label>,
    }
    #[derive(serde::Deserialize)]
    struct Label {
        name: String,
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    // A picture may come twice, once without an answer, because its call failed.
    let mut whole: HashMap<String, Option<Option<String>>> = HashMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let answer: Answer = serde_json::from_str(line).with_context(|| {
            let place = format!("{}:{}", file.display(), number + 1);
            format!("{place} is no line of `smoothgate label --format jsonl`")
        })?;
        let label = answer.labels.into_iter().next().map(|label| label.name);
        let known = whole.entry(answer.image).or_default();
        match (&known, label) {
            (_, None) => {}
            (None, label) => *known = Some(label),
            (Some(first), label) if *first == label => {}
            (Some(_), _) => *known = Some(None),
        }
    }
    let mut answers: HashMap<String, Option<String>> = HashMap::new();
    for (image, label) in whole {
        // Nothing for one that has no answer: an end that it shares with another is not the other's alone.
        let label = label.flatten();
        let mut end = Path::new(&image);
        loop {
            let known = answers.entry(end.display().to_string()).or_insert_with(|| label.clone());
            if *known != label {
                *known = None;
            }
            let mut parts = end.components();
            if parts.next().is_none() || parts.as_path().as_os_str().is_empty() {
                break;
            }
            end = parts.as_path();
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn answers_are_found_by_any_end_of_a_path_that_is_unambiguous() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let line = |image: &str, label: &str| {
            format!(r#"{{"image":"{image}","labels":[{{"name":"{label}","score":0.5}},{{"name":"x"}}]}}"#)
        };
        let lines = [
            line("set/a/1.png", "dog"),
            line("set/b/1.png", "cat"),
            line("set/b/2.png", "cat"),
            r#"{"image":"set/c/3.png","labels":[]}"#.to_owned(),
            r#"{"image":"train/d/4.png","labels":[]}"#.to_owned(),
            line("val/d/4.png", "dog"),
            // Asked again after it had failed.
            r#"{"image":"set/e/5.png","labels":[]}"#.to_owned(),
            line("set/e/5.png", "cow"),
        ];
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        let answers = answers(file.path()).unwrap();
        let of = |name: &str| answers.get(name).and_then(Option::as_deref);
        assert_eq!([of("a/1.png"), of("set/b/1.png"), of("2.png")], [Some("dog"), Some("cat"), Some("cat")]);
        assert_eq!([of("1.png"), of("c/3.png"), of("6.png")], [None; 3]);
        assert_eq!([of("d/4.png"), of("4.png"), of("val/d/4.png")], [None, None, Some("dog")]);
        assert_eq!([of("e/5.png"), of("5.png")], [Some("cow"); 2]);
        file.write_all(b"\n{}").unwrap();
        assert!(super::answers(file.path()).unwrap_err().to_string().contains(":9 is no line"));
    }
}
