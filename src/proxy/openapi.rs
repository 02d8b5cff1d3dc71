//! The description of the proxy's own paths for programs. The formats describe themselves: theirs are the APIs' own.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::health::{Health, Readiness};
use crate::certificate;

/// What our own paths say when they refuse.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Problem {
    /// What is wrong, in words.
    pub(super) error: String,
}

/// The OpenAPI 3.1 document of `/healthz`, `/readyz`, `/metrics`, `/openapi.json` and `/certificates/{id}`.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut generator = settings.into_generator();
    let alive = json!({ "200": reply::<Health>(&mut generator, "It answers.") });
    let ready = json!({
        "200": reply::<Readiness>(&mut generator, "Every check is passed."),
        "503": reply::<Readiness>(&mut generator, "A check is not passed."),
    });
    let mut problem = |words: &str| reply::<Problem>(&mut generator, words);
    let certificate = json!({
        "200": {
            "description": "The document, as `smoothgate verify` takes it.",
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Certificate" } } },
        },
        "401": problem("No credential, or one that is not known."),
        "403": problem("The credential does not permit this."),
        "404": problem("There is no such certificate, or it is another caller's."),
        "429": problem("Too many requests: `Retry-After` says when to come again."),
        "500": problem("The ledger cannot be read."),
    });
    let metrics = json!({
        "200": {
            "description": "Counts in the text format of OpenMetrics.",
            "content": { "application/openmetrics-text": { "schema": { "type": "string" } } },
        },
        "404": problem("They are told at the operator's port (`admin` of [serve]) alone."),
    });
    let described = json!({
        "200": {
            "description": "This document.",
            "content": { "application/json": { "schema": { "type": "object" } } },
        },
    });
    let mut schemas: Map<String, Value> = generator.take_definitions(true);
    add_certificate(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "smoothgate",
            "description": "The proxy's own paths. Labels are asked for in the formats of the public APIs, which describe \
                            themselves.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "paths": {
            "/healthz": get("alive", "Does the process live?", &alive, &json!([])),
            "/readyz": get("ready", "Can it do its work? Never makes a paid call.", &ready, &json!([])),
            "/metrics": get("metrics", "What it has done so far", &metrics, &json!([])),
            "/openapi.json": get("openapi", "This document", &described, &json!([])),
            "/certificates/{id}": with_id(get(
                "certificate",
                "The certificate behind a reply, by the id in its headers",
                &certificate,
                &json!([{}, { "token": [] }, { "key": [] }, { "signature": [] }]),
            )),
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "key": { "type": "apiKey", "in": "header", "name": "X-Api-Key" },
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4, service rekognition",
                },
            },
        },
    })
}

fn get(id: &str, summary: &str, responses: &Value, security: &Value) -> Value {
    json!({ "get": { "operationId": id, "summary": summary, "responses": responses, "security": security } })
}

fn with_id(mut path: Value) -> Value {
    path["parameters"] = json!([{
        "name": "id",
        "in": "path",
        "required": true,
        "description": "`X-Smoothgate-Certificate` of a reply",
        "schema": { "type": "string", "pattern": "^[0-9]+-[0-9a-f]{32}$" },
    }]);
    path
}

fn reply<T: JsonSchema>(generator: &mut SchemaGenerator, description: &str) -> Value {
    let schema = generator.subschema_for::<T>();
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

/// Adds the schema of certificates, whose parts get names of this document.
fn add_certificate(schemas: &mut Map<String, Value>) {
    let text = certificate::schema().replace("\"#/$defs/", "\"#/components/schemas/Certificate.");
    // It is a file of ours, which a test reads as JSON.
    let Ok(Value::Object(mut schema)) = serde_json::from_str(&text) else { return };
    for key in ["$schema", "$id"] {
        schema.remove(key);
    }
    if let Some(Value::Object(parts)) = schema.remove("$defs") {
        schemas.extend(parts.into_iter().map(|(name, part)| (format!("Certificate.{name}"), part)));
    }
    schemas.insert("Certificate".to_owned(), Value::Object(schema));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(to)) = fields.get("$ref") {
                    found.push(to.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = openapi();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 6, "{found:?}");
        for to in found {
            let at = document.pointer(to.strip_prefix('#').unwrap());
            assert!(at.is_some(), "{to}");
        }
        assert!(document["components"]["schemas"]["Certificate"]["properties"].is_object());
    }
}
