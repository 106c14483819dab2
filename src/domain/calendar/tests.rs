//! Tests of calendar: placeholder.
