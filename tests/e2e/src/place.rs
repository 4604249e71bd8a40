//! A directory with a configuration, the store, and the audit trail.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::head::{Head, Process};
use crate::zonehead;

/// What differs from the usual configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The zone's name.
    pub zone: String,
    /// Lines for the `[[listener]]` table.
    pub listener: String,
    /// Lines for the `[audit]` table.
    pub audit: String,
    /// `log.level`.
    pub log_level: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            zone: "zone.test".into(),
            listener: String::new(),
            audit: String::new(),
            log_level: "info".into(),
        }
    }
}

/// Everything that a head keeps. Removed when the last owner drops it.
#[derive(Debug)]
pub struct Place {
    dir: TempDir,
}

impl Place {
    /// A place with the usual configuration.
    pub fn new() -> Arc<Self> {
        Self::with(&Config::default())
    }

    /// A place with a configuration of its own.
    pub fn with(config: &Config) -> Arc<Self> {
        let dir = tempfile::Builder::new()
            .prefix("zone-e2e-")
            .tempdir()
            .expect("a temporary directory can be made");
        let place = Self { dir };
        place.configure(config);
        Arc::new(place)
    }

    /// Writes the configuration file.
    pub fn configure(&self, config: &Config) {
        let Config {
            zone,
            listener,
            audit,
            log_level,
        } = config;
        let data = self.data();
        let text = format!(
            "zone = \"{zone}\"\n\n[storage]\npath = \"{}\"\n\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             {listener}\n\n[audit]\n{audit}\n\n[log]\nlevel = \"{log_level}\"\n",
            data.display()
        );
        self.write("zonehead.toml", &text);
    }

    /// Writes a file of the test's own and returns its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let file = self.file(name);
        std::fs::write(&file, text).expect("the test's directory is writable");
        file
    }

    /// A path in the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.file("zonehead.toml")
    }

    /// `storage.path`.
    pub fn data(&self) -> PathBuf {
        self.file("data")
    }

    /// The certificate that clients trust.
    pub fn ca_file(&self) -> PathBuf {
        self.data().join("listener-ca.pem")
    }

    /// The file of the built-in audit device.
    pub fn audit_log(&self) -> PathBuf {
        self.data().join("audit/audit.log")
    }

    /// Starts a head and waits until it serves, sealed.
    pub fn start(self: &Arc<Self>) -> Head {
        Head::serving(self.clone(), self.spawn())
    }

    /// Starts a head that may not come up.
    pub fn spawn(&self) -> Process {
        let mut command = self.command();
        command.args(["server", "-config"]).arg(self.config_file());
        Process::spawn(command)
    }

    /// The program under test, as a newcomer runs it here.
    pub fn command(&self) -> Command {
        self.program(zonehead())
    }

    /// A program with this directory as its home, and nothing of the caller's environment that
    /// `zonehead` looks at.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("VAULT_") || text.starts_with("ZONEHEAD_") {
                command.env_remove(&name);
            }
        }
        command
            .env("HOME", self.path())
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }
}
