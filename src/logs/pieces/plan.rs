//! Which pieces a log's bodies become: those that are there already, those that are new, and what belongs to it alone.

use super::cut::Cuts;
use super::layout::{Chain, Layout};
use super::name::{Name, NamingKey};
use crate::base::json::json;
use crate::db::store::{Statement, Store, StoreError, row};
use crate::logs::part::{Bodies, Entry, LONG, Part};
use serde_json::Value;
use std::collections::HashMap;

/// Up to so many bytes, both bodies are in the row itself.
pub const INLINE: usize = 4_000;

/// Shorter requests are not looked at for what repeats, in bytes.
const MIN_SHARED: usize = 8_000;

/// New messages with fewer bytes wait for the next turn.
const MIN_PIECE: usize = 1_000;

/// A first message of so many bytes, which is mostly a system prompt, is a piece of its own.
const MIN_FIRST: usize = 2_000;

/// Fewer messages are no conversation.
const CONVERSATION: usize = 3;

/// So many messages a turn usually adds at most. Where more are new, the last ones may be those that the next turn changes.
const USUALLY_NEW: usize = 5;
const MAY_CHANGE: usize = 3;

/// The longest row, in bytes: D1 limits a row to 2 MB.
const MAX_ROW: usize = 900_000;

/// Boundaries of messages that are looked up: so many at the end, and of those before every so-manieth.
const LOOKED_UP: usize = 64;
const LOOKED_UP_EVERY: usize = 16;

/// A request that may share pieces, with the names of all that could be shared.
pub struct Draft {
    cuts: Cuts,
    /// What the first message, the first two and so on are named.
    messages: Vec<Name>,
    /// The same for members.
    members: Vec<Name>,
}

/// The pieces that are known to be there, or are going to be: their digests, and whether it is this part that brings them.
#[derive(Debug, Default)]
pub struct Known(HashMap<i64, (u64, bool)>);

/// What is to be written of the bodies of a part.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Rows of `log_bodies`, each a JSON array.
    pub rows: Vec<String>,
    pub pieces: Vec<Piece>,
    pub refs: Vec<Reference>,
}

/// A row of `body_pieces`.
#[derive(Debug, PartialEq)]
pub struct Piece {
    pub key: i64,
    /// Empty for one that belongs to its log alone.
    pub digest: String,
    pub before: Option<i64>,
    pub content: String,
    /// The log that brings it: without the log it is not written.
    pub log: String,
}

/// A reference to a piece, which counts if its log is written.
#[derive(Debug, PartialEq)]
pub struct Reference {
    pub to: Name,
    /// Whether the piece is new in this part.
    pub brought: bool,
    pub log: String,
}

/// Asks which pieces of parts are there. `None` stands for an entry that has nothing to share.
pub async fn look_up(store: &impl Store, parts: &[&Part]) -> Result<(Vec<Vec<Option<Draft>>>, Known), StoreError> {
    row! {
        struct There {
            key: String,
            digest: String,
        }
    }
    let of = |part: &&Part| part.entries.iter().map(|entry| Draft::of(entry, &part.naming)).collect::<Vec<_>>();
    let drafts: Vec<Vec<Option<Draft>>> = parts.iter().map(of).collect();
    let keys: Vec<String> =
        drafts.iter().flatten().flatten().flat_map(Draft::keys).map(|key| key.to_string()).collect();
    let mut known = Known::default();
    if !keys.is_empty() {
        let sql = "SELECT CAST(key AS TEXT) AS key, digest FROM body_pieces \
             WHERE key IN (SELECT CAST(value AS INTEGER) FROM json_each(?1)) AND digest <> ''";
        for There { key, digest } in store.rows(Statement::new(sql, [Value::from(keys).to_string().into()])).await? {
            if let (Ok(key), Ok(digest)) = (key.parse(), u64::from_str_radix(&digest, 16)) {
                known.0.insert(key, (digest, false));
            }
        }
    }
    Ok((drafts, known))
}

/// Where a log's own text is divided: between a short half that has other characters than ASCII, and a long one that has none. The long
/// one would else be kept in two bytes a character on its way to the database. 0: nowhere.
fn split(own: &str, border: usize) -> usize {
    let Some((request, response)) = own.split_at_checked(border) else { return 0 };
    let (short, long) = if request.len() < response.len() { (request, response) } else { (response, request) };
    let pays = short.len() < LONG && long.len() >= LONG && !short.is_ascii() && long.is_ascii();
    if pays { border } else { 0 }
}

// === impl Draft ===

impl Draft {
    fn of(entry: &Entry, naming: &NamingKey) -> Option<Self> {
        let Bodies { request, stored, cuts, .. } = &entry.bodies;
        let request =
            request.as_deref().filter(|text| text.len() >= MIN_SHARED && stored.is_empty() && naming.is_secret())?;
        let mut cuts = cuts.clone().or_else(|| Cuts::of(request))?;
        // A question and its answer are not yet a conversation that goes on: of it, a system prompt may repeat.
        if cuts.ends.len() < CONVERSATION {
            let first = cuts.ends.first().map_or(0, |end| end - cuts.begin);
            cuts.settled = cuts.settled.min(usize::from(cuts.ends.len() > 1 && first >= MIN_FIRST));
        }
        let mut prefix = naming.chain(entry.gateway, "messages");
        let mut begin = cuts.begin;
        let mut messages = Vec::with_capacity(cuts.settled);
        for end in cuts.ends.iter().take(cuts.settled) {
            prefix.push(request.get(begin..*end)?);
            messages.push(prefix.name());
            begin = *end;
        }
        let mut prefix = naming.chain(entry.gateway, "members");
        let mut members = Vec::with_capacity(cuts.members.len());
        for range in &cuts.members {
            prefix.push(request.get(range.clone())?);
            members.push(prefix.name());
        }
        Some(Self { cuts, messages, members })
    }

    fn keys(&self) -> impl Iterator<Item = i64> {
        let late = self.messages.len().saturating_sub(LOOKED_UP);
        let is_asked = move |number: &usize| *number >= late || number.is_multiple_of(LOOKED_UP_EVERY);
        let messages =
            self.messages.iter().enumerate().filter(move |(number, _)| is_asked(number)).map(|(_, name)| name);
        messages.chain(&self.members).map(|name| name.key)
    }

    /// How long the first messages are.
    fn bytes(&self, messages: usize) -> usize {
        let end = messages.checked_sub(1).and_then(|last| self.cuts.ends.get(last)).copied();
        end.unwrap_or(self.cuts.begin).saturating_sub(self.cuts.begin)
    }

    /// After how many messages new pieces end, where the first so many are known.
    fn new_ends(&self, known: usize) -> Vec<usize> {
        let all = self.cuts.ends.len();
        let mut ends = Vec::new();
        if known == 0 && !self.messages.is_empty() && self.bytes(1) >= MIN_FIRST {
            ends.push(1);
        }
        let begun = ends.last().copied().unwrap_or(known);
        let mut end = self.messages.len();
        if end.saturating_sub(known) > USUALLY_NEW {
            end = end.min(all.saturating_sub(MAY_CHANGE));
        }
        if end > begun && self.bytes(end) - self.bytes(begun) >= MIN_PIECE {
            ends.push(end);
        }
        ends
    }
}

// === impl Known ===

impl Known {
    fn has(&self, name: &Name) -> bool {
        self.0.get(&name.key).is_some_and(|(digest, _)| *digest == name.digest)
    }

    fn is_brought(&self, name: &Name) -> bool {
        self.0.get(&name.key).is_some_and(|(_, brought)| *brought)
    }

    /// What a part brings is there for the next one of the same transaction.
    pub fn settle(&mut self) {
        self.0.values_mut().for_each(|(_, brought)| *brought = false);
    }
}

// === impl Plan ===

impl Plan {
    /// A part that shares nothing: no other transaction can come in its way.
    pub fn alone(part: &Part) -> Self {
        Self::of(part, &[], &mut Known::default())
    }

    /// The plan of one part alone, after a look at what is there.
    pub async fn shared(store: &impl Store, part: &Part) -> Result<Self, StoreError> {
        let (drafts, mut known) = look_up(store, &[part]).await?;
        Ok(Self::of(part, drafts.first().map(Vec::as_slice).unwrap_or_default(), &mut known))
    }

    pub fn of(part: &Part, drafts: &[Option<Draft>], known: &mut Known) -> Self {
        let mut plan = Self::default();
        for (number, entry) in part.entries.iter().enumerate() {
            plan.add(entry, drafts.get(number).and_then(Option::as_ref), known, &part.naming);
        }
        known.settle();
        plan
    }

    fn add(&mut self, entry: &Entry, draft: Option<&Draft>, known: &mut Known, naming: &NamingKey) {
        let Bodies { request, response, stored, cuts: _ } = &entry.bodies;
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        if request.is_none() && response.is_none() {
            return;
        }
        if !stored.is_empty() || length(request) + length(response) <= INLINE {
            let cut = stored.cut.then_some(1);
            self.rows.push(json!([entry.id, 0, request, response, stored.request, stored.response, cut]).to_string());
            return;
        }
        let mut layout = Layout::default();
        let mut chains = [Chain::default(); 2];
        if let Some(request) = request {
            if let Some(draft) = draft {
                chains = [
                    self.messages(entry, request, draft, known, naming),
                    self.members(entry, request, draft, known, naming),
                ];
            }
            let [messages, members] = &chains;
            layout.request(request, draft.map(|draft| &draft.cuts), messages, members);
        }
        if let Some(response) = response {
            layout.response(response);
        }
        let border = split(&layout.own, layout.border);
        let own = self.rows_of(&entry.id, &layout.own, border, "", None, &entry.id, naming);
        let [messages, members] = chains.map(|chain| chain.last.map(|key| key.to_string()));
        let slices = json!([
            request.as_ref().map(String::len),
            response.as_ref().map(String::len),
            layout.request,
            layout.response
        ]);
        let own = own.map(|key| key.to_string());
        let row = json!([entry.id, 0, null, null, null, null, null, own, messages, members, slices.to_string()]);
        self.rows.push(row.to_string());
    }

    /// The settled messages of a request as a chain.
    fn messages(
        &mut self,
        entry: &Entry,
        request: &str,
        draft: &Draft,
        known: &mut Known,
        naming: &NamingKey,
    ) -> Chain {
        let there = draft.messages.iter().rposition(|name| known.has(name)).map_or(0, |last| last + 1);
        let mut parts = there;
        let name = |parts: usize| parts.checked_sub(1).and_then(|last| draft.messages.get(last));
        for end in draft.new_ends(there) {
            let at = |messages: usize| draft.cuts.begin + draft.bytes(messages);
            let (Some(content), Some(new)) = (request.get(at(parts)..at(end)), name(end)) else { break };
            self.bring(new, name(parts), content, entry, known, naming);
            parts = end;
        }
        self.refer(name(parts), entry, known);
        Chain { last: name(parts).map(|name| name.key), parts, bytes: draft.bytes(parts) }
    }

    /// The long members of a request as a chain.
    fn members(&mut self, entry: &Entry, request: &str, draft: &Draft, known: &mut Known, naming: &NamingKey) -> Chain {
        let there = draft.members.iter().rposition(|name| known.has(name)).map_or(0, |last| last + 1);
        let mut before = there.checked_sub(1).and_then(|last| draft.members.get(last));
        for (name, range) in draft.members.iter().zip(&draft.cuts.members).skip(there) {
            self.bring(name, before, request.get(range.clone()).unwrap_or_default(), entry, known, naming);
            before = Some(name);
        }
        self.refer(before, entry, known);
        let bytes = draft.cuts.members.iter().map(|range| range.len()).sum();
        Chain { last: before.map(|name| name.key), parts: draft.members.len(), bytes }
    }

    /// Adds a new piece, which follows another.
    fn bring(
        &mut self,
        new: &Name,
        before: Option<&Name>,
        content: &str,
        entry: &Entry,
        known: &mut Known,
        naming: &NamingKey,
    ) {
        self.refer(before, entry, known);
        self.rows_of(&new.key.to_string(), content, 0, &new.digest(), Some((new.key, before)), &entry.id, naming);
        known.0.insert(new.key, (new.digest, true));
    }

    fn refer(&mut self, to: Option<&Name>, entry: &Entry, known: &Known) {
        if let Some(to) = to {
            self.refs.push(Reference { to: *to, brought: known.is_brought(to), log: entry.id.clone() });
        }
    }

    /// Adds the rows of a text, the first of which ends at `border` unless that is 0. Returns the key of the last one, which is the given
    /// one for a piece that has a name.
    #[expect(clippy::too_many_arguments, reason = "a struct for the one call of each kind would say no more")]
    fn rows_of(
        &mut self,
        of: &str,
        text: &str,
        border: usize,
        digest: &str,
        named: Option<(i64, Option<&Name>)>,
        log: &str,
        naming: &NamingKey,
    ) -> Option<i64> {
        let mut before = named.and_then(|(_, before)| before).map(|name| name.key);
        let mut last = None;
        let mut rest = text;
        for number in 0.. {
            if rest.is_empty() {
                break;
            }
            let at = text.len() - rest.len();
            let most = if at < border { border - at } else { rest.len() };
            let mut end = most.min(MAX_ROW);
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            let (content, after) = rest.split_at(end);
            rest = after;
            let (key, digest) = match named {
                Some((key, _)) if rest.is_empty() => (key, digest),
                _ => (naming.row(of, number), ""),
            };
            self.pieces.push(Piece {
                key,
                digest: digest.to_owned(),
                before,
                content: content.to_owned(),
                log: log.to_owned(),
            });
            before = Some(key);
            last = Some(key);
        }
        last
    }
}
