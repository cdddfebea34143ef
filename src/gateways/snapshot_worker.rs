//! The settings of gateways, kept in the isolate for a few seconds so that D1 is not asked on every request.

use crate::base::id;
use crate::catalogue::table::Catalogue;
use crate::db::audit::Actor;
use crate::db::store::{Store, StoreError};
use crate::gateways::catalogue;
use crate::gateways::gateway::{self, DEFAULT};
use crate::gateways::shards_worker;
use crate::gateways::snapshot::{self, GatewaySnapshot};
use crate::platform::{Runtime, d1, now, random};
use futures_util::FutureExt;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// How long a change made through another isolate may go unnoticed, in milliseconds.
const FRESH_MS: u64 = 5_000;

/// Unknown ids are remembered too, and callers can make them up: the cache starts anew rather than grow.
const MAX_ENTRIES: usize = 1_000;

struct Entry {
    snapshot: Option<Rc<GatewaySnapshot>>,
    read_at: u64,
}

/// An account's own catalogue may have half a megabyte.
const MAX_CATALOGUES: usize = 8;

thread_local! {
    static CATALOGUES: RefCell<HashMap<String, (u64, Catalogue)>> = RefCell::new(HashMap::new());
    static CACHE: RefCell<HashMap<String, Entry>> = RefCell::new(HashMap::new());
}

/// The gateway a request names, or `None` if there is no such gateway. While D1 does not answer, settings that were
/// read before go on to hold: a database in trouble is no reason to refuse a request.
pub async fn settings(
    runtime: &Runtime,
    account: &str,
    gateway: &str,
    is_let_in: bool,
) -> Result<Option<Rc<GatewaySnapshot>>, StoreError> {
    if !gateway::is_account_id(account) || !gateway::is_gateway_id(gateway) {
        return Ok(None);
    }
    let name = format!("{account}/{gateway}");
    let kept = CACHE.with_borrow(|cache| cache.get(&name).map(|entry| (entry.snapshot.clone(), entry.read_at)));
    if let Some((found, read_at)) = &kept
        && now().saturating_sub(*read_at) < FRESH_MS
        && (found.is_some() || !(is_let_in && gateway == DEFAULT))
    {
        return Ok(found.clone());
    }
    let store = runtime.database().within(d1::REQUEST_PATIENCE_MS);
    let read = match read(&store, account, gateway).await {
        Ok(None) if is_let_in && gateway == DEFAULT => match create_default(runtime, account).boxed_local().await {
            Ok(()) => read(&store, account, gateway).await,
            Err(error) => Err(error),
        },
        read => read,
    };
    match (read, kept) {
        (Ok(found), _) => {
            let found = found.map(Rc::new);
            keep(name, found.clone());
            Ok(found)
        }
        (Err(_), Some((Some(found), _))) => {
            keep(name, Some(Rc::clone(&found)));
            Ok(Some(found))
        }
        (Err(error), _) => Err(error),
    }
}

/// Reads a gateway. The account's catalogue is read once for each version of it.
async fn read(store: &impl Store, account: &str, gateway: &str) -> Result<Option<GatewaySnapshot>, StoreError> {
    let Some(mut found) = snapshot::read_without_catalogue(store, account, gateway).await? else { return Ok(None) };
    if found.catalogue_version > 0 {
        let kept = CATALOGUES.with_borrow(|all| all.get(account).cloned());
        let (version, own) = match kept.filter(|(version, _)| *version == found.catalogue_version) {
            Some(kept) => kept,
            None => {
                let read = catalogue::read(store, account).boxed_local().await?;
                CATALOGUES.with_borrow_mut(|all| {
                    if all.len() >= MAX_CATALOGUES {
                        all.clear();
                    }
                    all.insert(account.to_owned(), read.clone());
                });
                read
            }
        };
        (found.catalogue_version, found.catalogue) = (version, own);
    }
    Ok(Some(found))
}

async fn create_default(runtime: &Runtime, account: &str) -> Result<(), StoreError> {
    let actor = Actor { name: "gateway", now_ms: now(), entry: id::mint(now(), random()) };
    let databases = runtime.databases().within(d1::REQUEST_PATIENCE_MS);
    gateway::create_default(&databases, account, &actor, id::mint(now(), random())).await?;
    shards_worker::tell(runtime).await;
    Ok(())
}

/// What the isolate knows of a gateway without asking for it, however old that is.
pub fn known(account: &str, gateway: &str) -> Option<Option<Rc<GatewaySnapshot>>> {
    CACHE.with_borrow(|cache| cache.get(&format!("{account}/{gateway}")).map(|entry| entry.snapshot.clone()))
}

/// Forgets a gateway that was just changed here, so that the change holds at once in this isolate.
pub fn forget(account: &str, gateway: &str) {
    CACHE.with_borrow_mut(|cache| cache.remove(&format!("{account}/{gateway}")));
}

/// Forgets all, for what was created has been remembered as unknown under a name that only its body told.
pub fn forget_all() {
    CACHE.with_borrow_mut(HashMap::clear);
}

fn keep(name: String, snapshot: Option<Rc<GatewaySnapshot>>) {
    CACHE.with_borrow_mut(|cache| {
        if cache.len() >= MAX_ENTRIES {
            cache.clear();
        }
        cache.insert(name, Entry { snapshot, read_at: now() });
    });
}
