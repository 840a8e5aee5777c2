//! The binary: parse, run, exit status.

use std::process::ExitCode;

/// Keeps what tensors free, so that the next step does not ask the system for it again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let ended = cl_experiments::commands::run();
    match ended.and_then(|status| cl_experiments::io::output::finish().map(|()| status)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            cl_experiments::warn_line!("error: {error}");
            ExitCode::from(2)
        }
    }
}
