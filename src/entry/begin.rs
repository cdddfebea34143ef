//! What each call begins with.

use crate::config::isolate_worker::config;
use crate::logs::crash_worker;
use crate::logs::writer_worker;
use crate::platform::Runtime;
use std::cell::Cell;
use worker::{Context, Env};

thread_local! {
    static BEGUN: Cell<bool> = const { Cell::new(false) };
}

/// What a call finds around it. The first one of an instance also takes over what a crashed one left.
pub fn runtime(env: Env, context: Context) -> Runtime {
    if !BEGUN.replace(true) {
        crash_worker::begin(&env, &context);
        let runtime = Runtime::new(env, context);
        writer_worker::begin_naming(config(&runtime).naming_key());
        return runtime;
    }
    Runtime::new(env, context)
}
