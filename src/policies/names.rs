//! Patterns for the names of models. `*` stands for any characters but `/`.
//!
//! A pattern is compared with the name of a model, and with the name behind its provider: `gpt-5*` and `openai/gpt-5*` both mean
//! `gpt-5-mini` of `openai`.

/// Whether one of some patterns means a model, or there is no pattern. All are in small letters.
pub fn any(patterns: &[String], provider: &str, model: &str) -> bool {
    let whole = format!("{provider}/{model}");
    patterns.is_empty() || patterns.iter().any(|pattern| is_like(pattern, model) || is_like(pattern, &whole))
}

/// Whether a name is like a pattern, in which `*` stands for any characters but `/`.
pub fn is_like(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // Where the last star stands, and what has been behind it: it may take one character more.
    let mut star: Option<(&str, &str)> = None;
    loop {
        let (mut pattern_rest, mut name_rest) = (pattern.chars(), name.chars());
        match (pattern_rest.next(), name_rest.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((pattern_rest.as_str(), name));
                pattern = pattern_rest.as_str();
                continue;
            }
            (Some(wanted), Some(given)) if wanted == given => {
                (pattern, name) = (pattern_rest.as_str(), name_rest.as_str());
                continue;
            }
            _ => {}
        }
        let Some((behind, at)) = star else { return false };
        let mut more = at.chars();
        match more.next() {
            Some(character) if character != '/' => {
                star = Some((behind, more.as_str()));
                (pattern, name) = (behind, more.as_str());
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_part_of_a_name() {
        for (pattern, name, is_alike) in [
            ("gpt-*", "gpt-5-mini", true),
            ("*", "a", true),
            ("*", "", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("meta/*-8b", "meta/llama-3-8b", true),
            ("meta/*-8b", "meta/llama/x-8b", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "aXbY", false),
            ("", "", true),
            ("gpt", "gpt-5", false),
            ("é*", "éx", true),
        ] {
            assert_eq!(is_like(pattern, name), is_alike, "{pattern} {name}");
        }
        assert!(!is_like(&"a*".repeat(50), &"a".repeat(40)));
    }

    #[test]
    fn a_model_is_meant_with_and_without_its_provider() {
        let patterns = |all: &[&str]| all.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<String>>();
        assert!(any(&[], "openai", "gpt-5"));
        assert!(any(&patterns(&["x", "openai/gpt-*"]), "openai", "gpt-5"));
        assert!(any(&patterns(&["gpt-*"]), "openai", "gpt-5"));
        assert!(any(&patterns(&["openai/*"]), "openrouter", "openai/gpt-5"));
        assert!(any(&patterns(&["openrouter/*/*"]), "openrouter", "openai/gpt-5"));
        assert!(!any(&patterns(&["openai/*"]), "groq", "gpt-5"));
    }
}
