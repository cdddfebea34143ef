//! The keys that a request is sent with: which one, where it is kept, and in which form a provider takes it.

pub mod client_signature;
pub mod google_token;
pub mod key;
pub mod select;
pub mod share;
pub mod sigv4;
pub mod stored;
pub mod vault;
pub mod vault_worker;
