//! The standard laboratory.

use std::process::ExitCode;

/// Keeps memory that tensors free, so that the next step does not have to request it from the system again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cl_experiments::Laboratory::standard().main()
}
