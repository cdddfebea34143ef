//! Whose work is done: all that there is, once a minute, or that of one gateway, for the caller who asked about it. A request never
//! does another gateway's work.

use crate::db::store::Bind;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    All,
    Gateway {
        account: String,
        id: String,
    },
    /// A gateway that may have been deleted.
    Key(i64),
}

// === impl Whose ===

impl Whose {
    /// SQL that tells whether the gateway in `column` is meant. Its values are [`Whose::binds`], the first of which has the
    /// number `first`.
    pub fn holds(&self, column: &str, first: usize) -> String {
        match self {
            Self::All => "1".to_owned(),
            Self::Gateway { .. } => {
                format!("{column} = (SELECT key FROM gateways WHERE account_id = ?{first} AND id = ?{})", first + 1)
            }
            Self::Key(_) => format!("{column} = ?{first}"),
        }
    }

    pub fn binds(&self) -> Vec<Bind> {
        match self {
            Self::All => Vec::new(),
            Self::Gateway { account, id } => vec![account.as_str().into(), id.as_str().into()],
            Self::Key(key) => vec![(*key).into()],
        }
    }

    pub fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}
