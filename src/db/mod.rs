//! The database as bound SQL and rows, and what every table needs of it.

pub mod audit;
pub mod bucket;
pub mod databases;
pub mod pace;
pub mod put_aside;
pub mod store;
pub mod whose;
pub mod write_once;
