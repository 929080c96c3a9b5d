//! endpoint: being built.
