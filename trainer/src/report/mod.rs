//! What people read after training: plots as PNG, and one self-contained HTML page.
//!
//! | module | what it holds |
//! |---|---|
//! | [`plots`] | curves, confusion matrix, ROC, reliability diagram as PNG |
//! | [`html`] | the pieces of a page: headings, tables, pictures inside the file |
//! | [`sheet`] | images in a grid as PNG |
//! | [`training`] | the report of a training run |

pub mod html;
pub mod plots;
pub mod sheet;
pub mod training;
