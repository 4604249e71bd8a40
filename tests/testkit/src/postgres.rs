//! A real PostgreSQL server of a test's own: cluster, socket and end.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{getegid, geteuid, getgid, getuid};

/// The user that owns the cluster, and its database.
const NAME: &str = "zonehead";
/// The port that clients expect.
const PORT: u16 = 5432;

/// Waits until its input ends, which it does with the test's process, and clears away.
const KEEPER: &str = "trap '' INT TERM; read -r line; \
    \"$1\" stop -D \"$2/data\" -m immediate >/dev/null 2>&1; rm -rf \"$2\"";

/// A server, listening on a Unix socket in [`Postgres::sockets`].
pub struct Postgres {
    dir: PathBuf,
    keeper: Child,
    /// Whether `small/` is a file system of a few MiB.
    small: bool,
    /// Of its socket's name, and of TCP if its configuration listens there.
    port: u16,
}

impl Postgres {
    /// A server with the defaults of its version.
    pub fn start() -> Self {
        Self::make(&room(), "", &[], false, PORT)
    }

    /// A server with its files below `parent`: on the disk that counts, for measurements.
    pub fn start_in(parent: &Path) -> Self {
        Self::make(parent, "", &[], false, PORT)
    }

    /// A server that also listens on a TCP port of this machine, with more lines in its
    /// configuration and more files beside its data.
    pub fn start_on(port: u16, lines: &str, files: &[(&str, &[u8])]) -> Self {
        Self::make(&room(), lines, files, false, port)
    }

    /// A server with a tablespace `small` of 8 MiB for its user's tables.
    pub fn start_small() -> Self {
        let server = Self::make(&room(), "", &[], true, PORT);
        let place = server.dir.join("small/space");
        server.sql(&format!(
            "CREATE TABLESPACE small LOCATION '{}'",
            place.display()
        ));
        server.sql("ALTER ROLE zonehead SET default_tablespace = small");
        server
    }

    fn make(parent: &Path, lines: &str, files: &[(&str, &[u8])], small: bool, port: u16) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("zone-pg-")
            .tempdir_in(parent);
        let dir = dir.unwrap().keep();
        std::fs::create_dir(dir.join("small")).unwrap();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]);
        keeper.arg(as_owner("pg_ctl", &dir)).arg(&dir);
        let keeper = keeper.stdin(Stdio::piped()).spawn().unwrap();
        let server = Self {
            dir,
            keeper,
            small,
            port,
        };
        for path in [server.dir.clone(), server.dir.join("small")] {
            server.own(&path, 0o700);
        }
        let mut initdb = server.program("initdb");
        initdb.args(["--no-sync", "--locale=C", "--encoding=UTF8"]);
        initdb.args(["--auth=trust", "--data-checksums", "--pgdata=data"]);
        run(initdb.arg(format!("--username={NAME}")));
        for (name, bytes) in files {
            server.write(name, bytes);
        }
        server.configure(lines);
        server.begin();
        server.sql_in("postgres", &format!("CREATE DATABASE {NAME}"));
        server
    }

    /// Writes the configuration anew.
    pub fn configure(&self, lines: &str) {
        let mut text = format!(
            "port = {}\nlisten_addresses = '{}'\nunix_socket_directories = '{}'\nmax_connections = 60\n\
             shared_buffers = 16MB\nlog_min_messages = warning\nlog_statement = 'none'\n",
            self.port,
            if self.port == PORT { "" } else { "127.0.0.1" },
            self.dir.display()
        );
        writeln!(text, "{lines}").unwrap();
        self.write("data/postgresql.conf", text.as_bytes());
    }

    /// Replaces who may come in.
    pub fn let_in(&self, hba: &str) {
        self.write("data/pg_hba.conf", hba.as_bytes());
        self.control(&["reload"]);
    }

    /// From its next start on it waits for a primary that there is not.
    pub fn make_standby(&self) {
        self.write("data/standby.signal", b"");
    }

    /// Starts it and waits until it takes connections.
    pub fn begin(&self) {
        self.control(&["start", "-w", "-t", "60", "-l", "log", "-s"]);
    }

    /// Ends it as a crash would: nothing is written any more.
    pub fn crash(&self) {
        self.control(&["stop", "-m", "immediate", "-s"]);
    }

    /// Reads the configuration again.
    pub fn reload(&self) {
        self.control(&["reload", "-s"]);
    }

    /// Where its socket is.
    pub fn sockets(&self) -> &Path {
        &self.dir
    }

    /// How it is reached through a socket in `sockets`.
    pub fn url_at(sockets: &Path) -> String {
        format!(
            "postgresql:///{NAME}?host={}&user={NAME}",
            sockets.display()
        )
    }

    /// How it is reached.
    pub fn url(&self) -> String {
        Self::url_at(&self.dir)
    }

    /// The file of a table or index.
    pub fn file_of(&self, relation: &str) -> PathBuf {
        let query = format!("CHECKPOINT; SELECT pg_relation_filepath('{relation}')");
        self.dir.join("data").join(self.sql(&query))
    }

    /// How many sessions it has, psql's own aside.
    pub fn sessions(&self) -> usize {
        let query = "SELECT count(*) FROM pg_stat_activity \
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        self.sql(query).parse().unwrap()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap()
    }

    /// Runs statements, with psql, as its owner; their output.
    pub fn sql(&self, text: &str) -> String {
        self.sql_in(NAME, text)
    }

    /// Runs a line as an administrator types it, `pg_dump …`, with the environment that leads such
    /// programs to the server as its owner.
    pub fn client(&self, line: &str) {
        let mut words = line.split_whitespace();
        let mut command = self.reaching(words.next().unwrap());
        run(command.args(words));
    }

    /// Makes a physical copy of the running server, beside its data, and proves it whole.
    pub fn base_backup(&self, name: &str) {
        let mut copy = self.program("pg_basebackup");
        copy.arg("--host").arg(&self.dir);
        copy.args(["--username", NAME, "--port", &self.port.to_string()]);
        copy.args(["--wal-method=stream", "--checkpoint=fast"]);
        run(copy.arg(format!("--pgdata={name}")));
        run(self.program("pg_verifybackup").arg(name));
    }

    /// Puts a physical copy in the place of the data of a server that is stopped.
    pub fn put_back(&self, name: &str) {
        let data = self.dir.join("data");
        std::fs::rename(&data, self.dir.join("data.before")).unwrap();
        std::fs::rename(self.dir.join(name), data).unwrap();
    }

    /// A client program that finds the server.
    fn reaching(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(&name);
            }
        }
        command.env("PGHOST", &self.dir).env("PGUSER", NAME);
        command.env("PGPORT", self.port.to_string());
        command
    }

    fn sql_in(&self, database: &str, text: &str) -> String {
        let mut psql = self.reaching("psql");
        psql.args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1"]);
        let output = run(psql.args(["-d", database, "-c", text]));
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    fn control(&self, arguments: &[&str]) {
        let mut command = self.program("pg_ctl");
        run(command
            .args(["-D", "data"])
            .args(arguments)
            .stdin(Stdio::null()));
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let file = self.dir.join(name);
        std::fs::write(&file, bytes).unwrap();
        self.own(&file, 0o600);
    }

    fn own(&self, path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        if let Some((uid, gid)) = other_user() {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }

    /// A program of the server's, run as its user in its directory.
    fn program(&self, name: &str) -> Command {
        let mut command = match self.small {
            false => Command::new(as_owner(name, &self.dir)),
            true => self.inside(name),
        };
        command.current_dir(&self.dir).env("LC_ALL", "C.UTF-8");
        command
    }

    /// The same where `small/` is a file system of its own, which no other process sees.
    fn inside(&self, name: &str) -> Command {
        let (uid, gid) = other_user().unwrap_or((0, 0));
        let mount = format!(
            "mount -t tmpfs -o size=8m,mode=700,uid={uid},gid={gid} small small && \
             mkdir -m 700 small/space && chown {uid}:{gid} small/space && exec \"$@\""
        );
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["sh", "-c", &mount, "sh"]);
        if !geteuid().is_root() {
            // The server runs as no root, not even as one in name.
            command.args(["unshare", "--user"]);
            command.arg(format!("--map-user={}", getuid().as_raw()));
            command.arg(format!("--map-group={}", getgid().as_raw()));
        }
        command.arg(as_owner(name, &self.dir));
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Where clusters are: in memory if there is room. The kernel outlives a server that is killed, so
/// a disk would add nothing but time.
fn room() -> PathBuf {
    const WANTED: u64 = 4 << 30;
    let memory = PathBuf::from("/dev/shm");
    match rustix::fs::statvfs(&memory) {
        Ok(stat) if stat.f_bavail.saturating_mul(stat.f_frsize) > WANTED => memory,
        _ => std::env::temp_dir(),
    }
}

/// A script beside the cluster that runs `name` as the server's user.
fn as_owner(name: &str, dir: &Path) -> PathBuf {
    let script = dir.join(format!("run-{name}"));
    let user = other_user().map_or_else(String::new, |(uid, gid)| {
        format!("setpriv --reuid={uid} --regid={gid} --clear-groups -- ")
    });
    let program = newest().join(name);
    let text = format!("#!/bin/sh\nexec {user}{} \"$@\"\n", program.display());
    let mut file = std::fs::File::create(&script).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let rights = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&script, rights).unwrap();
    script
}

/// The user that the server runs as, if not as the caller: it refuses to run as root.
fn other_user() -> Option<(u32, u32)> {
    (geteuid().is_root() && getegid().is_root()).then(|| (id("-u"), id("-g")))
}

/// An id of the user `postgres`, which Debian's package makes.
fn id(flag: &str) -> u32 {
    let output = run(Command::new("id").args([flag, "postgres"]));
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().parse().unwrap()
}

/// Where Debian keeps the server's programs: beside those of other versions.
fn newest() -> PathBuf {
    let all = std::fs::read_dir("/usr/lib/postgresql");
    let all = all.expect("PostgreSQL is there; else install it with `cargo xtask setup`");
    let versions = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let newest = versions.max().expect("a version is there");
    format!("/usr/lib/postgresql/{newest}/bin").into()
}

fn run(command: &mut Command) -> Output {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}
