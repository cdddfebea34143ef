use super::*;
use crate::api::route_versions::{create_version, deploy, deployments, version, versions};
use crate::testing::sqlite::Sqlite;
use pollster::block_on;

pub(in crate::api) fn place(key: i64) -> Place<'static> {
    Place { account: "a", gateway: "gw", key }
}

fn actor(entry: &str) -> Actor<'static> {
    Actor { name: "admin", now_ms: 1_700_000_000_000, entry: entry.to_owned() }
}

fn ids(n: u8) -> NewIds {
    let mut entropy = [n; 32];
    entropy[31] = 99;
    NewIds::new(&format!("route-{n}"), 1_700_000_000_000, &entropy)
}

fn elements(model: &str) -> Value {
    json!([
        {"id": "s", "type": "start", "outputs": {"next": {"elementId": "m"}}},
        {"id": "m", "type": "model", "properties": {"provider": "openai", "model": model, "retries": 0, "timeout": 0}, "outputs": {"success": {"elementId": "e"}}},
        {"id": "e", "type": "end", "outputs": {}},
    ])
}

fn body(reply: &Result<Reply, ApiError>) -> Value {
    serde_json::from_str(&reply.as_ref().unwrap().body).unwrap()
}

fn made(store: &Sqlite, n: u8, body: &Value) -> Handled {
    block_on(create(store, &place(1), body.to_string().as_bytes(), &ids(n), &actor(&format!("audit-{n}"))))
}

#[test]
fn a_route_lives_from_its_first_version_to_its_end() {
    let store = Sqlite::new();
    let created = made(&store, 1, &json!({ "name": "support", "elements": elements("gpt-5") }));
    assert_eq!(created.effects.len(), 1);
    let route = &body(&created.reply)["result"];
    let first = route["version"]["version_id"].as_str().unwrap().to_owned();
    assert_eq!((&route["version"]["active"], &route["deployment"]["version_id"]), (&json!("true"), &json!(first)));
    assert_eq!(route["elements"], elements("gpt-5"));
    assert_eq!(read(route["version"]["data"].as_str().unwrap()), elements("gpt-5"));

    let next = json!({ "elements": elements("gpt-5-mini") }).to_string();
    let next = block_on(create_version(&store, &place(1), "route-1", next.as_bytes(), &ids(2), &actor("b")));
    assert_eq!(body(&next)["result"]["elements"], elements("gpt-5-mini"));
    let route = body(&block_on(get(&store, &place(1), "route-1")));
    assert_eq!(route["result"]["elements"], elements("gpt-5"), "what is not deployed is not in use");

    let listed = body(&block_on(versions(&store, &place(1), "route-1", &Query::parse(""))));
    let second = ids(2).version;
    let all = listed["data"]["versions"].as_array().unwrap();
    assert_eq!(all.len(), 2);
    assert!(all.iter().any(|one| one["version_id"] == json!(second) && one["active"] == "false"));
    let one = body(&block_on(version(&store, &place(1), "route-1", &second)));
    assert_eq!((&one["result"]["elements"], &one["result"]["name"]), (&elements("gpt-5-mini"), &json!("support")));

    for (version, n) in [(&second, 3), (&first, 4)] {
        let wanted = json!({ "version_id": version }).to_string();
        let deployed =
            block_on(deploy(&store, &place(1), "route-1", wanted.as_bytes(), &ids(n), &actor(&n.to_string())));
        assert!(deployed.reply.is_ok() && deployed.effects.len() == 1);
        let route = body(&block_on(get(&store, &place(1), "route-1")));
        assert_eq!(route["result"]["version"]["version_id"], json!(version));
    }
    let listed = body(&block_on(deployments(&store, &place(1), "route-1", &Query::parse(""))));
    assert_eq!(listed["data"]["deployments"].as_array().unwrap().len(), 3);

    let renamed = block_on(update(&store, &place(1), "route-1", br#"{"name":"help"}"#, &actor("r"))).reply;
    assert_eq!(body(&renamed)["route"]["name"], "help");
    let listed = body(&block_on(list(&store, &place(1), &Query::parse(""))));
    assert_eq!(
        (&listed["data"]["routes"][0]["name"], &listed["data"]["routes"][0]["account_tag"]),
        (&json!("help"), &json!("a"))
    );
    assert!(block_on(delete(&store, &place(1), "route-1", &actor("d"))).reply.is_ok());
    assert_eq!(block_on(get(&store, &place(1), "route-1")).unwrap_err().status, 404);
    for table in ["route_versions", "route_deployments"] {
        assert!(block_on(store.ids(Statement::new(format!("SELECT id FROM {table}"), []))).unwrap().is_empty());
    }
    let mut trail = block_on(store.ids(Statement::new("SELECT action AS id FROM audit", []))).unwrap();
    trail.sort();
    let wanted =
        ["route.create", "route.create_version", "route.delete", "route.deploy", "route.deploy", "route.update"];
    assert_eq!(trail, wanted);
}

#[test]
fn ids_of_another_gateway_are_not_found() {
    let store = Sqlite::new();
    made(&store, 1, &json!({ "name": "support", "elements": elements("gpt-5") })).reply.unwrap();
    let (other, query) = (place(2), Query::parse(""));
    let statuses = [
        block_on(get(&store, &other, "route-1")),
        block_on(update(&store, &other, "route-1", b"{}", &actor("1"))).reply,
        block_on(delete(&store, &other, "route-1", &actor("2"))).reply,
        block_on(versions(&store, &other, "route-1", &query)),
        block_on(create_version(&store, &other, "route-1", b"{}", &ids(2), &actor("3"))),
        block_on(version(&store, &other, "route-1", &ids(1).version)),
        block_on(deployments(&store, &other, "route-1", &query)),
        block_on(deploy(&store, &other, "route-1", b"{}", &ids(3), &actor("4"))).reply,
        block_on(version(&store, &place(1), "route-1", "other")),
    ];
    assert!(statuses.iter().all(|reply| reply.as_ref().unwrap_err().status == 404));
    assert_eq!(body(&block_on(list(&store, &other, &query)))["data"]["routes"], json!([]));
}

#[test]
fn what_is_no_route_is_refused_with_its_place() {
    let store = Sqlite::new();
    made(&store, 1, &json!({ "name": "support", "elements": elements("gpt-5") })).reply.unwrap();
    let mut unknown = elements("gpt-5");
    unknown[1]["properties"]["provider"] = json!("opnai");
    let mut nameless = elements("gpt-5");
    nameless[1]["properties"]["provider"] = json!("custom-");
    let mut dangling = elements("gpt-5");
    dangling[0]["outputs"]["next"]["elementId"] = json!("x");
    for (given, place) in [
        (json!({ "name": "x" }), "body.elements"),
        (json!({ "elements": elements("m") }), "body.name"),
        (json!({ "name": "dynamic/x", "elements": elements("m") }), "body.name"),
        (json!({ "name": "support", "elements": elements("m") }), "body.name"),
        (json!({ "name": "x", "elements": unknown }), "body.elements[1].properties.provider"),
        (json!({ "name": "x", "elements": nameless }), "body.elements[1].properties.provider"),
        (json!({ "name": "x", "elements": elements("dynamic/y") }), "body.elements[1].properties.model"),
        (json!({ "name": "x", "elements": elements("Dynamic/y") }), "body.elements[1].properties.model"),
        (json!({ "name": "x", "elements": elements(" gpt-5") }), "body.elements[1].properties.model"),
        (json!({ "name": "x", "elements": elements("gpt\n5") }), "body.elements[1].properties.model"),
        (json!({ "name": "x", "elements": dangling }), "body.elements[0].outputs.next.elementId"),
        (json!({ "name": "x", "elements": elements("m"), "comment": "" }), "body.comment"),
    ] {
        let refused = made(&store, 2, &given).reply.unwrap_err();
        assert_eq!((refused.status, refused.code, refused.path.join(".")), (400, 7001, place.to_owned()), "{given}");
    }
    let mut long = elements("gpt-5");
    long[1]["comment"] = json!("x".repeat(MAX_ELEMENTS));
    let refused = made(&store, 2, &json!({ "name": "x", "elements": long })).reply.unwrap_err();
    assert!(refused.message.contains("16384"), "{}", refused.message);
    let wanted = block_on(deploy(&store, &place(1), "route-1", br#"{"version_id":"x"}"#, &ids(3), &actor("5"))).reply;
    assert_eq!(wanted.unwrap_err().path, ["body", "version_id"]);
    assert_eq!(
        body(&block_on(list(&store, &place(1), &Query::parse(""))))["data"]["routes"].as_array().unwrap().len(),
        1
    );
}
