//! See `lethewire::fuzzing::control`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lethewire::fuzzing::control(data));
