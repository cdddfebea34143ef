//! Log push: logs leave in batches, as gzipped lines of JSON, for a bucket or an endpoint of the operator's. Batches are made and sent
//! once a minute; where they stand is in the database, so that any isolate goes on.

pub mod batch;
pub mod line;
pub mod send_worker;
