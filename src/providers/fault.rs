//! Why a request can be sent to no provider.

use crate::base::fault::{self, Kind, shortened};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A name that no provider has, and the one that was probably meant.
    Unknown { slug: String, nearest: Option<&'static str> },
    /// A custom provider that the account does not have.
    UnknownCustom(String),
    /// A custom provider that is switched off.
    Disabled(String),
    /// A model whose provider cannot be told, and why.
    Model(String),
    /// A path, or a header that stands for one, that cannot be sent upstream, and why.
    Path(String),
}

// === impl Fault ===

impl Fault {
    pub fn path(why: impl Into<String>) -> Self {
        Self::Path(why.into())
    }
}

impl fault::Fault for Fault {
    fn kind(&self) -> Kind {
        Kind::NoProvider
    }

    fn message(&self) -> String {
        match self {
            Self::Unknown { slug, nearest } => {
                let hint = nearest.map_or(String::new(), |nearest| format!(" Did you mean '{nearest}'?"));
                format!("Tollgate knows no provider '{}'.{hint} docs/providers.md lists all of them.", shortened(slug))
            }
            Self::UnknownCustom(name) => format!(
                "The account has no custom provider '{}'. Make it with POST \
                 /accounts/<account>/ai-gateway/custom-providers.",
                shortened(name)
            ),
            Self::Disabled(name) => format!(
                "The custom provider '{}' is disabled. Enable it with PATCH \
                 /accounts/<account>/ai-gateway/custom-providers/<id> and {{\"enable\": true}}.",
                shortened(name)
            ),
            Self::Model(why) | Self::Path(why) => why.clone(),
        }
    }
}
