use super::*;
use proptest::prelude::*;

fn headers(pairs: &[(&str, &str)]) -> Headers {
    Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn guarded(pairs: &[(&str, &str)], navigates: bool, cookies: bool) -> (Headers, String) {
    let theirs = headers(pairs);
    let mut edits = Edits::default();
    guard(&theirs, navigates, cookies, &mut edits);
    let json = edits.to_json();
    let names = theirs.0.iter().map(|(name, _)| name.as_str());
    let all = names.chain(["x-content-type-options", "content-security-policy", "x-frame-options"]);
    let left = all.filter_map(|name| Some((name.to_owned(), edits.get(&theirs, name)?.to_owned()))).collect();
    (Headers(left), json)
}

#[test]
fn what_a_browser_could_show_or_run_is_in_a_sandbox() {
    for kind in [
        "text/html",
        "TEXT/HTML; charset=utf-8",
        "application/xhtml+xml",
        "image/svg+xml",
        "image/svg",
        "text/xml",
        "application/xml",
        "application/rss+xml",
        "application/atom+xml; x=y",
        "application/mathml+xml",
        "application/pdf",
        "text/javascript",
        "application/javascript",
        "application/x-javascript",
        "text/ecmascript",
        "text/jscript",
        "application/wasm",
        "multipart/x-mixed-replace; boundary=x",
        "multipart/related",
        "message/rfc822",
        "application/x-shockwave-flash",
        "text/css",
        "text/xsl",
        "text/cache-manifest",
        "x/x",
        "html",
        "",
        " ",
        "/",
        "text/",
        "*/*",
        "application/json, text/html",
        "text/plain,text/html",
        "application/json\u{0}",
        "text /html",
        "unknown/unknown",
    ] {
        let (left, _) = guarded(&[("content-type", kind), ("content-security-policy", "default-src *")], false, false);
        assert_eq!(left.get("content-security-policy"), Some("sandbox; default-src 'none'"), "{kind}");
        assert_eq!((left.get("x-frame-options"), left.get("content-type")), (Some("DENY"), Some(kind)));
    }
    let (left, _) = guarded(&[("x-frame-options", "ALLOWALL"), ("link", "</a.css>; rel=stylesheet")], false, false);
    assert_eq!((left.get("x-frame-options"), left.get("link")), (Some("DENY"), None));
}

#[test]
fn what_programs_read_stays_as_it_is() {
    assert!(INERT.is_sorted() && DROPPED.is_sorted());
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.api+json",
        "text/event-stream; charset=utf-8",
        "text/plain",
        "application/x-ndjson",
        "application/vnd.amazon.eventstream",
        "audio/mpeg",
        "video/mp4",
        "image/png",
        "application/octet-stream",
    ] {
        let theirs = [("content-type", kind), ("link", "<x>; rel=\"next\""), ("openai-version", "1")];
        let (left, json) = guarded(&theirs, false, false);
        assert_eq!(left.get("link"), Some("<x>; rel=\"next\""), "{kind}");
        assert_eq!(json, r#"[["x-content-type-options","nosniff"]]"#);
        let (left, _) = guarded(&theirs, true, false);
        assert_eq!(left.get("content-security-policy"), Some("sandbox; default-src 'none'"), "{kind}");
    }
}

#[test]
fn a_provider_says_nothing_about_the_origin() {
    let mut theirs: Vec<(&str, &str)> = DROPPED.iter().map(|name| (*name, "x")).collect();
    theirs.extend([("content-type", "application/json"), ("x-request-id", "1"), ("location", "/x")]);
    let (left, _) = guarded(&theirs, false, true);
    let names: Vec<&str> = left.0.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "x-request-id", "location", "x-content-type-options"]);
    for name in [
        "service-worker-allowed",
        "clear-site-data",
        "refresh",
        "strict-transport-security",
        "alt-svc",
        "nel",
        "report-to",
        "www-authenticate",
    ] {
        assert!(DROPPED.contains(&name), "{name}");
    }
}

#[test]
fn cookies_pass_where_the_gateway_lets_them_and_never_with_a_name_of_ours() {
    let given =
        |lines: &str, cookies| guarded(&[("set-cookie", lines)], false, cookies).0.get("set-cookie").map(str::to_owned);
    assert_eq!(given("a=b", false), None);
    let both = "a=b; Path=/; HttpOnly\n__Host-c=d; Secure; Path=/";
    assert_eq!(given(both, true).as_deref(), Some(both));
    for ours in [
        "tollgate_session=1",
        "Tollgate=1; Path=/",
        "__Host-tollgate=1",
        "__Secure-Tollgate-x=1",
        "__Host-Http-tollgate=1",
        " tollgate =1",
        "=tollgate_session=1",
        "= tollgate",
        "tollgate",
        "\ttollgate=1",
    ] {
        assert_eq!(given(ours, true), None, "{ours}");
        assert_eq!(given(&format!("{ours}\na=tollgate"), true).as_deref(), Some("a=tollgate"), "{ours}");
    }
}

#[test]
fn our_cookies_and_tokens_are_not_sent_on() {
    let sent = |cookies: &'static str| sent_cookies(cookies, |pair| pair.contains("tgt_")).map(Cow::into_owned);
    assert_eq!(sent("a=b; c=d").as_deref(), Some("a=b; c=d"));
    assert_eq!(sent("a=b; __Host-tollgate=1;c=tgt_x; e=f").as_deref(), Some("a=b; e=f"));
    assert_eq!(sent("tollgate_session=1"), None);
}

#[test]
fn a_navigation_is_told_by_what_browsers_say() {
    for (name, value) in [
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-dest", "iframe"),
        ("sec-fetch-dest", "frame"),
        ("sec-fetch-dest", "embed"),
        ("sec-fetch-dest", "object"),
        ("sec-fetch-dest", "serviceworker"),
        ("sec-fetch-dest", "sharedworker"),
        ("sec-fetch-dest", "worker"),
        ("sec-fetch-dest", "audioworklet"),
        ("sec-fetch-dest", "script"),
        ("sec-fetch-dest", "Document"),
        ("sec-fetch-dest", "empty, iframe"),
        ("service-worker", "script"),
    ] {
        assert!(navigates(&headers(&[(name, value)])), "{name}: {value}");
    }
    for (name, value) in [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), ("accept", "text/html")] {
        assert!(!navigates(&headers(&[(name, value)])), "{name}: {value}");
    }
}

proptest! {
    #[test]
    fn whatever_is_sent_the_guard_stands(
        kind in "\\PC{0,40}", name in prop::sample::select(DROPPED), value in "\\PC{0,40}", cookies: bool, shown: bool,
    ) {
        let (left, _) = guarded(&[("content-type", &kind), (name, &value), ("set-cookie", &value)], shown, cookies);
        prop_assert_eq!(left.get("x-content-type-options"), Some("nosniff"));
        prop_assert!(left.get(name).is_none());
        prop_assert!(!shown || left.get("content-security-policy") == Some("sandbox; default-src 'none'"));
    }
}
