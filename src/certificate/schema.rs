//! The JSON Schema of a document.

/// The schema (draft 2020-12), as `smoothgate certificate schema` prints it.
pub fn schema() -> &'static str {
    include_str!("schema.json")
}
