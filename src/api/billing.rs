//! `/accounts/{account}/ai-gateway/billing`: the routes by which Cloudflare's SDKs ask for credit and invoices. Nobody buys
//! credit from a self-hosted gateway, so there is none to show, and nothing to pay.
//! <https://developers.cloudflare.com/api/resources/ai_gateway/subresources/billing/>

use crate::http::envelope::{ApiError, Reply};
use crate::http::router::Endpoint;
use serde_json::{Value, json};

/// What is shown of an account that owes nothing and has bought nothing.
pub fn show(endpoint: Endpoint) -> Result<Reply, ApiError> {
    let shown = match endpoint {
        Endpoint::GetCreditBalance => json!({
            "balance": 0,
            "has_default_payment_method": false,
            "payment_method": null,
            "topup_config": topup(),
            "first_topup_success": false,
        }),
        Endpoint::ListInvoices => json!({
            "invoices": [],
            "pagination": { "page": 1, "per_page": 0, "total_count": 0, "has_more": false },
        }),
        Endpoint::PreviewInvoice => json!({
            "id": "",
            "amount_due": 0,
            "amount_paid": 0,
            "amount_remaining": 0,
            "currency": "usd",
            "invoice_lines": [],
            "period_start": 0,
            "period_end": 0,
            "status": "draft",
        }),
        Endpoint::GetUsageHistory => json!({ "history": [] }),
        Endpoint::GetSpendingLimit => {
            json!({ "enabled": false, "config": { "amount": null, "duration": null, "strategy": null } })
        }
        Endpoint::GetTopupConfig => topup(),
        Endpoint::GetTopupLimits => json!({ "currency": "usd", "min_cents": 0, "max_cents": 0 }),
        _ => return Err(ApiError::not_found()),
    };
    Ok(Reply::result(shown))
}

fn topup() -> Value {
    json!({ "amount": null, "threshold": null })
}

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
        for (endpoint, member) in [
            (Endpoint::GetCreditBalance, "/result/balance"),
            (Endpoint::ListInvoices, "/result/pagination/total_count"),
            (Endpoint::PreviewInvoice, "/result/amount_due"),
            (Endpoint::GetTopupLimits, "/result/max_cents"),
        ] {
            let shown: Value = serde_json::from_str(&show(endpoint).unwrap().body).unwrap();
            assert_eq!(shown.pointer(member), Some(&json!(0)), "{endpoint:?}");
        }
        let refused = refuse().unwrap_err();
        assert!(refused.status == 403 && refused.message.contains("spend_limits"));
    }
}
