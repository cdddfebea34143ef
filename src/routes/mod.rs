//! Dynamic routes: graphs that decide which model a request goes to. Here is what needs no runtime: the conditions, the graph as it is
//! stored and checked, and the weights that learn. <https://developers.cloudflare.com/ai-gateway/features/dynamic-routing/>

pub mod asked;
pub mod condition;
pub mod deployed;
pub mod graph;
pub mod learn;
pub mod walk;
