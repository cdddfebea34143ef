//! `…/gateways/{id}/storage`: how many logs a gateway has, how long they stay, and what retention has done.

use crate::api::effect::{Effect, Handled};
use crate::base::timestamp;
use crate::db::store::{Statement, Store, row};
use crate::db::whose::Whose;
use crate::gateways::gateway::{self, Gateway};
use crate::http::envelope::{ApiError, Reply};
use serde::Serialize;

row! {
    struct StorageRow {
        log_management: Option<u64>,
        strategy: String,
        log_retention_days: Option<u64>,
        log_body_retention_days: Option<u64>,
        logs: u64,
        oldest: Option<u64>,
        not_stored: u64,
        full_since: Option<u64>,
        bodies_at: u64,
        logs_removed: u64,
        bodies_removed: u64,
        run_at: Option<u64>,
        run_logs: u64,
        run_bodies: u64,
    }
}

/// What answers show.
#[derive(Serialize)]
struct Shown<'a> {
    logs: u64,
    oldest: Option<String>,
    log_management: Option<u64>,
    log_management_strategy: Option<&'a str>,
    log_retention_days: Option<u64>,
    log_body_retention_days: Option<u64>,
    not_stored: u64,
    full_since: Option<String>,
    bodies_removed_before: Option<String>,
    logs_removed: u64,
    bodies_removed: u64,
    last_run: Option<LastRun>,
}

#[derive(Serialize)]
struct LastRun {
    at: String,
    logs_removed: u64,
    bodies_removed: u64,
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/storage`
pub async fn get(store: &impl Store, gateway: &Gateway) -> Handled {
    // Where there is no clock, looking moves it on.
    let own = Whose::Gateway { account: gateway.account_id.clone(), id: gateway.id.clone() };
    Handled::always([Effect::Retain(own), Effect::ClearObjects], async {
        let sql = "SELECT settings->>'log_management' AS log_management, \
         coalesce(settings->>'log_management_strategy', 'STOP_INSERTING') AS strategy, \
         settings->>'log_retention_days' AS log_retention_days, \
         settings->>'log_body_retention_days' AS log_body_retention_days, \
         coalesce(logs, 0) AS logs, (SELECT min(created_at) FROM logs WHERE logs.gateway = ?1) AS oldest, \
         coalesce(not_stored, 0) AS not_stored, full_since, coalesce(bodies_at, 0) AS bodies_at, \
         coalesce(logs_removed, 0) AS logs_removed, coalesce(bodies_removed, 0) AS bodies_removed, \
         run_at, coalesce(run_logs, 0) AS run_logs, coalesce(run_bodies, 0) AS run_bodies \
         FROM (SELECT ?2 AS settings) LEFT JOIN log_storage ON log_storage.gateway = ?1";
        let row = store
            .row::<StorageRow>(Statement::new(sql, [gateway.key.into(), gateway::stored(&gateway.settings).into()]))
            .await?
            .ok_or_else(ApiError::not_found)?;
        Ok(Reply::result(row.show()))
    })
    .await
}

// === impl Row ===

impl StorageRow {
    fn show(&self) -> Shown<'_> {
        let time = |at: Option<u64>| at.map(timestamp::format);
        // What made room since the last log was turned away has written nothing here.
        let is_full = self.strategy == "STOP_INSERTING" && self.log_management.is_some_and(|most| self.logs >= most);
        Shown {
            logs: self.logs,
            oldest: time(self.oldest),
            log_management: self.log_management,
            log_management_strategy: self.log_management.map(|_| self.strategy.as_str()),
            log_retention_days: self.log_retention_days,
            log_body_retention_days: self.log_body_retention_days,
            not_stored: self.not_stored,
            full_since: time(self.full_since.filter(|_| is_full)),
            bodies_removed_before: time((self.bodies_at > 0).then_some(self.bodies_at)),
            logs_removed: self.logs_removed,
            bodies_removed: self.bodies_removed,
            last_run: self.run_at.map(|at| LastRun {
                at: timestamp::format(at),
                logs_removed: self.run_logs,
                bodies_removed: self.run_bodies,
            }),
        }
    }
}
