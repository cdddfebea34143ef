use super::*;
use serde_json::json;

const SETTINGS: Settings =
    Settings { failures: 3, window_ms: 10_000, cooldown_ms: 30_000, timeout_floor_ms: DEFAULT_FLOOR_MS };

/// Notes an outcome and returns whether the circuit is open after it.
fn note(breaker: &mut Breaker, failed: bool, now: u64) -> bool {
    ended(breaker, if failed { End::Failed } else { End::Answered }, now)
}

fn ended(breaker: &mut Breaker, end: End, now: u64) -> bool {
    breaker.note(1, "openai", SETTINGS, end, now)
}

fn admits(breaker: &mut Breaker, now: u64) -> bool {
    breaker.admit(1, "openai", SETTINGS, now).is_ok()
}

fn opened() -> Breaker {
    let mut breaker = Breaker::default();
    assert_eq!([0, 1, 2].map(|now| note(&mut breaker, true, now)), [false, false, true]);
    breaker
}

#[test]
fn settings_are_read_as_they_are_stored() {
    let stored = json!({ "failures": 3, "window": 10, "cooldown": 30 });
    assert_eq!(Settings::of(&stored), Some(SETTINGS));
    let patient = json!({ "failures": 3, "window": 10, "cooldown": 30, "timeout_floor": 2 });
    assert_eq!(Settings::of(&patient), Some(Settings { timeout_floor_ms: 2_000, ..SETTINGS }));
    for wrong in [json!(null), json!({}), json!({ "failures": 0, "window": 10, "cooldown": 30 }), json!(5)] {
        assert_eq!(Settings::of(&wrong), None);
    }
}

#[test]
fn a_stranger_is_one_caller_whatever_it_says() {
    let ours = caller(Some("token"), Some("192.0.2.1"));
    assert_eq!(ours, caller(Some("token"), Some("192.0.2.2")));
    let strangers = [None, Some(""), Some("x"), Some("192.0.2.1, 192.0.2.9")].map(|network| caller(None, network));
    assert!(strangers.iter().all(|stranger| *stranger == strangers[0]));
    assert_eq!(caller(None, Some("2001:db8::1")), caller(None, Some("2001:db8:0:9::2")));
    let others =
        [ours, strangers[0], caller(None, Some("192.0.2.1")), caller(None, Some("192.0.2.2")), caller(Some(""), None)];
    assert!((1..others.len()).all(|n| !others[..n].contains(&others[n])));
}

#[test]
fn failures_within_the_window_open_the_circuit_for_the_cooldown() {
    let mut breaker = opened();
    assert_eq!(breaker.admit(1, "openai", SETTINGS, 10), Err(29_992));
    assert_eq!(breaker.admit(1, "openai", SETTINGS, 30_001), Err(1));
    assert!(breaker.admit(1, "groq", SETTINGS, 10).is_ok() && breaker.admit(2, "openai", SETTINGS, 10).is_ok());
}

#[test]
fn a_host_that_a_request_names_has_a_circuit_of_its_own() {
    let url = |resource: &str| format!("https://{resource}.openai.azure.com/openai/deployments/d/chat/completions");
    let circuit = |resource: &str| name("azure-openai", address::origin_of(&url(resource)));
    let mut breaker = Breaker::default();
    for now in 0..3 {
        breaker.note(1, &circuit("nowhere"), SETTINGS, End::Unreached, now);
    }
    assert!(breaker.check(1, &circuit("nowhere"), SETTINGS, 3).is_err());
    assert!(breaker.check(1, &circuit("ours"), SETTINGS, 3).is_ok());
}

#[test]
fn failures_that_are_further_apart_do_not() {
    let mut breaker = Breaker::default();
    for now in [0, 5_000, 10_000, 15_000, 20_000] {
        assert!(!note(&mut breaker, true, now), "{now}");
    }
    // A success between failures does not hide them: a provider that fails every other time is out of order.
    assert!(!note(&mut breaker, false, 20_001));
    assert!(note(&mut breaker, true, 20_002));
}

#[test]
fn after_the_cooldown_one_request_finds_out() {
    let mut breaker = opened();
    assert_eq!([30_002, 30_002].map(|now| breaker.check(1, "openai", SETTINGS, now)), [Ok(()), Ok(())]);
    assert!(admits(&mut breaker, 30_002));
    assert!(!admits(&mut breaker, 30_003), "one at a time");
    assert!(!note(&mut breaker, false, 30_004));
    assert!(admits(&mut breaker, 30_005) && admits(&mut breaker, 30_006));
    // Whatever was before is forgiven.
    assert!(!note(&mut breaker, true, 30_007));
}

#[test]
fn a_trial_that_fails_opens_the_circuit_again() {
    let mut breaker = opened();
    assert!(admits(&mut breaker, 30_002));
    assert!(note(&mut breaker, true, 40_000));
    assert!(!admits(&mut breaker, 69_999));
    assert!(admits(&mut breaker, 70_000));
}

#[test]
fn a_trial_of_which_nothing_is_heard_is_followed_by_another() {
    let mut breaker = opened();
    assert!(admits(&mut breaker, 30_002));
    assert!(!admits(&mut breaker, 60_001));
    assert!(admits(&mut breaker, 60_002));
}

#[test]
fn a_shorter_cooldown_holds_at_once() {
    let mut breaker = opened();
    let shorter = Settings { cooldown_ms: 1_000, ..SETTINGS };
    assert_eq!(breaker.admit(1, "openai", shorter, 10), Err(1_000));
}

#[test]
fn the_memory_is_bounded_and_the_quietest_goes() {
    let mut breaker = Breaker::default();
    for now in 0..3 {
        breaker.note(2, "openai", SETTINGS, End::Unreached, now);
    }
    for provider in 0..MAX_CIRCUITS + 10 {
        for now in 0..200 {
            let end = if now % 2 == 0 { End::Unreached } else { End::Doubtful { caller: 1 } };
            breaker.note(1, &provider.to_string(), SETTINGS, end, provider as u64 * 1_000 + now);
        }
    }
    assert_eq!(breaker.circuits.len(), MAX_CIRCUITS);
    assert!(breaker.find(1, "10").is_none() && breaker.find(1, "11").is_some());
    // A caller who names many hosts makes no other caller's circuit be forgotten.
    assert!(breaker.check(2, "openai", SETTINGS, 10).is_err());
    assert!(breaker.circuits.iter().all(|circuit| circuit.failures.len() < SETTINGS.failures));
    let mut crowded = Breaker::default();
    for caller in 0..1_000 {
        crowded.at(1, "openai", 0).doubt(caller, SETTINGS, 0);
    }
    assert_eq!(crowded.circuits[0].doubtful.len(), MAX_DOUBTFUL);
}

#[test]
fn what_one_caller_alone_has_made_fail_opens_no_circuit() {
    let mut breaker = Breaker::default();
    for now in 0..100 {
        assert!(!ended(&mut breaker, End::Doubtful { caller: 1 }, now));
        assert!(!ended(&mut breaker, End::Unknown, now));
    }
    assert!(admits(&mut breaker, 100));
    // Another one, to whom the same happens, speaks for it.
    assert!(ended(&mut breaker, End::Doubtful { caller: 2 }, 101));
    assert!(!admits(&mut breaker, 102));
    // Also together with what is certain.
    let mut breaker = Breaker::default();
    let ends = [End::Failed, End::Doubtful { caller: 1 }, End::Doubtful { caller: 2 }];
    assert_eq!(ends.map(|end| ended(&mut breaker, end, 0)), [false, false, true]);
    // But not if it happened too long ago.
    let mut breaker = Breaker::default();
    for (caller, now) in [(1, 0), (1, 1), (1, 2), (2, 10_002), (2, 10_003)] {
        assert!(!ended(&mut breaker, End::Doubtful { caller }, now));
    }
}

#[test]
fn a_trial_that_says_nothing_is_followed_by_another() {
    for end in [End::Unknown, End::Doubtful { caller: 1 }] {
        let mut breaker = opened();
        assert!(admits(&mut breaker, 30_002) && !admits(&mut breaker, 30_003));
        assert!(!ended(&mut breaker, end, 30_004));
        assert!(admits(&mut breaker, 30_005), "{end:?}");
        assert!(!admits(&mut breaker, 30_006), "one at a time");
        // What ends later, and was no trial, opens nothing.
        assert!(!ended(&mut breaker, End::Answered, 30_007));
        assert!(admits(&mut breaker, 30_008) && admits(&mut breaker, 30_008));
    }
    // While it is open, what was sent before does not open the way.
    let mut breaker = opened();
    assert!(ended(&mut breaker, End::Unknown, 10));
    assert!(!admits(&mut breaker, 11));
}

#[test]
fn providers_that_are_limited_or_asked_wrongly_are_in_order() {
    for (status, wanted) in [(200, false), (404, false), (408, false), (429, false), (500, true), (529, true)] {
        assert_eq!(is_failure(status), wanted, "{status}");
    }
}

#[test]
fn circuits_are_shown_with_what_counts_now() {
    let settings = Settings { failures: 3, window_ms: 1_000, cooldown_ms: 5_000, timeout_floor_ms: 0 };
    let mut breaker = Breaker::default();
    breaker.note(1, "groq https://groq", settings, End::Unreached, 100);
    breaker.note(1, "groq https://groq", settings, End::Unreached, 900);
    for at in [700, 800, 900] {
        breaker.note(1, "openai https://o", settings, End::Unreached, at);
    }
    breaker.note(2, "openai https://o", settings, End::Unreached, 900);
    let of = |now| {
        let shown = breaker.shown(1, settings, now);
        let each = shown.as_array().unwrap().iter();
        each.map(|circuit| format!("{} {} {}", circuit["provider"], circuit["state"], circuit["failures"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(950), [r#""openai" "open" 0"#, r#""groq" "closed" 2"#]);
    // Failures leave the window, and an open circuit waits for its trial.
    assert_eq!(of(1_500), [r#""openai" "open" 0"#, r#""groq" "closed" 1"#]);
    assert_eq!(of(5_901), [r#""openai" "trial" 0"#]);
    let open = &breaker.shown(1, settings, 950)[0];
    assert_eq!((open["origin"].as_str(), open["limit"].as_u64()), (Some("https://o"), Some(3)));
    assert_eq!(open["tried_at"], timestamp::format(5_900));
}
