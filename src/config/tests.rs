//! Tests of the configuration as a whole: layers, completeness, refusals.

mod documents;
mod nodes;
mod refusals;

use proptest::prelude::*;

use figment::value::Value;

use super::values::Kind;
use super::*;
use crate::core::id::{Jti, RoomId};
use crate::core::limit::UnixSeconds;
use crate::core::token::{Cap, Claims};

/// Looks random enough for production.
const SECRET: &str = "pV3tWq9LzX0bKf7RmY2nGc8JhD5sAeUu1iTo4wQx6vE=";
const OTHER_SECRET: &str = "qN7uZr2MyC5dLh9TpX4oHf1KjE8tBgVw3kSi6xRz0aF=";
const CLUSTER_SECRET: &str = "vB4kTz7QnW1cRm9LxJ6pYd3GfH8sEaUo5iKe2wNq0tM=";

#[test]
fn the_built_in_configuration_is_complete_and_fits() {
    let config = Config::default();
    assert_eq!(Config::from_toml("").unwrap(), config);
    assert_eq!(without_origins(Config::from_toml(DEFAULT_TOML).unwrap()), config);
    assert!(!config.is_production());
    assert_eq!(config.server.listen().to_string(), "127.0.0.1:8080");
    assert_eq!(config.room.padding, [256, 1024, 4096, 16_384, 65_536]);
}

#[test]
fn a_file_overrides_the_built_in_values_and_the_environment_overrides_both() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.toml");
    std::fs::write(&path, "[server]\nport = 1\nlisten_backlog = 7\n[limit]\nstrikes = 9\n")
        .unwrap();
    let environment = Environment::of([("PORT", "2"), ("MAX_ROOMS", "5")]);
    let Loaded { config, .. } = load(Some(&path), &environment).unwrap();
    assert_eq!(config.server.port, 2);
    assert_eq!(config.server.listen_backlog, 7);
    assert_eq!(config.limit.strikes, 9);
    assert_eq!(config.room.rooms_max, 5);
    assert_eq!(config.limit.pings_per_10s, 10);
    let shown = config.redacted();
    for line in [
        "port = 2  # from PORT\n",
        "listen_backlog = 7  # from the file\n",
        "rooms_max = 5  # from MAX_ROOMS\n",
        "pings_per_10s = 10\n",
    ] {
        assert!(shown.contains(line), "{line}{shown}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.toml");
    let problems = problems_of(load(Some(&path), &Environment::default()));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("relay.toml: cannot read the configuration file"), "{problems:?}");
}

#[test]
fn a_file_too_large_to_be_a_configuration_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.toml");
    std::fs::write(&path, "#".repeat(1024 * 1024)).unwrap();
    let problems = problems_of(load(Some(&path), &Environment::default()));
    assert!(problems[0].ends_with("a configuration file has less than 1 MiB"), "{problems:?}");
}

#[test]
fn every_variable_sets_its_own_key_and_no_other() {
    // With these, HSTS_PRELOAD, TOKEN_PREVIOUS_KID, TRUST_PROXY_FROM, REDIS_MODE and
    // REDIS_SENTINEL_MASTER may be set as well.
    let base = [
        ("JOIN_TOKEN_SECRET", SECRET),
        ("JOIN_TOKEN_SECRET_PREVIOUS", OTHER_SECRET),
        ("TOKEN_PREVIOUS_KID", "k0"),
        ("HSTS_MAX_AGE", "31536000"),
        ("HSTS_INCLUDE_SUBDOMAINS", "on"),
        ("TRUST_PROXY", "1"),
        ("REDIS_URL", "redis://127.0.0.1"),
        ("CLUSTER_SECRET", CLUSTER_SECRET),
    ];
    let load = |pairs: &[(&'static str, &str)]| {
        let environment = Environment::of(base.into_iter().chain(pairs.iter().copied()));
        load(None, &environment).map(|loaded| loaded.config)
    };
    let default = shown(&without_instance_id(load(&[]).unwrap(), ""));
    for variable in VARIABLES {
        let value = default.find_ref(variable.key).unwrap();
        let number = |by: i128| {
            let Value::Num(_, number) = value else { panic!("{}", variable.key) };
            (i128::try_from(values::whole(*number).unwrap()).unwrap() + by).to_string()
        };
        let candidates = match variable.kind {
            Kind::Integer(..) | Kind::Proxies => vec![number(1), number(-1)],
            Kind::Bool => vec!["off".to_owned(), "on".to_owned()],
            Kind::Switch => vec!["off".to_owned()],
            Kind::Word(words) => words.iter().map(ToString::to_string).collect(),
            Kind::Ip => vec!["::1".to_owned()],
            Kind::Socket => vec!["127.0.0.1:1".to_owned()],
            Kind::Networks => vec!["10.0.0.0/8".to_owned()],
            Kind::Integers(..) => vec!["16,32".to_owned()],
            Kind::Text | Kind::Texts => {
                vec!["https://other.example".to_owned(), "debug".to_owned()]
            }
        };
        // Some values do not fit the rest of the configuration; one of them does.
        let changed = candidates.iter().find_map(|text| {
            let config = load(&[(variable.name, text)]).ok()?;
            let shown = shown(&without_instance_id(config, variable.name));
            (shown != default).then_some(shown)
        });
        let changed = changed.unwrap_or_else(|| panic!("nothing changes {}", variable.name));
        for other in VARIABLES {
            let same = changed.find_ref(other.key) == default.find_ref(other.key);
            assert_eq!(same, other.key != variable.key, "{} and {}", variable.name, other.key);
        }
    }
}

#[test]
fn an_empty_number_or_switch_is_not_set_and_an_empty_text_is() {
    let environment = Environment::of([
        ("PORT", ""),
        ("FEATURE_CORS", " "),
        ("LOG_FORMAT", ""),
        ("OPS_LISTEN", ""),
    ]);
    let Loaded { config, .. } = load(None, &environment).unwrap();
    assert_eq!(config.server.port, 8080);
    assert!(config.feature.cors);
    assert_eq!(config.server.ops_listen, None);
}

#[test]
fn an_instance_has_a_name_of_its_own_unless_it_is_given_one() {
    let name = |pairs: &[(&'static str, &'static str)]| {
        load(None, &Environment::of(pairs.iter().copied())).unwrap().config.server.instance_id
    };
    assert_eq!(name(&[]).len(), 8);
    assert_ne!(name(&[]), name(&[]));
    assert_eq!(name(&[("INSTANCE_ID", "a-1")]), "a-1");
}

#[test]
fn what_the_deployment_suggests_depends_on_the_deployment() {
    let mut config = Config::default();
    assert!(config.demo_page() && config.detailed_errors() && !config.json_logs());
    config.server.deployment_env = Deployment::Production;
    assert!(!config.demo_page() && !config.detailed_errors() && config.json_logs());
    config.feature.detailed_errors = Switch::On;
    config.log.format = LogFormat::Pretty;
    assert!(config.detailed_errors() && !config.json_logs());
}

#[test]
fn the_public_address_gives_the_websocket_address() {
    let mut server = Config::default().server;
    for (url, ws) in [
        ("", None),
        ("https://relay.example.org", Some("wss://relay.example.org")),
        ("http://localhost:8080", Some("ws://localhost:8080")),
    ] {
        url.clone_into(&mut server.public_url);
        assert_eq!(server.public_ws().as_deref(), ws);
    }
}

#[test]
fn without_a_secret_development_makes_one_for_this_run_and_says_so() {
    let first = load(None, &Environment::default()).unwrap();
    let second = load(None, &Environment::default()).unwrap();
    assert_eq!(first.notes, [Note::RandomSecret]);
    assert!(verify(&first, &mint(&first)));
    assert!(!verify(&second, &mint(&first)));
    assert!(first.config.redacted().contains("# JOIN_TOKEN_SECRET: (none; random for each run)"));
}

#[test]
fn a_secret_is_the_text_of_its_variable_or_of_its_file_without_the_line_break() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    let by_name = load(None, &Environment::of([("JOIN_TOKEN_SECRET", SECRET)])).unwrap();
    let token = mint(&by_name);
    assert_eq!(by_name.notes, []);
    for (ending, same) in [("", true), ("\n", true), ("\r\n", true), ("\n\n", false), (" ", false)]
    {
        std::fs::write(&path, format!("{SECRET}{ending}")).unwrap();
        let by_file = load(None, &secret_file(&path)).unwrap();
        assert_eq!(verify(&by_file, &token), same, "{ending:?}");
    }
    // An empty variable beside the file is not a second secret.
    std::fs::write(&path, SECRET).unwrap();
    let path = path.to_str().unwrap();
    let both = Environment::of([("JOIN_TOKEN_SECRET", ""), ("JOIN_TOKEN_SECRET_FILE", path)]);
    let loaded = load(None, &both).unwrap();
    assert!(verify(&loaded, &token));
    let shown = loaded.config.redacted();
    let line = "# JOIN_TOKEN_SECRET: (set, 44 bytes, from JOIN_TOKEN_SECRET_FILE)\n";
    assert!(shown.contains(line), "{shown}");
}

#[test]
fn tokens_of_the_previous_secret_are_still_taken() {
    let old = load(None, &Environment::of([("JOIN_TOKEN_SECRET", SECRET)])).unwrap();
    let both = load(
        None,
        &Environment::of([
            ("JOIN_TOKEN_SECRET", OTHER_SECRET),
            ("TOKEN_KID", "k2"),
            ("JOIN_TOKEN_SECRET_PREVIOUS", SECRET),
            ("TOKEN_PREVIOUS_KID", "k1"),
        ]),
    )
    .unwrap();
    assert!(verify(&both, &mint(&old)));
    assert!(verify(&both, &mint(&both)));
    assert!(!verify(&old, &mint(&both)));
}

#[test]
fn what_is_shown_is_toml_of_the_same_configuration_without_secrets() {
    let environment = Environment::of([
        ("JOIN_TOKEN_SECRET", SECRET),
        ("INFO_OPERATOR", "\u{c4}nne \"Q\" \\ Co"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example,https://b.example"),
        ("FEATURE_DEMO_PAGE", "off"),
        ("OPS_LISTEN", ""),
    ]);
    let config = load(None, &environment).unwrap().config;
    let shown = config.redacted();
    assert!(!shown.contains(SECRET));
    assert!(shown.contains("# JOIN_TOKEN_SECRET: (set, 44 bytes)\n"), "{shown}");
    assert!(shown.contains("# JOIN_TOKEN_SECRET_PREVIOUS: (none)\n"), "{shown}");
    let again = Config::from_toml(&shown).unwrap();
    assert_eq!(without_origins(again), without_origins(config));
}

#[test]
fn a_log_line_says_what_was_changed_and_nothing_of_what_it_leads_to() {
    let environment = Environment::of([
        ("JOIN_TOKEN_SECRET", SECRET),
        ("CLUSTER_SECRET", ""),
        ("INFO_OPERATOR", "Canary \"Q\" & Co"),
        ("CORS_ALLOWED_ORIGINS", "https://canary.example"),
        ("FEATURE_DEMO_PAGE", "off"),
        ("ROOM_PADDING_BUCKETS", "256,1024"),
        ("LOG_FORMAT", "json"),
        ("HOST", "::1"),
        ("PORT", "8080"),
        ("MAX_ROOMS", "7"),
    ]);
    let Summary { changed, secrets } = load(None, &environment).unwrap().config.summary();
    assert_eq!(
        changed,
        "HOST=(set) LOG_FORMAT=json FEATURE_DEMO_PAGE=false CORS_ALLOWED_ORIGINS=(set) \
         MAX_ROOMS=7 ROOM_PADDING_BUCKETS=[256,1024] INFO_OPERATOR=(set)"
    );
    assert!(secrets.starts_with("JOIN_TOKEN_SECRET=(set) JOIN_TOKEN_SECRET_PREVIOUS=(none)"));
    assert!(!secrets.contains(SECRET) && !secrets.contains("44"), "{secrets}");
    let bare = load(None, &Environment::of([("PORT", "8080")])).unwrap().config.summary();
    assert_eq!(bare.changed, "", "a name that was made up is no change");
    assert!(bare.secrets.starts_with("JOIN_TOKEN_SECRET=(random)"), "{}", bare.secrets);
}

#[test]
fn control_characters_are_shown_as_toml_takes_them() {
    let text: String = (0..=0x9f).filter_map(char::from_u32).collect();
    let toml = format!("x = {}", show::to_toml(&Value::from(text.clone())));
    let read: figment::value::Dict = Toml::from_str(&toml).unwrap();
    assert_eq!(read["x"].as_str(), Some(&*text));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_what_fits_is_shown_as_it_is(
        text in "\\PC{0,60}",
        table in prop::sample::select(vec!["server", "room", "limit", "cors", "info", "x"]),
        key in prop::sample::select(vec!["port", "padding", "operator", "allowed_origins", "y"]),
        value in prop::sample::select(vec!["7", "[7]", "'https://a'", "true", "-1", "1.5", "{}", "[]"]),
    ) {
        for text in [text.clone(), format!("[{table}]\n{key} = {value}"), format!("{key} = '{text}'")] {
            if let Ok(config) = Config::from_toml(&text) {
                let again = Config::from_toml(&config.redacted()).unwrap();
                prop_assert_eq!(without_origins(again), without_origins(config));
            }
        }
    }

    #[test]
    fn texts_survive_being_shown(text in "\\PC{0,80}") {
        let toml = format!("[info]\noperator = {}", show::to_toml(&Value::from(text.clone())));
        prop_assert_eq!(Config::from_toml(&toml).unwrap().info.operator, text);
    }
}

fn problems_of(loaded: Result<Loaded, ConfigError>) -> Vec<String> {
    loaded.err().map(|error| error.problems().to_vec()).unwrap_or_default()
}

fn secret_file(path: &Path) -> Environment {
    Environment::of([("JOIN_TOKEN_SECRET_FILE", path.to_str().unwrap())])
}

fn shown(config: &Config) -> Value {
    Value::serialize(config).unwrap()
}

fn without_origins(config: Config) -> Config {
    Config { origins: Origins::default(), ..config }
}

/// Takes back the random name, which differs from the default whatever was set.
fn without_instance_id(mut config: Config, variable: &str) -> Config {
    if variable != "INSTANCE_ID" {
        config.server.instance_id.clear();
    }
    config
}

const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

fn mint(loaded: &Loaded) -> String {
    let room = RoomId::new(&[7; 16]).unwrap();
    let policy = loaded.config.token.policy();
    loaded.keys.mint(&policy, &room, Cap::SEND, 60, None, Jti::from_bytes([9; 16]), NOW).to_string()
}

fn verify(loaded: &Loaded, token: &str) -> bool {
    let verdict = loaded.keys.verify(&loaded.config.token.policy(), token, NOW);
    verdict.is_ok_and(|Claims { cap, .. }| cap == Cap::SEND)
}
