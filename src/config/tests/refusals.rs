//! Every configuration that is refused, by whom it is about, and what the texts must not say.

use super::*;

/// A production environment that is fine.
const PRODUCTION: [(&str, &str); 4] = [
    ("DEPLOYMENT_ENV", "production"),
    ("JOIN_TOKEN_SECRET", SECRET),
    ("CORS_ALLOWED_ORIGINS", "https://chat.example.org"),
    ("PUBLIC_URL", "https://relay.example.org"),
];

#[test]
fn production_starts_when_everything_is_set() {
    let loaded = load(None, &Environment::of(PRODUCTION)).unwrap();
    assert_eq!(loaded.notes, [Note::NoHsts, Note::NoTrustedProxy]);
    assert!(!loaded.config.demo_page());
}

#[test]
fn production_warns_of_proxies_that_anybody_could_be() {
    for (host, trust, from, notes) in [
        ("0.0.0.0", "1", "", vec![Note::NoHsts, Note::AnyForwarder]),
        ("127.0.0.1", "1", "", vec![Note::NoHsts]),
        ("0.0.0.0", "1", "10.0.0.0/8", vec![Note::NoHsts]),
        ("0.0.0.0", "proxy-protocol", "10.0.0.0/8", vec![Note::NoHsts]),
        ("0.0.0.0", "0", "", vec![Note::NoHsts, Note::NoTrustedProxy]),
    ] {
        let own = [("HOST", host), ("TRUST_PROXY", trust), ("TRUST_PROXY_FROM", from)];
        let loaded = load(None, &Environment::of(PRODUCTION.into_iter().chain(own))).unwrap();
        assert_eq!(loaded.notes, notes, "{own:?}");
    }
}

#[test]
fn production_refuses_what_is_only_fit_for_a_first_try() {
    for (name, value, about) in [
        ("JOIN_TOKEN_SECRET", "", "JOIN_TOKEN_SECRET: production needs a secret of its own"),
        ("JOIN_TOKEN_SECRET", &SECRET[..31], "JOIN_TOKEN_SECRET: 31 bytes are too few"),
        (
            "JOIN_TOKEN_SECRET",
            "changeme-changeme-changeme-changeme",
            "JOIN_TOKEN_SECRET: this is a placeholder",
        ),
        ("CORS_ALLOWED_ORIGINS", "*", "CORS_ALLOWED_ORIGINS: production does not take *"),
        ("CORS_ALLOWED_ORIGINS", "https://a,*", "CORS_ALLOWED_ORIGINS: production does not take *"),
        ("FEATURE_DEMO_PAGE", "true", "FEATURE_DEMO_PAGE: production does not serve the page"),
        ("PUBLIC_URL", "http://relay.example.org", "PUBLIC_URL: production is reached over TLS"),
        ("TRUST_PROXY", "true", "TRUST_PROXY: expected how many proxies are in front"),
    ] {
        let pairs =
            PRODUCTION.into_iter().filter(|(other, _)| *other != name).chain([(name, value)]);
        let problems = problems_of(load(None, &Environment::of(pairs)));
        assert_eq!(problems.len(), 1, "{name}={value}: {problems:?}");
        assert!(problems[0].starts_with(about), "{name}={value}: {problems:?}");
    }
}

#[test]
fn production_shows_exact_figures_to_its_own_machine_only() {
    for (listen, privacy, refused) in [
        ("0.0.0.0:9090", "exact", true),
        ("10.1.2.3:9090", "exact", true),
        ("[::]:9090", "exact", true),
        ("127.0.0.1:9090", "exact", false),
        ("[::1]:9090", "exact", false),
        ("", "exact", false),
        ("0.0.0.0:9090", "auto", false),
        ("0.0.0.0:9090", "blurred", false),
    ] {
        let own = [("OPS_LISTEN", listen), ("METRICS_PRIVACY", privacy)];
        let development = [("JOIN_TOKEN_SECRET", SECRET)].into_iter().chain(own);
        assert!(load(None, &Environment::of(development)).is_ok(), "{own:?}");
        let production = load(None, &Environment::of(PRODUCTION.into_iter().chain(own)));
        if !refused {
            assert!(production.is_ok(), "{own:?}");
            continue;
        }
        let problems = problems_of(production);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let about = "METRICS_PRIVACY: production does not show exact figures to other machines";
        assert!(problems[0].starts_with(about), "{problems:?}");
    }
}

#[test]
fn development_takes_the_same_with_a_word_of_warning() {
    for (name, value, note) in [
        (
            "JOIN_TOKEN_SECRET",
            "changeme-changeme-changeme-changeme",
            Some("JOIN_TOKEN_SECRET is a"),
        ),
        ("CORS_ALLOWED_ORIGINS", "*", None),
        ("FEATURE_DEMO_PAGE", "true", None),
        ("PUBLIC_URL", "http://localhost:8080", None),
        ("HOST", "0.0.0.0", Some("development mode listens on more than this machine")),
        ("FEATURE_TOKEN_REPLAY_PROTECTION", "0", Some("FEATURE_TOKEN_REPLAY_PROTECTION is off")),
    ] {
        let pairs = [("JOIN_TOKEN_SECRET", SECRET), (name, value)];
        let notes = load(None, &Environment::of(pairs)).unwrap().notes;
        let texts: Vec<_> = notes.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), usize::from(note.is_some()), "{name}: {texts:?}");
        assert!(texts.iter().zip(note).all(|(text, note)| text.starts_with(note)), "{texts:?}");
    }
}

#[test]
fn trusting_all_proxies_is_an_error_in_development_too() {
    for value in ["true", "yes", "11", "-1", "all", "proxy", "Proxy-Protocol"] {
        let problems = problems_of(load(None, &Environment::of([("TRUST_PROXY", value)])));
        assert_eq!(problems.len(), 1, "{value}");
        assert!(problems[0].starts_with("TRUST_PROXY: expected how many proxies"), "{problems:?}");
    }
    for (value, trusted) in
        [("0", TrustProxy::Nobody), ("2", 2.into()), ("proxy-protocol", TrustProxy::ProxyProtocol)]
    {
        let pairs = [("TRUST_PROXY", value), ("TRUST_PROXY_FROM", "10.0.0.0/8")];
        let given = if value == "0" { &pairs[..1] } else { &pairs };
        let loaded = load(None, &Environment::of(given.iter().copied())).unwrap();
        assert_eq!(loaded.config.server.trust_proxy, trusted);
    }
}

#[test]
fn a_proxy_is_trusted_by_its_network() {
    let trusts = |trust: &str, from: &str, peer: &str| {
        let toml = format!("[server]\ntrust_proxy = {trust}\ntrust_proxy_from = {from}");
        Config::from_toml(&toml).unwrap().server.trusts(peer.parse().unwrap())
    };
    let networks = "['10.0.0.0/8', '2001:db8::/32']";
    for trust in ["1", "'proxy-protocol'"] {
        for peer in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"] {
            assert!(trusts(trust, networks, peer), "{peer}");
        }
        for peer in ["11.0.0.1", "::ffff:11.0.0.1", "::10.1.2.3", "2001:db9::1", "127.0.0.1"] {
            assert!(!trusts(trust, networks, peer), "{peer}");
        }
    }
    assert!(trusts("1", "[]", "11.0.0.1"), "without a list, whoever it is");
    assert!(!trusts("0", "[]", "11.0.0.1"));
}

#[test]
fn values_that_do_not_fit_together_are_refused_by_the_name_to_change() {
    for (toml, about) in [
        ("[server]\nops_listen = '127.0.0.1:8080'", "OPS_LISTEN"),
        ("[server]\nops_listen = '0.0.0.0:8080'", "OPS_LISTEN"),
        ("[server]\npublic_url = 'relay.example.org'", "PUBLIC_URL"),
        ("[server]\npublic_url = 'https://relay.example.org/x'", "PUBLIC_URL"),
        ("[server]\ninstance_id = 'a b'", "INSTANCE_ID"),
        ("[server]\ntrust_proxy = 'proxy-protocol'", "TRUST_PROXY_FROM"),
        ("[server]\ntrust_proxy_from = ['10.0.0.0/8']", "TRUST_PROXY_FROM"),
        ("[log]\nlevel = 'verbose'", "LOG_LEVEL"),
        ("[headers]\ncsp = \"default-src 'none'\\r\\nX: y\"", "CSP_DIRECTIVES"),
        ("[headers]\ncsp = ''", "CSP_DIRECTIVES"),
        ("[headers]\nhsts_preload = true", "HSTS_PRELOAD"),
        ("[headers]\nhsts_preload = true\nhsts_max_age_s = 31536000", "HSTS_PRELOAD"),
        ("[cors]\nallowed_origins = ['https://a/']", "CORS_ALLOWED_ORIGINS"),
        ("[info]\noperator = \"two\\nlines\"", "INFO_OPERATOR"),
        ("[token]\nkid = ''", "TOKEN_KID"),
        ("[token]\nkid = '../k1'", "TOKEN_KID"),
        ("[token]\nprevious_kid = '?'", "TOKEN_PREVIOUS_KID"),
        ("[token]\nprevious_kid = 'k1'", "TOKEN_KID"),
        ("[token]\nissuer = 'a b'", "TOKEN_ISSUER"),
        ("[token]\naudience = ''", "TOKEN_AUDIENCE"),
        ("[token]\nttl_s = 61", "TOKEN_TTL_S"),
        ("[room]\nidle_s = 60\nttl_s = 59", "ROOM_IDLE_S"),
        ("[room]\npadding = []", "ROOM_PADDING_BUCKETS"),
        ("[room]\npadding = [256, 256]", "ROOM_PADDING_BUCKETS"),
        ("[room]\npadding = [512, 256]", "ROOM_PADDING_BUCKETS"),
        ("[room]\npadding = [65537]", "ROOM_PADDING_BUCKETS"),
        ("[limit]\npayload_bytes = 65535", "ROOM_PADDING_BUCKETS"),
        ("[limit]\nbytes_per_10s = 65535", "MAX_BYTES_PER_10S"),
        ("[limit]\nraw_bytes_per_10s = 16777215", "MAX_RAW_BYTES_PER_10S"),
        ("[limit]\nbytes_per_10s = 65536\nraw_bytes_per_10s = 65599", "MAX_RAW_BYTES_PER_10S"),
        ("[limit]\nframes_per_10s = 299", "MAX_FRAMES_PER_10S"),
        ("[limit]\noutbox_bytes = 65599", "SLOW_CONSUMER_BUFFER_THRESHOLD"),
        ("[limit]\npenalty_s = 901", "PENALTY_MAX_S"),
        ("[limit]\nipv6_56_factor = 17", "IPV6_48_FACTOR"),
    ] {
        let error = Config::from_toml(toml).expect_err(toml);
        assert_eq!(error.problems().len(), 1, "{toml}: {error}");
        assert!(error.problems()[0].starts_with(&format!("{about}: ")), "{toml}: {error}");
    }
}

#[test]
fn values_at_the_edge_fit() {
    for toml in [
        "[server]\nops_listen = '127.0.0.2:8080'",
        "[server]\nport = 0\nops_listen = '127.0.0.1:0'",
        "[headers]\nhsts_preload = true\nhsts_include_subdomains = true\nhsts_max_age_s = 31536000",
        "[token]\nttl_s = 300\nttl_max_s = 300",
        "[room]\nidle_s = 60\nttl_s = 60",
        "[limit]\nbytes_per_10s = 65536\nraw_bytes_per_10s = 65600\noutbox_bytes = 65600",
        "[limit]\nframes_per_10s = 300",
        "[limit]\npenalty_s = 900\nipv6_56_factor = 16",
    ] {
        assert_eq!(Config::from_toml(toml).err(), None, "{toml}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let environment = Environment::of([
        ("DEPLOYMENT_ENV", "production"),
        ("PORT", "http"),
        ("HOST", "localhost"),
        ("FEATURE_CORS", "maybe"),
        ("CORS_ALLOWED_ORIGINS", "*"),
        ("TOKEN_TTL_S", "61"),
    ]);
    let error = load(None, &environment).err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("the configuration has 6 problems:\n  - "), "{text}");
    for name in
        ["PORT", "HOST", "FEATURE_CORS", "CORS_ALLOWED_ORIGINS", "TOKEN_TTL_S", "JOIN_TOKEN_SECRET"]
    {
        let mentions = error.problems().iter().filter(|p| p.starts_with(&format!("{name}: ")));
        assert_eq!(mentions.count(), 1, "{name}: {text}");
    }
}

#[test]
fn a_secret_is_refused_by_the_name_of_its_variable() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file("good", SECRET.as_bytes());
    let [empty, line] = [file("empty", b""), file("line", b"\n")];
    let [full, long] =
        [file("full", &[SECRET.as_bytes(), b"\n"].concat()), file("long", &[b'a'; 4097])];
    let missing = directory.path().join("missing").to_str().unwrap().to_owned();
    let [plain, by_file] = ["JOIN_TOKEN_SECRET", "JOIN_TOKEN_SECRET_FILE"];
    let [old, old_file] = ["JOIN_TOKEN_SECRET_PREVIOUS", "JOIN_TOKEN_SECRET_PREVIOUS_FILE"];
    for (pairs, about) in [
        (vec![(by_file, missing.as_str())], Some("JOIN_TOKEN_SECRET_FILE: cannot read the file")),
        (vec![(by_file, &empty)], Some("JOIN_TOKEN_SECRET_FILE: the file that it names is empty")),
        (vec![(by_file, &line)], Some("JOIN_TOKEN_SECRET_FILE: the file that it names is empty")),
        (vec![(by_file, &long)], Some("JOIN_TOKEN_SECRET_FILE: the file that it names has more")),
        (
            vec![(by_file, &good), (plain, SECRET)],
            Some("JOIN_TOKEN_SECRET: JOIN_TOKEN_SECRET_FILE is"),
        ),
        (vec![(plain, "short")], Some("JOIN_TOKEN_SECRET: 5 bytes are too few")),
        (vec![(old, OTHER_SECRET)], Some("JOIN_TOKEN_SECRET_PREVIOUS: it needs a name")),
        (vec![("TOKEN_PREVIOUS_KID", "k0")], Some("TOKEN_PREVIOUS_KID: it needs a secret")),
        (
            vec![(plain, SECRET), (old, SECRET), ("TOKEN_PREVIOUS_KID", "k0")],
            Some("JOIN_TOKEN_SECRET_PREVIOUS: it is the current secret"),
        ),
        (
            vec![(plain, SECRET), (old, "short"), ("TOKEN_PREVIOUS_KID", "k0")],
            Some("JOIN_TOKEN_SECRET_PREVIOUS: 5 bytes are too few"),
        ),
        (vec![(by_file, &full)], None),
        (vec![(plain, OTHER_SECRET), (old_file, &good), ("TOKEN_PREVIOUS_KID", "k0")], None),
    ] {
        let problems = problems_of(load(None, &Environment::of(pairs.iter().copied())));
        assert_eq!(problems.len(), usize::from(about.is_some()), "{about:?}: {problems:?}");
        assert!(
            problems.iter().zip(about).all(|(text, about)| text.starts_with(about)),
            "{problems:?}"
        );
    }
}

#[test]
fn no_text_repeats_a_value_wherever_a_secret_was_put() {
    let canary = "canary <- not a value";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.toml");
    for name in VARIABLES.iter().map(|variable| variable.name).chain(secrets::names()) {
        let environment = Environment::of([(name, canary), ("DEPLOYMENT_ENV", "production")]);
        match load(None, &environment) {
            Ok(_) => panic!("{name}: production without a secret"),
            Err(error) => assert!(!error.to_string().contains("canary"), "{name}: {error}"),
        }
    }
    for variable in VARIABLES {
        let (table, key) = variable.path();
        for value in [format!("['{canary}', 1.5]"), format!("'{canary}'"), canary.to_owned()] {
            std::fs::write(&path, format!("[{table}]\n{key} = {value}\n")).unwrap();
            for problem in problems_of(load(Some(&path), &Environment::default())) {
                assert!(!problem.contains("canary"), "{}: {problem}", variable.key);
            }
        }
    }
}

#[test]
fn values_that_are_not_text_are_refused_and_not_repeated() {
    let environment = Environment::of([("LOG_LEVEL", b"caf\xe9")]);
    assert_eq!(problems_of(load(None, &environment)), ["LOG_LEVEL: expected a text"]);
}
