//! Stored responses, over SQLite.

use super::*;
use crate::testing::plans::scan;
use crate::testing::sqlite::Sqlite;
use pollster::block_on;

const NOW: u64 = 1_795_737_600_000;
const DAY: u64 = DAY_MS as u64;

fn of(gateway: i64, owner: &str) -> Owned {
    Owned { gateway, owner: owner.to_owned() }
}

fn response(id: &str, previous: Option<&str>, created_at: u64) -> StoredResponse {
    let (input, response) = (format!("[\"{id} asked\"]"), format!("{{\"id\":\"{id}\"}}"));
    StoredResponse::new(id.to_owned(), previous.map(str::to_owned), created_at, input, response)
}

fn put(store: &Sqlite, whose: &Owned, stored: &StoredResponse) {
    block_on(write(store, whose, stored, None)).unwrap();
}

fn ids(found: &[StoredResponse]) -> Vec<&str> {
    found.iter().map(|stored| stored.id.as_str()).collect()
}

#[test]
fn a_conversation_is_found_by_its_owner_in_its_gateway_alone() {
    let store = Sqlite::new();
    let own = of(1, "t1");
    put(&store, &own, &response("a", None, NOW));
    put(&store, &own, &response("b", Some("a"), NOW + 1));
    put(&store, &own, &response("c", Some("b"), NOW + 2));
    // Another branch of the conversation, and the same ids of others.
    put(&store, &own, &response("d", Some("a"), NOW + 3));
    put(&store, &of(1, "t2"), &response("b", None, NOW));
    let asked = |whose: &Owned, id: &str| block_on(conversation(&store, whose, id, NOW + 10)).unwrap();
    assert_eq!(ids(&asked(&own, "c")), ["a", "b", "c"]);
    assert_eq!(ids(&asked(&own, "d")), ["a", "d"]);
    assert_eq!(asked(&own, "a")[0], response("a", None, NOW));
    assert_eq!(ids(&asked(&of(1, "t2"), "b")), ["b"]);
    for (gateway, owner, id) in [(1, "t2", "a"), (2, "t1", "a"), (1, "", "a"), (1, "t1", "x")] {
        assert_eq!(asked(&of(gateway, owner), id), [], "{gateway} {owner} {id}");
    }
    assert_eq!(ids(&block_on(some(&store, &own, &["d", "a", "x"], NOW)).unwrap()).len(), 2);
    // What is written again takes the place of the old.
    put(&store, &own, &response("c", Some("a"), NOW + 4));
    assert_eq!(ids(&asked(&own, "c")), ["a", "c"]);
    assert!(!block_on(remove(&store, &of(1, "t2"), "a", NOW)).unwrap());
    assert!(block_on(remove(&store, &own, "a", NOW)).unwrap() && !block_on(remove(&store, &own, "a", NOW)).unwrap());
    assert_eq!(ids(&asked(&own, "c")), ["c"]);
}

#[test]
fn a_circle_and_a_flood_end() {
    let store = Sqlite::new();
    let own = of(1, "t");
    put(&store, &own, &response("a", Some("b"), NOW));
    put(&store, &own, &response("b", Some("a"), NOW));
    assert_eq!(block_on(conversation(&store, &own, "a", NOW)).unwrap().len(), MOST_LINKS as usize + 1);
    for n in 0..10_u64 {
        let mut long = response(&format!("l{n}"), n.checked_sub(1).map(|n| format!("l{n}")).as_deref(), NOW);
        long.input = "x".repeat(1_800_000);
        put(&store, &own, &long);
    }
    assert_eq!(block_on(conversation(&store, &own, "l9", NOW)).unwrap().len(), 6);
}

#[test]
fn long_texts_are_in_the_bucket_and_go_with_their_row() {
    let store = Sqlite::new();
    let own = of(1, "t");
    let stored = response("a", None, NOW);
    store.objects.borrow_mut().push(("responses/1".to_owned(), object_of(&stored).into_bytes()));
    block_on(write(&store, &own, &stored, Some("responses/1"))).unwrap();
    let found = block_on(conversation(&store, &own, "a", NOW)).unwrap();
    assert_eq!((&found[0].input, &found[0].response), (&stored.input, &stored.response));
    assert!(block_on(remove(&store, &own, "a", NOW)).unwrap());
    let noted = Statement::new("SELECT log_id AS id FROM removed_objects", []);
    assert_eq!(block_on(store.ids(noted)).unwrap(), ["responses/1"]);
}

#[test]
fn they_go_when_they_are_old_and_sooner_where_bodies_do() {
    let store = Sqlite::new();
    let sql = "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) VALUES (?1, 'a', 'gw' || ?1, 'i' || ?1, 1, 1, ?2)";
    for (key, settings) in [(1, "{}"), (2, r#"{"log_body_retention_days":2}"#), (3, r#"{"log_retention_days":90}"#)] {
        block_on(store.batch(vec![Statement::new(sql, [Bind::Int(key), settings.into()])])).unwrap();
        for age in [0, 1, 3, 29, 31] {
            put(&store, &of(key, "t"), &response(&format!("d{age}"), None, NOW - age * DAY));
        }
    }
    while block_on(expire(&store, NOW)).unwrap() {}
    let left = |gateway| {
        let sql = "SELECT id FROM stored_responses WHERE gateway = ?1 ORDER BY created_at DESC";
        block_on(store.ids(Statement::new(sql, [Bind::Int(gateway)]))).unwrap()
    };
    assert_eq!(left(1), ["d0", "d1", "d3", "d29"]);
    assert_eq!(left(2), ["d0", "d1"]);
    assert_eq!(left(3), ["d0", "d1", "d3", "d29"]);
    // One that the cron has not removed yet is not found any more.
    put(&store, &of(1, "t"), &response("late", None, NOW - 31 * DAY));
    assert_eq!(block_on(conversation(&store, &of(1, "t"), "late", NOW)).unwrap(), []);
    while block_on(remove_gateway(&store, 1)).unwrap() {}
    assert!(left(1).is_empty() && left(2).len() == 2);
}

#[test]
fn no_statement_reads_the_whole_table() {
    use crate::testing::sqlite::Planned;
    let store = Planned { inner: Sqlite::new(), plans: std::cell::RefCell::default() };
    let own = of(1, "t");
    block_on(write(&store, &own, &response("a", None, NOW), None)).unwrap();
    block_on(conversation(&store, &own, "a", NOW)).unwrap();
    block_on(some(&store, &own, &["a"], NOW)).unwrap();
    block_on(remove(&store, &own, "a", NOW)).unwrap();
    block_on(expire(&store, NOW)).unwrap();
    block_on(remove_gateway(&store, 1)).unwrap();
    for (plan, sql) in store.plans.take() {
        let scanned = scan(&plan).filter(|line| !line.contains("chain"));
        assert_eq!(scanned, None, "{sql}\n{plan}");
    }
}
