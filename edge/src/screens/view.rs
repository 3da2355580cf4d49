//! What the result screen shows, as plain values; whoever has a finding fills it in.

use imaging::grey::GreyImage;
use imaging::preprocess::Rect;
use ndarray::Array2;

use super::status_line::StatusLine;

/// One result, ready to be read: words are complete sentences or labels in the screen's language.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultView<'a> {
    /// Which of the four kinds of result; sets the banner's shape and colour.
    pub state: ResultState,
    /// The finding in words: "Flagged: COVID-19 pattern".
    pub headline: String,
    /// What the person should do now, one or two sentences.
    pub next_step: String,
    /// The stable code of an uncertain or unreadable result.
    pub code: Option<String>,
    /// The image, if it could be decoded.
    pub image: Option<&'a GreyImage>,
    /// Where the model looked.
    pub heatmap: Option<HeatmapView>,
    /// Probabilities, the most important first.
    pub bars: Vec<Bar>,
    /// Why the result is uncertain or the image not readable, or remarks such as "Quality good".
    pub reasons: Vec<String>,
    /// Steps that make the image readable; shown in place of the heatmap.
    pub what_to_do: Vec<String>,
    /// Number of the case: "0412".
    pub case_id: String,
    /// View, age, modality: "PA · 54 y · DX".
    pub case_details: String,
    /// Time of the result: "14:32".
    pub time: String,
    /// Name and version of the model: "chest-xray 1.4.0".
    pub model: String,
    /// What it ran on: "INT8 cpu".
    pub engine: String,
    /// The appliance's state: "ready · queue 0".
    pub status: String,
    /// Whether the appliance works; a fault is the only thing that is ever red.
    pub healthy: bool,
    /// Where the image came from: a file name.
    pub source: String,
}

impl ResultView<'_> {
    /// What stands above the result.
    #[must_use]
    pub fn status_line(&self) -> StatusLine<'_> {
        StatusLine {
            model: &self.model,
            engine: &self.engine,
            status: &self.status,
            healthy: self.healthy,
            time: &self.time,
        }
    }
}

/// The four kinds of result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResultState {
    /// Amber triangle.
    Flagged,
    /// Blue-grey circle.
    NoFindingFlagged,
    /// Violet diamond.
    Uncertain,
    /// White square.
    NotReadable,
}

/// A class activation map and where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatmapView {
    /// `[h,w]`, zero and above, any scale.
    pub cam: Array2<f32>,
    /// The network's field in pixels of the image (`PreprocessSpec::source_rect`).
    pub field: Rect,
    /// The class that it explains: "COVID-19".
    pub class: String,
}

/// One probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// The class in words.
    pub label: String,
    /// 0..=1.
    pub probability: f32,
    /// From where the class is flagged, 0..=1, if it can be.
    pub operating_point: Option<f32>,
    /// Whether this is what the banner speaks of; painted in the state's colour.
    pub emphasised: bool,
}
