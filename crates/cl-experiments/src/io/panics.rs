//! Panics of libraries that have no other way to report a failure.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Mutex};

/// The panic hook is global to the process: only one thread may change it at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `f`, turning a panic into its message without printing it.
pub fn quietly<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    let turn = ONE_AT_A_TIME.lock();
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(f));
    set_hook(hook);
    drop(turn);
    result.map_err(|payload| first_line(&*payload).unwrap_or_else(|| "unknown reason".into()))
}

/// The result of a call, and the messages of panics in any thread meanwhile, in order; none is printed.
pub struct Recorded<T> {
    /// The result, or `None` after a panic in this thread.
    pub result: Option<T>,
    /// Messages in the order of the panics.
    pub messages: Vec<String>,
}

/// Runs `f`, which may start threads, and records panics instead of printing them.
pub fn recorded<T>(f: impl FnOnce() -> T) -> Recorded<T> {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let exchange = |hook| {
        let _turn = ONE_AT_A_TIME.lock();
        let before = take_hook();
        set_hook(hook);
        before
    };
    let heard = messages.clone();
    let before = exchange(Box::new(move |info| {
        if let Ok(mut heard) = heard.lock() {
            heard.push(first_line(info.payload()).unwrap_or_else(|| "a panic without a message".into()));
        }
    }));
    let result = catch_unwind(AssertUnwindSafe(f)).ok();
    drop(exchange(before));
    let messages = messages.lock().map(|mut heard| std::mem::take(&mut *heard)).unwrap_or_default();
    Recorded { result, messages }
}

fn first_line(payload: &(dyn Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied())?;
    text.lines().next().map(String::from)
}

/// The system's own message inside a message that contains the debug output of its error, or the whole message.
pub fn in_words(message: &str) -> &str {
    let quoted = message.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
    quoted.map_or(message, |(words, _)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_of_other_threads_are_recorded_in_order() {
        let recorded = recorded(|| {
            let ended = std::thread::spawn(|| panic!("first\nand more")).join();
            assert!(ended.is_err());
            if ended.is_err() {
                panic!("second");
            }
        });
        assert!(recorded.result.is_none());
        assert_eq!(recorded.messages, ["first", "second"]);
    }

    #[test]
    fn errors_of_the_system_are_said_in_its_words() {
        let message = r#"Can log an item.: Os { code: 28, kind: StorageFull, message: "No space left on device" }"#;
        assert_eq!(in_words(message), "No space left on device");
        assert_eq!(in_words("index out of bounds"), "index out of bounds");
    }
}
