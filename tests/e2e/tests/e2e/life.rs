//! From nothing to a sealed zone and back: init, unseal, seal, stop.

use serde_json::{Value, json};
use zone_e2e::{Head, Place, tool};

#[tokio::test]
async fn init_then_three_of_five_shares_unseal() {
    let head = Place::new().start();
    let api = head.api();
    assert_eq!(
        api.get("sys/init").await.expect(200).json()["initialized"],
        false
    );
    api.get("sys/health").await.expect(501);
    api.put("sys/unseal", &json!({ "key": "00".repeat(33) }))
        .await
        .refused(400, "not init");

    let keys = head.init(5, 3).await;
    assert_eq!((keys.hex.len(), keys.base64.len()), (5, 5));
    assert!(
        keys.hex.iter().all(|share| share.len() == 66),
        "33 bytes in hex"
    );
    assert!(keys.root_token.starts_with("hvs."));
    api.put("sys/init", &json!({}))
        .await
        .refused(400, "already initialized");
    let health = api.get("sys/health").await.expect(503).json();
    assert_eq!(
        (&health["initialized"], &health["sealed"]),
        (&json!(true), &json!(true))
    );
    head.with_token(&keys.root_token)
        .get("sys/mounts")
        .await
        .refused(503, "sealed");

    let status = unseal(&head, &keys.hex[4]).await;
    assert_eq!(
        (&status["progress"], &status["t"], &status["n"]),
        (&json!(1), &json!(3), &json!(5))
    );
    assert_ne!(status["nonce"], "");
    let again = unseal(&head, &keys.base64[4]).await;
    assert_eq!(
        again["progress"], 1,
        "the same share in another spelling counts once"
    );
    assert_eq!(unseal(&head, &keys.base64[1]).await["progress"], 2);
    let open = unseal(&head, &keys.hex[2]).await;
    assert_eq!(
        (&open["sealed"], &open["progress"]),
        (&json!(false), &json!(0))
    );
    assert_eq!(open["cluster_name"], "zone.test");
    api.get("sys/health").await.expect(200);
    let me = head
        .with_token(&keys.root_token)
        .get("auth/token/lookup-self")
        .await
        .expect(200);
    assert_eq!(me.data()["policies"], json!(["root"]));
}

async fn unseal(head: &Head, share: &str) -> Value {
    head.api()
        .put("sys/unseal", &json!({ "key": share }))
        .await
        .expect(200)
        .json()
}

#[tokio::test]
async fn a_wrong_share_is_refused_and_named_and_spoils_nothing() {
    let head = Place::new().start();
    let keys = head.init(3, 2).await;
    unseal(&head, &keys.hex[0]).await;
    let last = if keys.hex[1].ends_with("00") {
        "01"
    } else {
        "00"
    };
    let wrong = format!("{}{last}", &keys.hex[1][..64]);
    let put = async |share: &str| head.api().put("sys/unseal", &json!({ "key": share })).await;
    put(&wrong).await.refused(400, "not one of this zone");
    put(&keys.hex[1][..64])
        .await
        .refused(400, "33 bytes, not 32");
    put("no share at all").await.refused(400, "hex or base64");
    put("").await.refused(400, "'key' must be specified");
    assert_eq!(
        head.api().get("sys/seal-status").await.json()["progress"],
        1
    );

    let reset = head
        .api()
        .put("sys/unseal", &json!({ "reset": true }))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&reset["progress"], &reset["sealed"]),
        (&json!(0), &json!(true))
    );
    head.unseal_with(&keys.base64[1..3]).await;
}

#[tokio::test]
async fn seal_needs_a_token_and_closes_everything() {
    let (head, keys) = Head::unsealed().await;
    let root = head.with_token(&keys.root_token);
    root.put("sys/mounts/secret", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    root.put("secret/data/a", &json!({ "data": { "v": "1" } }))
        .await
        .expect(200);
    head.api()
        .put("sys/seal", &json!({}))
        .await
        .refused(403, "permission denied");
    root.put("sys/seal", &json!({})).await.expect(204);

    for path in [
        "secret/data/a",
        "sys/mounts",
        "auth/token/lookup-self",
        "pki/ca",
        "nothing/here",
    ] {
        root.get(path).await.refused(503, "sealed");
    }
    head.api()
        .put("sys/seal", &json!({}))
        .await
        .refused(503, "sealed");
    head.unseal(&keys).await;
    let read = root.get("secret/data/a").await.expect(200);
    assert_eq!(read.data()["data"], json!({ "v": "1" }));
}

#[tokio::test]
async fn sigterm_lets_an_open_request_end_and_exits_with_0() {
    let (mut head, keys) = Head::unsealed().await;
    let root = head.with_token(&keys.root_token);
    root.put("sys/mounts/secret", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    let body = json!({ "data": { "v": "late" } }).to_string();
    let (early, late) = body.split_at(9);
    let mut raw = head.raw().await;
    let request = format!(
        "PUT /v1/secret/data/late HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {}\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        keys.root_token,
        body.len()
    );
    raw.send(request).await;
    let begun = raw.answer().await.expect("the head waits for the body");
    assert_eq!(begun.status, 100, "{begun:?}");
    raw.send(early).await;

    let from = head.process.log_len();
    head.process.signal(rustix::process::Signal::TERM);
    head.process.wait_for(from, "stopping");
    raw.send(late).await;
    let answer = raw.answer().await.expect("an open request is answered");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        head.process.wait().code(),
        Some(0),
        "{}",
        head.process.log()
    );

    let head = head.place.start();
    head.unseal(&keys).await;
    let read = head
        .with_token(&keys.root_token)
        .get("secret/data/late")
        .await
        .expect(200);
    assert_eq!(read.data()["data"]["v"], "late");
    assert_eq!(head.terminate().code(), Some(0));
}

#[tokio::test]
async fn keys_cannot_reach_a_core_dump_or_another_user() {
    let (head, _keys) = Head::unsealed().await;
    let proc = std::path::PathBuf::from(format!("/proc/{}", head.process.id()));
    let limits = std::fs::read_to_string(proc.join("limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let numbers: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(numbers, ["0", "0"], "{core}");
    // A process that is not dumpable belongs to root in /proc, whoever runs it, and nobody else
    // may attach to it: the kernel says so only to other users, so the log line stands for it.
    assert!(
        head.process.log().contains("key memory protection="),
        "{}",
        head.process.log()
    );
    let maps = std::fs::read_to_string(proc.join("smaps")).unwrap();
    let locked = maps.contains("secretmem")
        || maps.split("VmFlags:").any(|flags| {
            let flags = flags.lines().next().unwrap_or("");
            flags.contains(" lo") && flags.contains(" dd")
        });
    assert!(locked, "pages with keys are locked and not dumped");
}

#[tokio::test]
async fn a_second_head_over_the_same_store_is_refused() {
    let head = Place::new().start();
    let mut second = head.place.spawn();
    assert_eq!(second.wait().code(), Some(1), "{}", second.log());
    let said = second.log();
    assert!(
        said.contains("zone.redb") && said.contains("another"),
        "{said}"
    );
    head.lives().await;
}

#[tokio::test]
async fn shares_for_age_recipients_open_with_their_identities_only() {
    let head = Place::new().start();
    let identities = ["one", "two"].map(|name| head.place.file(name));
    let recipients = identities.clone().map(|file| {
        tool::succeed(tool::program("age-keygen").arg("-o").arg(&file));
        tool::text(tool::program("age-keygen").arg("-y").arg(&file))
            .trim()
            .to_owned()
    });
    let ask = |recipients: &[String]| json!({ "secret_shares": 2, "secret_threshold": 2, "age_recipients": recipients });
    let api = head.api();
    api.put("sys/init", &ask(&recipients[..1]))
        .await
        .refused(400, "age_recipients");
    api.put(
        "sys/init",
        &ask(&["age1nobody".into(), recipients[0].clone()]),
    )
    .await
    .refused(400, "age_recipients");
    let pgp = json!({ "secret_shares": 1, "secret_threshold": 1, "pgp_keys": ["keybase:me"] });
    api.put("sys/init", &pgp)
        .await
        .refused(400, "age_recipients");
    assert_eq!(api.get("sys/init").await.json()["initialized"], false);

    let made = api
        .put("sys/init", &ask(&recipients))
        .await
        .expect(200)
        .json();
    let mut shares = Vec::new();
    for (at, identity) in identities.iter().enumerate() {
        let armored = made["keys_age"][at].as_str().expect("an age file");
        let file = head.place.write("share.age", armored);
        let mut age = tool::program("age");
        shares.push(tool::text(age.arg("-d").arg("-i").arg(identity).arg(&file)));
        let mut other = tool::program("age");
        tool::fail(
            other
                .arg("-d")
                .arg("-i")
                .arg(&identities[1 - at])
                .arg(&file),
        );
    }
    assert!(shares.iter().all(|share| !made.to_string().contains(share)));
    head.unseal_with(&shares).await;
}

#[tokio::test]
async fn a_bad_configuration_names_file_line_and_key() {
    let place = Place::new();
    let good = std::fs::read_to_string(place.config_file()).unwrap();
    let storage = ("[storage]\npath = \"", "[storage]\npath = \"x");
    // What is changed, the key that is named, and what was expected there; else its line.
    let cases = [
        ("[log]\n", "[log]\ncolour = true\n", "colour", None),
        ("127.0.0.1:0", "somewhere", "address", None),
        ("\"info\"", "\"loud\"", "level", None),
        ("[log]", "[[[", "zonehead.toml", None),
        ("zone.test", "no zone", "zone", Some("trust domain")),
        (storage.0, storage.1, "storage.path", Some("absolute")),
    ];
    for (from, to, key, expected) in cases {
        let text = good.replace(from, to);
        let changed = text
            .lines()
            .zip(good.lines())
            .position(|(text, good)| text != good);
        let line = format!("line {}", changed.unwrap() + 1);
        std::fs::write(place.config_file(), text).unwrap();
        let mut head = place.spawn();
        assert_eq!(head.wait().code(), Some(1));
        let mut check = place.command();
        let checked = tool::fail(check.args(["config", "check"]).arg(place.config_file()));
        for said in [head.log(), checked] {
            for part in [key, expected.unwrap_or(&line), "zonehead.toml"] {
                assert!(said.contains(part), "{part:?} is not in: {said}");
            }
        }
    }
    assert!(
        !place.data().exists(),
        "nothing was made before the file was understood"
    );
    let missing = place.file("nowhere.toml");
    let said = tool::fail(place.command().args(["server", "-config"]).arg(&missing));
    assert!(said.contains("nowhere.toml"), "{said}");
}

/// The promise of the README: one file that runs on any Debian.
#[test]
fn the_binary_links_to_libc_libm_and_libgcc_alone() {
    let listed = tool::text(tool::program("ldd").arg(zone_e2e::zonehead()));
    let libraries: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.trim().split(['.', ' ']).next())
        .filter_map(|path| path.rsplit('/').next())
        .collect();
    let allowed = ["linux-vdso", "libc", "libm", "libgcc_s", "ld-linux-x86-64"];
    assert!(!libraries.is_empty(), "{listed}");
    for library in libraries {
        assert!(allowed.contains(&library), "{library} in {listed}");
    }
}
