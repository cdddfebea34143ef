//! Does what handlers of the control plane say is to be done because of a request.

use crate::api::effect::Effect;
use crate::auth::tokens_worker;
use crate::entry::cron::{self, Task};
use crate::feedback::attach_worker;
use crate::gateways::{shards_worker, snapshot_worker};
use crate::platform::Runtime;
use crate::proxy::limits;
use std::rc::Rc;

/// Does at once what the answer waits for, and the rest behind the answer, in the order in which it is said.
pub async fn perform(effects: Vec<Effect>, runtime: &Rc<Runtime>) {
    let mut later = Vec::new();
    for effect in effects {
        if effect.is_awaited() {
            done(effect, runtime).await;
        } else {
            later.push(effect);
        }
    }
    if !later.is_empty() {
        let kept = Rc::clone(runtime);
        runtime.beside(async move {
            for effect in later {
                done(effect, &kept).await;
            }
        });
    }
}

async fn done(effect: Effect, runtime: &Rc<Runtime>) {
    match effect {
        Effect::SyncShards => shards_worker::tell(runtime).await,
        Effect::ForgetSnapshot { account, gateway } => snapshot_worker::forget(&account, &gateway),
        Effect::ForgetSnapshots => snapshot_worker::forget_all(),
        Effect::ForgetTokens => tokens_worker::forget_all(),
        Effect::ForgetCounters(gateway) => limits::forget(runtime, gateway).await,
        Effect::Sweep(whose) => cron::everywhere(runtime, &[Task::Sweep], &whose).await,
        Effect::Reprice(whose) => cron::everywhere(runtime, &[Task::Reprices], &whose).await,
        Effect::Retain(whose) => cron::everywhere(runtime, &[Task::Retention], &whose).await,
        Effect::Evaluate(whose) => cron::everywhere(runtime, &[Task::Evaluations], &whose).await,
        Effect::ClearObjects => cron::some_objects(runtime).await,
        Effect::AttachFeedback => attach_worker::attach(runtime).await,
    }
}
