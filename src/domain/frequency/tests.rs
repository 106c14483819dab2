//! Tests of frequency: placeholder.
