//! Words of a stranger, made fit for an error message.

/// Longest text that is kept, in characters.
const LONGEST: usize = 240;
/// Most characters that are looked at: a page of HTML need not be read to its end.
const LOOKED_AT: usize = 4096;
/// What stands for something that may be a credential or a piece of a picture.
const HIDDEN: &str = "[hidden]";

/// `text` on one line, at most 240 characters, without anything that may be a credential or a piece of a picture.
///
/// APIs quote requests in their errors: keys, tokens, base64. Hidden are runs that look like one: known prefixes
/// (`AIza`, `sk-`, `hf_`, `AKIA`, `ASIA`, `eyJ`, `ya29`), hexadecimal or mixed runs of 32 characters and more, any
/// run of 48 and more that is no path in small letters, and what follows `Bearer`, `Basic` or `Key` with a digit in it.
pub fn shorten(text: &str) -> String {
    let mut kept = String::new();
    let (looked_at, cut) = prefix(text, LOOKED_AT);
    let mut rest = looked_at;
    let mut previous = "";
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_run(c) != is_run(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if !is_run(first) {
            push_spaced(&mut kept, run);
        } else if hides(run, previous) || (cut && after.is_empty()) {
            // The last run of a cut text may be the beginning of a longer one.
            kept.push_str(HIDDEN);
            previous = run;
        } else {
            kept.push_str(run);
            previous = run;
        }
        rest = after;
    }
    let (short, cut_again) = prefix(kept.trim(), LONGEST);
    if cut || cut_again { format!("{}...", short.trim_end()) } else { short.to_owned() }
}

/// The first `most` characters, and whether something was cut.
fn prefix(text: &str, most: usize) -> (&str, bool) {
    text.char_indices().nth(most).map_or((text, false), |(at, _)| (&text[..at], true))
}

fn is_run(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-')
}

fn hides(run: &str, previous: &str) -> bool {
    const PREFIXES: [&str; 7] = ["AIza", "sk-", "hf_", "AKIA", "ASIA", "eyJ", "ya29"];
    let has = |class: fn(&char) -> bool| run.chars().any(|c| class(&c));
    let digit = has(char::is_ascii_digit);
    let upper = has(char::is_ascii_uppercase);
    let mixed = digit && upper && has(char::is_ascii_lowercase);
    let path = run.contains('/') && !upper && !run.contains("//");
    let hexadecimal = run.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let named = ["bearer", "basic", "key"].iter().any(|word| previous.eq_ignore_ascii_case(word));
    (run.len() >= 48 && !path)
        || (run.len() >= 32 && (mixed || hexadecimal))
        || (run.len() >= 8 && PREFIXES.iter().any(|p| run.starts_with(p)))
        || (named && digit)
}

/// Appends what lies between runs, with white space and control characters as one space.
fn push_spaced(kept: &mut String, between: &str) {
    for c in between.chars() {
        if !(c.is_whitespace() || c.is_control() || c == char::REPLACEMENT_CHARACTER) {
            kept.push(c);
        } else if !kept.ends_with(' ') {
            kept.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_stay_as_they_are() {
        for text in [
            "API key not valid. Please pass a valid API key.",
            "Quota exceeded for quota metric 'Requests' of service 'vision.googleapis.com'.",
            "Input image dimensions 10800 x 5400 exceed maximum dimension size of 10000 pixels",
            "no such model: /v2/users/clarifai/apps/main/models/general-image-recognition/outputs",
        ] {
            assert_eq!(shorten(text), text);
        }
    }

    #[test]
    fn credentials_and_pictures_are_hidden() {
        for secret in [
            "AIzaFAKEKEY",
            "sk-proj-abc123",
            "hf_FAKEFAKE",
            "AKIDEXAMPLE1/wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "0123456789abcdef0123456789abcdef",
            "iVBORw0KGgoAAAANSUhEUgAAAFAAAABQCAIAAAABc2X6AAAAd0lEQVR4nO3PAQ3A",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "eyJ0eXAiOiAi.eyJpc3MiOiAi.i39MNTXsWN7rmjHd1Fnxqn8Hby1fCJ9va1QkYAq",
        ] {
            let text = shorten(&format!("the key {secret} is wrong: {secret}"));
            assert!(!text.contains(&secret[..12.min(secret.len())]), "{text}");
            assert!(text.contains("is wrong"), "{text}");
        }
        assert_eq!(shorten("Authorization: Bearer abc123"), "Authorization: Bearer [hidden]");
    }

    #[test]
    fn no_length_of_text_shows_the_beginning_of_a_cut_secret() {
        let secret = "Zq9".repeat(2000);
        for lead in [0, 1, 100, LOOKED_AT - 40, LOOKED_AT - 20, LOOKED_AT - 1] {
            let text = shorten(&format!("{}{secret}", " ".repeat(lead)));
            assert!(!text.contains("Zq9"), "{lead}: {text}");
        }
    }

    #[test]
    fn long_and_dirty_text_becomes_one_short_line() {
        let text = shorten(&"a page\r\n\t\u{0}\u{7} ".repeat(1000));
        assert!(text.chars().count() <= LONGEST + 3 && text.starts_with("a page a page"), "{text}");
        assert!(!text.chars().any(char::is_control));
    }
}
