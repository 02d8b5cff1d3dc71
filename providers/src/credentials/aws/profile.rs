//! The files that `aws configure` writes: `~/.aws/credentials` and `~/.aws/config`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use super::AwsKeys;
use crate::credentials::{CredentialError, Environment};

type Section = BTreeMap<String, String>;

/// The keys of a profile and where they were found. `None`: no profile was named and there is no `default`.
pub(super) fn keys(
    named: Option<&str>,
    environment: &Environment,
) -> Result<Option<(AwsKeys, String)>, CredentialError> {
    let name = named.unwrap_or("default");
    let source = format!("profile {name}");
    let unusable =
        |problem: &str| CredentialError::Unusable { from: source.clone(), problem: problem.to_owned() };
    let Some(mut section) = section(name, environment)? else {
        return match named {
            None => Ok(None),
            Some(_) => Err(unusable(
                "neither ~/.aws/credentials nor ~/.aws/config has it: run `aws configure list-profiles`",
            )),
        };
    };
    let secret = |value: Option<String>| value.filter(|v| !v.is_empty()).map(SecretString::from);
    let (id, key) = (section.remove("aws_access_key_id"), secret(section.remove("aws_secret_access_key")));
    match (id, key) {
        (Some(access_key_id), Some(secret_access_key)) => {
            let session_token = secret(section.remove("aws_session_token"));
            Ok(Some((AwsKeys { access_key_id, secret_access_key, session_token }, source)))
        }
        (None, None) => {
            let other =
                ["role_arn", "sso_session", "sso_start_url", "credential_process", "web_identity_token_file"];
            match other.iter().find(|key| section.contains_key(**key)) {
                Some(key) => Err(unusable(&format!(
                    "it gets its keys by {key}, which only the AWS tools can do: run \
                     `eval \"$(aws configure export-credentials --profile {name} --format env)\"`"
                ))),
                None if named.is_some() => Err(unusable("it holds no access key")),
                None => Ok(None), // Only a region, say.
            }
        }
        _ => Err(unusable("it needs both aws_access_key_id and aws_secret_access_key")),
    }
}

/// The region of a profile.
pub(super) fn region(
    named: Option<&str>,
    environment: &Environment,
) -> Result<Option<String>, CredentialError> {
    Ok(section(named.unwrap_or("default"), environment)?.and_then(|mut section| section.remove("region")))
}

/// A profile from both files together. `credentials` comes first.
fn section(name: &str, environment: &Environment) -> Result<Option<Section>, CredentialError> {
    let place = |variable: &str, below: &str| {
        environment.get(variable).map(PathBuf::from).or_else(|| environment.home(below))
    };
    let mut found: Option<Section> = None;
    for (path, heading) in [
        (place("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), name.to_owned()),
        // `config` writes every profile but `default` with a word before its name.
        (place("AWS_CONFIG_FILE", ".aws/config"), format!("profile {name}")),
    ] {
        let Some(path) = path.filter(|path| path.exists()) else { continue };
        let text = std::fs::read_to_string(&path).map_err(|error| CredentialError::Unusable {
            from: path.display().to_string(),
            problem: error.to_string(),
        })?;
        let mut sections = parse(&text);
        let default = (name == "default").then(|| sections.remove("default")).flatten();
        if let Some(section) = sections.remove(&heading).or(default) {
            let found = found.get_or_insert_with(Section::new);
            for (key, value) in section {
                found.entry(key).or_insert(value);
            }
        }
    }
    Ok(found)
}

/// AWS' INI: `[section]`, `key = value`, comments on their own lines with `#` or `;` and after a blank, indented lines
/// that belong to the key above (nested settings, which are not ours).
fn parse(text: &str) -> BTreeMap<String, Section> {
    let mut sections = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        if line.starts_with(['#', ';', ' ', '\t']) || line.trim().is_empty() {
            continue;
        }
        if let Some(heading) = line.strip_prefix('[') {
            let heading = heading.split(']').next().unwrap_or_default();
            let heading = heading.split_whitespace().collect::<Vec<_>>().join(" ").replace(['"', '\''], "");
            sections.entry(heading.clone()).or_insert_with(Section::new);
            current = Some(heading);
            continue;
        }
        let (Some(section), Some((key, value))) = (&current, line.split_once('=')) else { continue };
        let value = value.split(" #").next().unwrap_or_default().split(" ;").next().unwrap_or_default();
        if let Some(section) = sections.get_mut(section) {
            section.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn environment(credentials: &str, config: &str) -> (tempfile::TempDir, Environment) {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        let environment = Environment::of([("HOME", home.path().to_str().unwrap())]);
        (home, environment)
    }

    #[test]
    fn profiles_are_read_from_both_files() {
        let (_home, environment) = environment(
            "# comment\n[default]\naws_access_key_id = AKID\naws_secret_access_key=abc=+/def\n\n[work]\n\
             aws_access_key_id=AKIDW\naws_secret_access_key = w # ours\naws_session_token = tok==\n",
            "[default]\nregion = eu-west-1\ns3 =\n  region = nested\n[profile work]\nregion = us-east-2\n\
             [profile roled]\nrole_arn = arn:aws:iam::1:role/x\n[profile empty]\noutput = json\n",
        );
        let (keys, source) = super::keys(None, &environment).unwrap().unwrap();
        assert_eq!((keys.access_key_id.as_str(), source.as_str()), ("AKID", "profile default"));
        assert_eq!(keys.secret_access_key.expose_secret(), "abc=+/def");
        let (keys, _) = super::keys(Some("work"), &environment).unwrap().unwrap();
        assert_eq!(keys.secret_access_key.expose_secret(), "w");
        assert_eq!(keys.session_token.unwrap().expose_secret(), "tok==");
        assert_eq!(region(None, &environment).unwrap().as_deref(), Some("eu-west-1"));
        assert_eq!(region(Some("work"), &environment).unwrap().as_deref(), Some("us-east-2"));
        for (profile, says) in [
            ("roled", "export-credentials --profile roled"),
            ("absent", "list-profiles"),
            ("empty", "no access key"),
        ] {
            let error = super::keys(Some(profile), &environment).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn half_a_key_is_an_error_and_no_files_are_none() {
        let (_home, half) = environment("[default]\naws_access_key_id = AKID\n", "");
        assert!(super::keys(None, &half).unwrap_err().to_string().contains("both"));
        assert!(super::keys(None, &Environment::of([("HOME", "/absent")])).unwrap().is_none());
    }
}
