//! Names of tools and ids of calls, in the characters that a provider takes. The way back is kept for the answer.

use sha2::{Digest, Sha256};

/// What a provider's signature of a call stands behind in the call's id, for clients that drop fields which they do not know.
const THOUGHT: &str = "__thought__";

/// How many characters ids and names may have where a provider says so.
pub const LONGEST: usize = 64;

/// The tool whose input is the answer where a model takes no schema.
pub const JSON_TOOL: &str = "json_tool";

/// Names that were changed, with what they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<(String, String)>);

/// An id without the signature behind it.
pub fn id_and_signature(id: &str) -> (&str, Option<&str>) {
    match id.split_once(THOUGHT) {
        Some((id, signature)) => (id, Some(signature).filter(|signature| !signature.is_empty())),
        None => (id, None),
    }
}

pub fn with_signature(id: &str, signature: &str) -> String {
    format!("{id}{THOUGHT}{}", url_safe(signature))
}

/// An id of nine letters and digits, the same for the same id.
pub fn nine(id: &str) -> String {
    if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) { id.to_owned() } else { digest(id, 5, 9) }
}

/// A caller's own name of something in as many characters as OpenAI takes, the same for the same name.
pub fn short(name: &str) -> String {
    if name.chars().count() <= LONGEST { name.to_owned() } else { digest(name, 32, LONGEST) }
}

fn digest(text: &str, bytes: usize, characters: usize) -> String {
    let hex: String = Sha256::digest(text.as_bytes()).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect();
    hex.chars().take(characters).collect()
}

/// An id in letters, digits, `_` and `-`, the same for the same id: of a call and of its result.
pub fn safe_id(id: &str) -> String {
    safe(id_and_signature(id).0)
}

/// A signature in the characters that an id may have.
pub fn url_safe(signature: &str) -> String {
    signature.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// A signature as its provider gave it, from either alphabet of base64.
pub fn standard(signature: &str) -> String {
    let plain = signature.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let missing = (4 - plain.len() % 4) % 4;
    format!("{plain}{}", "=".repeat(if missing == 3 { 0 } else { missing }))
}

fn safe(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= LONGEST && name.chars().all(is_plain) {
        return name.to_owned();
    }
    let digest = digest(name, 4, 8);
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(LONGEST - 9).collect();
    format!("{plain}_{digest}")
}

// === impl Names ===

impl Names {
    /// A name that every provider takes. It begins with a letter or an underscore.
    pub fn safe(&mut self, name: &str) -> String {
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let safe = if starts_well { safe(name) } else { safe(&format!("_{name}")) };
        if safe != name && !self.0.iter().any(|(own, _)| *own == safe) {
            self.0.push((safe.clone(), name.to_owned()));
        }
        safe
    }

    /// The caller's name of a tool.
    pub fn back<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.iter().find(|(safe, _)| safe == name).map_or(name, |(_, own)| own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_fit_every_provider_and_stay_apart() {
        assert_eq!(safe_id("toolu_01-A"), "toolu_01-A");
        assert_ne!(safe_id("functions.f:0"), safe_id("functions_f_0"));
        assert_eq!(safe_id("functions.f:0"), safe_id("functions.f:0__thought__c2ln"));
        for id in ["", "functions.f:0", &"x".repeat(500), "é"] {
            let safe = safe_id(id);
            assert!((1..=LONGEST).contains(&safe.len()) && safe.is_ascii(), "{safe}");
        }
        let mut names = Names::default();
        let long = format!("mcp.server/{}", "a".repeat(80));
        let safe = names.safe(&long);
        assert!(safe.len() <= LONGEST && !safe.contains('.'));
        assert_eq!((names.back(&safe), names.back("other")), (long.as_str(), "other"));
        assert_eq!(id_and_signature(&with_signature("call_1", "c2ln")), ("call_1", Some("c2ln")));
    }
}
