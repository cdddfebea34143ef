//! AWS Signature Version 4, for requests to Bedrock with stored credentials.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use crate::base::hex::hex;
use crate::base::hmac::hmac_sha256;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode};
use sha2::{Digest, Sha256};
use std::fmt::Write;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

const ENCODED_IN_PATHS: &AsciiSet = &ENCODED.remove(b'/');

/// What is signed of a request.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    pub method: &'a str,
    /// The path as it is sent: what [`sent_path`] made of it.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: &'a str,
    /// Lower-case names in alphabetical order, `host` and `x-amz-date` among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body, hexadecimal.
    pub body: &'a str,
    /// Such as `20150830T123600Z`.
    pub time: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// The value of the header `authorization`.
pub fn authorization(signed: &Signed<'_>, access_key_id: &str, secret_access_key: &str) -> String {
    let day = signed.time.get(..8).unwrap_or(signed.time);
    let scope = format!("{day}/{}/{}/aws4_request", signed.region, signed.service);
    let names = names(signed.headers);
    let request = canonical(signed, &names);
    let text = format!("{ALGORITHM}\n{}\n{scope}\n{}", signed.time, hex(&Sha256::digest(request.as_bytes())));
    let key = signing_key(secret_access_key, day, signed.region, signed.service);
    let signature = hex(&hmac_sha256(&key, text.as_bytes()));
    format!("{ALGORITHM} Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

/// A path in the only form whose signature every reader agrees on: each segment decoded and encoded again, no empty ones.
/// AWS encodes what it received once more for the signature, so a `:` that was sent as it is would be read differently.
pub fn sent_path(path: &str) -> String {
    let mut sent = String::with_capacity(path.len() + 16);
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        sent.push('/');
        sent.push_str(&encoded_anew(segment));
    }
    if sent.is_empty() || path.ends_with('/') {
        sent.push('/');
    }
    sent
}

fn canonical(signed: &Signed<'_>, names: &str) -> String {
    let path = utf8_percent_encode(signed.path, ENCODED_IN_PATHS);
    let mut text = format!("{}\n{path}\n{}\n", signed.method, canonical_query(signed.query));
    for (name, value) in signed.headers {
        let _ = write!(text, "{name}:");
        for (index, word) in value.split_ascii_whitespace().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
        text.push('\n');
    }
    let _ = write!(text, "\n{names}\n{}", signed.body);
    text
}

fn names(headers: &[(&str, &str)]) -> String {
    let mut names = String::new();
    for (name, _) in headers {
        if !names.is_empty() {
            names.push(';');
        }
        names.push_str(name);
    }
    names
}

/// Encoded pairs in the order of their names, then of their values.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let pair = (encoded_anew(name), encoded_anew(value));
        let at = pairs.partition_point(|known| *known <= pair);
        pairs.insert(at, pair);
    }
    let mut text = String::new();
    for (name, value) in &pairs {
        if !text.is_empty() {
            text.push('&');
        }
        let _ = write!(text, "{name}={value}");
    }
    text
}

/// A text that may be encoded in part or where it need not be, in the one form that AWS signs.
fn encoded_anew(text: &str) -> String {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    percent_encode(&bytes, ENCODED).to_string()
}

fn signing_key(secret_access_key: &str, day: &str, region: &str, service: &str) -> [u8; 32] {
    let mut key = hmac_sha256(format!("AWS4{secret_access_key}").as_bytes(), day.as_bytes());
    for part in [region, service, "aws4_request"] {
        key = hmac_sha256(&key, part.as_bytes());
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// AWS's documentation: the key derived for 30 August 2015, and its worked example `ListUsers`.
    #[test]
    fn the_worked_example_of_the_documentation() {
        assert_eq!(
            hex(&signing_key(SECRET, "20150830", "us-east-1", "iam")),
            "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
        );
        let signed = Signed {
            method: "GET",
            path: "/",
            query: "Action=ListUsers&Version=2010-05-08",
            headers: &[
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("host", "iam.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
            ],
            body: EMPTY,
            time: "20150830T123600Z",
            region: "us-east-1",
            service: "iam",
        };
        let names = names(signed.headers);
        assert_eq!(
            hex(&Sha256::digest(canonical(&signed, &names).as_bytes())),
            "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
        );
        assert!(
            authorization(&signed, "AKIDEXAMPLE", SECRET)
                .ends_with("Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")
        );
    }

    /// From the published test suite of Signature Version 4.
    #[test]
    fn the_published_suite() {
        let suite = [
            ("get-vanilla", "GET", "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("post-vanilla", "POST", "/", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "/",
                "Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-slashes",
                "GET",
                "//example//",
                "",
                "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
            ),
        ];
        for (name, method, path, query, signature) in suite {
            let path = sent_path(path);
            let signed = Signed {
                method,
                path: &path,
                query,
                headers: &[("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")],
                body: EMPTY,
                time: "20150830T123600Z",
                region: "us-east-1",
                service: "service",
            };
            assert_eq!(
                authorization(&signed, "AKIDEXAMPLE", SECRET),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                     SignedHeaders=host;x-amz-date, Signature={signature}"
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn a_model_id_is_encoded_once_on_the_wire_and_twice_in_the_signature() {
        let wanted = "/model/us.anthropic.claude-v1%3A0/invoke";
        for sent in ["/model/us.anthropic.claude-v1:0/invoke", wanted, "/model/us.anthropic.claude%2Dv1%3a0//invoke"] {
            assert_eq!(sent_path(sent), wanted);
        }
        assert_eq!(sent_path("/model/arn%3Aaws%3Abedrock%2Fx/invoke"), "/model/arn%3Aaws%3Abedrock%2Fx/invoke");
        let signed = Signed {
            method: "POST",
            path: wanted,
            query: "",
            headers: &[("host", "h")],
            body: EMPTY,
            time: "20150830T123600Z",
            region: "us-east-1",
            service: "bedrock",
        };
        assert!(canonical(&signed, "host").starts_with("POST\n/model/us.anthropic.claude-v1%253A0/invoke\n\nhost:h\n"));
    }

    proptest! {
        #[test]
        fn the_form_of_a_path_is_stable(path in "[a-zA-Z0-9/%:._~é-]{0,60}") {
            let once = sent_path(&path);
            prop_assert_eq!(sent_path(&once), once.clone());
            prop_assert!(once.starts_with('/') && !once.contains("//"));
        }
    }
}
