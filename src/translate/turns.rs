//! Turns in the form that Anthropic, Google and Amazon want: roles alternate, results of tools come first, and no text is empty.

use crate::base::sorted;
use crate::translate::model::{Block, Content, Notes, Request, Role, Turn};

/// All instructions of a request, for formats that have them in one place.
pub fn instructions(request: &Request, notes: &mut Notes) -> Vec<Block> {
    let later = request.turns.iter().filter(|turn| turn.role == Role::System);
    let later: Vec<Block> = later.flat_map(|turn| &turn.blocks).cloned().collect();
    notes.dropped.note_if(!later.is_empty(), "the place of a system message behind others");
    [request.system.clone(), later].concat()
}

/// The texts of blocks as one; none where there is no text.
pub fn text(blocks: &[Block]) -> Option<String> {
    let texts = blocks.iter().filter_map(|block| match &block.content {
        Content::Text(text) if !text.is_empty() => Some(text.as_str()),
        _ => None,
    });
    let texts: Vec<&str> = texts.collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Merges turns of one role and leaves out what these providers refuse. A mark for the cache on a block that is left out moves to
/// the block before it.
pub fn alternating(turns: &[Turn], keeps_thought: impl Fn(&Content) -> bool) -> Vec<Turn> {
    let mut all: Vec<Turn> = Vec::new();
    for turn in turns.iter().filter(|turn| turn.role != Role::System) {
        let blocks = said(&turn.blocks, &keeps_thought);
        match all.last_mut() {
            _ if blocks.is_empty() => {}
            Some(last) if last.role == turn.role => last.blocks.extend(blocks),
            _ => all.push(Turn { role: turn.role, blocks }),
        }
    }
    for turn in all.iter_mut().filter(|turn| turn.role == Role::User) {
        sorted::by_key(&mut turn.blocks, |block| !matches!(block.content, Content::ToolResult(_)));
    }
    all
}

/// The blocks of a turn that have something in them.
fn said(blocks: &[Block], keeps_thought: &impl Fn(&Content) -> bool) -> Vec<Block> {
    let is_kept = |content: &Content| match content {
        Content::Text(text) | Content::Refusal(text) => !text.is_empty(),
        Content::Thinking(_) | Content::Redacted(_) => keeps_thought(content),
        _ => true,
    };
    let mut kept: Vec<Block> = Vec::new();
    for block in blocks {
        if is_kept(&block.content) {
            kept.push(block.clone());
        } else if let (Some(cache), Some(last)) = (&block.cache, kept.last_mut()) {
            last.cache.get_or_insert_with(|| cache.clone());
        }
    }
    let is_blank = |block: &Block| matches!(&block.content, Content::Text(text) if text.trim().is_empty());
    if kept.iter().all(is_blank) {
        kept.clear();
    }
    // Thoughts come first in their turn.
    if kept.iter().any(|block| matches!(block.content, Content::ToolUse(_))) {
        sorted::by_key(&mut kept, |block| !matches!(block.content, Content::Thinking(_) | Content::Redacted(_)));
    }
    kept
}

/// The arguments of a call as an object. What is none is kept whole below a name, for providers refuse it otherwise.
pub fn arguments(text: &str) -> crate::translate::json::Json {
    use crate::translate::json::Json;
    if text.trim().is_empty() {
        return Json::object();
    }
    match Json::parse(text) {
        Some(object @ Json::Object(_)) => object,
        _ => Json::object().with("arguments", text),
    }
}
