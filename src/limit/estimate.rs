//! What a request will probably cost, from the little that is known before it is sent.

use super::spend;
use crate::wire::Usage;

/// Text has about four bytes for each token; other scripts and base64 have fewer, and are estimated too low.
const BYTES_PER_TOKEN: u64 = 4;

/// The length of an answer whose request sets no bound.
pub const DEFAULT_OUTPUT: u64 = 1_000;

/// What is set aside for a request whose model has no price, in US dollars.
pub const UNKNOWN_DOLLARS: f64 = 0.01;

/// What is set aside where nothing better is known.
pub fn unknown() -> u64 {
    spend::from_dollars(UNKNOWN_DOLLARS)
}

/// What a request probably costs, if its model has a price. `cost` tells what an answer with such usage costs.
pub fn estimate(cost: impl Fn(&Usage) -> Option<f64>, size: Option<u64>, max_tokens: Option<u64>) -> Option<u64> {
    let usage = Usage {
        tokens_in: Some(size.unwrap_or(0).div_ceil(BYTES_PER_TOKEN)),
        tokens_out: Some(max_tokens.unwrap_or(DEFAULT_OUTPUT)),
        ..Usage::default()
    };
    // Embeddings have no output, nor a rate for it.
    let cost = cost(&usage).or_else(|| cost(&Usage { tokens_out: None, ..usage }));
    cost.map(spend::from_dollars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::price;

    fn dollars(model: &str, size: Option<u64>, max_tokens: Option<u64>) -> f64 {
        let price = price::find("openai", model);
        spend::dollars(estimate(|usage| price.as_ref()?.cost(usage), size, max_tokens).unwrap_or_else(unknown))
    }

    #[test]
    fn an_estimate_grows_with_what_is_asked() {
        let price = price::find("openai", "gpt-4o").unwrap();
        let cost = |tokens_in, tokens_out| {
            price.cost(&Usage { tokens_in: Some(tokens_in), tokens_out: Some(tokens_out), ..Usage::default() }).unwrap()
        };
        assert_eq!(dollars("gpt-4o", Some(4_000), Some(50)), cost(1_000, 50));
        assert_eq!(dollars("gpt-4o", Some(3), None), cost(1, DEFAULT_OUTPUT));
        assert!(dollars("text-embedding-3-small", Some(4_000), None) > 0.0);
    }

    #[test]
    fn what_has_no_price_is_given_one() {
        assert_eq!(dollars("never-heard-of", Some(4_000), Some(5)), UNKNOWN_DOLLARS);
    }
}
