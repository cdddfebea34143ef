//! Several databases. The first has what an installation is told: gateways, tokens, keys, prices, the trail of changes.
//! The logs of a gateway, and all that is made of them, are in one of all, by a number in the gateway's row.
//!
//! No transaction spans two databases. What has to be in both is written to the one that decides first, and `gateways::shards`
//! tells the other until it knows.

use crate::db::store::{Statement, Store, StoreError, row};

/// The binding `DB_63` is the last.
pub const MAX_SHARD: u32 = 63;

/// The databases of an installation. One alone is a set of databases, too.
pub trait Databases {
    type One: Store;

    fn first(&self) -> &Self::One;

    /// The others, by ascending numbers.
    fn others(&self) -> &[(u32, Self::One)];

    fn of(&self, shard: u32) -> Result<&Self::One, StoreError> {
        if shard == 0 {
            return Ok(self.first());
        }
        let found = self.others().iter().find(|(number, _)| *number == shard);
        found.map(|(_, store)| store).ok_or_else(|| unbound(shard))
    }

    fn all(&self) -> impl Iterator<Item = (u32, &Self::One)> {
        [(0, self.first())].into_iter().chain(self.others().iter().map(|(number, store)| (*number, store)))
    }

    /// Their numbers, as a JSON array.
    fn numbers(&self) -> String {
        let numbers: Vec<String> = self.all().map(|(number, _)| number.to_string()).collect();
        format!("[{}]", numbers.join(","))
    }
}

/// The first database and those beside it.
pub struct Bound<S> {
    pub first: S,
    pub others: Vec<(u32, S)>,
}

/// The name of a database's binding.
pub fn binding(shard: u32) -> String {
    if shard == 0 { "DB".to_owned() } else { format!("DB_{shard}") }
}

/// What a statement for a database comes to that is not bound.
pub fn unbound(shard: u32) -> StoreError {
    StoreError(format!("the Worker has no D1 binding named {}; see wrangler.toml", binding(shard)))
}

/// Whether every database is bound that a gateway names.
pub async fn all_bound(databases: &impl Databases) -> Result<(), StoreError> {
    row! {
        struct Shard {
            shard: u32,
        }
    }
    let sql = "SELECT shard FROM gateways WHERE shard NOT IN (SELECT value FROM json_each(?1)) UNION \
         SELECT shard FROM deleted_gateways WHERE shard NOT IN (SELECT value FROM json_each(?1)) LIMIT 1";
    let found = databases.first().row::<Shard>(Statement::new(sql, [databases.numbers().into()])).await?;
    found.map_or(Ok(()), |Shard { shard }| Err(unbound(shard)))
}

// === impl Databases ===

impl<S: Store> Databases for S {
    type One = S;

    fn first(&self) -> &S {
        self
    }

    fn others(&self) -> &[(u32, S)] {
        &[]
    }
}

impl<S: Store> Databases for Bound<S> {
    type One = S;

    fn first(&self) -> &S {
        &self.first
    }

    fn others(&self) -> &[(u32, S)] {
        &self.others
    }
}
