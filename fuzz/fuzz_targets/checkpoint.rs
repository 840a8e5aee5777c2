#![no_main]

#[allow(dead_code, reason = "a target has one kind of file")]
#[path = "../../tests/entry_points.rs"]
mod entry_points;

use std::sync::Mutex;

/// What the last panic said. The program catches those that Burn has over records that do not fit.
static LAST: Mutex<String> = Mutex::new(String::new());

libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|panic| *LAST.lock().unwrap() = panic.to_string())),
    |bytes: &[u8]| {
        if std::panic::catch_unwind(|| entry_points::checkpoint(bytes)).is_err() {
            eprintln!("{}", LAST.lock().unwrap());
            std::process::abort();
        }
    }
);
