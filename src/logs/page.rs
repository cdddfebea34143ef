//! One page of a list of logs, and how many there are, without asking the database for more than it can answer at once: it
//! has one thread, and logs are not written while a long statement runs.

use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::http::page::Page;
use crate::logs::filter::{Direction, Selection};
use crate::logs::row::{COLUMNS, LogRow};

/// Counting reads every match, so lists count no further than this.
pub const MAX_COUNT: u64 = 10_000;

row! {
    struct Count {
        n: u64,
        /// What the transactions that write and remove logs have counted, where all logs of a gateway are meant.
        kept: Option<u64>,
    }
}

row! {
    /// What [`Selection::window`] finds.
    struct Window {
        seen: u64,
        n: u64,
        last: Option<String>,
    }
}

/// A page, and what is known of the whole.
pub struct Found {
    pub rows: Vec<LogRow>,
    pub total: u64,
    /// Whether there may be more than `total`.
    pub capped: bool,
    /// The last log that was looked at, if the search ended there.
    pub ended_at: Option<String>,
}

/// Counts what is meant, no further than [`MAX_COUNT`]. `all` is the gateway, where all of its logs are meant.
pub async fn count(store: &impl Store, selection: &Selection, all: Option<i64>) -> Result<(u64, bool), StoreError> {
    let some = selection.gather("1", &format!("LIMIT {}", MAX_COUNT + 1));
    let mut sql = format!("SELECT count(*) AS n, NULL AS kept FROM ({})", some.sql);
    if all.is_some() {
        sql = sql.replace("NULL AS kept", "(SELECT logs FROM log_storage WHERE gateway = ?1) AS kept");
    }
    let found = store.row::<Count>(Statement { sql: sql.into(), ..some }).await?;
    Ok(match found {
        Some(Count { n, kept: Some(kept) }) if n > MAX_COUNT && kept > MAX_COUNT => (kept, false),
        Some(Count { n, .. }) => (n.min(MAX_COUNT), n > MAX_COUNT),
        None => (0, false),
    })
}

/// Counts what is meant among the newest logs that the index has.
pub async fn count_some(store: &impl Store, selection: &Selection) -> Result<(u64, bool), StoreError> {
    let most = store.pace().first_look;
    let window = store.row::<Window>(selection.window(Direction::Descending, most)).await?;
    Ok(window.map_or((0, false), |window| (window.n, window.seen == most)))
}

/// Reads the page of a selection in the order of a field, and of time for logs that have the same value. `by` may be
/// `created_at` itself.
pub async fn read(
    store: &impl Store,
    mut selection: Selection,
    by: &str,
    direction: Direction,
    [limit, offset]: [u64; 2],
) -> Result<Vec<LogRow>, StoreError> {
    if let Some(merged) = selection.merged(COLUMNS, by, direction, limit, offset) {
        return store.rows(merged).await;
    }
    let mut order = selection.in_time(direction);
    if by != "created_at" {
        order = format!("logs.{by} {}, {order}", direction.sql());
    }
    let [limit, offset] = [limit, offset].map(|number| selection.bind(Bind::Int(number as i64)));
    store.rows(selection.select(COLUMNS, &format!("ORDER BY {order} LIMIT {limit} OFFSET {offset}"))).await
}

/// Looks for a page in order of time, window by window, among logs of which only some are meant: through `most` at most.
pub async fn look(
    store: &impl Store,
    selection: &Selection,
    direction: Direction,
    page: Page,
    most: Option<u64>,
) -> Result<Found, StoreError> {
    let mut found = Found { rows: Vec::new(), total: 0, capped: false, ended_at: None };
    let mut rest = selection.clone();
    let mut skip = page.offset() as u64;
    let mut left = most.unwrap_or(u64::MAX);
    let pace = store.pace();
    let mut size = pace.first_look;
    for windows in 1.. {
        size = size.min(left);
        let window = store.row::<Window>(rest.window(direction, size)).await?;
        let Some(Window { seen, n, last: Some(last) }) = window else { break };
        found.total += n;
        left -= seen;
        let wanted = page.per_page - found.rows.len() as u64;
        if n > skip && wanted > 0 {
            let mut these = rest.clone();
            these.up_to(&last, direction);
            found.rows.extend(read(store, these, "created_at", direction, [wanted, skip]).await?);
        }
        skip = skip.saturating_sub(n);
        if seen < size {
            break;
        }
        let full = found.rows.len() as u64 == page.per_page;
        if full || left == 0 || windows == pace.looks {
            found.capped = true;
            found.ended_at = Some(last).filter(|_| !full);
            break;
        }
        rest = selection.clone();
        rest.beyond(&last, direction);
        size = pace.look;
    }
    Ok(found)
}
