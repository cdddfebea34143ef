//! Which status and code an error of a topic has in an answer, on each of the two planes. No other place says that.

use crate::base::fault::Kind;

/// Status and code of the control plane.
pub fn control(kind: Kind) -> (u16, u32) {
    match kind {
        Kind::Invalid | Kind::NoProvider | Kind::ModelUnknown => (400, 7001),
        Kind::Ambiguous => (409, 7001),
        Kind::Denied => (403, 10000),
        Kind::RateLimited | Kind::SpendLimited => (429, 7001),
        Kind::Unavailable => (503, 7003),
        Kind::Internal => (500, 7000),
    }
}

/// Status, code and general text of the data plane; clients map the codes to typed errors.
pub fn data(kind: Kind) -> (u16, u32, &'static str) {
    match kind {
        Kind::Invalid => (400, 7001, "Bad request"),
        Kind::Ambiguous => (409, 7001, "Bad request"),
        Kind::NoProvider => (400, 2008, "Invalid provider"),
        Kind::RateLimited => (429, 2003, "Rate limited"),
        Kind::Denied => (403, 2048, "Access denied by policy"),
        Kind::SpendLimited => (429, 2045, "Spend limit exceeded"),
        Kind::ModelUnknown => (400, 2045, "The model of this request is not known"),
        Kind::Unavailable | Kind::Internal => (503, 7000, "Service unavailable"),
    }
}

#[cfg(test)]
mod tests {
    use crate::base::fault::Invalid;
    use crate::db::store::StoreError;
    use crate::feedback::fault::Fault as FeedbackFault;
    use crate::http::envelope::ApiError;
    use crate::http::refusal::Refusal;
    use crate::limit::refused::{Reason, Refused};
    use crate::providers::fault::Fault as ProviderFault;

    #[test]
    fn errors_of_topics_become_answers_of_the_control_plane() {
        let invalid = ApiError::from(Invalid::at(["body", "score"], "Expected a number"));
        assert_eq!((invalid.status, invalid.code, invalid.path.join(".")), (400, 7001, "body.score".to_owned()));
        let several = ApiError::from(FeedbackFault::SeveralGateways((0..12).map(|n| format!("a/g{n}")).collect()));
        assert_eq!((several.status, several.code), (409, 7001));
        assert!(several.message.contains("a/g9, and others (account/gateway)"), "{}", several.message);
        for failed in [
            ApiError::from(StoreError("locked".to_owned())),
            FeedbackFault::Store(StoreError("locked".to_owned())).into(),
        ] {
            assert_eq!((failed.status, failed.code, failed.message.as_str()), (500, 7000, "Internal Error"));
            assert_eq!(failed.cause.as_deref(), Some("database: locked"));
        }
    }

    #[test]
    fn errors_of_topics_become_refusals_of_the_data_plane() {
        let refused = |reason| {
            let headers = vec![("retry-after", "3".to_owned())];
            let refusal = Refusal::from(Refused { reason, headers: headers.clone(), is_final: true });
            assert_eq!(refusal.headers, headers);
            (refusal.status, refusal.code, refusal.message.clone().into_owned())
        };
        let rate = refused(Reason::Rate { rule: "r".to_owned(), wait: 3 });
        assert_eq!(rate, (429, 2003, "Rate limited".to_owned()));
        assert_eq!(refused(Reason::Key { wait: 3 }), rate);
        let spend = Reason::Spend { exceeded: "Spend limit exceeded: rule 's'".to_owned(), wait: 3 };
        assert_eq!(refused(spend), (429, 2045, "Spend limit exceeded: rule 's'".to_owned()));
        let unknown = refused(Reason::ModelUnknown { rule: "s".to_owned(), doubt: "it is a riddle".to_owned() });
        assert_eq!((unknown.0, unknown.1), (400, 2045));
        assert!(unknown.2.starts_with("Spend limit: rule 's' is about models"), "{}", unknown.2);
        assert_eq!(refused(Reason::CountersUnavailable), (503, 7000, "Service unavailable".to_owned()));
        for (fault, said) in [
            (ProviderFault::Unknown { slug: "opnai".to_owned(), nearest: Some("openai") }, "Did you mean 'openai'?"),
            (ProviderFault::Unknown { slug: "x".repeat(99), nearest: None }, "no provider 'xxx"),
            (ProviderFault::UnknownCustom("custom-a".to_owned()), "no custom provider 'custom-a'"),
            (ProviderFault::Disabled("custom-a".to_owned()), "is disabled"),
            (ProviderFault::path("the path is wrong"), "the path is wrong"),
        ] {
            let refusal = Refusal::from(fault);
            assert_eq!((refusal.status, refusal.code, refusal.message.as_ref()), (400, 2008, "Invalid provider"));
            assert!(refusal.description.contains(said) && refusal.description.len() < 200, "{}", refusal.description);
        }
    }
}
