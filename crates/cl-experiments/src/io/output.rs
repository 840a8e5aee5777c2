//! Output on standard output and standard error.
//!
//! A reader that has gone away (`… | head -1`) is not an error: a command that only prints ends quietly, and a run
//! continues. Any other write error is kept and reported when the command ends, see [`finish`].

use crate::io::error::UserError;
use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::Mutex;

/// The first error from writing to standard output.
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

/// Writes to standard error; a failure cannot be reported anywhere. Used by [`warn_line`](crate::warn_line).
pub fn warn(text: Arguments<'_>) {
    let _ = std::io::stderr().lock().write_fmt(text);
}

/// Checks that all output could be written.
///
/// # Errors
/// [`UserError::Run`] with the system's message, such as the one about a full disk.
pub fn finish() -> Result<(), UserError> {
    match FAILURE.lock().ok().and_then(|mut failure| failure.take()) {
        Some(reason) => Err(UserError::Run(format!("standard output cannot be written: {reason}"))),
        None => Ok(()),
    }
}

/// Prints to standard output.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::io::output::write(format_args!($($text)*)) };
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! say_line {
    ($($text:tt)*) => { $crate::io::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! warn_line {
    ($($text:tt)*) => { $crate::io::output::warn(format_args!("{}\n", format_args!($($text)*))) };
}
