//! What keeps a process's memory to itself.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Makes this process undumpable and forbids core files, for it and its children. Call it before
/// the first key is read.
///
/// Undumpable also means: no other process of the same user may trace it or read its memory
/// (ptrace(2)), and `/proc/self` belongs to root.
pub fn harden_process() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    Ok(())
}
