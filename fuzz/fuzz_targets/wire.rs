//! See `lethewire::fuzzing::wire`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lethewire::fuzzing::wire(data));
