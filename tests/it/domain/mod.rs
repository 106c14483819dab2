//! Tables and property tests of the pure core, each against an independent way of finding the same answer.

mod anchors;
mod business_days;
mod calendar;
mod cost;
mod operations;
mod price;
mod schedule;
