//! Who calls, and what they may: the operator with the admin token, or the holder of a token with a scope.

use crate::auth::terms::Terms;
use crate::http::envelope::ApiError;
use crate::http::router::{Access, Route};
use serde_json::Value;
use std::rc::Rc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// See everything in scope.
    Read,
    /// See everything in scope but what was asked and answered.
    ReadMetadata,
    /// See and change everything in scope.
    Edit,
    /// Send requests through authenticated gateways, and give feedback.
    Run,
    /// Give feedback on a log whose id one was told, and nothing else: for pages, which cannot keep a secret.
    Feedback,
}

/// A token that was found, whatever it may do.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub id: String,
    pub account: String,
    /// `None` for every gateway of the account.
    pub gateways: Option<Vec<String>>,
    pub permissions: Vec<Permission>,
    pub expires_at: Option<u64>,
    pub terms: Rc<Terms>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Caller {
    Admin,
    /// A person who may do what the admin token may, and is known by a name.
    Operator(String),
    Token(Token),
}

// === impl Permission ===

impl Permission {
    pub const ALL: &[(&str, Self)] = &[
        ("read", Self::Read),
        ("read_metadata", Self::ReadMetadata),
        ("edit", Self::Edit),
        ("run", Self::Run),
        ("feedback", Self::Feedback),
    ];

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, permission)| *permission)
    }
}

// === impl Token ===

impl Token {
    pub fn is_valid(&self, now_ms: u64) -> bool {
        self.expires_at.is_none_or(|expires| now_ms < expires)
    }

    pub fn has(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    pub fn reaches(&self, account: &str, gateway: &str) -> bool {
        self.account == account && self.gateways.as_ref().is_none_or(|all| all.iter().any(|known| known == gateway))
    }
}

// === impl Caller ===

impl Caller {
    /// As it stands in histories and audit rows.
    pub fn actor(&self) -> &str {
        match self {
            Self::Admin => "admin",
            Self::Operator(name) => name,
            Self::Token(token) => &token.id,
        }
    }

    /// What its token may be used for.
    pub fn terms(&self) -> Option<Rc<Terms>> {
        match self {
            Self::Admin | Self::Operator(_) => None,
            Self::Token(token) => Some(Rc::clone(&token.terms)),
        }
    }

    /// The account a caller is bound to.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Admin | Self::Operator(_) => None,
            Self::Token(token) => Some(&token.account),
        }
    }

    /// The gateways a caller is bound to, as a JSON array.
    pub fn gateways(&self) -> Option<String> {
        match self {
            Self::Admin | Self::Operator(_) => None,
            Self::Token(token) => token.gateways.as_ref().map(|all| Value::from(all.as_slice()).to_string()),
        }
    }

    /// Whether a caller may do everything.
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Admin | Self::Operator(_))
    }

    pub fn has(&self, permission: Permission) -> bool {
        match self {
            Self::Admin | Self::Operator(_) => true,
            Self::Token(token) => token.has(permission),
        }
    }

    /// Whether a caller may see what was asked and answered.
    pub fn sees_bodies(&self) -> bool {
        self.has(Permission::Read) || self.has(Permission::Edit)
    }

    /// Whether there is anything that a caller may see.
    pub fn sees_anything(&self) -> bool {
        self.sees_bodies() || self.has(Permission::ReadMetadata)
    }

    /// Whether a caller knows logs only by their own ids: what others call an answer can be guessed.
    pub fn only_gives_feedback(&self) -> bool {
        match self {
            Self::Admin | Self::Operator(_) => false,
            Self::Token(token) => !token.has(Permission::Run) && !token.has(Permission::Edit),
        }
    }

    /// Lets a caller in to a route of the control plane. What is out of a token's reach does not exist for it; what is
    /// within reach but needs another permission is refused.
    pub fn admit(&self, route: &Route<'_>) -> Result<(), ApiError> {
        let Self::Token(token) = self else { return Ok(()) };
        let in_account = route.account.is_empty() || token.account == route.account;
        let in_gateway = route.gateway.is_empty() || token.reaches(route.account, route.gateway);
        if !in_account || !in_gateway {
            return Err(ApiError::not_found());
        }
        let wanted: &[Permission] = match route.access {
            Access::Open | Access::Gateway | Access::SignedIn => return Ok(()),
            Access::Read => &[Permission::Read, Permission::ReadMetadata, Permission::Edit],
            Access::ReadBodies => &[Permission::Read, Permission::Edit],
            Access::Run => &[Permission::Run],
            Access::Edit => &[Permission::Edit],
            Access::Feedback => &[Permission::Run, Permission::Edit, Permission::Feedback],
            Access::Give => &[Permission::Run, Permission::Edit],
            Access::See => &[Permission::Read, Permission::ReadMetadata, Permission::Run, Permission::Edit],
            Access::Admin => return Err(ApiError::forbidden("Only the admin token may do this")),
        };
        if !wanted.iter().any(|permission| token.has(*permission)) {
            let names: Vec<&str> =
                Permission::ALL.iter().filter(|(_, known)| wanted.contains(known)).map(|(name, _)| *name).collect();
            return Err(ApiError::forbidden(format!("The token lacks the permission {}", names.join(" or "))));
        }
        // Making gateways is a right over the whole account.
        if route.gateway.is_empty() && route.access == Access::Edit && token.gateways.is_some() {
            return Err(ApiError::forbidden("The token is limited to certain gateways"));
        }
        Ok(())
    }
}
