//! See `lethewire::fuzzing::entry`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lethewire::fuzzing::entry(data));
