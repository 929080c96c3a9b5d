//! reactor: being built.
