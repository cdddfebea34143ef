//! Reads the results of batches that have ended: by the cron, with a key that the gateway or the operator has, or behind the answer to a
//! caller who asks for its batch, with that caller's own. Each chunk of lines is one transaction that also says how far the batch is,
//! so that work that was ended at any moment goes on where it was.

use crate::batches::lines::Lines;
use crate::batches::record::{self, Line};
use crate::batches::stored::{self, Batch};
use crate::batches::{Family, State, seen};
use crate::config::isolate_worker::config;
use crate::db::databases::Databases;
use crate::db::store::{Store, StoreError};
use crate::gateways::gateway;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::gateways::snapshot_worker;
use crate::http::message_worker::Incoming;
use crate::http::router::{Access, Endpoint, Route};
use crate::limit::models::Models;
use crate::limit::plan::LimitSubject;
use crate::logs::call::Credential;
use crate::logs::part::{Group, Part};
use crate::logs::pieces::plan::Plan;
use crate::logs::record::LogRecord;
use crate::logs::rollup::Tally;
use crate::logs::{rows, writer_worker};
use crate::platform::d1::D1Store;
use crate::platform::js::{self, Watch};
use crate::platform::{Runtime, blocks, console, now, random};
use crate::proxy::caller::Caller;
use crate::proxy::{handle, limits};
use std::rc::Rc;
use wasm_bindgen::JsValue;
use web_sys::{AbortSignal, Headers, Request, RequestInit, Response};

/// Lines of one transaction, and bytes.
const CHUNK: usize = 50;
const CHUNK_BYTES: usize = 1_000_000;

/// Batches that one invocation of the cron looks at in each database, and how long it takes for all of them.
const AT_ONCE: u64 = 10;
const BUDGET_MS: u64 = 20_000;

/// What a provider says of a batch is longer only where Gemini's results stand in it.
const MAX_STATUS: u64 = 1024 * 1024;

/// An answer that does not come is left to the next time, in milliseconds.
const PATIENCE_MS: u32 = 25_000;

/// Headers of a caller's request that the gateway's own for the same batch have not.
const NOT_TAKEN_OVER: &[&str] =
    &["content-length", "content-type", "range", "if-none-match", "if-modified-since", "accept-encoding", "upgrade"];

/// Why a batch is left.
enum Stop {
    Store(StoreError),
    /// It is tried again later.
    Later(String),
    /// It is not tried again.
    Never(String),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What reads a batch.
struct Run<'a> {
    runtime: &'a Rc<Runtime>,
    store: &'a D1Store,
    account: String,
    snapshot: Rc<GatewaySnapshot>,
    family: Family,
    batch: Batch,
    /// The headers of the caller, where it is its key.
    own: Option<&'a crate::http::headers::Headers>,
    until: u64,
}

/// The cron's part of the work.
pub async fn due(runtime: &Rc<Runtime>) {
    let until = now() + BUDGET_MS;
    let databases = runtime.databases().unhurried();
    for (_, store) in databases.all() {
        let read = async {
            for batch in stored::due(store, now(), AT_ONCE).await? {
                if now() >= until {
                    break;
                }
                Box::pin(read(runtime, store, batch, None, until)).await?;
            }
            store.batch(vec![stored::forgotten(now())]).await.map(drop)
        };
        console::failed("batches_failed", read.await);
    }
}

/// Goes on behind an answer with the batch that its caller has asked for, if only the caller has a key for it.
pub fn behind(asked: &Incoming, route: &Route<'_>, answer: &Response, runtime: &Rc<Runtime>) {
    let Some(id) = seen(route.provider, &asked.method, route.rest).and_then(|seen| seen.id) else { return };
    if answer.status() != 200 {
        return;
    }
    let follow_up = FollowUp {
        account: route.account.to_owned(),
        gateway: route.gateway.to_owned(),
        provider: route.provider.to_owned(),
        id: id.to_owned(),
        headers: asked.headers.clone(),
    };
    let later = Rc::clone(runtime);
    runtime.later(async move { followed(follow_up, later).await });
}

async fn followed(asked: FollowUp, runtime: Rc<Runtime>) {
    let FollowUp { account, gateway, provider, id, headers } = &asked;
    let followed = async {
        let Some(snapshot) = snapshot_worker::settings(&runtime, account, gateway, false).await? else { return Ok(()) };
        let store = runtime.database_of(snapshot.gateway.shard).unhurried();
        let Some(batch) = stored::waiting(&store, snapshot.gateway.key, provider, id).await? else { return Ok(()) };
        if batch.credential() != Credential::Request {
            return Ok(());
        }
        Box::pin(read(&runtime, &store, batch, Some(headers), now() + BUDGET_MS)).await
    };
    console::failed("batches_failed", followed.await);
}

/// What is kept of a request whose batch is gone on with behind its answer.
struct FollowUp {
    account: String,
    gateway: String,
    provider: String,
    id: String,
    headers: crate::http::headers::Headers,
}

async fn read(
    runtime: &Rc<Runtime>,
    store: &D1Store,
    batch: Batch,
    own: Option<&crate::http::headers::Headers>,
    until: u64,
) -> Result<(), StoreError> {
    if store.batch(vec![batch.lease(now())]).await?.first() != Some(&1) {
        return Ok(());
    }
    let Some(found) = gateway::by_key(&runtime.database(), batch.gateway).await? else {
        return store.batch(batch.done(now(), Some("its gateway is no more")).into()).await.map(drop);
    };
    let snapshot = snapshot_worker::settings(runtime, &found.account_id, &found.id, false).await?;
    let (Some(snapshot), Some(family)) = (snapshot, batch.family()) else {
        return store.batch(vec![batch.later(now(), None)]).await.map(drop);
    };
    let mut run = Run { runtime, store, account: found.account_id, snapshot, family, batch, own, until };
    let statements = match run.all().await {
        Ok(None) => vec![run.batch.left(now())],
        Ok(Some(note)) => run.batch.done(now(), note.as_deref()).into(),
        Err(Stop::Store(error)) => return Err(error),
        Err(Stop::Later(why)) => vec![run.batch.later(now(), Some(&why))],
        Err(Stop::Never(why)) => run.batch.done(now(), Some(&why)).into(),
    };
    store.batch(statements).await.map(drop)
}

// === impl Run ===

impl Run<'_> {
    /// Reads all that there is. `None` when the time is over.
    async fn all(&mut self) -> Result<Option<Option<String>>, Stop> {
        let (path, query) = (self.batch.path.clone(), self.batch.query.clone());
        let status = self.ask(&path, &query).await?;
        let (said, stands_in_it) = match self.text(status).await? {
            Some(text) => (
                serde_json::from_slice(&text)
                    .map_err(|_| Stop::Later("the provider's answer is no JSON".to_owned()))?,
                false,
            ),
            // Only a batch that has ended has so much to say, and only Gemini's.
            None if self.family == Family::Gemini => (crate::base::json::json!({ "done": true, "response": {} }), true),
            None => return Err(Stop::Later("the provider's answer has more than 1 MB".to_owned())),
        };
        let (files, note) = match self.family.state(&path, &said) {
            State::Open => return Err(Stop::Later("it is open".to_owned())),
            State::Ended { files, note } => (files, note),
        };
        for (number, file) in files.iter().enumerate().skip(self.batch.file as usize) {
            let (rest, own_query) = file
                .split_once('?')
                .map_or((file.as_str(), String::new()), |(rest, query)| (rest, format!("?{query}")));
            let query = if own_query.is_empty() { query.clone() } else { own_query };
            let in_list = stands_in_it || *file == path;
            if !self.file(rest, &query, in_list).await? {
                return Ok(None);
            }
            if number + 1 < files.len() {
                self.store.batch(vec![self.batch.next_file()]).await?;
                (self.batch.file, self.batch.lines) = (self.batch.file + 1, 0);
            }
        }
        Ok(Some(note))
    }

    /// Reads a file from where it was left. False when the time is over.
    async fn file(&mut self, rest: &str, query: &str, in_list: bool) -> Result<bool, Stop> {
        let answer = self.ask(rest, query).await?;
        let Some(stream) = answer.body() else { return Ok(true) };
        let broken = |error: JsValue| Stop::Later(format!("the results broke off: {}", js::message(&error)));
        let reader = blocks::reader_of(&stream).map_err(broken)?;
        let mut lines = Lines::new(in_list);
        let (mut waiting, mut size, mut to_skip) = (Vec::new(), blocks::FIRST_BLOCK, self.batch.lines);
        loop {
            let piece = blocks::block(&reader, size, size).await.map_err(broken)?;
            let is_last = piece.is_none();
            match piece {
                Some(piece) => lines.push(&piece.to_vec(), &mut waiting),
                None => lines.finish(&mut waiting),
            }
            size = (size * 2).min(blocks::LAST_BLOCK);
            let known = (waiting.len() as u64).min(to_skip);
            waiting.drain(..known as usize);
            to_skip -= known;
            while waiting.len() >= CHUNK
                || (is_last && !waiting.is_empty())
                || waiting.iter().map(Vec::len).sum::<usize>() > CHUNK_BYTES
            {
                let mut bytes = 0;
                let fits = waiting.iter().take(CHUNK).take_while(|line| {
                    bytes += line.len();
                    bytes <= CHUNK_BYTES
                });
                let count = fits.count().max(1);
                let chunk: Vec<Vec<u8>> = waiting.drain(..count).collect();
                if !self.write(chunk).await? {
                    return Ok(false);
                }
                if now() >= self.until && !(is_last && waiting.is_empty()) {
                    let _ = reader.cancel();
                    return Ok(false);
                }
            }
            if is_last {
                return Ok(true);
            }
        }
    }

    /// Charges the budgets for a chunk, and writes its logs. False where another runner was faster.
    async fn write(&mut self, chunk: Vec<Vec<u8>>) -> Result<bool, Stop> {
        let count = chunk.len() as u64;
        let is_logged = self.batch.is("log");
        let records: Vec<LogRecord> = chunk
            .iter()
            .map(|bytes| {
                let at = now();
                let id = config(self.runtime).log_id(at, random(), is_logged);
                record::record(&self.batch, &self.snapshot, Line::read(self.family, bytes), id, at)
            })
            .collect();
        self.charge(&records).await?;
        let group_id = crate::base::id::mint(now(), random());
        let mut group =
            Group { id: group_id, shard: self.snapshot.gateway.shard, records: Vec::new(), unlogged: Tally::default() };
        match is_logged {
            true => group.records = records,
            false => records.iter().for_each(|record| group.unlogged.count(record)),
        }
        let part = Part::of(&group, writer_worker::naming());
        let plan = Plan::alone(&part);
        let mut statements = vec![self.batch.guard(&part.id)];
        statements.extend(rows::statements(&part, plan));
        statements.push(self.batch.advanced(count, if is_logged { count } else { 0 }, now()));
        let changed = self.store.batch(statements).await?;
        if changed.last() != Some(&1) {
            return Ok(false);
        }
        self.batch.lines += count;
        self.batch.logs += count;
        Ok(true)
    }

    /// Tells the budgets of what a chunk did cost, once: they know it by its place in the results.
    async fn charge(&self, records: &[LogRecord]) -> Result<(), Stop> {
        let mut by_model: Vec<(Option<&str>, u64)> = Vec::new();
        for record in records {
            let model = record.answer_model.as_deref().or(record.model.as_deref());
            let cost = record.charge.amount(record.least_spent(None), false);
            match by_model.iter_mut().find(|(known, _)| *known == model) {
                Some((_, sum)) => *sum = sum.saturating_add(cost),
                None => by_model.push((model, cost)),
            }
        }
        let metadata = self.batch.metadata();
        let caps = self.batch.caps();
        let Batch { provider, id, file, lines, .. } = &self.batch;
        for (model, cost) in by_model.into_iter().filter(|(_, cost)| *cost > 0) {
            let token = self.batch.about("caller").filter(|caller| !caller.is_empty() && *caller != "admin");
            let asked = LimitSubject {
                token,
                metadata: &metadata,
                provider,
                model,
                models: Models::new(model, None),
                is_counted: true,
                is_free: true,
                ..LimitSubject::default()
            };
            let thing = format!("{provider} {id} {file}/{lines} {}", model.unwrap_or_default());
            let gateway = &self.snapshot.gateway;
            let charged =
                limits::charge(self.runtime, gateway.key, &gateway.limits, &asked, (thing, cost), &caps).await;
            charged.map_err(|why| Stop::Later(format!("its cost could not be counted: {why}")))?;
        }
        Ok(())
    }

    /// Asks the provider through the gateway, which knows its address and its key. That leaves no log.
    async fn ask(&self, rest: &str, query: &str) -> Result<Response, Stop> {
        let said = |error: JsValue| Stop::Later(js::message(&error));
        let headers = Headers::new().map_err(said)?;
        if self.family == Family::Anthropic {
            headers.set("anthropic-version", "2023-06-01").map_err(said)?;
        }
        if let Some(alias) = self.batch.about("alias") {
            headers.set("cf-aig-byok-alias", alias).map_err(said)?;
        }
        for (name, value) in self.own.iter().flat_map(|own| &own.0) {
            if !NOT_TAKEN_OVER.contains(&name.as_str()) && !name.starts_with("sec-websocket") {
                headers.set(name, value).map_err(said)?;
            }
        }
        headers.set("accept-encoding", "identity").map_err(said)?;
        headers.set("cf-aig-collect-log", "false").map_err(said)?;
        headers.set("cf-aig-skip-cache", "true").map_err(said)?;
        let init = RequestInit::new();
        init.set_method("GET");
        init.set_headers(&headers);
        let request = Request::new_with_str_and_init("https://tollgate/", &init).map_err(said)?;
        let route = Route {
            endpoint: Endpoint::Proxy,
            access: Access::Gateway,
            account: &self.account,
            gateway: &self.snapshot.gateway.id,
            provider: &self.batch.provider,
            id: "",
            version: "",
            rest,
        };
        let signal = Some(AbortSignal::timeout_with_u32(PATIENCE_MS));
        let caller = Caller { trusted: true, signal, ..Caller::default() };
        let answer = handle::handle(&Incoming::new(request), route, query, caller, self.runtime).await;
        match answer.status() {
            200 => Ok(answer),
            status @ (404 | 410) => {
                Err(Stop::Never(format!("the provider does not have it any more: it answered {status}")))
            }
            status => Err(Stop::Later(format!("the provider answered {status}"))),
        }
    }

    /// A short body; `None` for a longer one.
    async fn text(&self, answer: Response) -> Result<Option<Vec<u8>>, Stop> {
        let Some(stream) = answer.body() else { return Ok(Some(Vec::new())) };
        let taken = blocks::beginning(&stream, MAX_STATUS, &Watch::default()).await;
        let (buffer, is_whole, _share) = taken.map_err(|error| Stop::Later(js::message(&error)))?;
        Ok(is_whole.then(|| js::bytes(&buffer)))
    }
}
