//! What generated images are worth to a classifier: the same network learns with and without them, from several seeds,
//! and is judged on the same real images of other patients.
//!
//! | module | what it holds |
//! |---|---|
//! | [`arms`] | which images each arm learns from, and for how long |
//! | [`compare`] | figures of each arm, and paired tests between them |
//! | [`report`] | the page that people read |

pub mod arms;
pub mod compare;
pub mod report;
