//! The setting `dlp` of a gateway, in both of its forms: which profiles are looked for where, and what is done about them.

use crate::base::fault::Invalid;
use crate::base::given::{flag, list, members, wrong};
use crate::dlp::entry::{Entry, PROFILES, Profile};
use crate::dlp::own::{self, Own};
use crate::dlp::text::Wanted;
use serde_json::Value;

/// What the setting says, read once.
#[derive(Clone, Debug)]
pub struct Dlp {
    pub policies: Vec<Policy>,
    pub own: Vec<Own>,
    /// Whether an answer has the originals in the place of placeholders.
    pub restores: bool,
    /// What is looked for in requests, and in answers.
    wanted: [Wanted; 2],
    /// What it was read from.
    source: Value,
}

/// Profiles that are looked for, and what is done when something is found.
#[derive(Clone, Debug)]
pub struct Policy {
    pub id: String,
    pub action: Action,
    pub checks: [bool; 2],
    pub profiles: Vec<(String, Wanted)>,
}

/// What is done about something that was found; a stronger one comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Flag,
    Redact,
    Block,
}

/// Where something is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Request,
    Response,
}

/// The id of the one policy of the older form.
const ONLY: &str = "dlp";

const MOST_POLICIES: usize = 50;

const MEMBERS: [&str; 6] = ["enabled", "action", "profiles", "policies", "custom_profiles", "restore"];
const OF_POLICY: [&str; 5] = ["id", "enabled", "action", "check", "profiles"];

// === impl Dlp ===

impl PartialEq for Dlp {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Dlp {
    /// `None` for a setting by which nothing is looked for.
    pub fn of(setting: &Value) -> Option<Self> {
        Self::parse(setting).ok().flatten()
    }

    pub fn check(setting: &Value) -> Result<(), Invalid> {
        Self::parse(setting).map(drop)
    }

    fn parse(setting: &Value) -> Result<Option<Self>, Invalid> {
        let top = ["body", "dlp"];
        let fields = members(setting, &MEMBERS, &top)?;
        let is_enabled = flag(setting, "enabled", true, &top)?;
        let restores = flag(setting, "restore", false, &top)?;
        let mut own: Vec<Own> = Vec::new();
        for (at, given) in list(setting, "custom_profiles", own::MOST, &top)?.iter().enumerate() {
            let profile = Own::parse(given, &["body", "dlp", "custom_profiles", &at.to_string()])?;
            if own.iter().any(|other| other.id == profile.id) {
                let path = ["body", "dlp", "custom_profiles", &at.to_string(), "id"];
                return Err(Invalid::at(path, "Expected another id: two profiles have this one"));
            }
            own.push(profile);
        }
        let mut policies = Vec::new();
        if fields.contains_key("action") || fields.contains_key("profiles") {
            let policy = Policy::parse(setting, &own, &top)?;
            policies.push(Policy { id: ONLY.to_owned(), checks: [true, true], ..policy });
        }
        for (at, given) in list(setting, "policies", MOST_POLICIES, &top)?.iter().enumerate() {
            let at = at.to_string();
            let path = ["body", "dlp", "policies", &at];
            members(given, &OF_POLICY, &path)?;
            let policy = Policy::parse(given, &own, &path)?;
            if flag(given, "enabled", true, &path)? {
                policies.push(policy);
            }
        }
        let wanted = [Check::Request, Check::Response].map(|check| {
            let profiles = policies.iter().filter(|policy| policy.is_for(check)).flat_map(|policy| &policy.profiles);
            profiles.fold(Wanted::default(), |all, (_, wanted)| all.and(*wanted))
        });
        let is_idle = wanted.iter().all(|wanted| wanted.is_empty());
        Ok((is_enabled && !is_idle).then(|| Self { policies, own, restores, wanted, source: setting.clone() }))
    }

    /// What is looked for there.
    pub fn wanted(&self, check: Check) -> Wanted {
        let [request, response] = self.wanted;
        if check == Check::Request { request } else { response }
    }

    pub fn is_for(&self, check: Check) -> bool {
        !self.wanted(check).is_empty()
    }

    /// Whether something may be found there that must not go on as it is.
    pub fn is_strict(&self, check: Check) -> bool {
        self.policies.iter().any(|policy| policy.is_for(check) && policy.action != Action::Flag)
    }

    /// The policies that are about something, each with the profile that has it.
    pub fn about(&self, check: Check, item: u8) -> impl Iterator<Item = (&Policy, &str)> {
        self.policies.iter().filter(move |policy| policy.is_for(check)).flat_map(move |policy| {
            let profiles = policy.profiles.iter().filter(move |(_, wanted)| wanted.has_item(item));
            profiles.map(move |(profile, _)| (policy, profile.as_str()))
        })
    }

    /// The strongest action of those policies.
    pub fn action(&self, check: Check, item: u8) -> Action {
        self.about(check, item).map(|(policy, _)| policy.action).max().unwrap_or(Action::Flag)
    }

    /// What stands in the place of an item where that is no placeholder.
    pub fn replacement(&self, item: u8) -> Option<&str> {
        self.own.get(usize::from(item).checked_sub(Entry::COUNT)?)?.replacement.as_deref()
    }

    /// What an item is called in settings and logs, and what its placeholders begin with.
    pub fn names(&self, item: u8) -> (&str, &str) {
        match Entry::numbered(item) {
            Some(entry) => (entry.name(), entry.label()),
            None => {
                let own = self.own.get(usize::from(item).saturating_sub(Entry::COUNT));
                own.map_or(("", ""), |own| (own.id.as_str(), own.label.as_str()))
            }
        }
    }
}

// === impl Policy ===

impl Policy {
    fn parse(given: &Value, own: &[Own], path: &[&str]) -> Result<Self, Invalid> {
        let wrong = |member: &str, what: &str| wrong(path, member, what);
        let id = match given.get("id") {
            None | Some(Value::Null) => path.last().copied().unwrap_or("").to_owned(),
            Some(Value::String(id))
                if (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                id.clone()
            }
            Some(_) => {
                return Err(wrong("id", "Expected 1 to 64 printable ASCII characters without spaces"));
            }
        };
        let action = given.get("action").and_then(Value::as_str).and_then(Action::parse);
        let Some(action) = action else { return Err(wrong("action", "Expected FLAG, BLOCK or REDACT")) };
        let mut checks = [false, false];
        for check in given.get("check").and_then(Value::as_array).into_iter().flatten() {
            match (check.as_str(), &mut checks) {
                (Some("REQUEST"), [request, _]) => *request = true,
                (Some("RESPONSE"), [_, response]) => *response = true,
                _ => return Err(wrong("check", "Expected an array of REQUEST and RESPONSE")),
            }
        }
        match given.get("check") {
            None | Some(Value::Null) => checks = [true, true],
            Some(Value::Array(all)) if !all.is_empty() => {}
            Some(_) => return Err(wrong("check", "Expected an array of REQUEST and RESPONSE")),
        }
        let mut profiles = Vec::new();
        for profile in list(given, "profiles", 100, path)? {
            let name = profile.as_str().unwrap_or("");
            let Some(wanted) = wanted(name, own) else {
                let known: Vec<&str> = PROFILES.iter().map(|profile| profile.id).collect();
                let what = format!(
                    "Expected names of profiles ({}), of their entries, or of custom_profiles",
                    known.join(", ")
                );
                return Err(wrong("profiles", &what));
            };
            profiles.push((name.to_owned(), wanted));
        }
        Ok(Self { id, action, checks, profiles })
    }

    pub fn is_for(&self, check: Check) -> bool {
        let [request, response] = self.checks;
        if check == Check::Request { request } else { response }
    }
}

fn wanted(name: &str, own: &[Own]) -> Option<Wanted> {
    if let Some(profile) = Profile::parse(name) {
        return Some(profile.entries.iter().copied().collect());
    }
    if let Some(entry) = Entry::parse(name) {
        return Some([entry].into_iter().collect());
    }
    own.iter().position(|own| own.id == name).map(|at| Wanted::item((Entry::COUNT + at) as u8))
}

// === impl Action ===

impl Action {
    fn parse(name: &str) -> Option<Self> {
        [Self::Flag, Self::Redact, Self::Block].into_iter().find(|action| action.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Flag => "FLAG",
            Self::Redact => "REDACT",
            Self::Block => "BLOCK",
        }
    }
}

// === impl Check ===

impl Check {
    pub fn name(self) -> &'static str {
        if self == Self::Request { "REQUEST" } else { "RESPONSE" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_are_read() {
        let old = Dlp::of(&json!({"enabled": true, "action": "BLOCK", "profiles": ["financial", "email"]})).unwrap();
        assert!(old.is_for(Check::Request) && old.is_for(Check::Response) && old.is_strict(Check::Response));
        assert!(!old.restores);
        let new = Dlp::of(&json!({"enabled": true, "restore": true, "custom_profiles": [{"id": "names", "words": ["x"]}], "policies": [
            {"id": "a", "enabled": true, "action": "FLAG", "check": ["RESPONSE"], "profiles": ["secrets"]},
            {"id": "b", "enabled": true, "action": "REDACT", "check": ["REQUEST"], "profiles": ["names", "credit_card"]},
            {"id": "c", "enabled": false, "action": "BLOCK", "check": ["RESPONSE"], "profiles": ["contact"]},
        ]}))
        .unwrap();
        assert!(new.restores && new.is_strict(Check::Request) && !new.is_strict(Check::Response));
        let card: Vec<(&str, &str)> =
            new.about(Check::Request, 0).map(|(policy, profile)| (policy.id.as_str(), profile)).collect();
        assert_eq!(card, [("b", "credit_card")]);
        assert_eq!(new.names(Entry::COUNT as u8), ("names", "NAMES"));
    }

    #[test]
    fn what_looks_for_nothing_is_none() {
        for idle in [
            json!({}),
            json!({"enabled": true}),
            json!({"enabled": false, "action": "BLOCK", "profiles": ["financial"]}),
            json!({"action": "FLAG", "profiles": []}),
            json!({"policies": [{"enabled": false, "action": "FLAG", "profiles": ["contact"]}]}),
        ] {
            assert!(Dlp::check(&idle).is_ok() && Dlp::of(&idle).is_none(), "{idle}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for (wrong, place) in [
            (json!([]), "body.dlp"),
            (json!({"enable": true}), "body.dlp.enable"),
            (json!({"enabled": 1}), "body.dlp.enabled"),
            (json!({"action": "DROP", "profiles": []}), "body.dlp.action"),
            (json!({"action": "FLAG", "profiles": ["cards"]}), "body.dlp.profiles"),
            (json!({"policies": [{"action": "FLAG", "profiles": [1]}]}), "body.dlp.policies.0.profiles"),
            (json!({"policies": [{"action": "FLAG", "check": []}]}), "body.dlp.policies.0.check"),
            (json!({"policies": [{"action": "FLAG", "check": ["BOTH"]}]}), "body.dlp.policies.0.check"),
            (json!({"policies": [{"action": "FLAG", "actions": 1}]}), "body.dlp.policies.0.actions"),
            (
                json!({"custom_profiles": [{"id": "a", "words": ["x"]}, {"id": "a", "words": ["y"]}]}),
                "body.dlp.custom_profiles.1.id",
            ),
        ] {
            assert_eq!(Dlp::check(&wrong).unwrap_err().path.join("."), place, "{wrong}");
        }
    }
}
