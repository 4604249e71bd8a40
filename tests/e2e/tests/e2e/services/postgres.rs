//! PostgreSQL: certificates for authentication (`hostssl … cert`), lists for revocation.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;
use zone_e2e::head::Process;
use zone_e2e::tool;

use super::port;
use crate::zone::{FOREIGN, Identity, PKI, Zone};

/// The user with all rights; like all users it is let in by its certificate alone.
const ADMIN: &str = "admin.zone.test";
/// The service.
const ORDERS: &str = "orders.zone.test";
/// The server's name.
const NAME: &str = "postgres.zone.test";

/// Who may come in: who has a certificate for the user's name. There is no other way.
const HBA: &str = "hostssl all all 127.0.0.1/32 cert clientcert=verify-full\n";

/// A cluster of its own with its server.
struct Postgres {
    dir: TempDir,
    port: u16,
    process: Option<Process>,
    /// The user that it runs as, if not as the caller: it refuses to run as root.
    user: Option<(u32, u32)>,
}

/// Files that it is given.
struct Trust<'a> {
    identity: &'a Identity,
    ca: &'a Path,
    lists: &'a Path,
}

impl Postgres {
    /// Makes a cluster and waits until it takes connections.
    fn start(trust: &Trust<'_>) -> Self {
        let user = geteuid().is_root().then(|| (id("-u"), id("-g")));
        let dir = tempfile::Builder::new().prefix("zone-e2e-pg-").tempdir();
        let mut server = Self {
            dir: dir.expect("a temporary directory can be made"),
            port: port(),
            process: None,
            user,
        };
        server.own(server.dir.path(), 0o700);
        let mut initdb = server.program("initdb");
        initdb
            .args([
                "--no-sync",
                "--locale=C",
                "--encoding=UTF8",
                "--auth=reject",
            ])
            .arg(format!("--username={ADMIN}"))
            .arg("--pgdata=data");
        tool::succeed(&mut initdb);
        server.give("server.pem", &trust.identity.chain);
        server.give("server.key", &trust.identity.key);
        server.give("ca.pem", trust.ca);
        server.give("crl.pem", trust.lists);
        server.write("data/pg_hba.conf", HBA);
        server.write("data/postgresql.conf", server.configuration());
        let mut postgres = server.program("postgres");
        postgres.args(["-D", "data"]);
        let process = Process::spawn(postgres);
        process.wait_for(0, "database system is ready to accept connections");
        server.process = Some(process);
        server
    }

    fn configuration(&self) -> String {
        format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\n\
             ssl = on\nssl_cert_file = '../server.pem'\nssl_key_file = '../server.key'\n\
             ssl_ca_file = '../ca.pem'\nssl_crl_file = '../crl.pem'\n\
             log_connections = on\nfsync = off\nmax_connections = 10\nshared_buffers = 16MB\n",
            self.port
        )
    }

    /// A program of the newest version here, run as the server's user in its directory.
    fn program(&self, name: &str) -> Command {
        let program = newest().join(name);
        let mut command = match self.user {
            None => tool::program(&program.to_string_lossy()),
            Some((uid, gid)) => {
                let mut command = tool::program("setpriv");
                command
                    .arg(format!("--reuid={uid}"))
                    .arg(format!("--regid={gid}"))
                    .args(["--clear-groups", "--"])
                    .arg(program);
                command
            }
        };
        command.current_dir(self.dir.path());
        command
    }

    /// Writes a file that belongs to the server.
    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let file = self.dir.path().join(name);
        std::fs::write(&file, text).expect("the directory is writable");
        self.own(&file, 0o600);
    }

    fn give(&self, name: &str, file: &Path) {
        self.write(name, std::fs::read(file).expect("the file is there"));
    }

    fn own(&self, path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .expect("the file is ours");
        if let Some((uid, gid)) = self.user {
            chown(path, Some(uid), Some(gid)).expect("root can give files away");
        }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it was started")
    }

    /// Gives it new lists. It reads them before it takes another connection.
    fn reload(&self, lists: &Path) {
        self.give("crl.pem", lists);
        let from = self.process().log_len();
        self.process().signal(Signal::HUP);
        self.process()
            .wait_for(from, "reloading configuration files");
    }

    /// psql as `user`; it checks the server's chain, name and revocation.
    fn psql(&self, trust: &Trust<'_>, user: &str, identity: Option<&Identity>) -> Command {
        let mut psql = tool::program("psql");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                psql.env_remove(&name);
            }
        }
        psql.env("HOME", self.dir.path())
            .env("PGHOST", NAME)
            .env("PGHOSTADDR", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGDATABASE", "postgres")
            .env("PGUSER", user)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", trust.ca)
            .env("PGSSLCRL", trust.lists)
            .args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1"]);
        if let Some(Identity { chain, key, .. }) = identity {
            psql.env("PGSSLCERT", chain).env("PGSSLKEY", key);
        }
        psql
    }

    /// The answer to a query.
    #[track_caller]
    fn ask(&self, trust: &Trust<'_>, user: &str, identity: &Identity, query: &str) -> String {
        let mut psql = self.psql(trust, user, Some(identity));
        tool::text(psql.args(["-c", query])).trim_end().to_owned()
    }

    /// A connection that the server refuses, with `reason` in its log. What the client says
    /// depends on whether it reads the alert before the connection breaks.
    #[track_caller]
    fn refuses(&self, mut psql: Command, reason: &str) {
        let from = self.process().log_len();
        let said = tool::fail(psql.args(["-c", "SELECT 'in'"]));
        assert!(!said.contains("\nin\n"), "{said}");
        self.process().wait_for(from, reason);
    }
}

impl Drop for Postgres {
    /// Without waiting for its children the directory could not be removed.
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::INT);
            process.wait();
        }
    }
}

/// An id of the user `postgres`, which Debian's package makes.
fn id(flag: &str) -> u32 {
    let text = tool::text(tool::program("id").args([flag, "postgres"]));
    text.trim().parse().expect("a number")
}

/// Where Debian keeps the server's programs: beside those of other versions.
fn newest() -> PathBuf {
    let all = std::fs::read_dir("/usr/lib/postgresql");
    let all = all.expect("PostgreSQL is there; else install it with `cargo xtask setup`");
    let versions = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let newest = versions.max().expect("a version is there");
    format!("/usr/lib/postgresql/{newest}/bin").into()
}

/// The service's table, made by the administrator.
const SCHEMA: &str = "CREATE ROLE \"orders.zone.test\" LOGIN; \
    CREATE TABLE token (value text); GRANT SELECT, INSERT ON token TO \"orders.zone.test\"";

const WHO: &str = "SELECT current_user, version, client_dn FROM pg_stat_ssl \
    WHERE pid = pg_backend_pid()";

#[tokio::test]
async fn postgres_lets_the_zones_clients_in_and_foreign_and_revoked_ones_not() {
    let zone = Zone::new().await;
    let ca = zone.imported_authority(PKI).await;
    zone.own_authority(FOREIGN).await;
    let server = zone.issue(PKI, NAME, "server").await;
    let admin = zone.issue(PKI, ADMIN, "admin").await;
    let orders = zone.issue(PKI, ORDERS, "orders").await;
    let lists = zone.fetch("pki/crl/chain", "lists.pem").await;
    let trust = Trust {
        identity: &server,
        ca: &ca,
        lists: &lists,
    };
    let postgres = Postgres::start(&trust);
    postgres.ask(&trust, ADMIN, &admin, SCHEMA);

    let who = postgres.ask(&trust, ORDERS, &orders, WHO);
    assert_eq!(who, "orders.zone.test|TLSv1.3|/CN=orders.zone.test");

    zone.keep_secret("orders", "token", "postgres-canary-5f1c");
    let token = zone.reader("orders").await;
    let secret = zone.read_secret(&token, "orders", "token");
    let insert = "\\getenv secret SECRET\nINSERT INTO token VALUES (:'secret');\n";
    let insert = zone.head.place.write("insert.sql", insert);
    let mut psql = postgres.psql(&trust, ORDERS, Some(&orders));
    tool::succeed(psql.env("SECRET", &secret).arg("-f").arg(insert));
    let kept = postgres.ask(&trust, ORDERS, &orders, "SELECT value FROM token");
    assert_eq!(kept, "postgres-canary-5f1c");

    let unverified = "certificate verify failed";
    let foreign = zone.issue(FOREIGN, ORDERS, "foreign").await;
    postgres.refuses(postgres.psql(&trust, ORDERS, Some(&foreign)), unverified);
    let without = postgres.psql(&trust, ORDERS, None);
    postgres.refuses(without, "requires a valid client certificate");
    let other = postgres.psql(&trust, ADMIN, Some(&orders));
    postgres.refuses(
        other,
        "certificate authentication failed for user \"admin.zone.test\"",
    );

    let new = zone.issue(PKI, ORDERS, "new").await;
    zone.revoke(PKI, &orders).await;
    let lists = zone.fetch("pki/crl/chain", "newer.pem").await;
    postgres.reload(&lists);
    postgres.refuses(postgres.psql(&trust, ORDERS, Some(&orders)), unverified);
    let who = postgres.ask(&trust, ORDERS, &new, WHO);
    assert_eq!(who, "orders.zone.test|TLSv1.3|/CN=orders.zone.test");
}

#[tokio::test]
async fn psql_refuses_a_server_that_is_foreign_misnamed_or_revoked() {
    let zone = Zone::new().await;
    let ca = zone.imported_authority(PKI).await;
    let foreign = zone.own_authority(FOREIGN).await;
    let server = zone.issue(PKI, NAME, "server").await;
    let admin = zone.issue(PKI, ADMIN, "admin").await;
    let lists = zone.fetch("pki/crl/chain", "lists.pem").await;
    let trust = Trust {
        identity: &server,
        ca: &ca,
        lists: &lists,
    };
    let postgres = Postgres::start(&trust);
    let psql = || postgres.psql(&trust, ADMIN, Some(&admin));
    assert_eq!(postgres.ask(&trust, ADMIN, &admin, "SELECT 1"), "1");

    let refuses = |mut psql: Command, reason: &str| {
        let said = tool::fail(psql.args(["-c", "SELECT 1"]));
        assert!(said.contains(reason), "{reason:?} is not in: {said}");
    };
    let mut elsewhere = psql();
    elsewhere.env("PGHOST", "other.zone.test");
    refuses(elsewhere, "does not match host name \"other.zone.test\"");
    let mut distrusting = psql();
    distrusting
        .env("PGSSLROOTCERT", &foreign)
        .env("PGSSLCRL", "");
    refuses(distrusting, "certificate verify failed");
    let half = zone.fetch("pki/crl/pem", "half.pem").await;
    let mut half_informed = psql();
    half_informed.env("PGSSLCRL", &half);
    refuses(half_informed, "certificate verify failed");
    zone.revoke(PKI, &server).await;
    let newer = zone.fetch("pki/crl/chain", "newer.pem").await;
    let mut informed = psql();
    informed.env("PGSSLCRL", &newer);
    refuses(informed, "certificate verify failed");
    assert_eq!(postgres.ask(&trust, ADMIN, &admin, "SELECT 1"), "1");
}
