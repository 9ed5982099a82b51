//! See `lethewire::fuzzing::rooms`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lethewire::fuzzing::rooms(data));
