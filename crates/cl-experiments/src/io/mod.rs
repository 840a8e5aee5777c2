//! Everything between this program and the outside world: errors, devices, files, output, downloads.

pub mod device;
pub mod error;
pub mod fetch;
pub mod files;
pub mod manifest;
pub mod os_path;
pub mod output;
pub mod panics;
pub mod shell;
pub mod toml_file;
pub mod undefined;
