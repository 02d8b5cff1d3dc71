#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| smoothgate_providers_fuzz::drive::reply("openai", data));
