use super::*;
use crate::pattern::budget::Steps;
use proptest::prelude::*;
use regex_lite::RegexBuilder;

/// Looks for a pattern, some steps at a time.
fn found(pattern: &Pattern, text: &str, at_once: u64) -> bool {
    let mut search = Search::new(&pattern.0, text);
    loop {
        match search.go_on(&mut Steps::new(at_once)) {
            Outcome::Found => return true,
            Outcome::Missing => return false,
            Outcome::Unfinished => {}
        }
    }
}

/// Compares with regex-lite whether a pattern is one, and whether a text has it.
fn compare(pattern: &str, text: &str, case_sensitive: bool) {
    let theirs = RegexBuilder::new(pattern).case_insensitive(!case_sensitive).size_limit(1_000_000).build();
    match (Pattern::new(pattern, case_sensitive), theirs) {
        (Ok(ours), Ok(theirs)) => {
            let wanted = theirs.is_match(text);
            for at_once in [1, 3, 1_000_000] {
                assert_eq!(found(&ours, text, at_once), wanted, "{pattern:?} in {text:?}, {at_once} steps at once");
            }
        }
        (Err(error), Ok(_)) => panic!("{pattern:?} is refused: {error}"),
        // The parser of the regex crate accepts some that regex-lite does not.
        (_, Err(_)) => {}
    }
}

#[test]
fn patterns_mean_what_they_meant() {
    let patterns = [
        "",
        "a",
        "^a$",
        "a|b|",
        "(a|b)*c",
        "a{2}",
        "a{2,}",
        "a{0,2}b",
        "a{0}",
        "(?:a*)*b",
        "(a+)+b",
        "(?:){3}",
        "x*",
        "[a-c]",
        "[^a]",
        "[]a]",
        "[^]a]",
        "[-a]",
        "[a-]",
        "[\\d_]",
        "[\\D]",
        "[[:alpha:]]",
        "[[:^alpha:]a]",
        "[a\\-z]",
        "\\d+",
        "\\D",
        "\\w+\\s\\w+",
        "\\W",
        "\\bcat\\b",
        "\\Bat",
        "\\b{start}c",
        "\\<c",
        "t\\>",
        "\\b{end-half}",
        ".",
        "(?s).",
        "(?s:a.b)c.",
        "(?m)^b$",
        "(?mR)^b$",
        "(?mR)a$",
        "(?R)a.b",
        "(?i)É",
        "(?i)e",
        "a(?i)b|c",
        "a(?i:b)c",
        "(?x) a b # c",
        "(?U)a+",
        "\\x41",
        "\\u{e9}",
        "\\u00e9",
        "\\.",
        "\\/",
        "\\n",
        "\\A\\z",
        "(?P<n>a)\\b",
        "(?<n>a)",
        "(?-u:\\w)",
        "É",
        "[É-Ý]",
        "[^\\x00-\\x7f]",
        "(",
        ")",
        "[",
        "a**",
        "a{2,1}",
        "\\p{L}",
        "(?=a)",
        "(?<!a)",
        "\\1",
        "[a&&b]",
        "[a[b]]",
        "[a--b]",
        "\\y",
        "a{1",
        "{1}",
        "+",
        "(?z)",
    ];
    let texts = [
        "",
        "a",
        "b",
        "ab",
        "aab",
        "aaab",
        "abc",
        "B",
        "cat",
        "a cat sat",
        "concat",
        "a\nb",
        "a\r\nb\r\n",
        "\r\n",
        "É",
        "é",
        "eÉx",
        "A",
        "C",
        "aBC",
        "abcabc",
        "12_x",
        "]",
        "-",
        "^",
        "a.b",
        "foo bar",
        "\u{1F600}",
        "b\n",
        "\r",
        "_",
    ];
    for pattern in patterns {
        for text in texts {
            for case_sensitive in [true, false] {
                compare(pattern, text, case_sensitive);
            }
        }
    }
}

#[test]
fn a_search_that_takes_long_is_left_and_taken_up() {
    let pattern = Pattern::new("(?:a{0,100}){0,100}b", true).unwrap();
    let text = "a".repeat(2_000);
    let mut search = Search::new(&pattern.0, &text);
    let mut steps = Steps::new(100_000);
    assert_eq!(search.go_on(&mut steps), Outcome::Unfinished);
    assert!(search.at < 100, "{} characters for 100,000 steps", search.at);
    assert_eq!(search.go_on(&mut Steps::new(100_000)), Outcome::Unfinished);
    assert!(!found(&Pattern::new("(?:a{0,10}){0,10}b", true).unwrap(), &text, 10_000));
}

#[test]
fn what_is_skipped_is_counted() {
    let pattern = Pattern::new("x", true).unwrap();
    let text = "é".repeat(1_000);
    let mut steps = Steps::new(100);
    let mut search = Search::new(&pattern.0, &text);
    while search.go_on(&mut steps) == Outcome::Unfinished {
        assert!(steps.is_over() && text.is_char_boundary(search.at));
        steps = Steps::new(100);
    }
    assert_eq!(search.at, text.len());
}

#[test]
fn what_would_be_too_large_is_refused() {
    for (pattern, why) in [
        ("(?:a{0,1000}){0,1000}b".to_owned(), "too large"),
        ("(?:(?:(?:){1000}){1000}){1000}".to_owned(), "too large"),
        ("a{1001}".to_owned(), "repeated more than 1000"),
        ("a{2,}{2000}".to_owned(), "repeated more than 1000"),
        ("(".repeat(60) + &")".repeat(60), "nest"),
        ("a".repeat(MAX_PATTERN + 1), "longer"),
        ("\\pL".to_owned(), "not supported"),
        ("[a&&b]".to_owned(), "not supported"),
        ("a(".to_owned(), "at character 2"),
    ] {
        let told = Pattern::new(&pattern, true).unwrap_err();
        assert!(told.contains(why), "{pattern:.40}: {told}");
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(
        &[
            "a",
            "b",
            "c",
            "K",
            "é",
            ".",
            "\\d",
            "\\w",
            "\\W",
            "\\s",
            "[ab]",
            "[^a]",
            "[a-z]",
            "[^\\w]",
            "^",
            "$",
            "\\b",
            "\\B",
            "\\A",
            "\\z",
            "",
            "(?m)^",
            "(?mR)$",
            "\\b{start}",
        ][..],
    )
    .prop_map(str::to_owned);
    atom.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            (
                inner.clone(),
                prop::sample::select(&["*", "+", "?", "{2}", "{0,2}", "{1,}", "{0}", "{3,}", "*?", "{1,3}?"][..])
            )
                .prop_map(|(part, times)| format!("(?:{part}){times}")),
            (inner, prop::sample::select(&["i", "s", "m", "-i", "R", "is", "m-s", "U"][..]))
                .prop_map(|(part, flags)| format!("(?{flags}:{part})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_looked_for_is_found_where_regex_lite_finds_it(pattern in pattern(), text in "[abcAKk1 _é\r\n]{0,12}", case_sensitive in any::<bool>()) {
        compare(&pattern, &text, case_sensitive);
    }

    #[test]
    fn whatever_is_written_is_read_alike(pattern in "[a-c(){}\\[\\]\\\\^$.|?*+,0-3:<>=!imsxRUP&~ -]{0,12}", text in "[abc01 -]{0,6}") {
        compare(&pattern, &text, true);
    }
}
