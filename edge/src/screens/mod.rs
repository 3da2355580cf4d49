//! What the display shows.
//!
//! A screen takes plain values ([`ResultView`]) and any `DrawTarget`. One set of layout rules ([`layout`]) fills every
//! size from 320 x 240 to 1280 x 800.

mod banner;
mod column;
pub mod layout;
mod painter;
pub mod palette;
mod panels;
mod result;
mod shapes;
mod view;

pub use result::ResultScreen;
pub use view::{Bar, HeatmapView, ResultState, ResultView};
