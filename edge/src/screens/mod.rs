//! What the display shows.
//!
//! A screen takes plain values ([`ResultView`]) and any `DrawTarget`. One set of layout rules ([`layout`]) fills every
//! size from 320 x 240 to 1280 x 800.

mod banner;
mod column;
pub mod layout;
mod notice;
mod painter;
pub mod palette;
mod panels;
mod result;
mod sentences;
mod shapes;
mod status_line;
mod view;

pub use notice::{NoticeScreen, NoticeView, Tone};
pub use result::{Page, ResultScreen};
pub use status_line::StatusLine;
pub use view::{Bar, HeatmapView, ResultState, ResultView};
