//! The integration tests: one binary, a folder for each part.

mod sandbox;
