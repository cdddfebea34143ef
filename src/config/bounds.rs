//! How many of each kind can be made. An editor fills no more of the database, and of every isolate's memory, than the
//! operator allows.

use crate::db::store::Bind;
use crate::http::envelope::ApiError;

/// A bound: how many there may be, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    pub most: u64,
    /// `An account`, or what else it is that has them.
    owner: &'static str,
    things: &'static str,
    variable: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub costs: Most,
    pub custom_providers: Most,
    pub datasets: Most,
    pub evaluations: Most,
    pub gateways: Most,
    pub provider_configs: Most,
    pub reprices: Most,
    pub tokens: Most,
}

/// No variable allows more.
const MOST: u64 = 1_000_000;

const ACCOUNT: &str = "An account";
const GATEWAY: &str = "A gateway";

// === impl Bounds ===

impl Default for Bounds {
    fn default() -> Self {
        Self::USUAL
    }
}

impl Bounds {
    /// Where no variable says otherwise.
    pub const USUAL: Self = Self {
        costs: Most { most: 500, owner: ACCOUNT, things: "prices of its own", variable: "MAX_COSTS" },
        custom_providers: Most {
            most: 100,
            owner: ACCOUNT,
            things: "custom providers",
            variable: "MAX_CUSTOM_PROVIDERS",
        },
        datasets: Most { most: 1_000, owner: GATEWAY, things: "datasets", variable: "MAX_DATASETS" },
        evaluations: Most { most: 1_000, owner: GATEWAY, things: "evaluations", variable: "MAX_EVALUATIONS" },
        gateways: Most { most: 1_000, owner: ACCOUNT, things: "gateways", variable: "MAX_GATEWAYS" },
        provider_configs: Most { most: 100, owner: GATEWAY, things: "stored keys", variable: "MAX_PROVIDER_CONFIGS" },
        reprices: Most {
            most: 1_000,
            owner: GATEWAY,
            things: "reprices of the last 30 days",
            variable: "MAX_REPRICES",
        },
        tokens: Most { most: 1_000, owner: ACCOUNT, things: "tokens", variable: "MAX_TOKENS" },
    };

    /// Reads the variables through `get`. What makes no sense is an error that names the variable.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut bounds = Self::default();
        for bound in bounds.all() {
            let given = get(bound.variable).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
            match given.map(|value| value.parse()) {
                None => {}
                Some(Ok(most)) if (1..=MOST).contains(&most) => bound.most = most,
                Some(_) => return Err(format!("{} must be a number from 1 to {MOST}.", bound.variable)),
            }
        }
        Ok(bounds)
    }

    fn all(&mut self) -> [&mut Most; 8] {
        let Self { costs, custom_providers, datasets, evaluations, gateways, provider_configs, reprices, tokens } =
            self;
        [costs, custom_providers, datasets, evaluations, gateways, provider_configs, reprices, tokens]
    }
}

// === impl Most ===

impl Most {
    /// For a statement that makes one only where there are fewer: it counts and writes at once, so that a caller who makes many
    /// side by side does not get past it.
    pub fn bind(&self) -> Bind {
        Bind::Int(self.most as i64)
    }

    /// There is no room for another.
    pub fn reached(&self) -> ApiError {
        let Self { most, owner, things, variable } = self;
        let rule =
            format!("{owner} may have {most} {things}. Delete what is not needed, or raise the variable {variable}");
        ApiError::invalid(["body"], rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_sets_each_bound_and_mistakes_are_named() {
        let mut usual = Bounds::default();
        let variables: Vec<&str> = usual.all().iter().map(|bound| bound.variable).collect();
        for variable in variables {
            let read = |value: &str| Bounds::read(|name| (name == variable).then(|| value.to_owned()));
            let mut set = read(" 7 ").unwrap();
            let mosts: Vec<u64> =
                set.all().iter().filter(|bound| bound.variable == variable).map(|bound| bound.most).collect();
            assert_eq!(mosts, [7]);
            assert_eq!(read("").unwrap(), Bounds::default());
            for wrong in ["0", "-1", "many", "1000001", "1e3"] {
                assert!(read(wrong).unwrap_err().contains(variable), "{wrong}");
            }
        }
    }

    #[test]
    fn who_is_over_a_bound_is_told_what_to_do() {
        let error = Bounds::default().gateways.reached();
        assert_eq!(error.status, 400);
        assert_eq!(
            error.message,
            "An account may have 1000 gateways. Delete what is not needed, or raise the variable MAX_GATEWAYS"
        );
    }
}
