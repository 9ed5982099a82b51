//! See `lethewire::fuzzing::token`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lethewire::fuzzing::token(data));
