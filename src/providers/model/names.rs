//! Names of models, compared as providers do.

/// A name as it is compared: without blanks, in small letters, and without the words that some APIs put before it.
pub fn folded(name: &str) -> String {
    let name = name.trim_matches(|char: char| {
        char.is_whitespace() || char.is_control() || matches!(char, '\u{feff}' | '\u{200b}')
    });
    let lower = name.to_lowercase();
    // Google's APIs take `models/gemini-2.5-pro` and `publishers/google/models/gemini-2.5-pro` for the same.
    let short = match lower.rsplit_once("models/") {
        Some((before, name)) if !name.is_empty() && (before.is_empty() || before.ends_with('/')) => name,
        _ => lower.as_str(),
    };
    short.trim_matches('/').to_owned()
}

/// A name as its provider's other answers and requests have it. Google's APIs write `models/gemini-2.5-pro` in bodies,
/// `publishers/google/models/gemini-2.5-pro` in paths, and `gemini-2.5-pro` in answers; `tunedModels/x` is another's.
pub fn own<'a>(provider: &str, name: &'a str) -> &'a str {
    let is_google = matches!(provider, "google-ai-studio" | "google-vertex-ai");
    match name.rsplit_once("models/") {
        Some((before, short)) if is_google && !short.is_empty() && (before.is_empty() || before.ends_with('/')) => {
            short
        }
        _ => name,
    }
}

/// Whether what is meant by `wanted` is meant by `name`, too: the same model, or a version of it with a date or a number. A
/// name may have a vendor or a region before it, and how it is to be served behind it. Both have to be folded.
pub fn covers(wanted: &str, name: &str) -> bool {
    let short = if wanted.contains('/') { name } else { name.rsplit('/').next().unwrap_or(name) };
    [name, short, without_region(short)].into_iter().any(|name| is_same_or_version(wanted, name))
}

/// Whether both mean the same model, or `name` a version of `asked`.
pub fn answers(asked: &str, name: &str) -> bool {
    covers(asked, name) || covers(asked.rsplit('/').next().unwrap_or(asked), name)
}

/// Bedrock's inference profiles: `us.anthropic.claude-sonnet-4`.
fn without_region(name: &str) -> &str {
    const REGIONS: &[&str] = &["apac", "au", "ca", "eu", "global", "jp", "sa", "us", "us-gov"];
    match name.split_once('.') {
        Some((region, rest)) if REGIONS.contains(&region) && rest.contains('.') => rest,
        _ => name,
    }
}

fn is_same_or_version(wanted: &str, name: &str) -> bool {
    let is = |name: &str| match name.strip_prefix(wanted) {
        Some("") => true,
        Some(rest) => !wanted.is_empty() && is_version(rest),
        None => false,
    };
    // OpenRouter's `:nitro`, and tags like it.
    is(name) || name.rsplit_once(':').is_some_and(|(name, _)| is(name))
}

/// `-2024-08-06`, `-20250514`, `-0613`, `-001`, `@20250514`, `-v1:0`, `-latest`.
fn is_version(rest: &str) -> bool {
    let Some(version) = rest.strip_prefix(['-', '@']) else { return false };
    if matches!(version, "latest" | "default") {
        return true;
    }
    let (date, release) = version.split_once("-v").map_or((version, None), |(date, release)| (date, Some(release)));
    let (date, release) = match version.strip_prefix('v') {
        Some(release) => ("", Some(release)),
        None => (date, release),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_release = release.is_none_or(|release| release.split(':').all(digits));
    let parts: Vec<&str> = date.split('-').collect();
    let is_date = match parts.as_slice() {
        [""] => release.is_some(),
        [only] => digits(only) && matches!(only.len(), 3 | 4 | 6 | 8),
        [year, month, day] => {
            [(year, 4), (month, 2), (day, 2)].iter().all(|(part, length)| digits(part) && part.len() == *length)
        }
        _ => false,
    };
    is_date && is_release
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_folded() {
        for (name, wanted) in [
            ("gpt-4o ", "gpt-4o"),
            ("\u{feff}GPT-4o\0", "gpt-4o"),
            ("models/gemini-2.5-pro", "gemini-2.5-pro"),
            ("projects/p/locations/l/publishers/google/models/Gemini-2.5-pro", "gemini-2.5-pro"),
            ("openai/gpt-4o", "openai/gpt-4o"),
            ("tunedModels/x", "tunedmodels/x"),
            ("models/", "models"),
        ] {
            assert_eq!(folded(name), wanted);
        }
    }

    #[test]
    fn a_model_covers_its_versions_and_no_other() {
        for (wanted, name) in [
            ("gpt-4o", "gpt-4o"),
            ("gpt-4o", "gpt-4o-2024-08-06"),
            ("gpt-4", "gpt-4-0613"),
            ("claude-sonnet-4", "claude-sonnet-4-20250514"),
            ("claude-sonnet-4", "claude-sonnet-4@20250514"),
            ("anthropic.claude-sonnet-4", "anthropic.claude-sonnet-4-20250514-v1:0"),
            ("amazon.nova-pro", "amazon.nova-pro-v1:0"),
            ("gemini-1.5-flash", "gemini-1.5-flash-001"),
            ("mistral-large", "mistral-large-latest"),
            ("openai/gpt-4o", "openai/gpt-4o:nitro"),
            ("gpt-4o", "openai/gpt-4o-2024-08-06:floor"),
            ("gemini-2.5-pro", "google/gemini-2.5-pro"),
            ("anthropic.claude-sonnet-4", "us.anthropic.claude-sonnet-4-20250514-v1:0"),
            ("amazon.nova-pro", "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-pro-v1:0"),
            ("llama3", "llama3:8b"),
        ] {
            assert!(covers(wanted, name), "{wanted} {name}");
        }
        for (wanted, name) in [
            ("gpt-4", "gpt-4o"),
            ("gpt-4o", "gpt-4o-mini"),
            ("gpt-4o", "gpt-4o-mini-2024-07-18"),
            ("gpt-4o-2024-08-06", "gpt-4o"),
            ("claude-opus-4", "claude-opus-4-1-20250805"),
            ("gpt-4", "gpt-4.1"),
            ("llama-3", "llama-3-70b"),
            ("llama-3", "llama-3-70"),
            ("o1", "o1-pro"),
            ("openai/gpt-4o", "azure/gpt-4o"),
            ("gpt-4o", "ft:gpt-4o:org::id"),
            ("nova", "us.nova"),
            ("", "-2024-08-06"),
            ("x", "x-"),
            ("x", "x-v"),
        ] {
            assert!(!covers(wanted, name), "{wanted} {name}");
        }
    }

    #[test]
    fn an_answer_names_the_model_in_another_way_than_its_request() {
        for (asked, answered) in [("openai/gpt-4o", "gpt-4o-2024-08-06"), ("gpt-4o", "openai/gpt-4o"), ("a/b", "b")] {
            assert!(answers(asked, answered), "{asked} {answered}");
        }
        assert!(!answers("auto", "gpt-4o") && !answers("openai/gpt-4o", "gpt-4o-mini"));
    }

    proptest! {
        #[test]
        fn any_name_is_compared_without_harm(name in "\\PC{0,30}", other in "\\PC{0,30}") {
            prop_assert!(covers(&folded(&name), &folded(&name)));
            let _ = covers(&other, &name);
        }
    }
}
