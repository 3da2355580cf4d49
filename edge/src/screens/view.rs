//! What the screens show, as plain values in the screen's language; whoever knows them fills them in.

use imaging::grey::GreyImage;
use imaging::preprocess::Rect;
use ndarray::Array2;

use super::NoticeView;
use super::result::Page;
use crate::controls::{Action, Verdict};

/// A screen with what it shows.
#[derive(Debug, Clone, Copy)]
pub enum View<'a> {
    /// Nothing to do.
    Idle(&'a IdleView),
    /// An image is examined.
    Working(&'a WorkingView<'a>),
    /// A result, one of its pages.
    Result(&'a ResultView<'a>, Page),
    /// The list of cases.
    Cases(&'a CasesView),
    /// A new model on its way, or none.
    Notice(&'a NoticeView),
    /// The appliance does not work.
    Fault(&'a FaultView),
}

/// What stands at the upper and the lower edge of every screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edges {
    /// Name and version of the model: "chest-xray 1.4.0".
    pub model: String,
    /// What it runs on: "INT8 cpu"; may be empty.
    pub engine: String,
    /// The appliance's state: "ready · queue 0".
    pub status: String,
    /// Whether the appliance does not work; a fault is the only thing that is ever red.
    pub faulty: bool,
    /// The time: "14:32".
    pub time: String,
    /// What else is to be known of the appliance.
    pub marks: ApplianceMarks,
    /// A result that came while another one is looked at.
    pub news: Option<News>,
    /// Which buttons there are, the most important first; the lower edge names them.
    pub keys: Vec<Action>,
}

/// Marks of the status line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApplianceMarks {
    /// Whether the operating points were set at this site.
    pub site_thresholds: bool,
    /// How the sending of results stands; absent if none are sent.
    pub outbox: Option<OutboxMark>,
    /// How warm it is; absent while that is no matter.
    pub heat: Option<HeatMark>,
}

/// Where results for the archive are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxMark {
    /// In the archive.
    Sent,
    /// On its way there.
    Waiting,
    /// So many are not, and were tried.
    Unsent(usize),
}

/// A temperature that is to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeatMark {
    /// In degrees Celsius.
    pub celsius: i32,
    /// Whether the processor is slowed for it.
    pub slowed: bool,
}

/// A result that came while another one is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Its kind.
    pub state: ResultState,
    /// "New: Flagged: COVID-19 pattern · case 0413", and the same in less and less room.
    pub words: Vec<String>,
}

/// What people did with a case, and where its result is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaseMarks {
    /// Somebody has seen it.
    pub acknowledged: bool,
    /// What a clinician found.
    pub verdict: Option<Verdict>,
    /// Whether the archive has it; absent if none does.
    pub outbox: Option<OutboxMark>,
}

/// One result, ready to be read: words are complete sentences or labels.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultView<'a> {
    /// Which kind of result; sets the banner's shape and colour.
    pub state: ResultState,
    /// The finding in words: "Flagged: COVID-19 pattern".
    pub headline: String,
    /// What the person should do now, one or two sentences.
    pub next_step: String,
    /// The stable code of an uncertain or unreadable result.
    pub code: Option<String>,
    /// The image, if it could be decoded; of a series the slice that is shown.
    pub image: Option<&'a GreyImage>,
    /// Where the model looked.
    pub heatmap: Option<HeatmapView>,
    /// The slices that the series was judged by, if it is one.
    pub series: Option<SeriesView<'a>>,
    /// Probabilities, the most important first.
    pub bars: Vec<Bar>,
    /// Why the result is uncertain or the image not readable, or remarks such as "Quality good".
    pub reasons: Vec<String>,
    /// Steps that make the image readable; shown in place of the heatmap.
    pub what_to_do: Vec<String>,
    /// Number of the case: "0412".
    pub case_id: String,
    /// When the result came, where that is not now: "14:32", or with the day; else empty.
    pub case_time: String,
    /// Patient, as far as the privacy level lets that in, view, age, modality: "H. M. · …042 · PA · 54 y · DX".
    pub case_details: String,
    /// Which case this is of how many, while somebody leafs through them.
    pub position: Option<[usize; 2]>,
    /// What people did with it.
    pub marks: CaseMarks,
    /// The day on which the operating points were set at this site, if they were: "2026-11-20".
    pub site_thresholds: Option<String>,
    /// Where the image came from: a file name.
    pub source: String,
    /// Upper and lower edge.
    pub edges: Edges,
}

/// The kinds of result.
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
    /// Light grey corners: no model is there for this kind of image.
    NoModel,
}

impl ResultState {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Flagged,
        Self::NoFindingFlagged,
        Self::Uncertain,
        Self::NotReadable,
        Self::NoModel,
    ];
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

/// The slices of a series that weigh most.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesView<'a> {
    /// The slices, the one that weighs most first.
    pub slices: Vec<SliceView<'a>>,
    /// Index of the one that is shown large.
    pub shown: usize,
    /// How many slices the series has.
    pub of: usize,
}

/// A slice.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceView<'a> {
    /// Its number in the series, from 1.
    pub number: usize,
    /// Probability of the series' finding in it, 0..=1.
    pub probability: f32,
    /// The slice itself, if it is at hand.
    pub image: Option<&'a GreyImage>,
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

/// The screen between results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdleView {
    /// The day: "2026-01-31".
    pub date: String,
    /// The models that serve.
    pub models: Vec<ModelRow>,
    /// Images since midnight, and how many of them were flagged.
    pub today: [usize; 2],
    /// Flagged results that nobody has acknowledged.
    pub unacknowledged: usize,
    /// The last results, the newest first; as many are shown as have room.
    pub last: Vec<CaseRow>,
    /// Upper and lower edge.
    pub edges: Edges,
}

/// A model that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    /// Name and version: "chest-xray 1.4.0".
    pub name: String,
    /// It serves, and nobody has confirmed it.
    pub on_trial: bool,
    /// The day on which its operating points were set at this site, if they were.
    pub site_thresholds: Option<String>,
}

/// A case in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseRow {
    /// Kind of its result.
    pub state: ResultState,
    /// The finding in words: "Flagged: COVID-19 pattern".
    pub headline: String,
    /// The same where room is short, beside its shape: "COVID-19 pattern".
    pub short: String,
    /// Its number.
    pub case_id: String,
    /// Whose it is, as far as the privacy level lets that in: "H. M. · …042"; else empty.
    pub patient: String,
    /// When: "14:32", or with the day where that is another.
    pub time: String,
    /// What people did with it.
    pub marks: CaseMarks,
}

/// The screen while an image is examined.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkingView<'a> {
    /// Number of the case.
    pub case_id: String,
    /// What is known of it: "PA · 54 y · DX".
    pub case_details: String,
    /// The image, once it is decoded.
    pub image: Option<&'a GreyImage>,
    /// What is done now.
    pub step: WorkStep,
    /// The slice at work and how many there are, of a series.
    pub slices: Option<[usize; 2]>,
    /// How many images wait behind it.
    pub behind: usize,
    /// How many of them are urgent.
    pub urgent: usize,
    /// Upper and lower edge.
    pub edges: Edges,
}

/// What is done with an image, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkStep {
    /// It arrives.
    Receiving,
    /// It is decoded.
    Reading,
    /// Its quality, and whether the model is for it.
    Checking,
    /// The model.
    Model,
}

/// The list of cases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CasesView {
    /// Neighbouring cases, the newest first.
    pub rows: Vec<CaseRow>,
    /// Index of the chosen one among them.
    pub chosen: usize,
    /// Which one that is of how many, from 1.
    pub position: [usize; 2],
    /// Upper and lower edge.
    pub edges: Edges,
}

/// The appliance does not work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultView {
    /// "The appliance does not work".
    pub headline: String,
    /// What failed.
    pub what: String,
    /// What helps, the first thing first.
    pub steps: Vec<String>,
    /// "since 14:32".
    pub since: String,
    /// What is certain nevertheless: "Images that were received are kept."
    pub assurance: String,
    /// What an engineer wants to know, in English; may be empty.
    pub detail: String,
    /// Upper and lower edge.
    pub edges: Edges,
}
