//! Which endpoints of providers are known to work: those that answered well within the last hour. A failure there speaks of
//! the provider, and elsewhere perhaps only of what a caller made up.

use std::hash::{DefaultHasher, Hash, Hasher};

/// How long a success counts, in milliseconds.
const COUNTS_MS: u64 = 60 * 60 * 1_000;

/// Where successes are kept: so many places, by provider and host, each with room for so many endpoints. A caller who asks for many
/// paths of one provider makes only others of that provider be forgotten.
const PLACES: usize = 64;
const ROOM: usize = 16;

/// An endpoint: provider and host, path and model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    place: usize,
    id: u64,
}

/// The successes of an isolate.
#[derive(Debug, Default)]
pub struct Proven(Vec<Vec<(u64, u64)>>);

// === impl Endpoint ===

impl Endpoint {
    pub fn new(provider: &str, origin: &str, path: &str, model: Option<&str>) -> Self {
        let mut hasher = DefaultHasher::new();
        (provider, origin).hash(&mut hasher);
        let place = (hasher.finish() % PLACES as u64) as usize;
        (path, model).hash(&mut hasher);
        Self { place, id: hasher.finish() }
    }
}

// === impl Proven ===

impl Proven {
    /// Notes that an endpoint has answered well.
    pub fn note(&mut self, endpoint: Endpoint, now: u64) {
        if self.0.is_empty() {
            self.0.resize_with(PLACES, Vec::new);
        }
        let Some(known) = self.0.get_mut(endpoint.place) else { return };
        if let Some((_, at)) = known.iter_mut().find(|(id, _)| *id == endpoint.id) {
            *at = now;
            return;
        }
        if known.len() >= ROOM
            && let Some((oldest, _)) = known.iter().enumerate().min_by_key(|(_, (_, at))| *at)
        {
            known.swap_remove(oldest);
        }
        known.push((endpoint.id, now));
    }

    /// Whether an endpoint has answered well within the hour.
    pub fn has(&self, endpoint: Endpoint, now: u64) -> bool {
        let known = self.0.get(endpoint.place).map(Vec::as_slice).unwrap_or_default();
        known.iter().any(|(id, at)| *id == endpoint.id && now.saturating_sub(*at) < COUNTS_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(path: &str, model: Option<&str>) -> Endpoint {
        Endpoint::new("openai", "https://api.openai.com", path, model)
    }

    #[test]
    fn a_success_counts_for_its_own_endpoint_and_for_an_hour() {
        let mut proven = Proven::default();
        let chat = endpoint("chat/completions", Some("gpt-4o"));
        assert!(!proven.has(chat, 0));
        proven.note(chat, 1_000);
        proven.note(chat, 2_000);
        assert!(proven.has(chat, 2_000) && proven.has(chat, 2_000 + COUNTS_MS - 1));
        assert!(!proven.has(chat, 2_000 + COUNTS_MS));
        for other in [
            endpoint("chat/completions", None),
            endpoint("chat/completions", Some("gpt-5")),
            endpoint("chat/completions/x", Some("gpt-4o")),
            Endpoint::new("groq", "https://api.openai.com", "chat/completions", Some("gpt-4o")),
            Endpoint::new("openai", "https://other.example", "chat/completions", Some("gpt-4o")),
        ] {
            assert!(!proven.has(other, 2_000), "{other:?}");
        }
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_of_the_same_provider_goes() {
        let mut proven = Proven::default();
        let elsewhere = (0..).map(|n| Endpoint::new("groq", &format!("https://{n}.example"), "chat", None));
        let elsewhere = elsewhere.into_iter().find(|other| other.place != endpoint("", None).place).unwrap();
        proven.note(elsewhere, 0);
        for n in 0..5_000 {
            proven.note(endpoint(&format!("files/{n}"), None), n);
        }
        assert!(proven.has(elsewhere, 0));
        assert!(proven.has(endpoint("files/4999", None), 5_000) && !proven.has(endpoint("files/0", None), 0));
        assert!(proven.0.iter().all(|known| known.len() <= ROOM));
    }
}
