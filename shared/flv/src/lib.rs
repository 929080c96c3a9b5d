//! flv: being built.
