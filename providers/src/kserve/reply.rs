//! From a reply to outcomes.

use serde_json::Value;

use super::{AnswerForm, Options, Values, binary};
use crate::wire::{answered, by_status, for_all, glimpse, json, retry_after, shorten, unit_score};
use crate::{Answer, Label, Outcome, Reply};

/// One outcome a picture.
pub(super) fn read(options: &Options, pictures: usize, reply: &Reply) -> Vec<Outcome> {
    match answers(options, pictures, reply) {
        Ok(outcomes) => outcomes,
        Err(outcome) => for_all(pictures, &outcome),
    }
}

fn malformed(reason: impl Into<String>) -> Outcome {
    Outcome::Malformed { reason: reason.into() }
}

fn answers(options: &Options, pictures: usize, reply: &Reply) -> Result<Vec<Outcome>, Outcome> {
    let (head, raw) = binary::split(&reply.headers, &reply.body)
        .ok_or_else(|| by_status(reply, "a header that does not fit the body's length"))?;
    let body: Value = json(head).map_err(|problem| by_status(reply, &problem))?;
    if let Some(error) = body.get("error").filter(|error| !error.is_null()) {
        return Err(failure(error, reply));
    }
    let outputs = body.get("outputs").and_then(Value::as_array).filter(|_| reply.status.is_success());
    let outputs = outputs.ok_or_else(|| by_status(reply, &format!("no `outputs` in {}", glimpse(head))))?;
    let raw = binary::raw_of_each(outputs, raw)
        .ok_or_else(|| malformed("the sizes of the raw outputs do not add up to the body's length"))?;
    let named = |output: &Value| output.get("name").and_then(Value::as_str) == Some(&options.output);
    let at = outputs.iter().position(named);
    let at = at.ok_or_else(|| Outcome::Misconfigured {
        reason: format!(
            "the reply has no output `{}`: set `output` to the model's",
            shorten(&options.output)
        ),
    })?;
    let values =
        Tensor::read(&outputs[at], raw[at]).ok_or_else(|| malformed("an output that cannot be read"))?;
    let total = values.len();
    if pictures == 0 || !total.is_multiple_of(pictures) {
        return Err(malformed(format!("{total} values for {pictures} pictures")));
    }
    // In a batch the first dimension is the picture; values that merely divide evenly could be anyone's.
    let shape = binary::shape(&outputs[at]).ok_or_else(|| malformed("an output without a shape"))?;
    if shape.iter().product::<usize>() != total || (pictures > 1 && shape.first() != Some(&pictures)) {
        return Err(malformed(format!("{total} values in shape {shape:?} for {pictures} pictures")));
    }
    let each = total / pictures;
    let version = match body.get("model_version") {
        Some(Value::String(version)) if !version.is_empty() => Some(version.clone()),
        Some(Value::Number(version)) => Some(version.to_string()),
        _ => None,
    };
    let one = |index: usize| {
        let labels = values.labels(options, index * each, each)?;
        Ok(answered(reply, Answer { labels, model_version: version.clone(), ..Answer::default() }))
    };
    Ok((0..pictures).map(|index| one(index).unwrap_or_else(|outcome| outcome)).collect())
}

/// Texts in a reply, at most: a thousand classes for each of the pictures of a call are a tenth of it.
const MOST_TEXTS: usize = 1 << 20;

/// An output's values.
enum Tensor {
    Texts(Vec<String>),
    Numbers(Vec<f64>),
}

impl Tensor {
    fn read(output: &Value, raw: Option<&[u8]>) -> Option<Self> {
        let datatype = output.get("datatype").and_then(Value::as_str)?;
        // Triton's documents call the strings of the classification extension STRING, its replies BYTES.
        if matches!(datatype, "BYTES" | "STRING") {
            let texts = match raw {
                Some(raw) => binary::unpack(raw, MOST_TEXTS)?
                    .into_iter()
                    .map(|text| std::str::from_utf8(text).ok().map(str::to_owned))
                    .collect::<Option<_>>()?,
                None => binary::flatten(output.get("data")?)?
                    .into_iter()
                    .map(|text| text.as_str().map(str::to_owned))
                    .collect::<Option<_>>()?,
            };
            return Some(Self::Texts(texts));
        }
        let numbers = match (raw, datatype) {
            (Some(raw), "FP32") if raw.len().is_multiple_of(4) => {
                raw.as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
            }
            (Some(raw), "FP64") if raw.len().is_multiple_of(8) => {
                raw.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
            }
            (Some(_), _) => return None,
            (None, _) => {
                binary::flatten(output.get("data")?)?.into_iter().map(Value::as_f64).collect::<Option<_>>()?
            }
        };
        Some(Self::Numbers(numbers))
    }

    fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }

    /// The labels of the values from `from` on.
    fn labels(&self, options: &Options, from: usize, count: usize) -> Result<Vec<Label>, Outcome> {
        match (self, &options.answer) {
            (Self::Texts(texts), AnswerForm::Classification { .. }) => {
                // Lists of unequal length are filled up to a rectangle with empty strings.
                let own = texts[from..from + count].iter().filter(|text| !text.is_empty());
                own.map(|text| class(text, options.values)).collect()
            }
            (Self::Numbers(numbers), AnswerForm::Tensor { labels }) => {
                sorted(&numbers[from..from + count], labels, options.values)
            }
            (Self::Texts(_), AnswerForm::Tensor { .. }) => {
                Err(Outcome::Misconfigured { reason: "the output holds strings, not one value a class".to_owned() })
            }
            (Self::Numbers(_), AnswerForm::Classification { .. }) => Err(Outcome::Misconfigured {
                reason: "the server ignored the classification extension: set `answer` to `tensor` with its labels"
                    .to_owned(),
            }),
        }
    }
}

fn score(name: &str, value: f64, values: Values) -> Result<Option<f64>, Outcome> {
    match values {
        Values::Probabilities => unit_score(name, value, 1.0).map(Some),
        Values::Raw => Ok(None),
    }
}

/// `value:index[:label]`; a label may hold colons.
fn class(text: &str, values: Values) -> Result<Label, Outcome> {
    let mut parts = text.splitn(3, ':');
    let value = parts.next().and_then(|value| value.trim().parse::<f64>().ok());
    let index = parts.next().map(str::trim).filter(|index| !index.is_empty());
    let (Some(value), Some(index)) = (value, index) else {
        return Err(malformed(format!("`{}` is not value:index:label", shorten(text))));
    };
    let name = parts.next().filter(|label| !label.is_empty()).unwrap_or(index);
    Ok(Label { name: name.to_owned(), score: score(name, value, values)?, id: Some(index.to_owned()) })
}

/// One label a class, the highest value first, equal values by index.
fn sorted(numbers: &[f64], labels: &[String], values: Values) -> Result<Vec<Label>, Outcome> {
    if numbers.len() != labels.len() {
        return Err(Outcome::Misconfigured {
            reason: format!(
                "{} values a picture, but `answer.labels` has {} labels",
                numbers.len(),
                labels.len()
            ),
        });
    }
    if numbers.iter().any(|number| number.is_nan()) {
        return Err(Outcome::Unusable { reason: "a value is not a number".to_owned() });
    }
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*b].total_cmp(&numbers[*a]));
    order
        .into_iter()
        .map(|index| {
            let name = &labels[index];
            let score = score(name, numbers[index], values)?;
            Ok(Label { name: name.clone(), score, id: Some(index.to_string()) })
        })
        .collect()
}

/// Errors have words and no codes.
fn failure(error: &Value, reply: &Reply) -> Outcome {
    let words = shorten(error.as_str().unwrap_or(&error.to_string()));
    let lower = words.to_ascii_lowercase();
    let says = |any: &[&str]| any.iter().any(|part| lower.contains(part));
    if says(&["queue size", "queue is full"]) {
        return Outcome::Throttled { retry_after: retry_after(&reply.headers), reason: words };
    }
    if reply.status.is_client_error()
        && says(&[
            "unknown model",
            "not found",
            "not ready",
            "unexpected",
            "inference input",
            "inference output",
        ])
    {
        return Outcome::Misconfigured { reason: format!("{}: {words}", reply.status) };
    }
    by_status(reply, &words)
}
