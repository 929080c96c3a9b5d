//! conf: being built.
