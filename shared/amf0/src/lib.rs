//! amf0: being built.
