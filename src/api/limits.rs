//! `…/limits`: where the limits of a gateway stand, those of tokens that it has and the caps of its policies with them.

use crate::auth::terms::Terms;
use crate::auth::tokens::{COLUMNS, TokenRow};
use crate::db::store::{Statement, Store};
use crate::gateways::gateway::Gateway;
use crate::gateways::snapshot;
use crate::http::envelope::ApiError;
use crate::limit::cap::Cap;
use crate::limit::rules::Limits;
use crate::limit::window::Window;
use crate::policies::decide::{Action, Policy};

/// The limits of a gateway's settings, of up to a hundred tokens that may use it, and of its policies.
pub async fn of_all(store: &impl Store, gateway: &Gateway) -> Result<Limits, ApiError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM tokens WHERE account_id = ?1 AND terms IS NOT NULL \
         AND (gateways IS NULL OR EXISTS (SELECT 1 FROM json_each(gateways) WHERE value = ?2)) ORDER BY id DESC LIMIT 100"
    );
    let binds = [gateway.account_id.as_str().into(), gateway.id.as_str().into()];
    let tokens: Vec<TokenRow> = store.rows(Statement::new(sql, binds)).await?;
    let mut limits = gateway.limits.clone();
    for token in tokens {
        let terms = Terms::of_row(token.name, token.terms.as_deref());
        limits = limits.with_those_of_token(&token.id, &terms.rate_rules, &terms.spend_limits);
    }
    let snapshot = snapshot::read_without_catalogue(store, &gateway.account_id, &gateway.id).await?;
    limits.caps = snapshot.iter().flat_map(|snapshot| snapshot.policies.iter()).filter_map(cap).collect();
    Ok(limits)
}

/// A policy's cap, whose bucket still has its fields in braces.
fn cap(policy: &Policy) -> Option<Cap> {
    let Action::Cap { amount, period } = policy.action else { return None };
    let (policy, bucket) = (policy.name.clone(), policy.bucket(&policy.actor));
    Some(Cap { policy, bucket, window: Window::calendar(period.name()), limit: amount })
}
