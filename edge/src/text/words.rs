//! The fixed words of the screens; what depends on the result comes with the result.

/// The product.
pub const BRAND: &str = "SCANSIDE";
/// Stands on every result; the intended use in five words.
pub const DISCLAIMER: &str = "Triage aid - not a diagnosis";
/// Above the case number.
pub const CASE: &str = "Case";
/// Below the plain image.
pub const IMAGE: &str = "Image";
/// In place of an image that cannot be shown.
pub const NO_IMAGE: &str = "No image";
/// Below the overlay, the longest that fits.
pub const HEATMAP: [&str; 3] = ["Where the model looked", "Model looked here", "Heatmap"];
/// In place of a heatmap when there is none.
pub const NO_HEATMAP: &str = "No heatmap";
/// Left end of the colour scale.
pub const LOW: &str = "low";
/// Right end of the colour scale.
pub const HIGH: &str = "high";
/// Heading of the steps for an image that cannot be read.
pub const WHAT_TO_DO: &str = "What to do";
/// Heading of the reasons of a result that is in doubt.
pub const WHY: &str = "Why";
/// Heading of what else is known of a result.
pub const REMARKS: &str = "Remarks";
/// Explains the tick on the bars.
pub const OPERATING_POINT: &str = "flagged from here";

/// In place of sentences that stand on the next page.
#[must_use]
pub fn more(sentences: usize) -> String {
    format!("+ {sentences} more")
}

/// Which page this is, and of how many.
#[must_use]
pub fn page(number: usize, pages: usize) -> String {
    format!("{number}/{pages}")
}
