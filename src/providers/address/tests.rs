use super::*;
use proptest::prelude::*;

fn host(url: &str) -> Host {
    origin(url).unwrap().host
}

#[test]
fn clients_of_one_network_are_one() {
    for (text, wanted) in [
        ("192.0.2.1", Some("192.0.2.1")),
        ("::ffff:192.0.2.1", Some("192.0.2.1")),
        (" 2001:db8:7:1::1", Some("2001:db8:7")),
        ("2001:db8:7:ffff:1:2:3:4", Some("2001:db8:7")),
        ("192.0.2.1, 192.0.2.2", None),
        ("", None),
        ("nobody", None),
    ] {
        assert_eq!(network(text).as_deref(), wanted, "{text}");
    }
}

#[test]
fn every_range_that_is_not_public_is_internal_to_its_edges() {
    for internal in [
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:1ff::1",
        "2001:db8::1",
        "2002::1",
        "2002:7f00:1::",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "feff::1",
        "ff02::1",
    ] {
        assert!(is_internal(internal.parse().unwrap()), "{internal}");
    }
    for public in [
        "1.0.0.0",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2001:db7::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700::1111",
        "3ffe::1",
        "3fff:1000::1",
    ] {
        assert!(!is_internal(public.parse().unwrap()), "{public}");
    }
}

#[test]
fn an_address_is_the_same_in_every_spelling() {
    let loopback = Host::Address(Ipv4Addr::LOCALHOST.into());
    for spelling in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0X7F.1",
        "0x7f.0.0.0x1",
        "017700000001",
        "0177.0.0.1",
        "0177.0.0.01",
        "00000000000000177.1",
        "0x0000000000000000000000007f000001",
        "127.0x0.00.1",
    ] {
        let url = format!("https://{spelling}/v1");
        assert_eq!(host(&url), loopback, "{spelling}");
        assert!(origin(&url).unwrap().is_internal());
    }
    assert_eq!(host("https://0x/"), Host::Address(Ipv4Addr::UNSPECIFIED.into()));
    for spelling in
        ["[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[fe80::1]", "[2002:7f00:1::]"]
    {
        assert!(origin(&format!("https://{spelling}:8443/v1")).unwrap().is_internal(), "{spelling}");
    }
}

#[test]
fn names_of_this_machine_and_network_are_internal() {
    for name in [
        "localhost",
        "LOCALHOST",
        "a.localhost",
        "printer.local",
        "db.prod.internal",
        "metadata.google.internal",
        "router",
        "nas.lan",
        "nas.home.arpa",
    ] {
        assert!(origin(&format!("https://{name}")).unwrap().is_internal(), "{name}");
    }
    for name in
        ["api.example.com", "notlocalhost.com", "xlocal.dev", "localhost.example.com", "a--b.example", "1.2.3.4x"]
    {
        assert!(!origin(&format!("https://{name}/v1")).unwrap().is_internal(), "{name}");
    }
}

#[test]
fn what_is_no_plain_url_is_refused() {
    for url in [
        "",
        "https://",
        "https:///v1",
        "https:/api.example.com",
        "https:api.example.com",
        "ftp://api.example.com",
        "HTTPS://api.example.com",
        " https://api.example.com",
        "https://user@api.example.com",
        "https://a:b@c.example",
        "https://api.example.com?x=1",
        "https://api.example.com/#x",
        "https://api.example.com\\@127.0.0.1",
        "https://api.example.com/a b",
        "https://api.example.com/a\tb",
        "https://exa\u{ff4d}ple.com",
        "https://\u{2460}.com",
        "https://%31%32%37.0.0.1",
        "https://api.example.com.",
        "https://127.0.0.1.",
        "https://.example.com",
        "https://api..example.com",
        "https://-a.example.com",
        "https://1.2.3.4.5",
        "https://256.1.1.1",
        "https://1.2.3.256",
        "https://08.1",
        "https://4294967296",
        "https://0xfffffffff",
        "https://1.99999999999999999999",
        "https://api.1",
        "https://api.0x7f",
        "https://[::1",
        "https://[::1]x",
        "https://[fe80::1%25eth0]",
        "https://[127.0.0.1]",
        "https://api.example.com:",
        "https://api.example.com:0",
        "https://api.example.com:65536",
        "https://api.example.com:1:2",
        "https://api.example.com:+1",
        "https://api.example.com/../v1",
        "https://api.example.com/%2e%2E/v1",
        "https://api.example.com/a%0ab",
    ] {
        assert!(origin(url).is_err(), "{url}");
    }
}

#[test]
fn scheme_host_and_port_make_an_origin() {
    assert_eq!(origin("https://API.example.com/v1"), origin("https://api.example.com:443"));
    assert_ne!(origin("https://api.example.com:444"), origin("https://api.example.com"));
    assert_eq!(origin("http://127.0.0.1").unwrap().port, 80);
}

proptest! {
    #[test]
    fn a_url_means_here_what_it_means_to_a_browser(
        scheme in "(https|http|HTTPS)://",
        authority in "[a-z0-9.:@%\\[\\]xX#?\\\\/-]{0,24}|((0x)?[0-9a-f]{1,9}\\.){0,4}(0x)?[0-9a-f]{1,9}|\\[[0-9a-f:.]{2,20}\\]|\\PC{0,12}",
        path in "(/[a-z.%2e@#?:\\\\]{0,8}){0,3}",
    ) {
        let text = format!("{scheme}{authority}{path}");
        if let Ok(ours) = origin(&text) {
            let theirs = url::Url::parse(&text);
            // Some xn-- labels are no names at all; the runtime refuses them by itself.
            if let Ok(theirs) = theirs {
                let host = match theirs.host().unwrap() {
                    url::Host::Domain(name) => Host::Name(name.to_owned()),
                    url::Host::Ipv4(address) => Host::Address(address.into()),
                    url::Host::Ipv6(address) => Host::Address(address.into()),
                };
                prop_assert_eq!(&ours.host, &host);
                prop_assert_eq!(Some(ours.port), theirs.port_or_known_default());
                prop_assert_eq!(ours.secure, theirs.scheme() == "https");
            } else {
                prop_assert!(text.contains("xn--"));
            }
        }
    }
}
