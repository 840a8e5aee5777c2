//! The standard laboratory.

use std::process::ExitCode;

/// Keeps what tensors free, so that the next step does not ask the system for it again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cl_experiments::Laboratory::standard().main()
}
