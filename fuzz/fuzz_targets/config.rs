//! See `lethewire::fuzzing::config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lethewire::fuzzing::config(data));
