//! Which log an id means: its own, the provider's, or the caller's.

use crate::auth::caller::Caller;
use crate::base::id::{self, MarkKey};
use crate::base::join_all::{Work, join_all};
use crate::base::sorted;
use crate::db::databases::Databases;
use crate::db::store::{Statement, Store, StoreError, row};
use crate::feedback::fault::Fault;
use crate::feedback::model::FeedbackAuthor;
use crate::gateways::gateway;
use crate::http::query::Query;
use std::cell::RefCell;

/// Who gives feedback, and what they may reach.
pub struct Context<'a> {
    pub caller: &'a Caller,
    pub query: &'a Query,
    pub mark: &'a MarkKey,
    pub now_ms: u64,
    /// For the row of the history.
    pub entry: String,
}

/// The log that an id means.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub id: String,
    /// How many logs have the id; the newest of them is the one that is meant.
    pub matches: u64,
    /// Which database it is in.
    pub shard: u32,
    /// By what it was found: 0 its own id, 1 that with which it was handed in, 2 the provider's, 3 the caller's.
    pub rank: u8,
    pub at: u64,
    /// Account and id of its gateway.
    pub gateway: String,
}

/// Databases with their numbers.
pub type LogDatabases<'d, S> = Vec<(u32, &'d S)>;

/// The databases that may have a log: that of the gateway which the caller names, else all.
pub async fn log_databases<'d, D: Databases>(
    databases: &'d D,
    context: &Context<'_>,
) -> Result<LogDatabases<'d, D::One>, Fault> {
    let account = context.caller.account().or(context.query.get("account"));
    if let (false, Some(account), Some(gateway)) =
        (databases.others().is_empty(), account, context.query.get("gateway"))
    {
        // Where there is no such gateway nothing will be found in the first one either.
        let shard = gateway::find(databases.first(), account, gateway).await?.map_or(0, |gateway| gateway.shard);
        return Ok(vec![(shard, databases.of(shard)?)]);
    }
    Ok(databases.all().collect())
}

/// Finds the log in some of the databases. One that does not answer is forgiven where another has the log. What providers and
/// callers call an answer, another gateway's can be called as well, on purpose or not: then it is for the caller to say which.
pub async fn locate(
    log_databases: &[(u32, &impl Store)],
    request_id: &str,
    context: &Context<'_>,
) -> Result<Option<Found>, Fault> {
    let (all, failed) = (RefCell::new(Vec::new()), RefCell::new(None));
    let mut asked: Vec<Work<'_>> = Vec::new();
    for (shard, store) in log_databases {
        asked.push(Box::pin(async {
            match locate_in(*store, *shard, request_id, context).await {
                Ok(found) => all.borrow_mut().extend(found),
                Err(error) => drop(failed.replace(Some(error))),
            }
        }));
    }
    join_all(asked).await;
    let (mut all, failed): (Vec<Found>, _) = (all.into_inner(), failed.into_inner());
    let rank = all.iter().map(|found| found.rank).min();
    if rank != Some(0) {
        let mut gateways: Vec<&str> = all.iter().map(|found| found.gateway.as_str()).collect();
        sorted::by(&mut gateways, Ord::cmp);
        gateways.dedup();
        if gateways.len() > 1 {
            return Err(Fault::SeveralGateways(gateways.into_iter().map(str::to_owned).collect()));
        }
    }
    all.retain(|found| Some(found.rank) == rank);
    let matches = all.iter().map(|found| found.matches).sum();
    match (all.into_iter().max_by_key(|found| found.at), failed) {
        (Some(newest), _) => Ok(Some(Found { matches, ..newest })),
        (None, Some(error)) => Err(error.into()),
        (None, None) => Ok(None),
    }
}

/// Finds the log: by its own id, else by the id in the provider's answer, else by the caller's event id. Of several the newest of
/// each gateway is meant; `?account=` and `?gateway=` narrow the search.
async fn locate_in(
    store: &impl Store,
    shard: u32,
    request_id: &str,
    context: &Context<'_>,
) -> Result<Vec<Found>, StoreError> {
    // An id that was handed out for a log belongs to no other, also while the row is still to come.
    let is_of_a_log = id::is_ours(request_id, context.mark) || context.caller.only_gives_feedback();
    let arm = |rank: u8, condition: &str| {
        format!(
            "SELECT logs.id AS id, {rank} AS rank, logs.created_at AS at, gateways.account_id || '/' || gateways.id AS gateway \
             FROM logs JOIN gateways ON gateways.key = logs.gateway \
             WHERE {condition} AND (?3 IS NULL OR gateways.account_id = ?3) AND (?4 IS NULL OR gateways.id = ?4) AND {}",
            within("?2", "?5")
        )
    };
    let arms = match is_of_a_log {
        true => arm(0, "logs.id = ?1"),
        false => format!(
            "{} UNION ALL {} UNION ALL {} UNION ALL {}",
            arm(0, "logs.id = ?1"),
            arm(1, "logs.ingested_id = ?1"),
            arm(2, "logs.response_id = ?1"),
            arm(3, "logs.event_id = ?1 AND logs.event_id <> logs.id"),
        ),
    };
    // The highest id of the newest is found with its time.
    let sql = format!(
        "SELECT rank, gateway, count(*) AS matches, max(at) AS at, substr(max(printf('%015d', at) || id), 16) AS id FROM ({arms}) \
         GROUP BY rank, gateway ORDER BY rank, at DESC, id DESC LIMIT 1000"
    );
    let binds = [
        request_id.into(),
        context.caller.account().into(),
        context.query.get("account").into(),
        context.query.get("gateway").into(),
        context.caller.gateways().into(),
    ];
    row! {
        struct Candidate {
            id: String,
            rank: u8,
            at: u64,
            gateway: String,
            matches: u64,
        }
    }
    let found: Vec<Candidate> = store.rows(Statement::new(sql, binds)).await?;
    let read = |Candidate { id, rank, at, gateway, matches }| Found { id, matches, shard, rank, at, gateway };
    Ok(found.into_iter().map(read).collect())
}

/// SQL for: the gateway is one of the account and of a JSON array, where these are given.
pub fn within(account: &str, gateways: &str) -> String {
    format!(
        "(({account} IS NULL OR gateways.account_id = {account}) \
         AND ({gateways} IS NULL OR gateways.id IN (SELECT value FROM json_each({gateways}))))"
    )
}

impl Context<'_> {
    pub fn author(&self) -> FeedbackAuthor<'_> {
        FeedbackAuthor { name: self.caller.actor(), at: self.now_ms, id: self.entry.clone() }
    }
}
