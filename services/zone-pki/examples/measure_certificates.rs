//! What a certificate costs: `cargo run --release -p zone-pki --example measure_certificates`.
//!
//! Issuing, signing and revoking by 1, 16 and 64 tasks over a store in memory (so: without
//! fsync), beside the raw rates of making a key and of signing.

use std::sync::Arc;
use std::time::Duration;

use zone_access::{MountKind, Operation};
use zone_crypto::sign::{KeyType, PrivateKey};
use zone_host_linux::HostClock;
use zone_pki::{IssueAsk, PkiService, ReservedNames, Role, RootAsk};
use zone_ports::Clock;
use zone_testkit::Lab;
use zone_x509::Subject;

const CSR: &str = include_str!("../tests/data/plain.csr");

struct Bench {
    lab: Lab,
    pki: Arc<PkiService>,
    clock: HostClock,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lab = Lab::new().await;
    lab.mount(MountKind::Pki, "pki/").await;
    let reserved = ReservedNames::new("zone.example", &[]);
    let pki = PkiService::new(
        lab.access.clone(),
        lab.barrier.clone(),
        lab.clock.clone(),
        lab.random.clone(),
        reserved,
    );
    let bench = Bench {
        lab,
        pki: Arc::new(pki),
        clock: HostClock::new(),
    };
    bench.raw("P-256", KeyType::P256)?;
    bench.raw("Ed25519", KeyType::Ed25519)?;
    for (name, family, bits) in [("P-256", "ec", 256), ("Ed25519", "ed25519", 0)] {
        bench.prepare(family, bits).await?;
        for tasks in [1, 16, 64] {
            bench.issue(name, tasks).await?;
        }
    }
    bench.prepare("ec", 256).await?;
    for tasks in [1, 16, 64] {
        bench.sign(tasks).await?;
    }
    bench.revoke().await
}

impl Bench {
    fn raw(&self, name: &str, key_type: KeyType) -> Result<(), Box<dyn std::error::Error>> {
        let start = self.clock.monotonic();
        for _ in 0..2000 {
            PrivateKey::generate(key_type)?;
        }
        report(
            &format!("raw {name} keys"),
            2000,
            self.clock.monotonic() - start,
        );
        let key = PrivateKey::generate(key_type)?;
        let start = self.clock.monotonic();
        for _ in 0..10_000 {
            key.sign(key.algorithm().scheme(), &[7; 500])?;
        }
        report(
            &format!("raw {name} signatures"),
            10_000,
            self.clock.monotonic() - start,
        );
        Ok(())
    }

    async fn prepare(&self, family: &str, bits: u32) -> Result<(), Box<dyn std::error::Error>> {
        let permit = self
            .lab
            .permit(Operation::Update, "pki/root/generate/internal")
            .await;
        let ask = RootAsk {
            subject: Subject::common("Bench CA"),
            key_type: Some(RootAsk::key_type_of(family, bits)?),
            ..RootAsk::default()
        };
        self.pki
            .set_default_issuer(&permit, None, Some(true))
            .await?;
        self.pki.generate_root(&permit, &ask).await?;
        let role = Role {
            allow_any_name: true,
            key_type: family.into(),
            key_bits: bits,
            ttl: 3600,
            ..Role::default()
        };
        self.pki.put_role(&permit, "web", role).await?;
        Ok(())
    }

    async fn issue(&self, name: &str, tasks: u32) -> Result<(), Box<dyn std::error::Error>> {
        let each = 6400 / tasks;
        let start = self.clock.monotonic();
        let mut running = Vec::new();
        for _ in 0..tasks {
            let pki = self.pki.clone();
            let permit = self.lab.permit(Operation::Update, "pki/issue/web").await;
            running.push(tokio::spawn(async move {
                let ask = IssueAsk {
                    common_name: "a.example.com".into(),
                    ..IssueAsk::default()
                };
                for _ in 0..each {
                    pki.issue(&permit, "web", None, &ask).await?;
                }
                Ok::<(), zone_pki::PkiError>(())
            }));
        }
        for task in running {
            task.await??;
        }
        report(
            &format!("issue {name}, {tasks} tasks"),
            6400,
            self.clock.monotonic() - start,
        );
        Ok(())
    }

    async fn sign(&self, tasks: u32) -> Result<(), Box<dyn std::error::Error>> {
        let each = 6400 / tasks;
        let start = self.clock.monotonic();
        let mut running = Vec::new();
        for _ in 0..tasks {
            let pki = self.pki.clone();
            let permit = self.lab.permit(Operation::Update, "pki/sign/web").await;
            running.push(tokio::spawn(async move {
                for _ in 0..each {
                    pki.sign(&permit, "web", None, CSR, &IssueAsk::default())
                        .await?;
                }
                Ok::<(), zone_pki::PkiError>(())
            }));
        }
        for task in running {
            task.await??;
        }
        report(
            &format!("sign P-256, {tasks} tasks"),
            6400,
            self.clock.monotonic() - start,
        );
        Ok(())
    }

    async fn revoke(&self) -> Result<(), Box<dyn std::error::Error>> {
        let permit = self.lab.permit(Operation::List, "pki/certs/").await;
        let serials = self
            .pki
            .serials(&permit, &zone_pki::Page::default())
            .await?;
        let start = self.clock.monotonic();
        let mut revoked = 0;
        for serial in &serials {
            // The roots are refused.
            revoked += u32::from(self.pki.revoke(&permit, serial).await.is_ok());
        }
        report("revoke, 1 task", revoked, self.clock.monotonic() - start);
        let start = self.clock.monotonic();
        let list = self.pki.crl(&permit, "default").await?;
        let took = self.clock.monotonic() - start;
        println!("complete list of {} entries: {took:?}", list.entries());
        Ok(())
    }
}

fn report(what: &str, count: u32, took: Duration) {
    let rate = f64::from(count) / took.as_secs_f64();
    println!("{what}: {rate:.0}/s ({:?} each)", took / count.max(1));
}
