//! Stories of money: what is charged when, what a fault does to it, and that it is never taken twice.

pub mod chaos;
mod dunning;
mod faults;
mod operator;
mod outages;
mod resting;
mod schedules;
