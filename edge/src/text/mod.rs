//! Anti-aliased text behind embedded-graphics' `TextRenderer`.
//!
//! - [`font`]: faces of the compiled-in Noto Sans, glyphs rasterised once and kept
//! - [`style`]: a face with its colours, which embedded-graphics' `Text` draws
//! - [`flow`]: text cut or wrapped to a measured width
//! - [`words`]: the fixed words of the screens

pub mod flow;
pub mod font;
pub mod style;
pub mod words;

pub use flow::{Room, Whole, ellipsize, whole, wrap};
pub use font::{Face, Fonts, Weight};
pub use style::TextStyle;
