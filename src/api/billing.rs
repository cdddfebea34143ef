//! `/accounts/{account}/ai-gateway/billing`: the routes by which Cloudflare's SDKs ask for credit and invoices. A
//! self-hosted gateway sells no credit, so there is none to show, and nothing to pay.
//! <https://developers.cloudflare.com/api/resources/ai_gateway/subresources/billing/>

use crate::base::json::json;
use crate::http::envelope::{ApiError, Reply};
use serde_json::Value;

// What is shown of an account that owes nothing and has bought nothing.

/// `GET /accounts/{account}/ai-gateway/billing/credit-balance`
pub fn credit_balance() -> Reply {
    Reply::result(json!({
        "balance": 0,
        "has_default_payment_method": false,
        "payment_method": null,
        "topup_config": topup(),
        "first_topup_success": false,
    }))
}

/// `GET /accounts/{account}/ai-gateway/billing/invoice-history`
pub fn invoices() -> Reply {
    Reply::result(json!({
        "invoices": [],
        "pagination": { "page": 1, "per_page": 0, "total_count": 0, "has_more": false },
    }))
}

/// `GET /accounts/{account}/ai-gateway/billing/invoice-preview`
pub fn invoice_preview() -> Reply {
    Reply::result(json!({
        "id": "",
        "amount_due": 0,
        "amount_paid": 0,
        "amount_remaining": 0,
        "currency": "usd",
        "invoice_lines": [],
        "period_start": 0,
        "period_end": 0,
        "status": "draft",
    }))
}

/// `GET /accounts/{account}/ai-gateway/billing/usage-history`
pub fn usage_history() -> Reply {
    Reply::result(json!({ "history": [] }))
}

/// `GET /accounts/{account}/ai-gateway/billing/spending-limit`
pub fn spending_limit() -> Reply {
    Reply::result(json!({ "enabled": false, "config": { "amount": null, "duration": null, "strategy": null } }))
}

/// `GET /accounts/{account}/ai-gateway/billing/topup/config`
pub fn topup_config() -> Reply {
    Reply::result(topup())
}

/// `GET /accounts/{account}/ai-gateway/billing/topup/limits`
pub fn topup_limits() -> Reply {
    Reply::result(json!({ "currency": "usd", "min_cents": 0, "max_cents": 0 }))
}

fn topup() -> Value {
    json!({ "amount": null, "threshold": null })
}

/// `POST /accounts/{account}/ai-gateway/billing/spending-limit`, `DELETE /accounts/{account}/ai-gateway/billing/spending-limit`,
/// `POST /accounts/{account}/ai-gateway/billing/topup`, `POST /accounts/{account}/ai-gateway/billing/topup/status`,
/// `POST /accounts/{account}/ai-gateway/billing/topup/config` and `DELETE /accounts/{account}/ai-gateway/billing/topup/config`
///
/// Refuses to take money, or to limit what cannot be bought.
pub fn refuse() -> Result<Reply, ApiError> {
    Err(ApiError::forbidden(
        "Tollgate is self-hosted and sells no credit: providers charge the keys that requests are sent with. To limit what a \
         gateway spends, set spend_limits of the gateway (PUT …/ai-gateway/gateways/{gateway}); what it has spent, \
         …/gateways/{gateway}/analytics tells.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_was_bought_and_nothing_is_owed() {
        for (shown, member) in [
            (credit_balance(), "/result/balance"),
            (invoices(), "/result/pagination/total_count"),
            (invoice_preview(), "/result/amount_due"),
            (topup_limits(), "/result/max_cents"),
        ] {
            let shown: Value = serde_json::from_str(&shown.body).unwrap();
            assert_eq!(shown.pointer(member), Some(&json!(0)), "{shown}");
        }
        let refused = refuse().unwrap_err();
        assert!(refused.status == 403 && refused.message.contains("spend_limits"));
    }
}
