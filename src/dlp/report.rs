//! What was found of a request and its answer, as its client and its log are told. Never what it says.

use crate::base::json::json;
use crate::dlp::policy::{Action, Check, Dlp};
use serde_json::Value;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    action: Option<Action>,
    groups: Vec<Group>,
    found: Vec<Value>,
    /// What was not looked at, and why.
    unscanned: Vec<(Check, &'static str)>,
}

/// What was found by one profile.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    profile: String,
    check: Check,
    entries: Vec<String>,
    policies: Vec<String>,
}

/// So many places are kept of what was found.
const MOST_PLACES: usize = 50;

/// What a row says of a request that was not looked at whole, and in which nothing was found.
const UNSCANNED: &str = "UNSCANNED";

// === impl Report ===

impl Report {
    /// Adds something that was found, and tells what is to be done about it.
    pub fn note(&mut self, dlp: &Dlp, check: Check, item: u8, path: &str, offset: usize) -> Action {
        let (entry, _) = dlp.names(item);
        let mut strongest = Action::Flag;
        for (policy, profile) in dlp.about(check, item) {
            strongest = strongest.max(policy.action);
            let is_it = |group: &Group| group.profile == profile && group.check == check;
            let at = self.groups.iter().position(is_it).unwrap_or(self.groups.len());
            if at == self.groups.len() {
                let (entries, policies) = (Vec::new(), Vec::new());
                self.groups.push(Group { profile: profile.to_owned(), check, entries, policies });
            }
            if let Some(group) = self.groups.get_mut(at) {
                add(&mut group.entries, entry);
                add(&mut group.policies, &policy.id);
            }
        }
        if self.found.len() < MOST_PLACES {
            let path: String = path.chars().take(200).collect();
            self.found.push(json!({ "check": check.name(), "entry": entry, "path": path, "offset": offset }));
        }
        self.action = self.action.max(Some(strongest));
        strongest
    }

    /// Adds that something was not looked at.
    pub fn unscanned(&mut self, check: Check, why: &'static str) {
        if !self.unscanned.iter().any(|(known, _)| *known == check) {
            self.unscanned.push((check, why));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.action.is_none() && self.unscanned.is_empty()
    }

    /// The strongest action so far.
    pub fn action(&self) -> Option<&'static str> {
        match self.action {
            Some(action) => Some(action.name()),
            None => (!self.unscanned.is_empty()).then_some(UNSCANNED),
        }
    }

    /// The header `cf-aig-dlp`.
    pub fn header(&self) -> Option<String> {
        let findings: Vec<Value> = self
            .groups
            .iter()
            .map(|group| {
                let profile = json!({ "context": {}, "entry_ids": group.entries, "profile_id": group.profile });
                json!({ "profile": profile, "policy_ids": group.policies, "check": group.check.name() })
            })
            .collect();
        self.shown(json!({ "findings": findings }))
    }

    /// What the row has beside the action.
    pub fn row(&self) -> Option<String> {
        let all = |of: fn(&Group) -> &[String]| {
            let mut all = Vec::new();
            self.groups.iter().flat_map(&of).for_each(|text| add(&mut all, text));
            all
        };
        let mut checks = Vec::new();
        self.groups.iter().for_each(|group| add(&mut checks, group.check.name()));
        let mut profiles = Vec::new();
        self.groups.iter().for_each(|group| add(&mut profiles, &group.profile));
        self.shown(json!({
            "checks": checks, "policy_ids": all(|group| &group.policies), "profile_ids": profiles,
            "entry_ids": all(|group| &group.entries), "found": self.found,
        }))
    }

    fn shown(&self, mut shown: Value) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        if let Value::Object(members) = &mut shown {
            members.insert("action".to_owned(), self.action().into());
            if !self.unscanned.is_empty() {
                let why: Vec<Value> =
                    self.unscanned.iter().map(|(check, why)| json!({ "check": check.name(), "reason": why })).collect();
                members.insert("unscanned".to_owned(), why.into());
            }
        }
        Some(shown.to_string())
    }
}

fn add(all: &mut Vec<String>, text: &str) {
    if !all.iter().any(|known| known == text) {
        all.push(text.to_owned());
    }
}
