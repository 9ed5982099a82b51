//! See `letheproxy::fuzzing::proxy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| letheproxy::fuzzing::proxy(data));
