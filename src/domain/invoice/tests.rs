//! Tests of invoice: placeholder.
