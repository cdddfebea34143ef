//! `…/logs/export`: all matching logs as a file, a piece at a time, so that a million rows never are in memory at once.

use super::log_list::{cursor, direction};
use crate::base::json::json;
use crate::conversation::Conversation;
use crate::db::store::{Store, StoreError};
use crate::http::envelope::{ApiError, Reply};
use crate::http::params::{chosen, flag, number};
use crate::http::query::Query;
use crate::logs::call::RequestType;
use crate::logs::filter::search::searched;
use crate::logs::filter::{self, Ahead, Direction, Filter, FilterKey, Next, Operator, Selection};
use crate::logs::pieces::read;
use crate::logs::row::{COLUMNS, LogRow};
use serde_json::{Map, Value};
use std::collections::VecDeque;

/// An export under way. It can be taken up again with the id of the last log that arrived.
pub struct Export {
    format: Format,
    bodies: bool,
    /// False for callers who may not see what was asked and answered.
    pub with_text: bool,
    direction: Direction,
    selection: Selection,
    /// Logs that are read and not written yet.
    rows: VecDeque<LogRow>,
    last: Option<String>,
    ahead: Ahead,
    /// The log to go on behind when `rows` are written, where it is none of them.
    behind: Option<String>,
    /// How often logs were read.
    reads: u32,
    begun: bool,
    ended: bool,
    /// How many lines are wanted; without it, all.
    pub limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    JsonLines,
    Csv,
    FineTune,
}

const ROWS_AT_ONCE: usize = 250;

const MAX_LIMIT: u64 = 10_000;

/// Longer bodies are no examples to learn from, in bytes. What a body says takes many times its length while it is read.
const MAX_EXAMPLE: usize = 1024 * 1024;

/// A collected answer ends early after so many reads, too, each of two statements: D1 allows a thousand in an invocation.
const MAX_READS: u32 = 400;

/// A collected answer ends early beyond this many bytes; its cursor tells where.
const MAX_COLLECTED: usize = 16 * 1024 * 1024;

const CSV_COLUMNS: &[&str] = &[
    "id",
    "created_at",
    "provider",
    "model",
    "model_type",
    "path",
    "request_type",
    "status_code",
    "success",
    "cached",
    "step",
    "attempt",
    "answered",
    "error",
    "duration",
    "tokens_in",
    "tokens_out",
    "cost",
    "saved_cost",
    "custom_cost",
    "finish_reason",
    "feedback",
    "score",
    "event_id",
    "response_id",
    "user_agent",
    "metadata",
    "feedback_data",
];

// === impl Export ===

impl Export {
    /// Whether it says what was asked and answered.
    pub fn has_bodies(&self) -> bool {
        self.bodies
    }

    pub fn parse(gateway: i64, query: &Query) -> Result<Self, ApiError> {
        let format = match chosen(query, "format", &["jsonl", "csv", "openai-finetune"])? {
            "csv" => Format::Csv,
            "openai-finetune" => Format::FineTune,
            _ => Format::JsonLines,
        };
        let mut filters = filter::from_query(query)?;
        // Without a word on judgements, only what people liked is worth learning from.
        if let Some(key) = FilterKey::field("feedback").filter(|_| format == Format::FineTune && !filters.judge()) {
            filters.and(Filter { key, operator: Operator::Eq, values: vec![json!(1)] });
        }
        let mut selection = searched(gateway, &filters, query);
        if format == Format::FineTune {
            selection.and("logs.success = 1".to_owned());
        }
        Ok(Self {
            format,
            bodies: format == Format::FineTune || flag(query, "bodies")?.unwrap_or(false),
            with_text: true,
            direction: direction(query, Direction::Ascending)?,
            selection,
            rows: VecDeque::new(),
            last: cursor(query)?.map(str::to_owned),
            ahead: Ahead::default(),
            behind: None,
            reads: 0,
            begun: false,
            ended: false,
            limit: number(query, "limit", 1, MAX_LIMIT)?,
        })
    }

    pub fn content_type(&self) -> &'static str {
        match self.format {
            Format::Csv => "text/csv; charset=utf-8",
            Format::JsonLines | Format::FineTune => "application/x-ndjson",
        }
    }

    /// The headers that say what the file is.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let name = match self.format {
            Format::Csv => "logs.csv",
            Format::JsonLines => "logs.jsonl",
            Format::FineTune => "finetune.jsonl",
        };
        vec![
            ("content-disposition", format!("attachment; filename=\"{name}\"")),
            ("x-content-type-options", "nosniff".to_owned()),
        ]
    }

    /// What stands before the first log.
    fn head(&mut self) -> Option<String> {
        let begins = !std::mem::replace(&mut self.begun, true);
        (begins && self.format == Format::Csv).then(|| self.columns().collect::<Vec<_>>().join(",") + "\r\n")
    }

    /// The next log as a line with its end, which is empty for a log that has no place in the file; `None` at the end.
    async fn next_line(&mut self, store: &impl Store) -> Result<Option<String>, StoreError> {
        if self.rows.is_empty() && !self.ended {
            self.read(store).await?;
        }
        let Some(row) = self.rows.pop_front() else {
            // Nothing is meant among the logs that were looked at, or there are no more.
            return Ok((!self.ended).then(String::new));
        };
        let mut line = self.line(store, &row).await?.unwrap_or_default();
        if !line.is_empty() {
            line.push_str(if self.format == Format::Csv { "\r\n" } else { "\n" });
        }
        self.last = Some(row.id);
        Ok(Some(line))
    }

    /// The next piece of the file; `None` at its end.
    pub async fn next(&mut self, store: &impl Store) -> Result<Option<String>, StoreError> {
        if let Some(head) = self.head() {
            return Ok(Some(head));
        }
        let mut piece = String::new();
        while let Some(line) = self.next_line(store).await? {
            piece.push_str(&line);
            // With bodies log by log, for each may have 20 MB.
            if !piece.is_empty() && (self.bodies || self.rows.is_empty()) {
                break;
            }
        }
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    async fn read(&mut self, store: &impl Store) -> Result<(), StoreError> {
        self.reads += 1;
        let mut selection = self.selection.clone();
        self.last = self.behind.take().or(self.last.take());
        if let Some(last) = &self.last {
            selection.beyond(last, self.direction);
        }
        self.ahead.bound(store, &mut selection, self.direction).await?;
        let rest = format!("ORDER BY {} LIMIT {ROWS_AT_ONCE}", selection.in_time(self.direction));
        let rows: Vec<LogRow> = store.rows(selection.select(COLUMNS, &rest)).await?;
        let next = self.ahead.next(rows.len() == ROWS_AT_ONCE);
        self.ended = next == Next::Nothing;
        if let Next::Behind(log) = next {
            self.behind = Some(log);
        }
        self.rows = rows.into();
        if self.rows.is_empty() {
            self.last = self.behind.take().or(self.last.take());
        }
        Ok(())
    }

    async fn line(&self, store: &impl Store, row: &LogRow) -> Result<Option<String>, StoreError> {
        let [request, response] = if self.bodies { read::whole(store, &row.id).await? } else { [None, None] };
        if self.format == Format::FineTune {
            // What a model was asked about another call is no example of anything.
            if row.request_type == RequestType::Guardrail.name()
                || [&request, &response].into_iter().flatten().any(|body| body.len() > MAX_EXAMPLE)
            {
                return Ok(None);
            }
            let conversation = Conversation::read(request.as_deref(), response.as_deref());
            return Ok(conversation.example().map(|example| example.to_string()));
        }
        let mut shown = row.show(self.with_text);
        for (name, body) in [("request", request), ("response", response)] {
            shown.remove(name);
            if self.bodies {
                shown.insert(name.to_owned(), json!(body));
            }
        }
        Ok(Some(match self.format {
            Format::Csv => self.csv_line(&shown),
            _ => Value::Object(shown).to_string(),
        }))
    }

    fn columns(&self) -> impl Iterator<Item = &'static str> {
        let bodies: &[&str] = if self.bodies { &["request", "response"] } else { &[] };
        CSV_COLUMNS.iter().chain(bodies).copied()
    }

    fn csv_line(&self, shown: &Map<String, Value>) -> String {
        self.columns().map(|name| cell(shown.get(name).unwrap_or(&Value::Null))).collect::<Vec<_>>().join(",")
    }
}

/// A cell of RFC 4180. A text that a spreadsheet would run as a formula gets an apostrophe in front.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::Number(_) | Value::Bool(_) => return value.to_string(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/logs/export`
///
/// An export with a limit, as one answer. The header `x-next-cursor` says where the next one begins.
pub async fn collected(store: &impl Store, mut export: Export) -> Result<Reply, ApiError> {
    let limit = export.limit.unwrap_or(MAX_LIMIT);
    let mut body = export.head().unwrap_or_default();
    let mut lines = 0;
    while lines < limit && body.len() < MAX_COLLECTED && export.reads < MAX_READS {
        let Some(line) = export.next_line(store).await? else { break };
        lines += u64::from(!line.is_empty());
        body.push_str(&line);
    }
    let more = !export.rows.is_empty() || !export.ended;
    let cursor = export.last.take().filter(|_| more);
    let reply =
        Reply { status: 200, content_type: export.content_type(), headers: export.headers(), body, object: None };
    Ok(match cursor {
        Some(cursor) => reply.with_header("x-next-cursor", cursor),
        None => reply,
    })
}
