//! Who may come in: rooms that exist, tokens that were used, addresses that take too much.
//!
//! Everything here is memory of one node, bounded by configuration, behind short locks that are
//! never held across an await; `shared` keeps it up to date with other nodes where there are some. The rules themselves are in `core::admission` and `core::token`; the
//! members of a room are the hub's. Nothing is stored for somebody who has proven nothing, except
//! the counters of an address.

pub mod addresses;
pub mod records;
pub mod replay;
pub mod shared;
pub mod warm_up;
