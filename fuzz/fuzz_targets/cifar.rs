#![no_main]

#[allow(dead_code, reason = "a target has one kind of file")]
#[path = "../../tests/entry_points.rs"]
mod entry_points;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry_points::cifar(bytes));
