//! Bodies that are apart from their rows, over SQLite and a bucket in memory.

use crate::api::Place;
use crate::api::logs::{self, WhichBody};
use crate::db::whose::Whose;
use crate::http::envelope::Reply;
use crate::http::envelope::Span;
use crate::logs::bodies::*;
use crate::logs::call::Call;
use crate::logs::group_commit;
use crate::logs::part::{Entry, Group};
use crate::logs::pieces::name::NamingKey;
use crate::logs::queue::{self, Message, Outbox};
use crate::logs::record::tests::{answered, call};
use crate::logs::removal;
use crate::logs::retention;
use crate::logs::rollup::Tally;
use crate::logs::stored::Stored;
use crate::testing::sqlite::Sqlite;
use crate::wire::Facts;
use pollster::block_on;
use std::cell::RefCell;

const NOW: u64 = 1_700_000_000_000;
const DAY: u64 = 86_400_000;

/// A bucket that only knows names.
#[derive(Default)]
struct Names(RefCell<Vec<String>>);

impl Bucket for Names {
    async fn remove(&self, ids: &[String]) -> Result<(), StoreError> {
        assert!(ids.len() <= AT_ONCE);
        self.0.borrow_mut().retain(|id| !ids.contains(id));
        Ok(())
    }

    async fn after(&self, id: &str) -> Result<Vec<String>, StoreError> {
        let mut names = self.0.borrow().clone();
        names.sort();
        Ok(names.into_iter().filter(|name| name.as_str() > id).take(AT_ONCE).collect())
    }
}

/// A queue that is not emptied.
#[derive(Default)]
struct Unsent(RefCell<Vec<String>>);

impl Outbox for Unsent {
    async fn send(&self, messages: &[String]) -> Result<(), String> {
        self.0.borrow_mut().extend_from_slice(messages);
        Ok(())
    }

    fn is_bound(&self) -> bool {
        true
    }
}

fn gateway(settings: &Value) -> Sqlite {
    let store = Sqlite::new();
    let sql = "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) VALUES (1, 'a', 'gw', 'i', 1, 1, ?1)";
    block_on(store.batch(vec![Statement::new(sql, [settings.to_string().into()])])).unwrap();
    store
}

fn record(n: u64, request: &str, response: &str) -> LogRecord {
    let id = id::mint(NOW - n, n.into());
    let mut outcome = answered(Facts::default());
    outcome.body = Some(response.to_owned());
    LogRecord::new(Call { created_at: NOW - n, body: Some(request.to_owned()), ..call(&id) }, outcome)
}

/// Puts a record's long bodies into the bucket, if it takes them, and writes its row.
fn kept(store: &Sqlite, mut record: LogRecord, takes: bool) -> String {
    let id = record.id.clone();
    if is_long(&record) {
        let parts = detach(&mut record);
        let object: Vec<u8> = parts.into_iter().flatten().flat_map(String::into_bytes).collect();
        if takes {
            store.objects.borrow_mut().push((id.clone(), object));
        } else {
            record.stored.cut = true;
        }
    }
    assert_eq!(block_on(group_commit::write(store, vec![record].into(), async |_| {})), []);
    id
}

fn removed_ones(store: &Sqlite) -> Vec<String> {
    block_on(store.ids(Statement::new("SELECT log_id AS id FROM removed_objects ORDER BY 1", []))).unwrap()
}

fn body(store: &Sqlite, id: &str, part: WhichBody) -> Result<Reply, u16> {
    block_on(logs::body(store, 1, id, part)).map_err(|error| error.status)
}

#[test]
fn heads_end_between_characters_and_the_object_has_every_byte() {
    let text = "€".repeat(4_000);
    let mut long = record(1, &text, "short");
    let parts = detach(&mut long);
    assert_eq!(parts, [Some(text.clone()), None]);
    assert_eq!(long.request_body.as_deref(), text.get(..7_998));
    assert_eq!(
        (long.response_body.as_deref(), long.stored.request, long.stored.response),
        (Some("short"), Some(12_000), None)
    );
    // Whatever a log shows of a body is in its row.
    assert!("😀".repeat(2_000).len() <= HEAD);
    assert!(!is_long(&record(1, &"x".repeat(HEAD), "")) && is_long(&record(1, "", &"x".repeat(HEAD + 1))));
}

#[test]
fn a_log_shows_where_its_bodies_are() {
    let store = gateway(&json!({}));
    let (request, response) = ("ü".repeat(5_000), "\u{feff}{}".repeat(5_000));
    let id = kept(&store, record(1, &request, &response), true);
    let reply = body(&store, &id, WhichBody::Request).unwrap();
    assert_eq!((reply.object, reply.body.as_str()), (Some(Span { id: id.clone(), offset: 0, length: 10_000 }), ""));
    let reply = body(&store, &id, WhichBody::Response).unwrap();
    assert_eq!(reply.object, Some(Span { id: id.clone(), offset: 10_000, length: 25_000 }));
    let shown: Value = serde_json::from_str(
        &block_on(logs::get([&store, &store], &Place { account: "a", gateway: "gw", key: 1 }, &id, true)).unwrap().body,
    )
    .unwrap();
    let shown = &shown["result"];
    assert_eq!(
        (shown["request_head"].as_str().unwrap().len(), &shown["request_head_complete"]),
        (4_000, &json!(false))
    );

    // One short body stays where it is, and logs from before the bucket are as they were.
    let id = kept(&store, record(2, "short", &response), true);
    assert_eq!(body(&store, &id, WhichBody::Request).unwrap().body, "short");
    assert_eq!(body(&store, &id, WhichBody::Response).unwrap().object, Some(Span { id, offset: 0, length: 25_000 }));
    let old = record(3, &request, &response);
    block_on(group_commit::write(&store, vec![old.clone()].into(), async |_| {}));
    assert_eq!(body(&store, &old.id, WhichBody::Response).unwrap().body, response);
}

#[test]
fn a_body_that_the_bucket_did_not_take_says_so() {
    let store = gateway(&json!({}));
    let long = "x".repeat(9_000);
    let id = kept(&store, record(1, &long, "{}"), false);
    assert_eq!(body(&store, &id, WhichBody::Request).unwrap_err(), 404);
    assert_eq!(body(&store, &id, WhichBody::Response).unwrap().body, "{}");
    let cut = Stored { request: Some(9_000), response: None, cut: true };
    let read = block_on(whole(&store, &id, cut, [Some("x".to_owned()), Some("{}".to_owned())])).unwrap();
    assert_eq!(read, [None, Some("{}".to_owned())]);
}

#[test]
fn whole_bodies_are_read_where_they_are_wanted() {
    let store = gateway(&json!({}));
    let (request, response) = ("ü".repeat(5_000), "\u{feff}{}".repeat(5_000));
    let id = kept(&store, record(1, &request, &response), true);
    let stored = Stored { request: Some(10_000), response: Some(25_000), cut: false };
    let heads = || [Some("ü".to_owned()), Some("{".to_owned())];
    assert_eq!(block_on(whole(&store, &id, stored, heads())).unwrap(), [Some(request), Some(response.clone())]);
    // Never less than all of it.
    let longer = Stored { response: Some(25_001), ..stored };
    assert_eq!(block_on(whole(&store, &id, longer, heads())).unwrap()[1], None);
    store.objects.borrow_mut().clear();
    assert_eq!(block_on(whole(&store, &id, stored, heads())).unwrap(), [None, None]);
    assert_eq!(block_on(whole(&store, &id, Stored::default(), heads())).unwrap(), heads());
}

#[test]
fn what_is_removed_takes_its_object_along_and_nothing_else_does() {
    let store = gateway(&json!({ "log_body_retention_days": 5, "log_retention_days": 20 }));
    let long = "x".repeat(9_000);
    let (fresh, short, by_hand) = (
        kept(&store, record(1, &long, ""), true),
        kept(&store, record(6 * DAY, "{}", "{}"), true),
        kept(&store, record(2, "", &long), true),
    );
    let old = kept(&store, record(6 * DAY + 1, &long, ""), true);
    let oldest = kept(&store, record(30 * DAY, &long, &long), true);
    assert_eq!(removed_ones(&store), [""; 0]);
    block_on(removal::remove(&store, &[by_hand.clone(), short], None)).unwrap();
    assert_eq!(removed_ones(&store), [by_hand.as_str()]);
    block_on(retention::run(&store, &Whose::All, NOW, || false)).unwrap();
    let mut gone = vec![by_hand, old, oldest];
    gone.sort();
    assert_eq!(removed_ones(&store), gone);

    let bucket = Names(RefCell::new(store.objects.borrow().iter().map(|(id, _)| id.clone()).collect()));
    block_on(clear(&store, &bucket, || false)).unwrap();
    assert_eq!((bucket.0.into_inner(), removed_ones(&store)), (vec![fresh], vec![]));
}

#[test]
fn a_log_that_found_no_room_leaves_no_object() {
    let store = gateway(&json!({ "log_management": 1, "log_management_strategy": "STOP_INSERTING" }));
    let long = "x".repeat(9_000);
    kept(&store, record(2, &long, ""), true);
    assert_eq!(removed_ones(&store), [""; 0]);
    let turned_away = kept(&store, record(1, &long, ""), true);
    kept(&store, record(0, "short", ""), true);
    assert_eq!(removed_ones(&store), [turned_away]);
}

#[test]
fn objects_whose_rows_never_came_are_found_after_a_month() {
    let store = gateway(&json!({}));
    let bucket = Names::default();
    for n in 0..2_500_u64 {
        bucket.0.borrow_mut().push(id::mint(NOW - 40 * DAY + n, n.into()));
    }
    let known = kept(&store, record(35 * DAY, &"x".repeat(9_000), ""), true);
    let on_its_way = id::mint(NOW - 20 * DAY, 1);
    bucket.0.borrow_mut().extend([known.clone(), on_its_way.clone()]);
    let searched = |now: u64, is_over: bool| {
        block_on(search(&store, &bucket, async |ids| missing(&store, ids).await, now, || is_over)).unwrap();
        bucket.0.borrow().len()
    };
    // A run that has no more time is taken up by the next, a finished one only after an hour.
    assert_eq!(searched(NOW, true), 1_502);
    assert_eq!(searched(NOW + 60_000, false), 2);
    bucket.0.borrow_mut().push(id::mint(NOW - 31 * DAY, 3));
    assert_eq!(searched(NOW + 120_000, false), 3);
    assert_eq!(searched(NOW + 2 * SEARCH_EVERY_MS, false), 2);
    assert_eq!(*bucket.0.borrow(), [known, on_its_way]);
}

#[test]
fn a_message_says_that_there_is_an_object() {
    let mut long = record(1, &"x".repeat(200_000), "{}");
    detach(&mut long);
    let outbox = Unsent::default();
    let group = Group { id: "g".to_owned(), shard: 0, records: vec![long.clone()], unlogged: Tally::default() };
    block_on(queue::send(&outbox, &Sqlite::new(), &group, NamingKey::default(), String::new, &async |_| {}));
    let text = outbox.0.into_inner().pop().unwrap();
    assert_eq!(Message::read(&text, NamingKey::default(), 1).unwrap().part.entries, [Entry::of(&long)]);
    assert!(text.len() < 12_000 && text.contains("\nobject -\n"));
}
