//! The operator's variables, read once by each isolate: like bindings, they do not change within one.

use crate::config::Config;
use crate::platform::Runtime;
use crate::platform::runtime::variable;
use std::cell::OnceCell;

thread_local! {
    static CONFIG: OnceCell<&'static Config> = const { OnceCell::new() };
}

/// What the operator's variables say.
pub fn config(runtime: &Runtime) -> &'static Config {
    let read = || -> &'static Config { Box::leak(Box::new(Config::read(|name| variable(&runtime.env, name)))) };
    CONFIG.with(|config| *config.get_or_init(read))
}
