//! Every wire format, in both directions, against fixtures.
//!
//! A fixture is a whole HTTP message as text. `{{picture}}` in it stands for the bytes of [`support::PICTURE`] and
//! `{{picture.base64}}` for their base64.
#![cfg(test)]

mod aws;
mod azure;
mod clarifai;
mod google;
mod http;
mod huggingface;
mod kserve;
mod mutations;
mod openai;
mod recorded;
mod served;
mod support;
