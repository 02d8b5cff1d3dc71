//! The picture: what its sizes imply, and the file itself.

use serde_json::Value;

use super::bounds;
use super::check::{Check, Wrong};
use super::differ::differences;
use crate::certificate::{Certificate, Picture};
use crate::picture::{Limits, PictureError, PictureOptions, Preprocessing, WorkingImage, WorkingSize};

/// What the sizes, the filter and the rule for proportions imply: the operator norm above all.
pub(super) fn sizes(certificate: &Certificate) -> Check {
    const NAME: &str = "preprocessing";
    if let Err(says) = bounds::sizes(certificate) {
        return Check::fails(NAME, says, ["picture"]);
    }
    let picture = &certificate.picture;
    let stated = &picture.preprocessing;
    let mut wrong = unequal(stated, &stated.implied(picture.width, picture.height));
    if !(stated.bits == 8 || stated.bits == 16) {
        wrong.push(Wrong::new("picture.preprocessing.bits", "the bits of a value are 8 or 16"));
    }
    if !(1..=8).contains(&stated.orientation) {
        wrong.push(Wrong::new("picture.preprocessing.orientation", "an orientation is 1 to 8"));
    }
    let holds = format!(
        "from {}x{} to {}x{}: the norm of the resize and the rounding are what the sizes imply",
        stated.original.0, stated.original.1, picture.width, picture.height
    );
    Check::unless_wrong(NAME, holds, &wrong)
}

/// The working image of the file, made as the document says.
pub(super) fn open(certificate: &Certificate, file: &[u8]) -> Result<WorkingImage, PictureError> {
    WorkingImage::decode(file, &options(&certificate.picture))
}

fn options(picture: &Picture) -> PictureOptions {
    PictureOptions {
        size: WorkingSize::Exact { width: picture.width, height: picture.height },
        fit: picture.preprocessing.fit,
        filter: picture.preprocessing.filter.unwrap_or_default(),
        // Whoever certified it may accept larger pictures than this program does unless it is told to.
        limits: Limits { max_pixels: bounds::MOST_PIXELS, ..Limits::default() },
    }
}

/// The file gives the picture of the certificate.
pub(super) fn file(certificate: &Certificate, file: &[u8]) -> Vec<Check> {
    const NAME: &str = "picture";
    let image = match open(certificate, file) {
        Ok(image) => image,
        Err(error) => {
            return vec![Check::fails(NAME, format!("the picture cannot be opened: {error}"), ["picture"])];
        }
    };
    let mut wrong: Vec<Wrong> =
        Wrong::unless_equal("picture.hash", &certificate.picture.hash, &image.hash().to_string())
            .into_iter()
            .collect();
    wrong.extend(unequal(&certificate.picture.preprocessing, image.preprocessing()));
    vec![Check::unless_wrong(
        NAME,
        "the file is the picture, and was made ready as the document says",
        &wrong,
    )]
}

fn unequal(stated: &Preprocessing, follows: &Preprocessing) -> Vec<Wrong> {
    let value = |of: &Preprocessing| serde_json::to_value(of).unwrap_or(Value::Null);
    let at = |wrong: Wrong| Wrong::new(format!("picture.preprocessing.{}", wrong.field), wrong.says);
    differences(&value(stated), &value(follows)).into_iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_opened_that_a_server_may_have_been_told_to_accept() {
        let image = WorkingImage::from_rgb8(1, 2, &[7; 6]).unwrap();
        let picture = Picture {
            hash: image.hash().to_string(),
            width: 1,
            height: 2,
            preprocessing: image.preprocessing().clone(),
        };
        let options = options(&picture);
        assert_eq!(options.limits, Limits { max_pixels: 1 << 28, ..Limits::default() });
        assert_eq!(options.size, WorkingSize::Exact { width: 1, height: 2 });
    }
}
