//! What is to be done because of a request of the control plane, beside its answer. Handlers say it and `entry/effects.rs` does it, so
//! that it can be tested which request leaves what to do.

use crate::db::whose::Whose;
use crate::http::envelope::{ApiError, Reply};

/// Work that needs the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The databases tell each other which gateways there are.
    SyncShards,
    /// This isolate forgets what it knows of one gateway.
    ForgetSnapshot { account: String, gateway: String },
    /// This isolate forgets what it knows of all gateways.
    ForgetSnapshots,
    /// This isolate forgets which tokens there are.
    ForgetTokens,
    /// The counters of a gateway that was deleted are forgotten. It is named by its key.
    ForgetCounters(i64),
    /// What a deleted gateway left behind is removed.
    Sweep(Whose),
    /// Jobs that price logs anew go on.
    Reprice(Whose),
    /// Logs that are too old or too many go.
    Retain(Whose),
    /// Evaluations go on.
    Evaluate(Whose),
    /// Bodies in the bucket go that no log has any more.
    ClearObjects,
    /// Feedback that waits for its log becomes part of it when the log is there.
    AttachFeedback,
}

/// What a handler answers, and what is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Handled {
    pub reply: Result<Reply, ApiError>,
    pub effects: Vec<Effect>,
}

// === impl Effect ===

impl Effect {
    /// Whether the answer waits for it: the next request has to find the change. All else is done behind the answer.
    pub fn is_awaited(&self) -> bool {
        match self {
            Self::SyncShards | Self::ForgetSnapshot { .. } | Self::ForgetSnapshots | Self::ForgetTokens => true,
            Self::ForgetCounters(_)
            | Self::Sweep(_)
            | Self::Reprice(_)
            | Self::Retain(_)
            | Self::Evaluate(_)
            | Self::ClearObjects
            | Self::AttachFeedback => false,
        }
    }
}

// === impl Handled ===

impl Handled {
    /// Carries out work whose effects hold after a failure as well: a change may be reported as failed and have taken effect.
    pub async fn always<const N: usize>(
        effects: [Effect; N],
        work: impl Future<Output = Result<Reply, ApiError>>,
    ) -> Self {
        Self { reply: work.await, effects: effects.into() }
    }

    /// Adds effects that only an answer with this status has.
    pub fn on(mut self, status: u16, effects: impl IntoIterator<Item = Effect>) -> Self {
        if self.reply.as_ref().is_ok_and(|reply| reply.status == status) {
            self.effects.extend(effects);
        }
        self
    }
}

impl From<Result<Reply, ApiError>> for Handled {
    fn from(reply: Result<Reply, ApiError>) -> Self {
        Self { reply, effects: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::control::{self, Request};
    use crate::api::custom_providers::Guard;
    use crate::auth::caller::{Caller, Permission, Token};
    use crate::base::id::{self, MarkKey};
    use crate::config::bounds::Bounds;
    use crate::http::query::Query;
    use crate::http::router;
    use crate::providers::resolver::Lookup;
    use crate::testing::shell::TestShell;
    use crate::testing::sqlite::Sqlite;
    use pollster::block_on;

    const NOW: u64 = 1_700_000_000_000;
    const MARK: MarkKey = MarkKey([7; 32]);
    const GATEWAY: &str = "/accounts/a/ai-gateway/gateways/gw";

    fn asked(store: &Sqlite, caller: &Caller, method: &str, path: &str, body: &str) -> (u16, Vec<Effect>) {
        let request = Request {
            route: router::route(method, path).unwrap(),
            query: Query::parse(""),
            body: body.as_bytes(),
            if_match: None,
            accept: None,
            caller,
            origin: "http://localhost",
            now_ms: NOW,
            new_id: id::mint(NOW, body.len() as u128),
            entropy: [7; 32],
            mark: MARK,
            guard: Guard { internal_allowed: false, found: Lookup::NotAsked },
            metadata_entries: 5,
            bounds: &Bounds::USUAL,
        };
        let Handled { reply, effects } = block_on(control::handle(store, &TestShell(async |_| {}), &request));
        (reply.map_or_else(|error| error.status, |reply| reply.status), effects)
    }

    fn with_gateway() -> Sqlite {
        let store = Sqlite::new();
        let made = asked(&store, &Caller::Admin, "POST", "/accounts/a/ai-gateway/gateways", r#"{"id":"gw"}"#);
        assert_eq!(made, (200, vec![Effect::SyncShards, Effect::ForgetSnapshots]));
        store
    }

    fn own() -> Whose {
        Whose::Gateway { account: "a".to_owned(), id: "gw".to_owned() }
    }

    fn forget() -> Effect {
        Effect::ForgetSnapshot { account: "a".to_owned(), gateway: "gw".to_owned() }
    }

    #[test]
    fn a_request_leaves_what_its_change_wants() {
        let store = with_gateway();
        let token = "/accounts/a/ai-gateway/tokens/none";
        let cost = r#"{"account_provider_id":"openai","model":"m","cost_in":0}"#;
        let early = format!("/feedback/{}", id::mint_log(NOW, 1, &MARK));
        let patched = format!("{GATEWAY}/logs/{}", id::mint_log(NOW, 2, &MARK));
        for (method, path, body, wanted) in [
            ("GET", GATEWAY, "", (200, vec![])),
            ("PUT", GATEWAY, "{}", (200, vec![Effect::SyncShards, forget()])),
            // It may be reported as failed and have taken effect all the same.
            ("PUT", GATEWAY, "{", (400, vec![Effect::SyncShards, forget()])),
            ("GET", &format!("{GATEWAY}/storage"), "", (200, vec![Effect::Retain(own()), Effect::ClearObjects])),
            ("DELETE", &format!("{GATEWAY}/cache"), "", (200, vec![forget()])),
            ("GET", &format!("{GATEWAY}/logs"), "", (200, vec![])),
            ("DELETE", &format!("{GATEWAY}/logs"), "", (200, vec![Effect::ClearObjects])),
            ("POST", &format!("{GATEWAY}/logs/reprice"), "{}", (200, vec![Effect::Reprice(own())])),
            ("GET", &format!("{GATEWAY}/logs/reprice/none"), "", (404, vec![Effect::Reprice(own())])),
            ("GET", &format!("{GATEWAY}/evaluations"), "", (200, vec![Effect::Evaluate(own())])),
            ("DELETE", &format!("{GATEWAY}/evaluations/none"), "", (404, vec![])),
            ("DELETE", &format!("{GATEWAY}/provider_configs/none"), "", (404, vec![forget()])),
            ("POST", "/accounts/a/ai-gateway/custom-providers/costs", cost, (200, vec![Effect::ForgetSnapshots])),
            ("POST", &format!("{token}/roll"), "", (404, vec![Effect::ForgetTokens])),
            ("DELETE", token, "", (404, vec![Effect::ForgetTokens])),
            ("POST", &early, r#"{"data":{"a":1}}"#, (202, vec![Effect::AttachFeedback])),
            ("POST", "/feedback/stranger", r#"{"data":{"a":1}}"#, (404, vec![])),
            ("PATCH", &patched, r#"{"score":1}"#, (202, vec![Effect::AttachFeedback])),
        ] {
            assert_eq!(asked(&store, &Caller::Admin, method, path, body), wanted, "{method} {path}");
        }
    }

    #[test]
    fn what_a_deleted_gateway_left_goes_once_it_is_deleted() {
        let store = with_gateway();
        let deleted = asked(&store, &Caller::Admin, "DELETE", GATEWAY, "");
        let left = [Effect::ForgetCounters(1), Effect::Sweep(Whose::Key(1)), Effect::ClearObjects];
        assert_eq!(deleted, (200, [&[Effect::SyncShards, forget()], &left[..]].concat()));
        assert_eq!(asked(&store, &Caller::Admin, "DELETE", GATEWAY, ""), (404, vec![]));
    }

    #[test]
    fn whoever_may_not_ask_leaves_nothing_to_do() {
        let store = with_gateway();
        let permissions = vec![Permission::Run];
        let token = Token {
            id: "t".to_owned(),
            account: "a".to_owned(),
            gateways: None,
            permissions,
            expires_at: None,
            terms: Default::default(),
        };
        let caller = Caller::Token(token);
        for (method, path) in
            [("PUT", GATEWAY.to_owned()), ("GET", format!("{GATEWAY}/storage")), ("DELETE", format!("{GATEWAY}/cache"))]
        {
            assert_eq!(asked(&store, &caller, method, &path, "{}"), (403, vec![]), "{method} {path}");
        }
        let nowhere = "/accounts/a/ai-gateway/gateways/none/storage";
        assert_eq!(asked(&store, &Caller::Admin, "GET", nowhere, ""), (404, vec![]));
    }

    #[test]
    fn the_awaited_effects_are_those_that_the_next_request_has_to_find() {
        let awaited = [Effect::SyncShards, forget(), Effect::ForgetSnapshots, Effect::ForgetTokens];
        let behind = [Effect::Evaluate(own()), Effect::AttachFeedback, Effect::ClearObjects, Effect::ForgetCounters(1)];
        assert!(awaited.iter().all(Effect::is_awaited) && !behind.iter().any(Effect::is_awaited));
    }
}
