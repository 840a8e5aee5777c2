//! What is said on standard output and standard error.
//!
//! A reader that has left (`… | head -1`) ends nothing: what only prints comes to a quiet end, and a run goes on. Any other failure to
//! write is kept and told when the command ends, see [`finish`].

use crate::io::error::UserError;
use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::Mutex;

/// What went wrong first when standard output was written to.
static FAILURE: Mutex<Option<String>> = Mutex::new(None);

/// Writes to standard output. The macros [`say`](crate::say) and [`say_line`](crate::say_line) call this.
pub fn write(text: Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    if let Err(e) = stdout.write_fmt(text).and_then(|()| stdout.flush())
        && e.kind() != ErrorKind::BrokenPipe
        && let Ok(mut failure) = FAILURE.lock()
    {
        failure.get_or_insert_with(|| e.to_string());
    }
}

/// Writes to standard error, where nothing is left to be told of a failure. The macro [`warn_line`](crate::warn_line) calls this.
pub fn warn(text: Arguments<'_>) {
    let _ = std::io::stderr().lock().write_fmt(text);
}

/// Whether all that was said could be written.
///
/// # Errors
/// [`UserError::Run`] with the system's words, such as those about a full disk.
pub fn finish() -> Result<(), UserError> {
    match FAILURE.lock().ok().and_then(|mut failure| failure.take()) {
        Some(reason) => Err(UserError::Run(format!("standard output cannot be written: {reason}"))),
        None => Ok(()),
    }
}

/// Says something on standard output.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::io::output::write(format_args!($($text)*)) };
}

/// Says a line on standard output.
#[macro_export]
macro_rules! say_line {
    ($($text:tt)*) => { $crate::io::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// Says a line on standard error.
#[macro_export]
macro_rules! warn_line {
    ($($text:tt)*) => { $crate::io::output::warn(format_args!("{}\n", format_args!($($text)*))) };
}
