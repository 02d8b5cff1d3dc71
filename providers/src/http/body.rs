//! How a picture becomes a body.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

use crate::wire::{base64, invalid};
use crate::{EncodedPicture, RequestError};

/// What a template may hold in any of its texts, and what it becomes.
const PLACEHOLDERS: [&str; 3] = ["${image.base64}", "${image.data_url}", "${image.media_type}"];

/// How a picture becomes a body.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "form", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Body {
    /// The file itself, under its own media type.
    #[default]
    Raw,
    /// JSON. In its texts `${image.base64}`, `${image.data_url}` and `${image.media_type}` are replaced.
    Json {
        /// The template.
        template: Value,
    },
    /// A form with the file under one name and texts under others (`multipart/form-data`).
    Multipart {
        /// The name of the field that holds the file.
        field: String,
        /// Further fields.
        #[serde(default)]
        fields: BTreeMap<String, String>,
    },
}

impl Body {
    /// A description without the picture in it would pay for answers about nothing.
    pub(super) fn check(&self) -> Result<(), RequestError> {
        match self {
            Self::Raw => Ok(()),
            Self::Json { template } => {
                let text = template.to_string();
                if PLACEHOLDERS[..2].iter().any(|placeholder| text.contains(placeholder)) {
                    return Ok(());
                }
                let problem = "`body.template` nowhere holds ${image.base64} or ${image.data_url}";
                Err(invalid("http", problem))
            }
            Self::Multipart { field, fields } => {
                let mut names = fields.keys().chain([field]);
                if names
                    .all(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && c != '"'))
                {
                    return Ok(());
                }
                Err(invalid("http", "names of form fields must be ASCII without spaces and quotes"))
            }
        }
    }

    /// The media type and the bytes.
    pub(super) fn fill(&self, picture: &EncodedPicture) -> (String, Bytes) {
        match self {
            Self::Raw => (picture.format.media_type().to_owned(), picture.bytes.clone()),
            Self::Json { template } => {
                let media_type = picture.format.media_type();
                let encoded = base64(&picture.bytes);
                let data_url = format!("data:{media_type};base64,{encoded}");
                let filled = replace(template, &[&encoded, &data_url, media_type]);
                ("application/json".to_owned(), filled.to_string().into())
            }
            Self::Multipart { field, fields } => form(field, fields, picture),
        }
    }
}

fn replace(template: &Value, values: &[&str; 3]) -> Value {
    match template {
        Value::String(text) => {
            let mut filled = text.clone();
            for (placeholder, value) in PLACEHOLDERS.iter().zip(values) {
                if filled.contains(placeholder) {
                    filled = filled.replace(placeholder, value);
                }
            }
            Value::String(filled)
        }
        Value::Array(list) => list.iter().map(|value| replace(value, values)).collect(),
        Value::Object(object) => {
            let filled = object.iter().map(|(key, value)| (key.clone(), replace(value, values)));
            Value::Object(filled.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn form(field: &str, fields: &BTreeMap<String, String>, picture: &EncodedPicture) -> (String, Bytes) {
    // A function of the contents, so that the same picture makes the same bytes; a hash does not occur in what it is
    // the hash of.
    let mut hasher = blake3::Hasher::new();
    hasher.update(&picture.bytes);
    for text in fields.values() {
        hasher.update(text.as_bytes());
    }
    let boundary = format!("smoothgate-{}", &hasher.finalize().to_hex()[..32]);
    let mut body = Vec::with_capacity(picture.bytes.len() + 512);
    for (name, text) in fields {
        let head =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
        body.extend(head.as_bytes());
    }
    let media_type = picture.format.media_type();
    let extension = media_type.trim_start_matches("image/");
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"image.{extension}\"\r\n\
         Content-Type: {media_type}\r\n\r\n"
    );
    body.extend(head.as_bytes());
    body.extend(&picture.bytes);
    body.extend(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body.into())
}
