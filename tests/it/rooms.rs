//! The three calls: making and restoring rooms, tokens for them, and what owners can do.

use lethewire::core::admission::PaddingPolicy;
use lethewire::core::id::{RoomId, to_base64url};
use lethewire::metrics::{Count, Refusal};
use serde_json::{Value, json};

use crate::harness::{JSON, TestRelay, TestRoom, random};

#[tokio::test]
async fn a_room_is_made_once_and_then_found() {
    let relay = TestRelay::start(|_| ()).await;
    let room = TestRoom::new();
    let made = relay.post("/v1/rooms", &room.creation(Value::Null)).await;
    assert_eq!(made.status, 201);
    let body = made.json();
    assert_eq!(body["room"], room.id.to_base64url());
    assert_eq!(body["expires_in_s"], 60);
    assert_eq!(body["ws"], format!("ws://{}/v1/ws", relay.addr));
    assert_eq!(body.as_object().unwrap().len(), 4);

    let found = relay.post("/v1/rooms", &room.creation(Value::Null)).await;
    assert_eq!(found.status, 200);
    assert_eq!(found.json()["room"], body["room"]);
    assert_ne!(found.json()["token"], body["token"], "each token is good once");
    for answer in [&body, &found.json()] {
        let member = relay.join_with(answer["token"].as_str().unwrap()).await;
        assert_eq!(member.welcome["cap"], "sr");
    }
    assert_eq!(relay.count(Count::RecordsMade), 1);
    relay.stop().await;
}

#[tokio::test]
async fn the_address_to_connect_to_is_the_public_one() {
    let public = TestRelay::start(|config| {
        config.server.public_url = "https://relay.example".to_owned();
    })
    .await;
    let answer = public.post("/v1/rooms", &TestRoom::new().creation(Value::Null)).await;
    assert_eq!(answer.json()["ws"], "wss://relay.example/v1/ws");
    public.stop().await;

    let proxied = TestRelay::start(|config| config.server.trust_proxy = 1.into()).await;
    let body = TestRoom::new().creation(Value::Null).to_string();
    let fields = format!("{JSON}X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-Proto: https\r\n");
    let answer = proxied.call("POST", "/v1/rooms", &fields, &body).await;
    assert_eq!(answer.json()["ws"], format!("wss://{}/v1/ws", proxied.addr));
    proxied.stop().await;
}

#[tokio::test]
async fn an_unknown_room_and_a_wrong_key_are_the_same_answer() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let other = TestRoom::new();
    let refused = |ask: Value| {
        let relay = &relay;
        async move {
            let answer = relay.post("/v1/tokens", &ask).await;
            answer.assert_problem(403, "admission-failed");
            (answer.header("content-length").map(str::to_owned), answer.text())
        }
    };
    let unknown = refused(other.ask()).await;
    let mut wrong_key = room.ask();
    wrong_key["key"] = json!(other.key());
    assert_eq!(refused(wrong_key).await, unknown);
    let mut wrong_owner = room.ask();
    wrong_owner["owner_secret"] = json!(other.owner_secret());
    assert_eq!(refused(wrong_owner).await, unknown);
    let mut unknown_owner = other.ask();
    unknown_owner["owner_secret"] = json!(other.owner_secret());
    assert_eq!(refused(unknown_owner).await, unknown);

    for body in [other.rule("close"), {
        let mut body = room.rule("close");
        body["owner_secret"] = json!(other.owner_secret());
        body
    }] {
        let answer = relay.post("/v1/owner", &body).await;
        answer.assert_problem(403, "admission-failed");
        assert_eq!(answer.text(), unknown.1);
    }
    assert_eq!(relay.totals().refused(Refusal::Admission), 6);
    assert_eq!(relay.post("/v1/tokens", &room.ask()).await.status, 200, "nothing was closed");
    relay.stop().await;
}

#[tokio::test]
async fn what_is_not_exactly_the_call_is_a_bad_request() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let with = |mut body: Value, field: &str, value: Value| {
        body[field] = value;
        body.to_string()
    };
    let make = || room.creation(Value::Null);
    let key = room.key();
    let padded = json!(format!("{key}="));
    let mut cases: Vec<(&str, String)> = vec![
        ("/v1/rooms", String::new()),
        ("/v1/rooms", "null".to_owned()),
        ("/v1/rooms", "[]".to_owned()),
        ("/v1/rooms", format!("[\"{key}\",\"{}\",null]", room.owner())),
        ("/v1/rooms", make().to_string() + "x"),
        ("/v1/rooms", with(make(), "extra", json!(1))),
        ("/v1/rooms", with(make(), "key", json!(1))),
        ("/v1/rooms", with(make(), "key", json!(null))),
        ("/v1/rooms", with(make(), "key", json!(""))),
        ("/v1/rooms", with(make(), "key", padded.clone())),
        ("/v1/rooms", with(make(), "key", json!(key[1..]))),
        ("/v1/rooms", with(make(), "owner", json!(key))),
        ("/v1/rooms", format!("{{\"key\":\"{key}\"}}")),
        (
            "/v1/rooms",
            format!("{{\"key\":\"{key}\",\"key\":\"{key}\",\"owner\":\"{}\"}}", room.owner()),
        ),
        ("/v1/rooms", with(make(), "options", json!([60, 60, 5, true]))),
        ("/v1/rooms", with(make(), "options", json!({ "ttl_s": 0 }))),
        ("/v1/rooms", with(make(), "options", json!({ "ttl_s": 86401 }))),
        ("/v1/rooms", with(make(), "options", json!({ "ttl_s": -1 }))),
        ("/v1/rooms", with(make(), "options", json!({ "ttl_s": 1.5 }))),
        ("/v1/rooms", with(make(), "options", json!({ "idle_s": 601 }))),
        ("/v1/rooms", with(make(), "options", json!({ "members_max": 1 }))),
        ("/v1/rooms", with(make(), "options", json!({ "members_max": 65 }))),
        ("/v1/rooms", with(make(), "options", json!({ "name": "x" }))),
        ("/v1/tokens", with(room.ask(), "room", json!("AAAA"))),
        ("/v1/tokens", with(room.ask(), "room", json!(to_base64url(&[1; 33])))),
        ("/v1/tokens", with(room.ask(), "key", padded.clone())),
        ("/v1/tokens", with(room.ask(), "owner_secret", padded)),
        ("/v1/tokens", with(room.ask(), "cap", json!("sro"))),
        ("/v1/owner", with(room.rule("close"), "room", json!("AAAA"))),
        ("/v1/owner", with(room.rule("close"), "op", json!("explode"))),
        ("/v1/owner", with(room.rule("close"), "op", json!({ "close": null }))),
        ("/v1/owner", with(room.rule("close"), "member", json!(to_base64url(&[1; 8])))),
        ("/v1/owner", with(room.rule("close"), "options", json!({}))),
        ("/v1/owner", room.rule("kick").to_string()),
        ("/v1/owner", with(room.rule("kick"), "member", json!("x"))),
        ("/v1/owner", room.rule("limits").to_string()),
        ("/v1/owner", with(room.rule("limits"), "options", json!({ "members_max": 65 }))),
    ];
    let last = key.chars().last().unwrap();
    // The last of 43 characters has two bits to spare; they must be zero.
    let sloppy = char::from(u8::try_from(last).unwrap() + 1);
    let sloppy = format!("{}{sloppy}", &key[..42]);
    cases.push(("/v1/rooms", with(make(), "key", json!(sloppy))));
    for (path, body) in &cases {
        let answer = relay.call("POST", path, JSON, body).await;
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
        answer.assert_problem(400, "bad-request");
    }
    let bad = u64::try_from(cases.len()).unwrap();
    assert_eq!(relay.totals().refused(Refusal::Request), bad);
    assert_eq!(relay.count(Count::RecordsMade), 1);
    relay.stop().await;
}

#[tokio::test]
async fn options_are_kept_and_shown() {
    let relay = TestRelay::start(|_| ()).await;
    let options = json!({ "ttl_s": 100, "idle_s": 50, "members_max": 2, "padding": "warn" });
    let room = relay.create_room_with(options).await;
    let (first, _second) = (relay.join(&room).await, relay.join(&room).await);
    assert_eq!(first.welcome["limits"]["members"], 2);
    assert_eq!(first.welcome["padding_policy"], "warn");
    assert!((99..=100).contains(&first.welcome["ttl_s"].as_u64().unwrap()));
    for (path, body) in [("/v1/tokens", room.ask()), ("/v1/rooms", room.creation(Value::Null))] {
        relay.post(path, &body).await.assert_problem(409, "room-full");
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_padding_policy_is_one_of_three_words_and_an_owner_may_change_it() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let ask = |padding: &Value| {
        let mut rule = room.rule("limits");
        rule["options"] = json!({ "padding": padding });
        [
            ("/v1/rooms", TestRoom::new().creation(json!({ "padding": padding }))),
            ("/v1/owner", rule),
        ]
    };
    for padding in [json!(true), json!(false), json!("Warn"), json!(""), json!(1), json!(["off"])] {
        for (path, body) in ask(&padding) {
            let answer = relay.post(path, &body).await;
            answer.assert_problem(400, "bad-request");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("off, warn or enforce"), "{padding}: {detail}");
        }
    }
    for padding in ["enforce", "warn", "off"] {
        let [(_, creation), (_, rule)] = ask(&json!(padding));
        assert_eq!(relay.post("/v1/rooms", &creation).await.status, 201, "{padding}");
        assert_eq!(relay.post("/v1/owner", &rule).await.status, 204, "{padding}");
        assert_eq!(relay.join(&room).await.welcome["padding_policy"], padding);
    }
    relay.stop().await;
}

#[tokio::test]
async fn no_room_is_looser_than_its_relay() {
    let relay = TestRelay::start(|config| {
        config.room.padding_policy = PaddingPolicy::Warn;
    })
    .await;
    let room = relay.create_room().await;
    assert_eq!(relay.join(&room).await.welcome["padding_policy"], "warn", "without being asked");
    let mut rule = room.rule("limits");
    rule["options"] = json!({ "padding": "off" });
    let creation = TestRoom::new().creation(json!({ "padding": "off" }));
    for (path, body) in [("/v1/rooms", creation), ("/v1/owner", rule.clone())] {
        relay.post(path, &body).await.assert_problem(400, "bad-request");
    }
    for padding in ["enforce", "warn"] {
        rule["options"]["padding"] = json!(padding);
        assert_eq!(relay.post("/v1/owner", &rule).await.status, 204);
        assert_eq!(relay.join(&room).await.welcome["padding_policy"], padding);
    }
    let by_backend = relay.mint(&TestRoom::new().id, "src");
    assert_eq!(relay.join_with(&by_backend).await.welcome["padding_policy"], "warn");
    relay.stop().await;
}

#[tokio::test]
async fn an_address_makes_so_many_rooms_a_minute() {
    let relay = TestRelay::start(|config| config.limit.room_creates_per_min = 2).await;
    let room = relay.create_room().await;
    relay.create_room().await;
    let answer = relay.post("/v1/rooms", &TestRoom::new().creation(Value::Null)).await;
    answer.assert_problem(429, "quota-exceeded");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"room-creations\";q=2;w=60"));
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    let limit = format!("\"room-creations\";r=0;t={seconds}");
    assert_eq!(answer.header("ratelimit"), Some(&*limit));
    assert!((25..=46).contains(&seconds), "{seconds}");
    assert!(answer.json()["retry_after_ms"].as_u64().unwrap() <= seconds * 1000);

    let again = relay.post("/v1/rooms", &room.creation(Value::Null)).await;
    assert_eq!(again.status, 200, "finding a room costs nothing");
    assert_eq!(again.header("ratelimit"), None);
    relay.stop().await;
}

#[tokio::test]
async fn the_relay_keeps_so_many_rooms() {
    let relay = TestRelay::start(|config| config.room.rooms_max = 1).await;
    let room = relay.create_room().await;
    let answer = relay.post("/v1/rooms", &TestRoom::new().creation(Value::Null)).await;
    answer.assert_problem(503, "temporary-reduced-capacity");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(relay.post("/v1/rooms", &room.creation(Value::Null)).await.status, 200);
    relay.stop().await;
}

#[tokio::test]
async fn a_locked_room_lets_only_its_owner_in() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let early = relay.token(&room).await;
    let mut member = relay.join(&room).await;
    assert_eq!(relay.post("/v1/owner", &room.rule("lock")).await.status, 204);
    assert_eq!(member.control_of("room").await["locked"], true);
    for (path, body) in [("/v1/tokens", room.ask()), ("/v1/rooms", room.creation(Value::Null))] {
        relay.post(path, &body).await.assert_problem(423, "room-locked");
    }
    assert_eq!(relay.refused_with(&early).await.0, 4003, "a token from before does not help");

    let owner = relay.join_as_owner(&room).await;
    assert_eq!((&owner.welcome["locked"], &owner.welcome["cap"]), (&json!(true), &json!("sro")));
    member.control_of("join").await;
    assert_eq!(relay.post("/v1/owner", &room.rule("unlock")).await.status, 204);
    assert_eq!(member.control_of("room").await["locked"], false);
    relay.join(&room).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_closed_room_is_over_for_everybody_and_cannot_be_restored() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let early = relay.token(&room).await;
    let mut member = relay.join(&room).await;
    assert_eq!(relay.post("/v1/owner", &room.rule("close")).await.status, 204);
    member.control_of("closed").await;
    assert_eq!(member.closed().await.0, 4002);

    let mut as_owner = room.ask();
    as_owner["owner_secret"] = json!(room.owner_secret());
    for (path, body) in [
        ("/v1/tokens", room.ask()),
        ("/v1/tokens", as_owner),
        ("/v1/rooms", room.creation(Value::Null)),
        ("/v1/owner", room.rule("unlock")),
        ("/v1/owner", room.rule("close")),
    ] {
        relay.post(path, &body).await.assert_problem(410, "room-closed");
    }
    assert_eq!(relay.refused_with(&early).await.0, 4002);
    let mut wrong_key = room.ask();
    wrong_key["key"] = json!(TestRoom::new().key());
    let answer = relay.post("/v1/tokens", &wrong_key).await;
    answer.assert_problem(403, "admission-failed");
    relay.stop().await;
}

#[tokio::test]
async fn a_kicked_member_is_told_and_so_are_the_others() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut stays = relay.join(&room).await;
    let mut goes = relay.join(&room).await;
    stays.control_of("join").await;
    let mut kick = room.rule("kick");
    kick["member"] = json!(goes.id());
    assert_eq!(relay.post("/v1/owner", &kick).await.status, 204);
    assert_eq!(goes.closed().await, (4004, "kicked".to_owned()));
    let leave = stays.control_of("leave").await;
    assert_eq!((&leave["member"], &leave["why"]), (&json!(goes.id()), &json!("kicked")));
    relay.post("/v1/owner", &kick).await.assert_problem(404, "about:blank");
    relay.stop().await;
}

#[tokio::test]
async fn an_owner_changes_the_options_of_a_living_room() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut member = relay.join(&room).await;
    let mut limits = room.rule("limits");
    limits["options"] = json!({ "members_max": 2, "ttl_s": 1000 });
    assert_eq!(relay.post("/v1/owner", &limits).await.status, 204);
    let told = member.control_of("room").await;
    assert!((990..=1000).contains(&told["ttl_s"].as_u64().unwrap()), "{told}");
    let _second = relay.join(&room).await;
    relay.post("/v1/tokens", &room.ask()).await.assert_problem(409, "room-full");
    relay.stop().await;
}

#[tokio::test]
async fn an_empty_room_is_forgotten_and_a_member_restores_it() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room_with(json!({ "idle_s": 1 })).await;
    relay.join(&room).await.leave().await;
    relay.until("the room's end", |now| now.count(Count::RecordsExpired) == 1).await;
    relay.post("/v1/tokens", &room.ask()).await.assert_problem(403, "admission-failed");
    let restored = relay.post("/v1/rooms", &room.creation(Value::Null)).await;
    assert_eq!(restored.status, 201);
    relay.join(&room).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_room_ends_for_its_members_when_its_time_is_over() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room_with(json!({ "ttl_s": 1 })).await;
    let mut member = relay.join(&room).await;
    member.control_of("closed").await;
    assert_eq!(member.closed().await.0, 4002);
    assert_eq!(relay.count(Count::RecordsExpired), 1);
    relay.stop().await;
}

#[tokio::test]
async fn the_name_of_a_room_does_not_open_it() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut guess = json!({ "room": room.id.to_base64url(), "key": to_base64url(&random::<32>()) });
    for _ in 0..3 {
        let answer = relay.post("/v1/tokens", &guess).await;
        answer.assert_problem(403, "admission-failed");
        guess["key"] = json!(to_base64url(&random::<32>()));
    }
    let longer = RoomId::new(&random::<32>()).unwrap();
    guess["room"] = json!(longer.to_base64url());
    relay.post("/v1/tokens", &guess).await.assert_problem(403, "admission-failed");
    relay.stop().await;
}
