//! What the jobs remember: their runs, whose turn an occurrence is, which daemons live, and what is removed after a while.

pub mod housekeeping;
pub mod instances;
pub mod occurrences;
pub mod runs;
