//! What the C library does with memory that was freed.

use std::io;

/// Allocations from here on are mapped, and unmapped when they are freed, in bytes.
const MAPPED: libc::c_int = 1024 * 1024;

/// Makes large allocations go back to the kernel when they are freed. Call it before the first
/// thread.
///
/// glibc takes the size of the first large piece that is freed as its new bound for mapping
/// (mallopt(3), `M_MMAP_THRESHOLD`), and from then on keeps pieces up to that size in a heap for
/// each thread: hashing passwords at 19 MiB each left hundreds of MiB behind. Setting the bound
/// ends that. Other C libraries are left alone.
pub fn return_freed_memory() -> io::Result<()> {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt takes two integers by value. It is not safe beside other threads'
        // allocations in old versions only (before 2.26); callers have none yet.
        let set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED) };
        if set != 1 {
            return Err(io::Error::other("mallopt refused M_MMAP_THRESHOLD"));
        }
    }
    Ok(())
}
