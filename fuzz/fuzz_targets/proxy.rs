//! See `lethewire::fuzzing::proxy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lethewire::fuzzing::proxy(data));
