//! Signatures that AWS's clients bring. A client signs over the host that it sends to, so what it signs for the gateway's own
//! host can never be right at AWS: the gateway has to sign such a request anew, or it says why it cannot.

use crate::http::headers::Headers;
use crate::http::refusal::Refusal;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// How the schemes of Signature Version 4 begin, with one region or with several.
const SCHEMES: &[&str] = &["AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"];

/// How the access key id begins of a client that has none and has to sign all the same.
const PLACEHOLDER: &str = "unused";

/// What AWS's own SDKs add to a request when they send it, to wherever they are configured to.
const OF_SDKS: &[&str] = &["amz-sdk-invocation-id", "amz-sdk-request"];

/// The parameters of a URL that is signed beforehand, in lower case.
const PARAMETERS: &[&str] = &[
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-region-set",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// What a signature says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSignature {
    /// It is made with a word that is no access key id.
    is_placeholder: bool,
    /// The host that the client sent to is part of what it signed.
    is_over_host: bool,
    /// One of AWS's SDKs made it, and sent the request itself.
    is_of_sdk: bool,
}

/// What becomes of a request with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It counts as one without a key.
    Void,
    /// The client signed for AWS's host, as far as Tollgate can tell: it goes on as it came.
    Own,
    /// It cannot be right at AWS, and neither the gateway nor the caller said that it may be replaced.
    Misdirected,
}

/// The signature of a request, in its headers or in its query.
pub fn of(headers: &Headers, query: &str) -> Option<ClientSignature> {
    let is_of_sdk = OF_SDKS.iter().any(|name| headers.get(name).is_some());
    if let Some(value) = headers.get("authorization").map(str::trim).filter(|value| is_signature(value)) {
        let part = |name: &str| {
            let mut parts = value.split([' ', ',']).filter_map(|part| part.trim().split_once('='));
            parts.find(|(known, _)| *known == name).map(|(_, value)| value)
        };
        return Some(ClientSignature::new(part("Credential"), part("SignedHeaders"), is_of_sdk));
    }
    let parameter = |name: &str| parameters(query).find(|(known, _)| known == name).map(|(_, value)| value);
    let is_presigned = parameter("x-amz-algorithm").is_some_and(|algorithm| is_signature(&algorithm));
    is_presigned.then(|| {
        let (credential, signed) = (parameter("x-amz-credential"), parameter("x-amz-signedheaders"));
        ClientSignature::new(credential.as_deref(), signed.as_deref(), is_of_sdk)
    })
}

/// Whether the value of `authorization` is a signature.
pub fn is_signature(value: &str) -> bool {
    let scheme = value.trim_start().split(' ').next().unwrap_or_default();
    SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// A query without the signature of a URL that was signed beforehand.
pub fn without(query: &str) -> Cow<'_, str> {
    let given = query.strip_prefix('?').unwrap_or(query);
    let goes = |pair: &str| PARAMETERS.contains(&name(pair).as_str());
    if !given.split('&').any(goes) {
        return Cow::Borrowed(query);
    }
    let kept: Vec<&str> = given.split('&').filter(|pair| !goes(pair)).collect();
    if kept.is_empty() { Cow::Borrowed("") } else { Cow::Owned(format!("?{}", kept.join("&"))) }
}

fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query
        .strip_prefix('?')
        .unwrap_or(query)
        .split('&')
        .map(|pair| (name(pair), decoded(pair.split_once('=').map_or("", |(_, value)| value))))
}

fn name(pair: &str) -> String {
    decoded(pair.split('=').next().unwrap_or_default()).to_ascii_lowercase()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Why a request whose signature has to be replaced is not sent: there is nothing to sign it with.
pub fn unsignable(let_in: bool) -> Refusal {
    let fix = match let_in {
        true => "This gateway keeps no key for aws-bedrock: store one with POST …/provider_configs.",
        false => {
            "Stored keys are used for callers with a Tollgate token only, and this request brings none: send one in the \
             header cf-aig-authorization: Bearer <token>."
        }
    };
    Refusal::bad_signature(format!(
        "The request is signed for this gateway's host and not for AWS's, so Tollgate cannot forward it as it is and would have \
         to sign it anew with a stored key. {fix}"
    ))
}

/// Why a request is not sent whose signature may not be replaced.
pub fn misdirected() -> Refusal {
    Refusal::bad_signature(
        "The request is signed (Signature Version 4) over the host that it was sent to, which is this gateway's, so AWS would \
         refuse the signature and Tollgate does not forward it. To have Tollgate sign it anew with the key that the gateway \
         stores for aws-bedrock, send a Tollgate token in cf-aig-authorization and sign with an access key id that begins with \
         'unused', or set resign of this gateway to true. To use a signature of your own, make it for \
         https://bedrock-runtime.<region>.amazonaws.com, without the amz-sdk-… headers, and send the request to a gateway \
         that stores no key for aws-bedrock.",
    )
}

/// What a caller is told when AWS refuses a signature.
pub const REFUSED: &str = "aws-bedrock refused the signature: one that is made for this gateway's host is never right there. Sign for \
     AWS's host, or have Tollgate sign with a stored key: see the gateway's setting resign";

/// Whether an answer is AWS's word that the signature is wrong.
pub fn is_refused(status: u16, headers: &Headers) -> bool {
    let kind = || headers.get("x-amzn-errortype").unwrap_or_default();
    status == 403 && ["InvalidSignature", "SignatureDoesNotMatch"].iter().any(|known| kind().starts_with(known))
}

// === impl ClientSignature ===

impl ClientSignature {
    fn new(credential: Option<&str>, signed: Option<&str>, is_of_sdk: bool) -> Self {
        let begins =
            |text: &str| text.get(..PLACEHOLDER.len()).is_some_and(|start| start.eq_ignore_ascii_case(PLACEHOLDER));
        Self {
            is_placeholder: credential.is_some_and(begins),
            is_over_host: signed
                .is_some_and(|names| names.split(';').any(|name| name.trim().eq_ignore_ascii_case("host"))),
            is_of_sdk,
        }
    }

    /// What becomes of the request. `resign` is the gateway's setting, `is_kept` whether a key that the gateway keeps could take
    /// the place of the caller's.
    pub fn used(self, resign: bool, is_kept: bool) -> Use {
        match self {
            _ if resign => Use::Void,
            Self { is_placeholder: true, .. } => Use::Void,
            // A client that signs for AWS's host and sends elsewhere does both by hand: an SDK does not, and a caller whom the
            // gateway has a key for has no reason to.
            Self { is_over_host: true, is_of_sdk, .. } if is_of_sdk || is_kept => Use::Misdirected,
            _ => Use::Own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn signed(id: &str, names: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential={id}/20260101/us-east-1/bedrock/aws4_request, SignedHeaders={names}, Signature=abc"
        )
    }

    #[test]
    fn a_signature_counts_as_no_key_where_its_id_says_so_or_the_gateway_does() {
        const ALL: &str = "cf-aig-authorization;content-type;host;x-amz-date";
        for (id, names, sdk, resign, kept, wanted) in [
            ("unused", ALL, false, false, true, Use::Void),
            ("unused", ALL, true, false, false, Use::Void),
            ("UNUSEDEXAMPLE", ALL, false, false, false, Use::Void),
            ("AKIAEXAMPLE", ALL, false, true, false, Use::Void),
            ("AKIAEXAMPLE", "x-amz-date", false, true, true, Use::Void),
            // Of an SDK that sends to the gateway, or where the gateway has a key.
            ("AKIAEXAMPLE", ALL, true, false, false, Use::Misdirected),
            ("AKIAEXAMPLE", "content-type;host", false, false, true, Use::Misdirected),
            // Signed by hand for AWS's host.
            ("AKIAEXAMPLE", ALL, false, false, false, Use::Own),
            ("AKIAEXAMPLE", "x-amz-date", true, false, true, Use::Own),
            ("AKIA-unused", ALL, false, false, false, Use::Own),
        ] {
            let mut pairs = vec![("authorization".to_owned(), signed(id, names))];
            pairs.extend(sdk.then(|| ("amz-sdk-request".to_owned(), "attempt=1".to_owned())));
            let found = of(&Headers(pairs), "?a=b").unwrap();
            assert_eq!(found.used(resign, kept), wanted, "{id} {names} {sdk} {resign} {kept}");
        }
    }

    #[test]
    fn every_spelling_of_a_signature_is_one_and_nothing_else_is() {
        for (value, placeholder) in [
            ("AWS4-HMAC-SHA256 SignedHeaders=host,Credential=unused/x,Signature=y", true),
            ("aws4-hmac-sha256 Credential=unused/x", true),
            ("AWS4-ECDSA-P256-SHA256 Credential=unused/x, SignedHeaders=host, Signature=y", true),
            ("AWS4-HMAC-SHA256 Credential=x", false),
            ("AWS4-HMAC-SHA256", false),
        ] {
            let found = of(&headers(&[("authorization", value)]), "").unwrap();
            assert_eq!(found.is_placeholder, placeholder, "{value}");
        }
        for value in ["Bearer unused", "AWS4", "unused", "Basic AWS4-HMAC-SHA256", ""] {
            assert_eq!(of(&headers(&[("authorization", value)]), "?X-Amz-Date=1"), None, "{value}");
        }
    }

    #[test]
    fn a_url_that_was_signed_beforehand_is_one_too() {
        let query = "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=unused%2F20260101&x=1&X-Amz-SignedHeaders=content-type%3Bhost&X-Amz-Signature=a&X%2DAmz-Expires=60";
        let found = of(&headers(&[]), query).unwrap();
        assert_eq!(found, ClientSignature { is_placeholder: true, is_over_host: true, is_of_sdk: false });
        assert_eq!(without(query), "?x=1");
        assert_eq!(without("?X-Amz-Signature=a"), "");
        for other in ["", "?a=b&x-amz-target=1", "?&&"] {
            assert_eq!(without(other), other);
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_without_harm(value in "(AWS4-HMAC-SHA256 )?\\PC{0,60}", query in "\\PC{0,60}") {
            let _ = (of(&headers(&[("authorization", &value)]), &query), without(&query));
        }
    }
}
