//! What the `model` of a request means: whose it is, and what its provider calls it.

use crate::base::fault::shortened;
use crate::base::sorted;
use crate::catalogue::aliases::Aliases;
use crate::catalogue::table::Catalogue;
use crate::providers::fault::Fault;
use crate::providers::table;
use crate::providers::upstream::{CustomProvider, Upstream};

/// What a name is looked for in.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    pub aliases: &'a Aliases,
    pub custom: &'a [CustomProvider],
    pub catalogue: &'a Catalogue,
    /// Whether a request of this caller to a provider, by its slug, would be sent with a key.
    pub has_key: &'a dyn Fn(&str) -> bool,
}

/// A model and its provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The slug, with its prefix where it is a custom one.
    pub provider: String,
    /// As the provider calls it.
    pub model: String,
    /// Whether the gateway's `model_aliases` say so.
    pub is_alias: bool,
}

/// How many names an error suggests.
const SUGGESTIONS: usize = 3;

/// Longer names are compared with no others.
const MAX_COMPARED: usize = 64;

/// Platforms where a name alone does not say where a request goes: the resource or the region is in the path.
pub const NOT_BY_NAME: &[&str] = &["aws-bedrock", "azure-openai", "google-vertex-ai"];

/// Finds what a name means: an alias of the gateway, then `{provider}/{model}`, then a name that exactly one provider has
/// for which there is a key.
pub fn resolve(model: &str, names: &Names<'_>) -> Result<Named, Fault> {
    let model = model.trim();
    if model.is_empty() {
        return Err(Fault::Model(
            "The request names no model: send '<provider>/<model>', such as 'openai/gpt-5'.".to_owned(),
        ));
    }
    if let Some(meaning) = names.aliases.meaning(model) {
        let found = of_provider(meaning, names.custom)?;
        let lost = || Fault::Model(format!("The alias '{}' of this gateway means no model.", shortened(model)));
        return found.map(|named| Named { is_alias: true, ..named }).ok_or_else(lost);
    }
    // Workers AI's own names.
    if ["@cf/", "@hf/"].iter().any(|start| model.starts_with(start)) {
        return Ok(Named { provider: "workers-ai".to_owned(), model: model.to_owned(), is_alias: false });
    }
    match of_provider(model, names.custom) {
        Ok(Some(named)) => Ok(named),
        Ok(None) => bare(model, names, None),
        Err(unknown @ Fault::Unknown { .. }) => bare(model, names, Some(unknown)),
        Err(fault) => Err(fault),
    }
}

/// `{provider}/{model}`; `None` for a name without a slash.
fn of_provider(name: &str, custom: &[CustomProvider]) -> Result<Option<Named>, Fault> {
    let Some((prefix, model)) = name.split_once('/') else { return Ok(None) };
    let provider = Upstream::find(prefix, custom)?.slug().to_owned();
    if model.is_empty() {
        let what = format!("Nothing follows the provider in the model '{}/'.", shortened(prefix));
        return Err(Fault::Model(what));
    }
    Ok(Some(Named { provider, model: model.to_owned(), is_alias: false }))
}

/// A name that does not begin with a provider's. `unknown` says what is wrong with what stands before its slash.
fn bare(model: &str, names: &Names<'_>, unknown: Option<Fault>) -> Result<Named, Fault> {
    let providers = table::PROVIDERS.iter().map(|provider| provider.slug);
    let by_name = providers.filter(|slug| !NOT_BY_NAME.contains(slug));
    let all: Vec<&str> = by_name.filter(|slug| has(names.catalogue, slug, model)).collect();
    let usable: Vec<&str> = all.iter().copied().filter(|slug| (names.has_key)(slug)).collect();
    let name = shortened(model);
    match (usable.as_slice(), all.as_slice()) {
        ([one], _) => Ok(Named { provider: (*one).to_owned(), model: model.to_owned(), is_alias: false }),
        ([], []) => {
            let platform = NOT_BY_NAME.iter().find(|slug| has(names.catalogue, slug, model));
            let told = || match platform {
                Some(slug) => Fault::Model(format!(
                    "The model '{name}' is one of {slug}, where a name alone does not say where a request goes: docs/translation.md \
                     tells how its models are named."
                )),
                None => Fault::Model(unheard_of(model, names)),
            };
            Err(unknown.filter(|_| platform.is_none()).unwrap_or_else(told))
        }
        ([], others) => Err(Fault::Model(format!(
            "The model '{name}' is one of {}, and there is no key for {} that this request could be sent with. Store one (POST \
             …/provider_configs), send one along, or name another provider: '<provider>/{name}'.",
            others.join(", "),
            if others.len() == 1 { "it" } else { "any of them" },
        ))),
        ([first, ..], _) => Err(Fault::Model(format!(
            "The model '{name}' may be one of {}: say which, such as '{first}/{name}', or give the name a meaning in the \
             gateway's model_aliases.",
            usable.join(", ")
        ))),
    }
}

/// Whether a provider has a model of that name by the catalogue. Names of other platforms for it do not count.
fn has(catalogue: &Catalogue, slug: &str, model: &str) -> bool {
    catalogue.find(slug, model).is_some_and(|line| line.provider == slug)
}

fn unheard_of(model: &str, names: &Names<'_>) -> String {
    let name = shortened(model);
    let near = nearest(model, names);
    let hint = if near.is_empty() { String::new() } else { format!(" Did you mean {}?", near.join(" or ")) };
    format!(
        "The model '{name}' does not name its provider, and the catalogue has no model of that name.{hint} Send \
         '<provider>/<model>', such as 'openai/gpt-5', or define it in the gateway's model_aliases."
    )
}

/// The models whose names are nearest, those first for which there is a key.
fn nearest(model: &str, names: &Names<'_>) -> Vec<String> {
    if model.len() > MAX_COMPARED {
        return Vec::new();
    }
    let model = model.to_ascii_lowercase();
    let allowed = (model.chars().count() / 4).clamp(1, 4);
    let mut found: Vec<(bool, usize, String)> = Vec::new();
    for line in names.catalogue.lines() {
        if line.model.len().abs_diff(model.len()) > allowed || NOT_BY_NAME.contains(&line.provider) {
            continue;
        }
        let apart = table::distance(&model, line.model);
        if apart <= allowed {
            found.push((!(names.has_key)(line.provider), apart, format!("'{}/{}'", line.provider, line.model)));
        }
    }
    let aliases = names.aliases.iter().filter(|(alias, _)| !alias.ends_with('*'));
    found.extend(aliases.filter_map(|(alias, _)| {
        let apart = table::distance(&model, alias);
        (apart <= allowed).then(|| (false, apart, format!("'{}'", shortened(alias))))
    }));
    sorted::by(&mut found, Ord::cmp);
    found.into_iter().take(SUGGESTIONS).map(|(.., name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::upstream;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn resolved(model: &str, aliases: &Value, keys: &[&str]) -> Result<Named, String> {
        use crate::base::fault::Fault as _;
        let custom = upstream::from_json(
            r#"[["own","https://llm.example/","{}",1,1,0],["off","https://llm.example","{}",0,1,0]]"#,
        );
        let aliases = Aliases::of(aliases);
        let names = Names {
            aliases: &aliases,
            custom: &custom,
            catalogue: &Catalogue::default(),
            has_key: &|slug| keys.contains(&slug),
        };
        resolve(model, &names).map_err(|fault| fault.message())
    }

    fn means(model: &str, aliases: Value, keys: &[&str]) -> (String, String, bool) {
        let named = resolved(model, &aliases, keys).unwrap();
        (named.provider, named.model, named.is_alias)
    }

    fn is(provider: &str, model: &str, is_alias: bool) -> (String, String, bool) {
        (provider.to_owned(), model.to_owned(), is_alias)
    }

    #[test]
    fn a_provider_before_the_slash_is_meant_whatever_keys_there_are() {
        assert_eq!(means("openai/gpt-5", Value::Null, &[]), is("openai", "gpt-5", false));
        assert_eq!(means("google/gemini-2.5-pro", Value::Null, &[]), is("google-ai-studio", "gemini-2.5-pro", false));
        assert_eq!(means("custom-own/a/b", Value::Null, &[]), is("custom-own", "a/b", false));
        assert_eq!(means("workers-ai/@cf/meta/x", Value::Null, &[]), is("workers-ai", "@cf/meta/x", false));
        assert_eq!(means("@cf/meta/x", Value::Null, &[]), is("workers-ai", "@cf/meta/x", false));
        assert_eq!(means("openai/unheard-of", Value::Null, &[]), is("openai", "unheard-of", false));
    }

    #[test]
    fn an_alias_comes_before_all_else() {
        let aliases =
            json!({ "claude-*": "openai/gpt-5", "openai/gpt-4o": "groq/llama", "claude-opus-4-1": "custom-own/x/y" });
        assert_eq!(means("claude-sonnet-4-5-20250929", aliases.clone(), &["anthropic"]), is("openai", "gpt-5", true));
        assert_eq!(means("openai/gpt-4o", aliases.clone(), &[]), is("groq", "llama", true));
        assert_eq!(means("claude-opus-4-1", aliases, &[]), is("custom-own", "x/y", true));
        // What an alias means is no alias.
        assert_eq!(means("a", json!({ "a": "openai/b", "openai/b": "groq/c" }), &[]), is("openai", "b", true));
        assert!(resolved("a", &json!({ "a": "custom-off/b" }), &[]).unwrap_err().contains("disabled"));
    }

    #[test]
    fn a_bare_name_is_that_of_the_one_provider_with_a_key() {
        assert_eq!(means("gpt-5", Value::Null, &["openai", "anthropic"]), is("openai", "gpt-5", false));
        let dated = "claude-sonnet-4-5-20250929";
        assert_eq!(means(dated, Value::Null, &["anthropic"]), is("anthropic", dated, false));
        assert_eq!(means("gemini-2.5-flash", Value::Null, &["google-ai-studio"]).0, "google-ai-studio");
        // A vendor's name before the slash is no provider.
        let (provider, ..) = means("meta-llama/llama-4-scout-17b-16e-instruct", Value::Null, &["groq"]);
        assert_eq!(provider, "groq");
    }

    #[test]
    fn what_is_wrong_with_a_name_is_said() {
        for (model, keys, said) in [
            ("gpt-5", &[][..], &["no key for it", "'<provider>/gpt-5'"][..]),
            ("gpt5", &["openai"], &["no model of that name", "'openai/gpt-5'"]),
            ("claude-sonet-4-5", &[], &["Did you mean 'anthropic/claude-sonnet-4-5"]),
            ("opnai/gpt-5", &[], &["'opnai'", "Did you mean 'openai'?"]),
            ("custom-none/x", &[], &["no custom provider 'custom-none'"]),
            ("amazon.nova-pro-v1:0", &["aws-bedrock"], &["one of aws-bedrock", "a name alone"]),
            ("openai/", &[], &["Nothing follows"]),
            ("", &[], &["names no model"]),
            ("zzzzzzzzzzzzzzzzzzzz", &[], &["no model of that name. Send"]),
        ] {
            let told = resolved(model, &Value::Null, keys).unwrap_err();
            assert!(said.iter().all(|part| told.contains(part)), "{model}: {told}");
        }
        let several = ["deepseek", "fireworks", "baseten", "groq", "cerebras", "openrouter", "mistral"];
        let told = table::PROVIDERS.iter().map(|provider| provider.slug).collect::<Vec<_>>();
        let catalogue = Catalogue::default();
        let both =
            catalogue.lines().find(|line| several.iter().filter(|slug| has(&catalogue, slug, line.model)).count() > 1);
        if let Some(line) = both {
            let error = resolved(line.model, &Value::Null, &told);
            assert!(error.unwrap_err().contains("say which"), "{}", line.model);
        }
        assert!(resolved(&"x".repeat(10_000), &Value::Null, &[]).unwrap_err().len() < 400);
    }

    proptest! {
        #[test]
        fn any_name_is_understood_or_refused(model in "\\PC{0,60}", alias in "\\PC{0,10}") {
            let _ = resolved(&model, &json!({ alias: model.as_str() }), &["openai"]);
        }
    }
}
