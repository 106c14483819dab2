//! The program. All of it is in the library: a build of this file then compiles next to nothing.

use std::process::ExitCode;

/// A bill run is many small texts, made on one thread and dropped on another: where that is a good part of the work, jemalloc is faster
/// than glibc's allocator. SQLite's memory comes from it, too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    rebilld::run()
}
