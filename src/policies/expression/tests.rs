use super::*;
use pollster::block_on;
use proptest::prelude::*;
use serde_json::json;

fn fields() -> Value {
    json!({
        "cf": {"user": {"id": "u1", "email": "Ann@example.com", "groups": ["eng", "ml"]}, "country": "DE"},
        "metadata": {"team": "search", "level": 3, "tags": ["a", "b"], "none": null},
        "model": "gpt-5-mini",
        "provider": "openai",
    })
}

fn value(text: &str) -> Result<Value, NoValue> {
    let expression = Expression::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
    block_on(expression.value(&fields(), 10_000))
}

#[test]
fn expressions_have_the_values_of_the_language() {
    for (text, expected) in [
        ("1 + 2 == 3", json!(true)),
        ("-1 < 0 && 2.5 >= 2", json!(true)),
        ("'a' + \"b\" == 'ab'", json!(true)),
        ("\"\\u0041\\n\\\"\" == 'A\\n\"'", json!(true)),
        ("metadata.team == 'search'", json!(true)),
        ("metadata['team'] != \"x\"", json!(true)),
        ("metadata.tags[1]", json!("b")),
        ("metadata.level > 2 ? 'high' : 'low'", json!("high")),
        ("cf.country in ['DE', 'FR']", json!(true)),
        ("'team' in metadata", json!(true)),
        ("!('ops' in cf.user.groups)", json!(true)),
        ("has(metadata.team) && !has(metadata.other)", json!(true)),
        ("has(metadata.none) || has(nothing.at)", json!(false)),
        ("cf.user.email.endsWith('@example.com')", json!(true)),
        ("cf.user.email.lowerAscii().startsWith('ann')", json!(true)),
        ("model.contains('mini') && model.matches('^gpt-[0-9]')", json!(true)),
        ("size(metadata.tags) == 2 && model.size() == 10", json!(true)),
        ("cf.user.groups.exists(g, g == 'ml') && cf.user.groups.all(g, g.size() < 4)", json!(true)),
        ("[1, 2,].exists(x, [x].all(x, x == 2))", json!(true)),
        ("1 == 1.0 && 3u == 3", json!(true)),
        ("null == metadata.none", json!(true)),
        ("true || false && false", json!(true)),
        // What is wrong with one side is of no account where the other decides.
        ("nothing.at == 1 || true", json!(true)),
        ("true || nothing", json!(true)),
        ("1 < 'a' && false", json!(false)),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_a_request_has_not_and_what_does_not_go_together_is_said() {
    for (text, expected) in [
        ("metadata.other == 1", "metadata.other"),
        ("cf.user.id.x.y", "cf.user.id.x"),
        ("nothing", "nothing"),
        ("metadata.other == 1 && true", "metadata.other"),
        ("metadata.tags[7]", "metadata.tags[7]"),
    ] {
        assert_eq!(value(text), Err(NoValue::Missing(expected.to_owned())), "{text}");
    }
    for text in [
        "1 < 'a'",
        "!1",
        "1 && true",
        "1 + 'a'",
        "1 in 2",
        "metadata.contains('a')",
        "'a'.contains(1)",
        "1 ? 2 : 3",
        "model.exists(x, true)",
        "-'a'",
        "(1.5).matches('a')",
    ] {
        assert!(matches!(value(text), Err(NoValue::Mismatch(_))), "{text}");
    }
    let long = Expression::parse(&["model.matches('(a*)*b')"; 8].join(" || ")).unwrap();
    assert_eq!(block_on(long.holds(&json!({"model": "a".repeat(5_000)}), 10_000)), Err(NoValue::Exhausted));
    assert!(matches!(block_on(Expression::parse("1").unwrap().holds(&fields(), 10)), Err(NoValue::Mismatch(_))));
}

#[test]
fn what_is_no_expression_is_refused_at_its_character() {
    for (text, at) in [
        ("", 1),
        ("a ==", 5),
        ("a = 1", 3),
        ("(a", 3),
        ("[1, 2", 6),
        ("a b", 3),
        ("é == 1", 1),
        ("'é' == $", 8),
        ("'open", 1),
        ("'\\x'", 1),
        ("1a", 1),
        ("1.2.3", 1),
        ("a.1", 3),
        ("a.foo(1)", 7),
        ("foo(1)", 6),
        ("has(a)", 6),
        ("a.matches(b)", 11),
        ("a.matches('(')", 11),
        ("if == 1", 1),
        ("a in", 5),
        ("a ? b", 6),
    ] {
        let wrong = Expression::parse(text).map(|_| ()).unwrap_err();
        assert_eq!(wrong.at, at, "{text}: {}", wrong.reason);
    }
    for deep in [
        "(".repeat(100) + "1" + &")".repeat(100),
        "!".repeat(100) + "true",
        "a".to_owned() + &".b".repeat(500),
        vec!["a"; 500].join(" + "),
        "[".repeat(100),
    ] {
        assert!(Expression::parse(&deep).is_err(), "{deep}");
    }
    assert!(Expression::parse(&"a".repeat(MOST_LENGTH + 1)).is_err());
    assert!(Expression::parse(&vec!["(metadata.team == 'x')"; 100].join(" || ")).is_ok());
}

/// Expressions of every form, up to four deep.
fn sentences() -> impl Strategy<Value = String> {
    let leaf = "metadata\\.(team|level|other|tags)|cf\\.user\\.(email|groups)|model|true|null|[1-9][0-9]{0,2}|'[a-z]{0,3}'|\\[1, 'a'\\]";
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec!["==", "!=", "<", ">=", "in", "&&", "||", "+"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, by, b)| format!("({a} {by} {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            inner.clone().prop_map(|a| format!("size({a})")),
            inner.clone().prop_map(|a| format!("cf.user.groups.exists(g, g == {a})")),
            inner.prop_map(|a| format!("({a}).matches('^a+$')")),
        ]
    })
}

proptest! {
    // So many texts are random, and nearly so many are sentences of the grammar.
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_text_makes_the_parser_or_the_evaluation_fail(
        text in "(metadata|\\.team|model| in |\\(|\\)|\\[|\\]|'a'|1|,|==|<|&&|\\|\\||!|\\?|:|has\\(|\\.exists\\(x, |\\.matches\\('|\\+|-|\\PC){0,24}",
    ) {
        if let Ok(expression) = Expression::parse(&text) {
            let _ = block_on(expression.value(&fields(), 1_000));
        }
    }

    #[test]
    fn what_is_put_together_by_the_grammar_is_read_and_ends(text in sentences()) {
        let expression = Expression::parse(&text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
        let _ = block_on(expression.value(&fields(), 1_000));
        // With few steps it ends as well, by saying so or with a value.
        let _ = block_on(expression.value(&fields(), 3));
    }
}
