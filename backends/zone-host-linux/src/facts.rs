//! What `/proc` and the file systems tell of the machine.

use std::path::PathBuf;

use zone_ports::host::{DiskFacts, Host, HostFacts, MemoryFacts};

/// The machine that this process runs on.
#[derive(Clone, Debug)]
pub struct LinuxHost {
    /// Paths on the file systems that are told of.
    paths: Vec<PathBuf>,
}

impl LinuxHost {
    /// Tells also of the file systems of `paths`.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }

    fn disks(&self) -> Vec<DiskFacts> {
        let facts = |path: &PathBuf| {
            let found = rustix::fs::statvfs(path).ok()?;
            Some(DiskFacts {
                path: path.display().to_string(),
                total: found.f_blocks.saturating_mul(found.f_frsize),
                free: found.f_bavail.saturating_mul(found.f_frsize),
            })
        };
        self.paths.iter().filter_map(facts).collect()
    }
}

impl Host for LinuxHost {
    fn facts(&self) -> HostFacts {
        let release = read("/etc/os-release");
        let stat = read("/proc/stat");
        HostFacts {
            hostname: read("/proc/sys/kernel/hostname").trim().to_owned(),
            os: std::env::consts::OS,
            platform: unquoted(&after(&release, "ID=")),
            platform_version: unquoted(&after(&release, "VERSION_ID=")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            arch: std::env::consts::ARCH,
            uptime: number(read("/proc/uptime").split('.').next().unwrap_or("")),
            boot_time: number(&after(&stat, "btime ")),
            processes: processes(&read("/proc/loadavg")),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cpu_model: cpu_model(&read("/proc/cpuinfo")),
            load: load(&read("/proc/loadavg")),
            memory: memory(&read("/proc/meminfo")),
            disks: self.disks(),
        }
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// What stands behind `start` on the first line that begins with it.
fn after(text: &str, start: &str) -> String {
    let found = text.lines().find_map(|line| line.strip_prefix(start));
    found.unwrap_or_default().trim().to_owned()
}

fn unquoted(text: &str) -> String {
    text.trim_matches('"').to_owned()
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

fn cpu_model(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("model name"));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

/// `0.10 0.20 0.30 1/234 5678`.
fn load(text: &str) -> [f64; 3] {
    let mut load = [0.0; 3];
    for (place, word) in load.iter_mut().zip(text.split_whitespace()) {
        *place = word.parse().unwrap_or(0.0);
    }
    load
}

fn processes(text: &str) -> u64 {
    let word = text.split_whitespace().nth(3).unwrap_or("");
    number(word.split_once('/').map_or("", |(_, all)| all))
}

/// `MemTotal:  16384 kB`.
fn memory(text: &str) -> MemoryFacts {
    let bytes = |name| number(after(text, name).trim_end_matches(" kB")).saturating_mul(1024);
    MemoryFacts {
        total: bytes("MemTotal:"),
        available: bytes("MemAvailable:"),
        free: bytes("MemFree:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_read() {
        let text = "MemTotal:       16384 kB\nMemFree:  2 kB\nMemAvailable:   4096 kB\n";
        let facts = memory(text);
        assert_eq!(
            (facts.total, facts.free, facts.available),
            (16_777_216, 2048, 4_194_304)
        );
        assert_eq!(load("0.10 0.25 1.5 2/345 6789\n"), [0.1, 0.25, 1.5]);
        assert_eq!(processes("0.10 0.25 1.5 2/345 6789\n"), 345);
        assert_eq!(
            cpu_model("processor : 0\nmodel name\t: Fast One\n"),
            "Fast One"
        );
        assert_eq!(unquoted(&after("NAME=x\nID=\"debian\"\n", "ID=")), "debian");
        let none = [memory("").total, number("x"), processes("rubbish")];
        assert_eq!(none, [0; 3]);
    }

    #[test]
    fn this_machine_has_a_name_memory_and_a_disk() {
        let here = LinuxHost::new(vec!["/".into(), "/no/such/place".into()]).facts();
        assert!(!here.hostname.is_empty() && !here.kernel.is_empty());
        assert!(here.memory.total >= here.memory.available && here.memory.available > 0);
        assert!(here.cpus > 0 && here.boot_time > 0);
        assert_eq!(here.disks.len(), 1);
        assert!(here.disks[0].total >= here.disks[0].free && here.disks[0].total > 0);
    }
}
