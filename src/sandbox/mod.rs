//! The pretend outside world.
