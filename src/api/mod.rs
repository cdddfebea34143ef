//! The control plane's resources, one file each: types, SQL, handlers and their tests.

pub mod gateway_settings;
pub mod gateways;
pub mod logs;
