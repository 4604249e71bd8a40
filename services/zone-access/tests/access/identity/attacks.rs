//! Who tries to get more by identity than he has.

use super::*;
use crate::common::said;

#[tokio::test]
async fn cve_2025_5999_cve_2025_64761_no_spelling_of_root_is_given() {
    let lab = lab().await;
    let spellings = [
        "root",
        " Root",
        "ROOT",
        "root\n",
        "\u{2003}rOOt\u{a0}",
        "\t root \u{3000}",
        "\u{85}Root",
    ];
    for text in spellings {
        let ask = EntityAsk {
            policies: Some(owned(&["a", text])),
            ..entity("ada")
        };
        let refused = said(write(&lab, ask).await);
        assert_eq!(refused, "policies cannot contain root", "{text:?}");
        let ask = GroupAsk {
            policies: Some(owned(&[text])),
            ..group("ops")
        };
        let refused = said(write_group(&lab, ask).await);
        assert_eq!(refused, "policies cannot contain root", "{text:?}");
    }
    for text in ["ro\u{200b}ot", "root\0", "root,a", "", "response-wrapping"] {
        let ask = EntityAsk {
            policies: Some(owned(&[text])),
            ..entity("ada")
        };
        assert!(write(&lab, ask).await.is_err(), "{text:?}");
    }
}

/// Lets its holder write identity, and read `secret/team/`.
const KEEPER: &str = r#"
path "identity/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "secret/team/*" { capabilities = ["read"] }
"#;

struct Scene {
    lab: Lab,
    keeper: Created,
}

impl Scene {
    async fn new() -> Self {
        let lab = lab().await;
        lab.policy("keeper", KEEPER).await;
        lab.policy("team", &allows("secret/team/a", "read")).await;
        lab.policy("admin", &allows("sys/*", "sudo")).await;
        lab.policy("wide", &allows("secret/*", "read")).await;
        lab.policy("wall", &allows("secret/team/b", "deny")).await;
        lab.policy(
            "own",
            &allows("secret/{{identity.entity.metadata.team}}/*", "read"),
        )
        .await;
        let keeper = log_in(&lab, "keeper", &["keeper"]).await.unwrap();
        Self { lab, keeper }
    }

    async fn permit(&self) -> Permit {
        let path = "identity/entity";
        let permit = self
            .lab
            .permit_of(&self.keeper.text, Operation::Update, path);
        permit.await.unwrap()
    }

    async fn entity(&self, ask: EntityAsk) -> Result<(), AccessError> {
        let permit = self.permit().await;
        self.lab.access.write_entity(&permit, ask).await.map(drop)
    }

    async fn group(&self, ask: GroupAsk) -> Result<(), AccessError> {
        let permit = self.permit().await;
        self.lab.access.write_group(&permit, ask).await.map(drop)
    }
}

#[track_caller]
fn denied<T>(result: Result<T, AccessError>) {
    assert!(said(result).starts_with("permission denied: "));
}

#[tokio::test]
async fn attack_8_nobody_gives_an_entity_what_he_lacks() {
    let scene = Scene::new().await;
    let with = |policies: &[&str]| EntityAsk {
        policies: Some(owned(policies)),
        ..entity("friend")
    };
    scene.entity(with(&["team"])).await.unwrap();
    for policy in ["admin", "wide", "not-there-yet"] {
        denied(scene.entity(with(&[policy])).await);
    }
    denied(scene.entity(with(&["own"])).await);
    // Root may, and taking away a wall needs sudo.
    write(&scene.lab, with(&["team", "wall"])).await.unwrap();
    scene.entity(with(&["wall"])).await.unwrap();
    denied(scene.entity(with(&[])).await);
    let id = {
        let permit = by_root(&scene.lab).await;
        let found = scene.lab.access.entity_by_name(&permit, "friend").await;
        found.unwrap().unwrap().record.id.to_string()
    };
    let permit = scene.permit().await;
    denied(scene.lab.access.delete_entity(&permit, &id).await);
}

#[tokio::test]
async fn attack_8_nobody_joins_what_has_more_than_he() {
    let scene = Scene::new().await;
    let (lab, permit) = (&scene.lab, scene.permit().await);
    let own = entity_of(&scene.keeper);
    let with = |policies: &[&str], name: &str| GroupAsk {
        policies: Some(owned(policies)),
        ..group(name)
    };
    let admins = write_group(lab, with(&["admin"], "admins")).await.unwrap();
    let below = write_group(lab, with(&[], "below")).await.unwrap();
    let join = |id: &str| GroupAsk {
        id: Some(id.to_owned()),
        member_entities: Some(vec![own.clone()]),
        ..GroupAsk::default()
    };
    denied(scene.group(join(&admins)).await);
    scene.group(join(&below)).await.unwrap();
    let nest = GroupAsk {
        id: Some(admins.clone()),
        member_groups: Some(vec![below.clone()]),
        ..GroupAsk::default()
    };
    denied(scene.group(nest).await);
    denied(
        scene
            .group(GroupAsk {
                id: Some(below.clone()),
                ..with(&["admin"], "below")
            })
            .await,
    );
    // By an alias, and by merging.
    let boss = EntityAsk {
        policies: Some(owned(&["admin"])),
        ..entity("boss")
    };
    let boss = write(lab, boss).await.unwrap();
    let ask = AliasAsk {
        name: Some("mine".into()),
        mount_accessor: Some(accessor(lab, "auth/other")),
        canonical_id: Some(boss.clone()),
        ..AliasAsk::default()
    };
    denied(lab.access.write_alias(&permit, ask).await);
    for (to, from) in [(&own, &boss), (&boss, &own)] {
        let from = [from.clone()];
        denied(lab.access.merge_entities(&permit, to, &from, &[]).await);
    }
    // A disabled one that has more is not switched on.
    let off = EntityAsk {
        id: Some(boss.clone()),
        disabled: Some(true),
        ..EntityAsk::default()
    };
    write(lab, off).await.unwrap();
    let on = EntityAsk {
        id: Some(boss),
        disabled: Some(false),
        ..EntityAsk::default()
    };
    denied(scene.entity(on).await);
    let outside = write_group(
        lab,
        GroupAsk {
            kind: Some(GroupKind::External),
            ..with(&["admin"], "ldap")
        },
    );
    let ask = AliasAsk {
        name: Some("cn=mine".into()),
        mount_accessor: Some(accessor(lab, "auth/other")),
        canonical_id: Some(outside.await.unwrap()),
        ..AliasAsk::default()
    };
    denied(lab.access.write_group_alias(&permit, ask).await);
}

#[tokio::test]
async fn attack_8_nobody_gets_rid_of_what_holds_him_back() {
    let scene = Scene::new().await;
    let (lab, permit) = (&scene.lab, scene.permit().await);
    let own = entity_of(&scene.keeper);
    let walled = GroupAsk {
        policies: Some(owned(&["wall"])),
        member_entities: Some(vec![own.clone()]),
        ..group("walled")
    };
    let walled = write_group(lab, walled).await.unwrap();
    let permit_after = scene.permit().await;
    let by_id = |id: &str| GroupAsk {
        id: Some(id.to_owned()),
        ..GroupAsk::default()
    };
    denied(
        scene
            .group(GroupAsk {
                policies: Some(vec![]),
                ..by_id(&walled)
            })
            .await,
    );
    denied(
        scene
            .group(GroupAsk {
                member_entities: Some(vec![]),
                ..by_id(&walled)
            })
            .await,
    );
    denied(lab.access.delete_group(&permit_after, &walled).await);
    denied(lab.access.delete_entity(&permit, &own).await);
    let known = lab.access.entity(&permit, &own).await.unwrap().unwrap();
    let alias = known.record.aliases[0].id.to_string();
    denied(lab.access.delete_alias(&permit, &alias).await);
    assert!(!reads(lab, &scene.keeper, "secret/team/b").await);
    let root = by_root(lab).await;
    lab.access.delete_group(&root, &walled).await.unwrap();
}

#[tokio::test]
async fn attack_8_nobody_tells_templates_who_he_is() {
    let scene = Scene::new().await;
    let lab = &scene.lab;
    let own = entity_of(&scene.keeper);
    let teams = |team: &str| EntityAsk {
        id: Some(own.clone()),
        metadata: Some([("team".to_owned(), team.to_owned())].into()),
        ..EntityAsk::default()
    };
    scene.entity(teams("a")).await.unwrap();
    let give = EntityAsk {
        id: Some(own.clone()),
        policies: Some(owned(&["own"])),
        ..EntityAsk::default()
    };
    write(lab, give).await.unwrap();
    denied(scene.entity(teams("other")).await);
    let permit = scene.permit().await;
    let known = lab.access.entity(&permit, &own).await.unwrap().unwrap();
    let alias = AliasAsk {
        id: Some(known.record.aliases[0].id.to_string()),
        custom_metadata: Some([("team".to_owned(), "other".to_owned())].into()),
        ..AliasAsk::default()
    };
    denied(lab.access.write_alias(&permit, alias).await);
}

/// An id counts in its own namespace alone.
#[tokio::test]
async fn attack_an_id_of_another_namespace_names_nothing() {
    let lab = lab().await;
    let id = write(&lab, entity("ada")).await.unwrap();
    let group_id = write_group(&lab, group("ops")).await.unwrap();
    let alias_id = alias(&lab, &id, "x").await.unwrap();
    // Records as if another namespace had written them.
    let area = super::store::identity_area(&lab);
    for kind in ["entity", "group"] {
        for (rest, mut record) in crate::common::records(&lab, &format!("{area}{kind}/")).await {
            record["namespace"] = "other".into();
            let key = zone_ports::Key::new(format!("{area}{kind}/{rest}")).unwrap();
            let batch = Batch::new().put(key, record.to_string());
            lab.barrier.commit(batch).await.unwrap();
        }
    }
    let lab = lab.reopen().await;
    let permit = by_root(&lab).await;
    let access = &lab.access;
    assert!(access.entity(&permit, &id).await.unwrap().is_none());
    assert!(
        access
            .entity_by_name(&permit, "ada")
            .await
            .unwrap()
            .is_none()
    );
    assert!(access.alias(&permit, &alias_id).await.unwrap().is_none());
    assert!(access.group(&permit, &group_id).await.unwrap().is_none());
    assert!(
        access
            .group_by_name(&permit, "ops")
            .await
            .unwrap()
            .is_none()
    );
    assert!(access.entities(&permit).await.unwrap().entries.is_empty());
    assert!(access.groups(&permit).await.unwrap().entries.is_empty());
    access.delete_entity(&permit, &id).await.unwrap();
    access.delete_group(&permit, &group_id).await.unwrap();
    let ask = EntityAsk {
        id: Some(id),
        ..EntityAsk::default()
    };
    assert_eq!(said(write(&lab, ask).await), "entity not found from id");
    denied(log_in(&lab, "x", &[]).await);
    assert_eq!(
        crate::common::records(&lab, &format!("{area}entity/"))
            .await
            .len(),
        1
    );
}
