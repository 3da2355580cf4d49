//! Slots as a whole, on a folder whose power may fail.

mod pair;
mod power_cuts;
mod switch;
mod toy;
mod upload;
mod world;
