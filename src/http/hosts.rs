//! Which `Host` headers are served: `ALLOWED_HOSTS`. A page on another site can have its own name lead to an address that only
//! its visitor reaches ("DNS rebinding"). The browser then takes Tollgate for that site, but it still says the name.

/// The hosts that are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedHosts {
    #[default]
    Any,
    Only(Vec<Host>),
}

/// A host in lower case and without the dot at its end, and its port where that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

// === impl AllowedHosts ===

impl AllowedHosts {
    /// Reads hosts with commas between them, each with a port or for every port. Nothing, or `*`, is every host.
    pub fn parse(value: Option<&str>) -> Result<Self, String> {
        let wrong = |entry: &str| {
            format!(
                "ALLOWED_HOSTS: '{}' is no host. List names or addresses with commas between, such as \
                 gateway.example.com,localhost:8787,[::1].",
                entry.chars().take(64).collect::<String>()
            )
        };
        let value = value.map(str::trim).filter(|value| !value.is_empty());
        let Some(value) = value.filter(|value| *value != "*") else { return Ok(Self::Any) };
        let hosts = value.split(',').map(str::trim).map(|entry| Host::parse(entry).ok_or_else(|| wrong(entry)));
        Ok(Self::Only(hosts.collect::<Result<_, _>>()?))
    }

    /// Whether a request with this `Host` header is served. Without the header it is only where every host is.
    pub fn allow(&self, header: Option<&str>) -> bool {
        let Self::Only(hosts) = self else { return true };
        let asked = header.and_then(|header| Host::parse(header.trim()));
        asked.is_some_and(|asked| hosts.iter().any(|host| host.is(&asked)))
    }
}

// === impl Host ===

impl Host {
    fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => (address.parse::<std::net::Ipv6Addr>().ok()?.to_string(), port),
            None => {
                let (name, port) = text.find(':').and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""));
                let name = name.strip_suffix('.').unwrap_or(name);
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                (!name.is_empty() && name.bytes().all(fits)).then(|| (name.to_ascii_lowercase(), port))?
            }
        };
        let port = match port {
            "" => None,
            port => {
                let digits =
                    port.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
                Some(digits.parse().ok()?)
            }
        };
        Some(Self { name, port })
    }

    /// Clients leave out the ports that HTTP and HTTPS have anyway.
    fn is(&self, asked: &Self) -> bool {
        let is_usual = asked.port.is_none() && matches!(self.port, Some(80 | 443));
        self.name == asked.name && (self.port.is_none() || self.port == asked.port || is_usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(hosts: &str, header: &str) -> bool {
        AllowedHosts::parse(Some(hosts)).unwrap().allow(Some(header))
    }

    #[test]
    fn without_the_variable_every_host_is_served() {
        for value in [None, Some(""), Some("  "), Some("*")] {
            let any = AllowedHosts::parse(value).unwrap();
            assert!(any.allow(Some("anything:1")) && any.allow(None), "{value:?}");
        }
    }

    #[test]
    fn a_host_is_the_same_whatever_its_case_its_dot_and_its_spelling() {
        const HOSTS: &str = "localhost, 127.0.0.1,[::1] ,Gateway.Example.com.";
        for header in [
            "localhost",
            "LOCALHOST:8787",
            "localhost.",
            "localhost.:1",
            "127.0.0.1:9999",
            "[::1]",
            "[::1]:8787",
            "[0:0:0:0:0:0:0:1]:8787",
            "gateway.example.com",
            " gateway.example.com:443 ",
        ] {
            assert!(allow(HOSTS, header), "{header}");
        }
        for header in [
            "",
            ".",
            "evil.example",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "127.0.0.11",
            "::1",
            "[::1",
            "[::2]",
            "[::1]8787",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "localhost:80:80",
            "localhost, evil.example",
            "user@localhost",
            "http://localhost",
            "localhost/",
            "localhost..",
            "löcalhost",
        ] {
            assert!(!allow(HOSTS, header), "{header}");
        }
        assert!(!AllowedHosts::parse(Some(HOSTS)).unwrap().allow(None));
    }

    #[test]
    fn a_port_that_is_named_counts() {
        assert!(
            allow("localhost:8787,[::1]:8787", "localhost:8787") && allow("localhost:8787,[::1]:8787", "[::1]:8787")
        );
        assert!(allow("a.example:443", "a.example") && !allow("a.example:443", "a.example:80"));
        for header in ["localhost", "localhost:80", "localhost:08788", "[::1]:80"] {
            assert!(!allow("localhost:8787,[::1]:8787", header), "{header}");
        }
    }

    #[test]
    fn what_is_no_host_is_said() {
        for value in ["https://x", "a,,b", "a b", "[::1", "x:port", ",", "*.example.com", "x:-1"] {
            assert!(AllowedHosts::parse(Some(value)).unwrap_err().contains("ALLOWED_HOSTS: '"), "{value}");
        }
    }
}
