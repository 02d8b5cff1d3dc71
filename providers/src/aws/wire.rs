//! The JSON of Rekognition, in both directions.

use serde::{Deserialize, Serialize};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RequestOut {
    pub image: ImageOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_labels: Option<u32>,
    pub min_confidence: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ImageOut {
    pub bytes: String,
}

/// A reply: labels or an error, whichever keys there are.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReplyIn {
    pub labels: Option<Vec<LabelIn>>,
    pub label_model_version: Option<String>,
    pub moderation_labels: Option<Vec<LabelIn>>,
    pub moderation_model_version: Option<String>,
    #[serde(rename = "__type")]
    pub kind: Option<String>,
    #[serde(alias = "code")]
    pub code: Option<String>,
    /// Both spellings occur, and once both together.
    pub message: Option<String>,
    #[serde(rename = "message")]
    pub small_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LabelIn {
    pub name: Option<String>,
    pub confidence: Option<f64>,
}

/// A request as clients send it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RequestIn {
    pub image: Option<ImageIn>,
    pub max_labels: Option<i64>,
    pub min_confidence: Option<f64>,
    pub features: Option<Vec<String>>,
    pub settings: Option<SettingsIn>,
    pub human_loop_config: Option<serde::de::IgnoredAny>,
    pub project_version: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ImageIn {
    pub bytes: Option<String>,
    #[serde(rename = "S3Object")]
    pub object: Option<ObjectIn>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ObjectIn {
    pub bucket: Option<String>,
    pub name: Option<String>,
    pub version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SettingsIn {
    pub general_labels: Option<FiltersIn>,
    pub image_properties: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct FiltersIn {
    #[serde(rename = "LabelInclusionFilters")]
    pub only: Vec<String>,
    #[serde(rename = "LabelExclusionFilters")]
    pub without: Vec<String>,
    #[serde(rename = "LabelCategoryInclusionFilters")]
    pub only_categories: Vec<String>,
    #[serde(rename = "LabelCategoryExclusionFilters")]
    pub without_categories: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LabelsOut {
    pub labels: Vec<LabelOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_model_version: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LabelOut {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    pub instances: [u8; 0],
    pub parents: [u8; 0],
    pub aliases: [u8; 0],
    pub categories: [u8; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ModerationOut {
    pub moderation_labels: Vec<ModerationLabelOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moderation_model_version: Option<String>,
    pub content_types: [u8; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ModerationLabelOut {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    pub parent_name: &'static str,
    pub taxonomy_level: u8,
}
