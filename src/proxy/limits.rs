//! The Worker's side of limits: one call to the gateway's Durable Object before a request, and one behind it if it cost
//! something. A gateway without limits has neither.

use crate::base::hex;
use crate::base::json::json;
use crate::gateways::gateway::Gateway;
use crate::http::envelope::{ApiError, Reply};
use crate::http::refusal::Refusal;
use crate::limit::message::{self, Charge, Message};
use crate::limit::models::ByAnswer;
use crate::limit::plan::{LimitCheck, LimitSubject};
use crate::limit::refused::{self, Reason};
use crate::limit::rules::Limits;
use crate::limit::watch::Watch;
use crate::limit::window::{Technique, Window};
use crate::limit::{Demand, Takes, show, spend};
use crate::platform::{Runtime, console, js, now, random, within};
use crate::proxy::{alerting, isolate_breaker};
use crate::routes::graph::{Rate, Unit};
use js_sys::{Promise, Reflect};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{RequestInit, Response};

/// How long a request waits for its limits to be looked at, in milliseconds.
const PATIENCE_MS: u64 = 1_000;

/// How long work that no request waits for may take.
const LATER_PATIENCE_MS: u64 = 10_000;

#[wasm_bindgen]
extern "C" {
    type Namespace;
    #[wasm_bindgen(method, catch, js_name = getByName)]
    fn get_by_name(this: &Namespace, name: &str) -> Result<Stub, JsValue>;

    type Stub;
    #[wasm_bindgen(method, catch)]
    fn fetch(this: &Stub, url: &str, init: &RequestInit) -> Result<Promise, JsValue>;
}

/// A request that its limits let pass. What it costs is counted when nothing of it is left: no way out can forget that.
pub struct Admission {
    runtime: Rc<Runtime>,
    gateway: i64,
    id: String,
    /// The counters that learn of the cost.
    spends: Vec<Demand>,
    reserves: bool,
    cost: Cell<u64>,
    /// Rules that learn of the cost if the answer is of a model that they are about, and what they have to learn.
    later: Vec<ByAnswer>,
    by_answer: RefCell<Vec<(Demand, u64)>>,
    /// What is paid once, however often it is asked for.
    charges: RefCell<Vec<Charge>>,
    /// The budgets of such rules that pay for it beside those that were asked.
    charged_by_answer: RefCell<Vec<Demand>>,
    /// False where the gateway has no budgets: then such things need not be known.
    has_budgets: bool,
    /// False where the limiter has failed already, and has been complained of.
    complains: bool,
    /// Who is told of limits that are nearly used up.
    watch: Option<Rc<Watch>>,
    /// Headers for the answer.
    pub gateway_headers: Vec<(&'static str, String)>,
}

/// A request that is not let in, with what its caller is answered.
pub struct Refused {
    pub refusal: Refusal,
    /// True when no other step of a universal request would be let in either.
    pub is_final: bool,
    /// True where another stored key might be let in.
    pub is_of_key: bool,
}

impl From<refused::Refused> for Refused {
    fn from(refused: refused::Refused) -> Self {
        let is_of_key = matches!(refused.reason, Reason::Key { .. });
        Self { is_final: refused.is_final, is_of_key, refusal: refused.into() }
    }
}

/// Asks the limits of a gateway whether a request may pass, and takes it from all of them if so. Without limits there is
/// nothing to ask, and no admission.
pub async fn admit(
    runtime: &Rc<Runtime>,
    gateway: i64,
    limits: &Limits,
    asked: &LimitSubject<'_>,
    estimate: impl Fn() -> u64,
) -> Result<Option<Rc<Admission>>, refused::Refused> {
    let mut plan = LimitCheck::new(limits, asked, estimate);
    if let Some(refused) = plan.unknown.take() {
        return Err(refused);
    }
    let has_budgets = !asked.caps.is_empty() || limits.spend.iter().any(|rule| rule.enabled);
    if plan.demands.is_empty() && !has_budgets {
        return Ok(None);
    }
    let mut admission = Admission {
        runtime: Rc::clone(runtime),
        gateway,
        id: format!("{:032x}", random()),
        spends: plan.spends(),
        later: std::mem::take(&mut plan.later),
        by_answer: RefCell::default(),
        reserves: plan.reserves(),
        cost: Cell::new(0),
        charges: RefCell::default(),
        charged_by_answer: RefCell::default(),
        has_budgets,
        complains: true,
        watch: asked.watch.cloned(),
        gateway_headers: Vec::new(),
    };
    // No budget is about this request; but if it makes something, a request that asks for that must not pay.
    if plan.demands.is_empty() {
        return Ok(Some(Rc::new(admission)));
    }
    let message = Message::Admit { id: admission.id.clone(), demands: plan.demands.clone() };
    let answer = call(runtime, gateway, &message, PATIENCE_MS).await.and_then(|text| {
        message::readings(&text, plan.demands.len()).ok_or_else(|| format!("an answer that makes no sense: {text}"))
    });
    match answer {
        Ok(readings) => {
            if let Some(watch) = asked.watch {
                alerting::limits(runtime, watch, gateway, &plan.demands, &readings);
            }
            match plan.refused(&readings) {
                Some(refused) => {
                    // Nothing was taken.
                    admission.spends.clear();
                    admission.later.clear();
                    Err(refused)
                }
                None => {
                    admission.gateway_headers = plan.headers(&readings);
                    Ok(Some(Rc::new(admission)))
                }
            }
        }
        Err(cause) => {
            let is_open = !admission.reserves;
            let outcome = if is_open { "let through" } else { "refused" };
            let line = json!({ "level": "error", "event": "limiter_failed", "request": outcome, "cause": cause });
            console::error(&line);
            if is_open {
                return Ok(Some(Rc::new(admission)));
            }
            // An answer that comes too late may have set money aside: the admission takes it back.
            admission.complains = false;
            Err(refused::Refused { reason: Reason::CountersUnavailable, headers: Vec::new(), is_final: true })
        }
    }
}

/// Counts a request at an element of a route. `None` where the limit is reached; else what learns of the cost, where that counts.
/// Counters that cannot be asked stop no request: the route's models have limits of their own.
pub async fn within_rate(
    runtime: &Rc<Runtime>,
    gateway: i64,
    (route, element): (&str, &str),
    part: Option<String>,
    rate: &Rate,
) -> Option<Option<Rc<Admission>>> {
    let by_cost = rate.unit == Unit::Cost;
    let technique = if rate.is_sliding { Technique::Sliding } else { Technique::Fixed };
    let demand = Demand {
        // Without blanks, whatever the element is called.
        rule: format!("route/{route}/{}", hex::hex(element.as_bytes())),
        part: part.unwrap_or_default(),
        window: Window { length_ms: rate.window.saturating_mul(1_000).max(1), technique },
        limit: if by_cost { spend::from_dollars(rate.limit) } else { rate.limit as u64 },
        takes: if by_cost { Takes::Later } else { Takes::One },
    };
    let id = format!("{:032x}", random());
    let message = Message::Admit { id: id.clone(), demands: vec![demand.clone()] };
    let answer = call(runtime, gateway, &message, PATIENCE_MS).await;
    let reading = answer.as_deref().ok().and_then(|text| message::readings(text, 1)?.pop());
    complain("limiter_failed", answer);
    if reading.is_some_and(|reading| reading.retry_in_ms > 0) {
        return None;
    }
    Some(by_cost.then(|| {
        Rc::new(Admission {
            runtime: Rc::clone(runtime),
            gateway,
            id,
            spends: vec![demand],
            reserves: false,
            cost: Cell::new(0),
            later: Vec::new(),
            by_answer: RefCell::default(),
            charges: RefCell::default(),
            charged_by_answer: RefCell::default(),
            has_budgets: false,
            complains: true,
            watch: None,
            gateway_headers: Vec::new(),
        })
    }))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/limits`
///
/// Where the limits of a gateway stand.
pub async fn show(runtime: &Runtime, gateway: &Gateway) -> Result<Reply, ApiError> {
    let demands = show::demands(&gateway.limits);
    let counters = if demands.is_empty() {
        Vec::new()
    } else {
        let text = call(runtime, gateway.key, &Message::Show { demands }, LATER_PATIENCE_MS).await;
        let counters = text.and_then(|text| message::shown(&text).ok_or("an answer that makes no sense".to_owned()));
        counters.map_err(|cause| ApiError::internal(format!("limiter: {cause}")))?
    };
    Ok(Reply::result(show::shown(&gateway.limits, &counters, isolate_breaker::shown(gateway), now())))
}

/// Charges the budgets that a request is for with what it has caused long after its answer: once, whatever is repeated of it. `caps`
/// are those of policies and tokens, as they were when it was made.
pub async fn charge(
    runtime: &Runtime,
    gateway: i64,
    limits: &Limits,
    asked: &LimitSubject<'_>,
    (thing, cost): (String, u64),
    caps: &[Demand],
) -> Result<(), String> {
    let plan = LimitCheck::new(limits, asked, || 0);
    let by_answer = plan.later.iter().filter_map(|later| later.demand(asked.model?));
    let demands: Vec<Demand> = plan.spends().into_iter().chain(by_answer).chain(caps.iter().cloned()).collect();
    if demands.is_empty() {
        return Ok(());
    }
    let charges = vec![Charge { thing, made_at: None, cost: Some(cost), meanwhile: 0 }];
    let message = Message::Settle { id: format!("{:032x}", random()), cost: 0, demands, charges };
    call(runtime, gateway, &message, LATER_PATIENCE_MS).await.map(drop)
}

/// Forgets the counters of a gateway that was deleted.
pub async fn forget(runtime: &Runtime, gateway: i64) {
    complain("limits_not_forgotten", call(runtime, gateway, &Message::Forget, LATER_PATIENCE_MS).await);
}

/// Sends a message to a gateway's object. Its key is never used again, so neither are the counters of a deleted gateway.
async fn call(runtime: &Runtime, gateway: i64, message: &Message, patience_ms: u64) -> Result<String, String> {
    let asked = async {
        let namespace = Reflect::get(&runtime.env, &JsValue::from_str("LIMITER"))?;
        if namespace.is_undefined() {
            let cause = "the Worker has no Durable Object binding named LIMITER; see wrangler.toml";
            return Err(JsValue::from_str(cause));
        }
        let stub = namespace.unchecked_into::<Namespace>().get_by_name(&gateway.to_string())?;
        let init = RequestInit::new();
        init.set_method("POST");
        init.set_body(&JsValue::from_str(&message.to_text()));
        let response: Response = JsFuture::from(stub.fetch("https://limiter/", &init)?).await?.unchecked_into();
        let text = JsFuture::from(response.text()?).await?.as_string().unwrap_or_default();
        if response.ok() { Ok(text) } else { Err(JsValue::from_str(&text)) }
    };
    match within(patience_ms, asked).await {
        Some(answer) => answer.map_err(|error| js::message(&error)),
        None => Err(format!("no answer within {patience_ms} ms")),
    }
}

fn complain(event: &str, result: Result<String, String>) {
    if let Err(cause) = result {
        console::error(&json!({ "level": "error", "event": event, "cause": cause }));
    }
}

// === impl Admission ===

impl Admission {
    /// True when money was set aside for the request.
    pub fn reserves(&self) -> bool {
        self.reserves
    }

    /// What an attempt did cost, or else may have, and the model that its answer names.
    pub fn spent(&self, cost: u64, model: Option<&str>) {
        self.cost.set(self.cost.get().saturating_add(cost));
        let by_answer = self.by_answer(model).filter(|_| cost > 0).map(|demand| (demand, cost));
        self.by_answer.borrow_mut().extend(by_answer);
    }

    /// What something costs that can be asked for again, or what counts meanwhile, and the model that the answer names.
    pub fn charge(&self, charge: Charge, model: Option<&str>) {
        if self.has_budgets && !charge.thing.is_empty() {
            self.charges.borrow_mut().push(charge);
            self.charged_by_answer.borrow_mut().extend(self.by_answer(model));
        }
    }

    /// The budgets of rules that are about a model which the request did not name.
    fn by_answer(&self, model: Option<&str>) -> impl Iterator<Item = Demand> {
        self.later.iter().filter_map(move |later| later.demand(model?))
    }

    /// What has to be said of the cost, and to which counters.
    fn settlements(&mut self) -> Vec<Message> {
        let (id, cost, demands) = (std::mem::take(&mut self.id), self.cost.get(), std::mem::take(&mut self.spends));
        let settled = |cost, demands, charges| Message::Settle { id: id.clone(), cost, demands, charges };
        let by_answer = self.by_answer.take().into_iter();
        let mut all: Vec<Message> = by_answer.map(|(demand, cost)| settled(cost, vec![demand], Vec::new())).collect();
        if !demands.is_empty() && (cost > 0 || self.reserves) {
            all.push(settled(cost, demands.clone(), Vec::new()));
        }
        let charges = self.charges.take();
        if !charges.is_empty() {
            all.push(settled(0, [demands, self.charged_by_answer.take()].concat(), charges));
        }
        all
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let (runtime, gateway) = (Rc::clone(&self.runtime), self.gateway);
        let messages = self.settlements();
        if messages.is_empty() {
            return;
        }
        let (kept, complains, watch) = (Rc::clone(&runtime), self.complains, self.watch.take());
        kept.beside(async move {
            for message in messages {
                let settled = call(&runtime, gateway, &message, LATER_PATIENCE_MS).await;
                if let (Some(watch), Ok(text), Message::Settle { demands, .. }) = (&watch, &settled, &message)
                    && let Some(readings) = message::readings(text, demands.len())
                {
                    alerting::limits(&runtime, watch, gateway, demands, &readings);
                }
                if complains {
                    complain("spend_not_counted", settled);
                }
            }
        });
    }
}
