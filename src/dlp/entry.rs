//! The kinds of things that are looked for, and the profiles that name several of them.

/// A kind of thing that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Entry {
    CreditCard,
    Iban,
    AbaRouting,
    Swift,
    Bitcoin,
    Ethereum,
    UsSsn,
    UsItin,
    CanadaSin,
    UkNino,
    UkNhs,
    GermanTaxId,
    IndiaAadhaar,
    IndiaPan,
    BrazilCpf,
    BrazilCnpj,
    SpainDni,
    FranceNir,
    Email,
    Phone,
    Ipv4,
    Ipv6,
    Mac,
    ProviderKey,
    CloudKey,
    ServiceToken,
    PrivateKey,
    Jwt,
}

/// Entries that belong together, by the name that a gateway's settings call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    pub id: &'static str,
    pub entries: &'static [Entry],
}

use Entry::*;

/// Every entry: what the settings call it, and what stands in its place in a text.
const ENTRIES: &[(Entry, &str, &str)] = &[
    (CreditCard, "credit_card", "CARD"),
    (Iban, "iban", "IBAN"),
    (AbaRouting, "aba_routing", "ROUTING_NUMBER"),
    (Swift, "swift", "SWIFT"),
    (Bitcoin, "bitcoin", "WALLET"),
    (Ethereum, "ethereum", "WALLET"),
    (UsSsn, "us_ssn", "SSN"),
    (UsItin, "us_itin", "ITIN"),
    (CanadaSin, "canada_sin", "SIN"),
    (UkNino, "uk_nino", "NINO"),
    (UkNhs, "uk_nhs", "NHS_NUMBER"),
    (GermanTaxId, "german_tax_id", "TAX_ID"),
    (IndiaAadhaar, "india_aadhaar", "AADHAAR"),
    (IndiaPan, "india_pan", "PAN"),
    (BrazilCpf, "brazil_cpf", "CPF"),
    (BrazilCnpj, "brazil_cnpj", "CNPJ"),
    (SpainDni, "spain_dni", "DNI"),
    (FranceNir, "france_nir", "NIR"),
    (Email, "email", "EMAIL"),
    (Phone, "phone", "PHONE"),
    (Ipv4, "ipv4", "IP"),
    (Ipv6, "ipv6", "IP"),
    (Mac, "mac", "MAC"),
    (ProviderKey, "provider_key", "KEY"),
    (CloudKey, "cloud_key", "KEY"),
    (ServiceToken, "service_token", "KEY"),
    (PrivateKey, "private_key", "PRIVATE_KEY"),
    (Jwt, "jwt", "JWT"),
];

pub const PROFILES: &[Profile] = &[
    Profile { id: "financial", entries: &[CreditCard, Iban, AbaRouting, Swift, Bitcoin, Ethereum] },
    Profile {
        id: "national_ids",
        entries: &[
            UsSsn,
            UsItin,
            CanadaSin,
            UkNino,
            UkNhs,
            GermanTaxId,
            IndiaAadhaar,
            IndiaPan,
            BrazilCpf,
            BrazilCnpj,
            SpainDni,
            FranceNir,
        ],
    },
    Profile { id: "contact", entries: &[Email, Phone] },
    Profile { id: "network", entries: &[Ipv4, Ipv6, Mac] },
    Profile { id: "secrets", entries: &[ProviderKey, CloudKey, ServiceToken, PrivateKey, Jwt] },
];

// === impl Entry ===

impl Entry {
    #[cfg(test)]
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(|(entry, ..)| *entry)
    }

    /// How many there are.
    pub const COUNT: usize = ENTRIES.len();

    pub fn numbered(item: u8) -> Option<Self> {
        ENTRIES.get(usize::from(item)).map(|(entry, ..)| *entry)
    }

    /// The entry of a name in the settings.
    pub fn parse(name: &str) -> Option<Self> {
        ENTRIES.iter().find(|(_, known, _)| *known == name).map(|(entry, ..)| *entry)
    }

    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What its placeholders begin with: `CARD` of `[CARD_1]`.
    pub fn label(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (Self, &'static str, &'static str) {
        ENTRIES.get(self as usize).copied().unwrap_or((self, "", ""))
    }
}

// === impl Profile ===

impl Profile {
    pub fn parse(id: &str) -> Option<Self> {
        PROFILES.iter().find(|profile| profile.id == id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_variants_and_each_belongs_to_one_profile() {
        for (at, (entry, name, _)) in ENTRIES.iter().enumerate() {
            assert_eq!((*entry as usize, Entry::parse(name), entry.name()), (at, Some(*entry), *name));
            let profiles = PROFILES.iter().filter(|profile| profile.entries.contains(entry)).count();
            assert_eq!(profiles, 1, "{name}");
        }
        assert_eq!(ENTRIES.len(), Entry::Jwt as usize + 1);
    }
}
