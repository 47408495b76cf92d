"""Older names and forms: what scripts written for the Rust package of this name, and for its Rust API, call."""
