//! The binary: parse, run, exit status.

use std::process::ExitCode;

/// Keeps what tensors free, so that the next step does not ask the system for it again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cl_experiments::cli::run() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
