//! What is known of the machine, for operators. Nothing depends on it.

use std::fmt::Debug;

/// Tells of the machine.
pub trait Host: Debug + Send + Sync {
    /// As it is now. May read files of the system; what cannot be read is zero or empty.
    fn facts(&self) -> HostFacts;
}

/// What is known of the machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostFacts {
    /// Its name.
    pub hostname: String,
    /// `linux`.
    pub os: &'static str,
    /// The distribution: `debian`.
    pub platform: String,
    /// The distribution's version.
    pub platform_version: String,
    /// The kernel's release.
    pub kernel: String,
    /// `x86_64`.
    pub arch: &'static str,
    /// Seconds since it was started.
    pub uptime: u64,
    /// When it was started, in seconds since 1970.
    pub boot_time: u64,
    /// Processes.
    pub processes: u64,
    /// Processors that this process may use.
    pub cpus: usize,
    /// The first processor's model.
    pub cpu_model: String,
    /// Mean numbers of waiting processes over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Memory in bytes.
    pub memory: MemoryFacts,
    /// The file systems that the zone writes to.
    pub disks: Vec<DiskFacts>,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryFacts {
    /// All.
    pub total: u64,
    /// What a new process could have.
    pub available: u64,
    /// What nobody uses.
    pub free: u64,
}

/// One file system, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskFacts {
    /// A path on it.
    pub path: String,
    /// All.
    pub total: u64,
    /// What this process could still write.
    pub free: u64,
}
