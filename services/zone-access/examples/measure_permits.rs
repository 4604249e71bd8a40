//! What a permit costs: `cargo run --release -p zone-access --example measure_permits`.
//!
//! Over a store in memory, so without fsync: judging a request of a token with three policies
//! when everything is in the caches, its parts beside it, one of an entity in ten groups whose
//! policies have templates, the same from several tasks, a cold look-up, and making and revoking tokens.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use zone_access::identity::{EntityAsk, GroupAsk};
use zone_access::{
    Access, AliasName, Ask, CreateToken, LoginGrant, MountKind, NewMount, Operation,
};
use zone_barrier::Batch;
use zone_host_linux::HostClock;
use zone_ports::Clock;
use zone_testkit::Lab;
use zone_types::{RequestPath, Secret};

const ROUNDS: u32 = 300_000;
const PATH: &str = "secret/data/team/app/database";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let lab = Lab::new().await;
    let clock = HostClock::new();
    lab.mount(MountKind::Kv, "secret").await;
    lab.mount(MountKind::Pki, "pki").await;
    for (name, text) in [
        ("team", rules("secret/data/team/*", 12)),
        ("certs", rules("pki/issue/web", 12)),
        ("plus", rules("secret/+/team/app/*", 12)),
    ] {
        lab.policy(name, &text).await;
    }
    let child = lab.token(&["team", "certs", "plus"]).await.text;
    let orphan = orphan(&lab).await?;
    parts(&clock, &lab, &child).await?;
    for (name, token) in [("child of root", &child), ("orphan", &orphan)] {
        let span = judge(&clock, &lab.access, token, ROUNDS).await?;
        report(&format!("authorize, warm, {name}"), span, ROUNDS);
    }
    let member = member(&lab).await?;
    let span = judge(&clock, &lab.access, &member, ROUNDS).await?;
    report("authorize, warm, entity and groups", span, ROUNDS);
    restless(&clock, &lab, &member).await?;
    for tasks in [2, 4, 16] {
        let start = clock.monotonic();
        let work: Vec<_> = (0..tasks)
            .map(|_| {
                let (access, token) = (lab.access.clone(), child.clone());
                tokio::spawn(async move {
                    let clock = HostClock::new();
                    judge(&clock, &access, &token, ROUNDS / tasks).await.is_ok()
                })
            })
            .collect();
        for task in work {
            task.await?;
        }
        let span = clock.monotonic() - start;
        report(&format!("authorize, warm, {tasks} tasks"), span, ROUNDS);
    }
    changes(&clock, lab).await
}

/// A policy of `count` rules around `pattern`.
fn rules(pattern: &str, count: u32) -> String {
    let others = (0..count).map(|at| format!("secret/data/other-{at}/*"));
    let all = others.chain([pattern.to_owned()]);
    all.map(|path| format!("path \"{path}\" {{ capabilities = [\"read\", \"list\"] }}\n"))
        .collect()
}

/// A token of an entity in ten groups, one in the other, whose policies have templates.
async fn member(lab: &Lab) -> Result<Secret<String>, Box<dyn Error>> {
    let text = rules("secret/data/{{identity.entity.metadata.team}}/app/*", 12);
    lab.policy("templated", &text).await;
    let permit = lab.permit(Operation::Update, "sys/auth/approle").await;
    let new = NewMount::default();
    let mount = lab
        .access
        .enable(&permit, MountKind::AppRole, "auth/approle", new);
    mount.await?;
    let path = RequestPath::from_text("auth/approle/login")?;
    let ask = Ask {
        token: None,
        path: &path,
        operation: Operation::Update,
        data: None,
        remote: None,
        wrap_ttl: None,
    };
    let stranger = lab.access.authorize(ask).await;
    let stranger = stranger.map_err(|refusal| refusal.reason)?;
    let alias = AliasName {
        name: "member".into(),
        metadata: [].into(),
    };
    let grant = LoginGrant {
        alias: Some(alias),
        policies: vec!["team".into()],
        ..LoginGrant::default()
    };
    let made = lab.access.log_in(&stranger, &grant, Batch::new()).await?;
    let made = made.ok_or("somebody else logged in")?;
    let entity = made.entry.record.entity.clone().ok_or("no entity")?;
    let permit = lab.permit(Operation::Update, "identity/entity").await;
    let ask = EntityAsk {
        id: Some(entity.to_string()),
        metadata: Some([("team".to_owned(), "team".to_owned())].into()),
        ..EntityAsk::default()
    };
    lab.access.write_entity(&permit, ask).await?;
    let mut below = None;
    for at in 0..10 {
        let ask = GroupAsk {
            name: Some(format!("group-{at}")),
            policies: Some(vec!["templated".into(), "certs".into(), "plus".into()]),
            member_entities: Some(vec![entity.to_string()]),
            member_groups: Some(below.into_iter().collect()),
            ..GroupAsk::default()
        };
        let (group, _) = lab.access.write_group(&permit, ask).await?;
        below = Some(group.id.to_string());
    }
    Ok(made.text)
}

/// Each request comes after a change of somebody else's identity.
async fn restless(
    clock: &HostClock,
    lab: &Lab,
    token: &Secret<String>,
) -> Result<(), Box<dyn Error>> {
    const CHANGES: u32 = 2000;
    let permit = lab.permit(Operation::Update, "identity/entity").await;
    let mut span = Duration::ZERO;
    for at in 0..CHANGES {
        let ask = EntityAsk {
            name: Some("somebody".into()),
            metadata: Some([("at".to_owned(), at.to_string())].into()),
            ..EntityAsk::default()
        };
        lab.access.write_entity(&permit, ask).await?;
        span += judge(clock, &lab.access, token, 1).await?;
    }
    report("authorize, after others' changes", span, CHANGES);
    Ok(())
}

async fn orphan(lab: &Lab) -> Result<Secret<String>, Box<dyn Error>> {
    let ask = CreateToken {
        policies: ["team", "certs", "plus"].map(str::to_owned).to_vec(),
        no_parent: true,
        ..CreateToken::default()
    };
    let permit = lab.permit(Operation::Update, "auth/token/create").await;
    Ok(lab.access.create_token(&permit, ask).await?.text)
}

/// What a judgement is made of.
async fn parts(clock: &HostClock, lab: &Lab, token: &Secret<String>) -> Result<(), Box<dyn Error>> {
    let key = zone_crypto::hmac::Key::new(&[7; 32]);
    let start = clock.monotonic();
    for _ in 0..ROUNDS {
        black_box(key.sign_parts(&[b"token\0", token.expose().as_bytes()]));
    }
    report("HMAC of a token", clock.monotonic() - start, ROUNDS);
    let start = clock.monotonic();
    for _ in 0..ROUNDS {
        black_box(lab.access.token(token.expose()).await?);
    }
    report("token look-up, warm", clock.monotonic() - start, ROUNDS);
    let entry = lab.access.token(token.expose()).await?.ok_or("no token")?;
    let start = clock.monotonic();
    for _ in 0..ROUNDS {
        black_box(lab.access.capabilities(&entry, PATH).await?);
    }
    report("capabilities, warm", clock.monotonic() - start, ROUNDS);
    let start = clock.monotonic();
    for _ in 0..ROUNDS {
        black_box(lab.access.mount_of(PATH)?);
    }
    report("mount of a path", clock.monotonic() - start, ROUNDS);
    let start = clock.monotonic();
    for _ in 0..ROUNDS {
        black_box(lab.access.now()?);
    }
    report("time", clock.monotonic() - start, ROUNDS);
    Ok(())
}

async fn judge(
    clock: &HostClock,
    access: &Access,
    token: &Secret<String>,
    rounds: u32,
) -> Result<Duration, String> {
    let path = RequestPath::from_text(PATH).map_err(|fault| fault.to_string())?;
    let start = clock.monotonic();
    for _ in 0..rounds {
        let ask = Ask {
            token: Some(token),
            path: &path,
            operation: Operation::Read,
            data: None,
            remote: None,
            wrap_ttl: None,
        };
        let judged = black_box(access.authorize(ask).await);
        judged.map_err(|refusal| refusal.reason)?;
    }
    Ok(clock.monotonic() - start)
}

/// Making, looking up for the first time, revoking.
async fn changes(clock: &HostClock, lab: Lab) -> Result<(), Box<dyn Error>> {
    const TOKENS: u32 = 20_000;
    const TASKS: u32 = 64;
    let lab = Arc::new(lab);
    let start = clock.monotonic();
    let work: Vec<_> = (0..TASKS)
        .map(|_| tokio::spawn(make(lab.clone(), TOKENS / TASKS)))
        .collect();
    let mut made = Vec::new();
    for task in work {
        made.extend(task.await??);
    }
    report("create, 64 tasks", clock.monotonic() - start, TOKENS);
    let start = clock.monotonic();
    for token in &made {
        black_box(lab.access.token(token.expose()).await?);
    }
    report("token look-up, cold", clock.monotonic() - start, TOKENS);
    let start = clock.monotonic();
    let permit = lab.permit(Operation::List, "auth/token/accessors/").await;
    black_box(lab.access.accessors(&permit).await?);
    report("accessors, per token", clock.monotonic() - start, TOKENS);
    let root = lab
        .access
        .token(lab.root.expose())
        .await?
        .ok_or("no root")?;
    let start = clock.monotonic();
    lab.access.revoke_token(&root.id).await?;
    println!(
        "{:<32} {:>10.1?}",
        "revoke all of them",
        clock.monotonic() - start
    );
    let start = clock.monotonic();
    while lab.access.sweep().await? {}
    report("sweep, per token", clock.monotonic() - start, TOKENS);
    Ok(())
}

async fn make(lab: Arc<Lab>, count: u32) -> Result<Vec<Secret<String>>, zone_access::AccessError> {
    let mut made = Vec::new();
    for _ in 0..count {
        let permit = lab.permit(Operation::Update, "auth/token/create").await;
        let ask = CreateToken {
            policies: vec!["team".into()],
            ..CreateToken::default()
        };
        made.push(lab.access.create_token(&permit, ask).await?.text);
    }
    Ok(made)
}

fn report(what: &str, span: Duration, rounds: u32) {
    let micros = span.as_secs_f64() * 1e6 / f64::from(rounds);
    println!("{what:<34} {micros:>8.3} µs");
}
