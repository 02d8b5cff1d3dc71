//! What all served formats share.

use std::collections::BTreeSet;
use std::time::Duration;

use smoothgate_providers::served::{self, FileKind, Refusal, RefusalClass, RefusalClass as C, Source};
use smoothgate_providers::{Answer, Outcome};

use crate::support::mark;

#[test]
fn every_format_is_found_by_its_name() {
    let names: BTreeSet<_> = served::all().iter().map(|api| api.name()).collect();
    let expected = ["aws", "azure", "azure-v3", "clarifai", "google", "huggingface", "kserve", "openai"];
    assert!(names.iter().eq(expected.iter()), "{names:?}");
    for name in expected {
        assert_eq!(served::by_name(name).unwrap().name(), name);
    }
    assert!(served::by_name("http").is_none());
}

#[test]
fn pictures_are_admitted_as_the_real_apis_would() {
    let png = b"\x89PNG\r\n\x1a\n";
    let gif = b"GIF89a";
    let class = |name: &str, bytes: &[u8], width, height| {
        served::by_name(name).unwrap().admit(bytes, width, height).err().map(|refusal| refusal.class)
    };
    assert_eq!(class("aws", png, 80, 10_000), None);
    assert_eq!(class("aws", png, 79, 200), Some(C::PictureTooSmall));
    assert_eq!(class("aws", png, 80, 10_001), Some(C::PictureTooLarge));
    assert_eq!(class("aws", gif, 80, 80), Some(C::BadPicture));
    assert_eq!(class("aws", b"", 80, 80), Some(C::BadPicture));
    assert_eq!(class("aws", b"<html>", 80, 80), Some(C::BadPicture));
    let mut long = png.to_vec();
    long.resize(5_242_881, 0);
    assert_eq!(class("aws", &long, 80, 80), Some(C::PictureTooLarge));
    assert_eq!(class("azure", gif, 51, 15_999), None);
    assert_eq!(class("azure", gif, 50, 400), Some(C::PictureTooSmall));
    assert_eq!(class("azure-v3", &long, 80, 80), Some(C::PictureTooLarge));
    assert_eq!(class("google", gif, 1, 1), None);
    assert_eq!(class("google", gif, 10_000, 7501), Some(C::PictureTooLarge));
    assert_eq!(class("google", gif, u32::MAX, u32::MAX), Some(C::PictureTooLarge));
    assert_eq!(FileKind::of(gif), Some(FileKind::Gif));
}

#[test]
fn upstream_words_and_credentials_stay_inside() {
    let reason = || "key AIzaPLANTED is wrong".to_owned();
    for outcome in [
        Outcome::Auth { reason: reason() },
        Outcome::QuotaSpent { reason: reason() },
        Outcome::Misconfigured { reason: reason() },
        Outcome::BadPicture { reason: reason() },
        Outcome::Malformed { reason: reason() },
    ] {
        let refusal = Refusal::from_upstream(&outcome).unwrap();
        assert!(!refusal.message.contains("PLANTED"), "{refusal}");
        assert_ne!(refusal.class, RefusalClass::Unauthenticated, "the client's own credential is right");
    }
    let pause = Some(Duration::from_secs(9));
    let throttled =
        Refusal::from_upstream(&Outcome::Throttled { retry_after: pause, reason: reason() }).unwrap();
    assert_eq!((throttled.class, throttled.retry_after), (RefusalClass::Throttled, pause));
    assert_eq!(Refusal::from_upstream(&Outcome::Answered(Answer::default())), None);
}

#[test]
fn no_refusal_of_overload_is_a_503_and_every_429_has_a_pause() {
    for api in served::all() {
        for class in RefusalClass::ALL {
            let response = api.refuse(&Refusal::new(class, "because \u{e9}\r\nX-Injected: 1"), &mark());
            assert!(!response.headers().contains_key("x-injected"));
            assert_eq!(
                response.status() == 503,
                class == RefusalClass::Unavailable && api.name() != "aws",
                "{class:?}"
            );
            if response.status() == 429 || class == RefusalClass::Throttled {
                assert!(response.headers().contains_key("retry-after"), "{}: {class:?}", api.name());
            }
        }
    }
}

#[test]
fn debug_shows_no_signed_url_and_no_picture() {
    let url = Source::Url("https://bucket.example.com/a.jpg?X-Amz-Signature=planted".to_owned());
    assert_eq!(format!("{url:?}"), "URL at bucket.example.com");
    assert_eq!(format!("{:?}", Source::Bytes(b"planted".as_slice().into())), "7 bytes");
}
