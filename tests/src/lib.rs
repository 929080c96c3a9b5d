//! tests: being built.
