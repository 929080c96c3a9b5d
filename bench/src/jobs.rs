//! The jobs: each measures one thing and makes one table, with the goal beside the figure where there is one.

pub mod arrivals;
pub mod auto;
pub mod cost;
pub mod http;
pub mod latency;
pub mod memory;
pub mod peers;
pub mod scale;
pub mod slow;
