//! Crashes when it is asked to, for the tests. Only a build with the feature `panic-on-demand` has this file.

/// `/__crash/panic` and `/__crash/trap`.
pub fn on_demand(path: &str) {
    match path {
        #[expect(clippy::panic, reason = "it is what the tests ask for")]
        "/__crash/panic" => panic!("a test wants it"),
        "/__crash/trap" => core::arch::wasm32::unreachable(),
        _ => {}
    }
}
