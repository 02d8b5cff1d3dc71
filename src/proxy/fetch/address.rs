//! Which addresses are on the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks that are none of the public internet, with the reason: the IANA registries of special-purpose addresses
/// (RFC 6890), as of 2026, whatever they say of reachability. A cloud's metadata service is in `169.254.0.0/16`,
/// `fd00::/8` or `fe80::/10`; one cloud has it at `100.100.100.200`, another at `168.63.129.16`.
const IPV4: &[([u8; 4], u32, &str)] = &[
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared by a carrier"),
    ([127, 0, 0, 0], 8, "this machine"),
    ([168, 63, 129, 16], 32, "a cloud's own service"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved for protocols"),
    ([192, 0, 2, 0], 24, "for documentation"),
    ([192, 31, 196, 0], 24, "reserved for protocols"),
    ([192, 52, 193, 0], 24, "reserved for protocols"),
    ([192, 88, 99, 0], 24, "a relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([192, 175, 48, 0], 24, "reserved for protocols"),
    ([198, 18, 0, 0], 15, "for benchmarks"),
    ([198, 51, 100, 0], 24, "for documentation"),
    ([203, 0, 113, 0], 24, "for documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

/// Within `2000::/3`, outside of which nothing is public.
const IPV6: &[([u16; 8], u32, &str)] = &[
    // Teredo among them, which carries an IPv4 address.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "reserved for protocols"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "for documentation"),
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "reserved for protocols"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "for documentation"),
];

/// Why an address may not be connected to; `None` for one of the public internet.
///
/// An IPv6 address that carries an IPv4 one (mapped, compatible, translated by NAT64, 6to4) is as good as the latter at
/// best: what translates it may stand in a private network.
pub(super) fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => forbidden_v4(address),
        IpAddr::V6(address) => forbidden_v6(address),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let within = |network: &[u8; 4], length: u32| (bits ^ u32::from_be_bytes(*network)) >> (32 - length) == 0;
    IPV4.iter().find(|(network, length, _)| within(network, *length)).map(|(_, _, why)| *why)
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        // Mapped, RFC 4291; NAT64, RFC 6052.
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => return forbidden_v4(v4(g, h)),
        (0x2002, ..) => return forbidden_v4(v4(b, c)).or(Some("6to4")), // RFC 3056, retired
        _ => {}
    }
    if a & 0xe000 != 0x2000 {
        return Some(match a {
            0 if address.is_loopback() => "this machine",
            0xfc00..=0xfdff => "private",
            0xfe80..=0xfebf => "link-local",
            0xff00..=0xffff => "multicast",
            _ => "not of the public internet",
        });
    }
    let bits = address.to_bits();
    let within =
        |network: &[u16; 8], length: u32| (bits ^ Ipv6Addr::from(*network).to_bits()) >> (128 - length) == 0;
    IPV6.iter().find(|(network, length, _)| within(network, *length)).map(|(_, _, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn why(address: &str) -> Option<&'static str> {
        forbidden(address.parse().unwrap())
    }

    #[test]
    fn addresses_that_are_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.7",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.9",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:db8::1",
            "2001:20::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "2002:a9fe:a9fe::",
            "2620:4f:8000::1",
            "3fff::1",
            "3fff:fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
            "5f00::1",
        ] {
            assert!(why(address).is_some(), "{address}");
        }
    }

    #[test]
    fn addresses_that_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.1.1",
            "192.169.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(why(address), None, "{address}");
        }
    }

    proptest! {
        /// The standard library's own words, as far as it has stable ones, are all taken.
        #[test]
        fn whatever_the_standard_library_calls_special_is_forbidden(bits: u32, low: u64) {
            let v4 = Ipv4Addr::from_bits(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
            prop_assert!(!special || forbidden_v4(v4).is_some(), "{v4}");
            for prefix in ["::ffff:0:0", "64:ff9b::"] {
                let carried = prefix.parse::<Ipv6Addr>().unwrap().to_bits() | u128::from(bits);
                prop_assert_eq!(forbidden_v6(Ipv6Addr::from_bits(carried)), forbidden_v4(v4));
            }
            let v6 = Ipv6Addr::from_bits(u128::from(bits) << 96 | u128::from(low));
            let special = v6.is_loopback() || v6.is_multicast() || v6.is_unspecified() || v6.is_unique_local()
                || v6.is_unicast_link_local();
            prop_assert!(!special || forbidden_v6(v6).is_some(), "{v6}");
        }
    }
}
