//! What a log has to be paid for, where a provider can be asked for the same thing again.

use crate::limit::message::Charge;
use crate::logs::record::LogRecord;

/// What a log has to be paid for as a thing. `set_aside` is what a budget with `reserve` set aside for the request.
pub fn of(record: &LogRecord, set_aside: Option<u64>) -> Option<Charge> {
    let claim = record.claim.as_ref()?;
    // A chat that its provider keeps was paid for when it was made, which no budget notes of chats.
    if !claim.creates && record.path.starts_with("chat/completions/") {
        return Some(Charge { thing: String::new(), made_at: None, cost: None, meanwhile: 0 });
    }
    let known = record.charge.amount(record.least_spent(set_aside), set_aside.is_some());
    Some(Charge {
        thing: format!("{} {}", record.provider, claim.thing),
        made_at: claim.creates.then_some(record.created_at),
        cost: claim.has_usage.then_some(known),
        meanwhile: set_aside.unwrap_or(0),
    })
}
