//! Property tests of the pure core, each against an independent way of finding the same answer.

mod calendar;
mod operations;
mod price;
mod schedule;
