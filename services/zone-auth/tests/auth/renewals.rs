//! Renewals obey what the role or user says now.

use std::time::Duration;

use zone_access::Created;
use zone_auth::{NewSecretId, RoleChange, TokenChange};

use crate::common::Bench;

fn role(ttl: u64, max_ttl: u64, period: u64) -> RoleChange {
    RoleChange {
        token: TokenChange {
            ttl: Some(ttl),
            max_ttl: Some(max_ttl),
            period: Some(period),
            ..TokenChange::default()
        },
        ..RoleChange::default()
    }
}

/// Seconds that the token has left after a renewal by `increment`, or what was said.
async fn renewed(bench: &Bench, token: &Created, increment: u64) -> Result<u64, String> {
    let permit = bench.root("auth/token/renew").await;
    let renewed = bench
        .lab
        .access
        .renew_token(&permit, &token.entry, increment)
        .await;
    let now = bench.lab.access.now().unwrap();
    renewed
        .map(|entry| entry.record.ttl(now))
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_role_that_was_narrowed_narrows_the_tokens_that_it_gave() {
    let bench = Bench::new().await;
    let role_id = bench.role("web", role(600, 6000, 0)).await;
    let made = bench.secret_id("web", &NewSecretId::default()).await;
    let token = bench.log_in(&role_id, &made.secret_id).await.unwrap();
    assert_eq!(renewed(&bench, &token, 5000).await, Ok(5000));
    bench.role("web", role(600, 1000, 0)).await;
    assert_eq!(renewed(&bench, &token, 5000).await, Ok(1000));
    bench.lab.clock.advance(Duration::from_secs(100));
    assert_eq!(
        renewed(&bench, &token, 5000).await,
        Ok(900),
        "from the login on"
    );
    bench.role("web", role(300, 0, 0)).await;
    assert_eq!(
        renewed(&bench, &token, 0).await,
        Ok(300),
        "the role's time to live"
    );
    bench.role("web", role(0, 0, 777)).await;
    assert_eq!(
        renewed(&bench, &token, 5000).await,
        Ok(777),
        "periodic by now"
    );
    let permit = bench.at_role("web").await;
    bench.auth.delete_role(&permit).await.unwrap();
    let refused = renewed(&bench, &token, 60).await.unwrap_err();
    assert!(
        refused.contains("role of the token does not exist"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_user_who_is_gone_or_has_other_policies_logs_in_anew() {
    let bench = Bench::new().await;
    let with = |names: &[&str]| TokenChange {
        policies: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ttl: Some(600),
        ..TokenChange::default()
    };
    bench.user("ann", "p", with(&["a", "b"])).await;
    let token = bench.enter("ann", "p").await.unwrap();
    assert_eq!(renewed(&bench, &token, 900).await, Ok(900));
    bench.user("ann", "p", with(&["a"])).await;
    let refused = renewed(&bench, &token, 60).await.unwrap_err();
    assert_eq!(refused, "policies have changed, not renewing");
    bench.user("ann", "p", with(&["b", "a"])).await;
    assert_eq!(renewed(&bench, &token, 60).await, Ok(60));
    let permit = bench.root("auth/userpass/users/ann").await;
    bench.auth.delete_user(&permit).await.unwrap();
    let refused = renewed(&bench, &token, 60).await.unwrap_err();
    assert!(
        refused.contains("user of the token does not exist"),
        "{refused}"
    );
}
