//! How nodes find each other: what is taken, what is refused, and what is never said.

use super::*;

/// What a node of several needs.
const NODE: [(&str, &str); 3] = [
    ("JOIN_TOKEN_SECRET", SECRET),
    ("CLUSTER_SECRET", CLUSTER_SECRET),
    ("REDIS_URL", "redis://127.0.0.1:6379"),
];

/// A node with other settings; an empty one counts as none.
fn node<'a>(own: &[(&'a str, &'a str)]) -> Result<Loaded, ConfigError> {
    let replaced = |name: &str| own.iter().any(|(other, _)| *other == name);
    let pairs = NODE.into_iter().filter(|(name, _)| !replaced(name));
    load(None, &Environment::of(pairs.chain(own.iter().copied())))
}

fn access(own: &[(&str, &str)]) -> BusAccess {
    node(own).unwrap().bus.unwrap()
}

#[test]
fn without_redis_there_is_one_node() {
    assert!(load(None, &Environment::default()).unwrap().bus.is_none());
    let loaded = node(&[("REDIS_URL", "")]).unwrap();
    assert!(loaded.bus.is_none());
    assert_eq!(loaded.notes, [Note::ClusterOfOne]);
}

#[test]
fn the_addresses_suggest_what_is_behind_them() {
    let two = "redis://a:1, rediss://u:p@b";
    for (own, topology, count) in [
        (vec![], Topology::Single, 1),
        (vec![("REDIS_URL", "unix:///run/redis.sock")], Topology::Single, 1),
        (vec![("REDIS_URL", "redis://a/3")], Topology::Single, 1),
        (vec![("REDIS_URL", two)], Topology::Cluster, 2),
        (vec![("REDIS_MODE", "cluster")], Topology::Cluster, 1),
        (vec![("REDIS_SENTINEL_MASTER", "m"), ("REDIS_URL", two)], Topology::Sentinel, 2),
        (vec![("REDIS_SENTINEL_MASTER", "m"), ("REDIS_MODE", "sentinel")], Topology::Sentinel, 1),
        (vec![("REDIS_URL", ""), ("REDIS_SHARDS", two)], Topology::Shards, 2),
    ] {
        let access = access(&own);
        assert_eq!((access.topology, access.urls.len()), (topology, count), "{own:?}");
        assert_eq!(access.secret.expose(), CLUSTER_SECRET.as_bytes());
    }
    let urls = access(&[("REDIS_URL", two)]).urls;
    assert!(urls.iter().map(RedisUrl::expose).eq(["redis://a:1", "rediss://u:p@b"]));
}

#[test]
fn the_way_to_redis_may_be_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("url");
    std::fs::write(&path, "redis://:hunter2@10.0.0.1\n").unwrap();
    let own = [("REDIS_URL", ""), ("REDIS_URL_FILE", path.to_str().unwrap())];
    let loaded = node(&own).unwrap();
    let shown = loaded.config.redacted();
    assert!(shown.contains("# REDIS_URL: (set, 25 bytes, from REDIS_URL_FILE)\n"), "{shown}");
    assert!(shown.contains("# REDIS_SHARDS: (none)\n"), "{shown}");
    assert!(shown.contains("# CLUSTER_SECRET: (set, 44 bytes)\n"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("10.0.0.1"), "{shown}");
    let [url] = &loaded.bus.unwrap().urls[..] else { panic!("one address") };
    assert_eq!(url.expose(), "redis://:hunter2@10.0.0.1");
}

#[test]
fn what_does_not_fit_together_is_refused_by_the_name_to_change() {
    let two = "redis://a,redis://b";
    let many = (0..65).map(|n| format!("redis://{n}")).collect::<Vec<_>>().join(",");
    for (own, about) in [
        (vec![("CLUSTER_SECRET", "")], "CLUSTER_SECRET: nodes that share rooms need it; make"),
        (vec![("CLUSTER_SECRET", &SECRET[..31])], "CLUSTER_SECRET: 31 bytes are too few"),
        (vec![("CLUSTER_SECRET", SECRET)], "CLUSTER_SECRET: it is the secret of join tokens"),
        (vec![("JOIN_TOKEN_SECRET", "")], "JOIN_TOKEN_SECRET: nodes that share rooms share it"),
        (vec![("REDIS_URL", "10.0.0.1:6379")], "REDIS_URL: address 1 is none; expected"),
        (vec![("REDIS_URL", "redis://a,")], "REDIS_URL: address 2 is none; expected"),
        (vec![("REDIS_URL", "redis://a,redis://a")], "REDIS_URL: address 2 is there twice"),
        (vec![("REDIS_URL", &many)], "REDIS_URL: 64 addresses are the most"),
        (vec![("REDIS_MODE", "single"), ("REDIS_URL", two)], "REDIS_URL: a single Redis has one"),
        (vec![("REDIS_MODE", "cluster"), ("REDIS_URL", "unix:///a")], "REDIS_URL: a cluster and"),
        (vec![("REDIS_MODE", "cluster"), ("REDIS_URL", "redis://a/1")], "REDIS_URL: a cluster and"),
        (vec![("REDIS_MODE", "sentinel")], "REDIS_SENTINEL_MASTER: sentinels are asked"),
        (vec![("REDIS_MODE", "shards")], "REDIS_MODE: REDIS_SHARDS is for shards"),
        (
            vec![("REDIS_MODE", "single"), ("REDIS_SENTINEL_MASTER", "m")],
            "REDIS_SENTINEL_MASTER: only",
        ),
        (vec![("REDIS_SENTINEL_MASTER", "a b")], "REDIS_SENTINEL_MASTER: expected at most 128"),
        (vec![("REDIS_SHARDS", two)], "REDIS_SHARDS: REDIS_URL is set as well"),
        (
            vec![("REDIS_URL", ""), ("REDIS_SHARDS", two), ("REDIS_MODE", "cluster")],
            "REDIS_MODE: REDIS_SHARDS is for shards",
        ),
        (vec![("REDIS_URL", ""), ("REDIS_MODE", "single")], "REDIS_MODE: there is no Redis"),
        (
            vec![("REDIS_URL", ""), ("REDIS_SENTINEL_MASTER", "m")],
            "REDIS_SENTINEL_MASTER: there is no Redis",
        ),
        (vec![("REDIS_CONNECT_TIMEOUT", "99")], "REDIS_CONNECT_TIMEOUT: expected a whole number"),
        (vec![("BUS_OUTGOING_BYTES", "65599")], "BUS_OUTGOING_BYTES: it is below the longest"),
        (vec![("BUS_INBOX_BYTES", "2097151")], "BUS_INBOX_BYTES: it is below twice"),
    ] {
        let problems = problems_of(node(&own));
        assert_eq!(problems.len(), 1, "{own:?}: {problems:?}");
        assert!(problems[0].starts_with(about), "{own:?}: {problems:?}");
    }
}

#[test]
fn production_warns_of_a_redis_that_others_can_listen_to() {
    for (url, noted) in
        [("redis://10.0.0.1", true), ("rediss://10.0.0.1", false), ("redis://localhost", false)]
    {
        for (deployment, production) in [("production", true), ("development", false)] {
            let loaded = node(&[("REDIS_URL", url), ("DEPLOYMENT_ENV", deployment)]).unwrap();
            let found = loaded.notes.contains(&Note::RedisInTheClear);
            assert_eq!(found, noted && production, "{url} {deployment}");
        }
    }
    let placeholder = "changeme-changeme-changeme-changeme";
    let own = [("CLUSTER_SECRET", placeholder)];
    assert_eq!(node(&own).unwrap().notes, [Note::WeakSecret("CLUSTER_SECRET")]);
    let problems = problems_of(node(&[own[0], ("DEPLOYMENT_ENV", "production")]));
    assert!(problems[0].starts_with("CLUSTER_SECRET: this is a placeholder"), "{problems:?}");
}

#[test]
fn no_problem_repeats_an_address() {
    for name in ["REDIS_URL", "REDIS_SHARDS"] {
        for url in ["canary", "redis://:canary@a,redis://:canary@a", "redis://:canary@a /canary"] {
            let own = [("REDIS_URL", ""), (name, url), ("REDIS_MODE", "sentinel")];
            let text = node(&own[usize::from(name == "REDIS_URL")..]).err().unwrap().to_string();
            assert!(!text.contains("canary"), "{text}");
        }
    }
}
