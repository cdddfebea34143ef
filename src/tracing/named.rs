//! What the conventions call providers and count as tokens, where that is not what a log says.

use crate::logs::record::LogRecord;

/// Providers that have a name of their own there.
const PROVIDERS: &[(&str, &str)] = &[
    ("aws-bedrock", "aws.bedrock"),
    ("azure-openai", "azure.ai.openai"),
    ("google-ai-studio", "gcp.gemini"),
    ("google-vertex-ai", "gcp.vertex_ai"),
    ("grok", "x_ai"),
    ("mistral", "mistral_ai"),
    ("perplexity-ai", "perplexity"),
];

/// All tokens of the input: Anthropic counts those of its cache beside the others.
pub fn input_tokens(record: &LogRecord) -> Option<u64> {
    let beside = |tokens: Option<u64>| if record.cached_beside { tokens.unwrap_or(0) } else { 0 };
    let tokens = record.tokens_in?;
    Some(tokens.saturating_add(beside(record.tokens_cached)).saturating_add(beside(record.tokens_cache_write)))
}

pub fn provider(record: &LogRecord) -> &str {
    let known = PROVIDERS.iter().find(|(slug, _)| *slug == record.provider);
    known.map_or(&record.provider, |(_, name)| name)
}
