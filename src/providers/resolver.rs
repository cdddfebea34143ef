//! Which addresses a name leads to, asked by DNS over HTTPS in its JSON form: a Worker has no other resolver.

use crate::providers::address;
use serde_json::Value;
use std::net::IpAddr;

pub const DEFAULT_URL: &str = "https://cloudflare-dns.com/dns-query";

/// The types of records that hold addresses, with their numbers in answers.
pub const KINDS: [(&str, u64); 2] = [("A", 1), ("AAAA", 28)];

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    Found(Vec<IpAddr>),
    /// The resolver did not answer, and why.
    Failed(String),
    /// There was nothing to look up.
    NotAsked,
}

/// Where to ask. Names of hosts need no escaping.
pub fn question(endpoint: &str, name: &str, kind: &str) -> String {
    format!("{endpoint}?name={name}&type={kind}")
}

/// The addresses in an answer. A name that does not exist has none.
pub fn answer(status: u16, body: &str) -> Result<Vec<IpAddr>, String> {
    let body: Value = match serde_json::from_str(body) {
        Ok(body) if status == 200 => body,
        _ => return Err(format!("it answered with status {status} and no DNS message")),
    };
    match body.get("Status").and_then(Value::as_u64) {
        Some(0 | 3) => {}
        code => return Err(format!("it answered with the DNS code {}", code.unwrap_or(u64::MAX))),
    }
    let records = body.get("Answer").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    records
        .iter()
        .filter(|record| KINDS.iter().any(|(_, number)| record.get("type").and_then(Value::as_u64) == Some(*number)))
        .map(|record| {
            let address = record.get("data").and_then(Value::as_str).and_then(|data| data.parse().ok());
            address.ok_or_else(|| "it answered with an address that is none".to_owned())
        })
        .collect()
}

// === impl Lookup ===

impl Lookup {
    /// Both kinds of addresses together: of a name that is half known the other half may be internal.
    pub fn together(answers: [Result<Vec<IpAddr>, String>; 2]) -> Self {
        let mut all = Vec::new();
        let mut failure = None;
        for answer in answers {
            match answer {
                Ok(addresses) => all.extend(addresses),
                Err(cause) => failure = Some(cause),
            }
        }
        match failure {
            Some(cause) if !all.iter().copied().any(address::is_internal) => Self::Failed(cause),
            _ => Self::Found(all),
        }
    }

    /// What speaks against sending anything to the name. The addresses are not told: they are the network's own business.
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Found(addresses) if addresses.is_empty() => Some("the name has no address".to_owned()),
            Self::Found(addresses) if addresses.iter().copied().any(address::is_internal) => Some(
                "the name leads to an internal address, which wants the operator's variable \
                 ALLOW_INTERNAL_UPSTREAMS=true"
                    .to_owned(),
            ),
            Self::Found(_) => None,
            Self::Failed(cause) => {
                Some(format!("its addresses are unknown, because the resolver (DNS_OVER_HTTPS_URL) failed: {cause}"))
            }
            Self::NotAsked => Some("its addresses were not looked up".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(answers: Value) -> Result<Vec<IpAddr>, String> {
        answer(200, &json!({ "Status": 0, "Answer": answers }).to_string())
    }

    #[test]
    fn addresses_are_read_and_aliases_passed_over() {
        let answers = json!([
            { "name": "a.example", "type": 5, "TTL": 60, "data": "b.example." },
            { "name": "b.example", "type": 1, "TTL": 60, "data": "8.8.8.8" },
            { "name": "b.example", "type": 28, "TTL": 60, "data": "2606:4700::1111" },
        ]);
        assert_eq!(read(answers).unwrap(), ["8.8.8.8", "2606:4700::1111"].map(|text| text.parse::<IpAddr>().unwrap()));
        assert_eq!(answer(200, r#"{"Status":3}"#), Ok(vec![]));
        for (status, body) in [(200, ""), (200, "{}"), (500, r#"{"Status":0}"#), (200, r#"{"Status":2}"#), (200, "[1]")]
        {
            assert!(answer(status, body).is_err(), "{body}");
        }
        for data in [json!("8.8.8"), json!("010.8.8.8"), json!(8), json!(null)] {
            assert!(read(json!([{ "type": 1, "data": data }])).is_err(), "{data}");
        }
    }

    #[test]
    fn one_internal_address_is_enough() {
        let of = |addresses: &[&str]| Ok(addresses.iter().map(|text| text.parse().unwrap()).collect());
        let down = || Err("no".to_owned());
        assert_eq!(Lookup::together([of(&["8.8.8.8"]), of(&[])]).fault(), None);
        assert!(Lookup::together([of(&["8.8.8.8", "10.0.0.1"]), of(&[])]).fault().unwrap().contains("internal"));
        assert!(Lookup::together([of(&["8.8.8.8"]), of(&["::ffff:10.0.0.1"])]).fault().unwrap().contains("internal"));
        assert!(Lookup::together([of(&[]), of(&[])]).fault().unwrap().contains("no address"));
        assert!(matches!(Lookup::together([of(&["8.8.8.8"]), down()]), Lookup::Failed(_)));
        // What is known to be internal is so even if the rest is unknown.
        assert!(matches!(Lookup::together([of(&["10.0.0.1"]), down()]), Lookup::Found(_)));
    }
}
