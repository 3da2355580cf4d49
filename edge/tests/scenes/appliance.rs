//! The appliance's other screens, as the service would show them on an afternoon in January.

use chrono::DateTime;
use imaging::grey::{GreyImage, Pixels};
use ndarray::Array2;
use scanside_edge::controls::{Action, Verdict};
use scanside_edge::finding::ImageSource;
use scanside_edge::presentation::cases::{Lack, news, without_result_view};
use scanside_edge::presentation::faults::{FaultKind, fault_view};
use scanside_edge::presentation::{no_model_view, notices, status};
use scanside_edge::screens::{
    ApplianceMarks, CaseMarks, CaseRow, CasesView, Edges, FaultView, HeatMark, IdleView, ModelRow, NoticeView,
    OutboxMark, ResultState, ResultView, SeriesView, SliceView, WorkStep, WorkingView,
};
use scanside_edge::store::cases::{CaseKind, CaseRecord, ImageCounts};
use scanside_edge::store::images::GivenUp;
use scanside_edge::store::privacy::Person;
use scanside_edge::text::words::Words;

use crate::scenes::{self, ellipse};

/// A drawn slice through a chest, 512 x 512, 8 bit; `height` 0..=1 moves from the apex down, `spot` sets a dense place.
pub fn slice(height: f32, spot: f32) -> GreyImage {
    let pixels = Array2::from_shape_fn((512, 512), |(y, x)| {
        let (v, u) = (y as f32 / 512.0, x as f32 / 512.0);
        slice_grey(u, v, height, spot).clamp(0.0, 255.0) as u8
    });
    GreyImage::new(Pixels::U8(pixels), 8)
}

fn slice_grey(u: f32, v: f32, height: f32, spot: f32) -> f32 {
    let body = ellipse(u, v, [0.5, 0.52, 0.44, 0.32], 0.05);
    let wide = 0.1 + 0.07 * height;
    let lungs = ellipse(u, v, [0.31, 0.5, wide, 0.22], 0.1).max(ellipse(u, v, [0.69, 0.5, wide, 0.22], 0.1));
    let heart = ellipse(u, v, [0.54, 0.47, 0.04 + 0.08 * height, 0.1], 0.2);
    let spine = ellipse(u, v, [0.5, 0.72, 0.045, 0.055], 0.4);
    let aorta = ellipse(u, v, [0.56, 0.66, 0.025, 0.025], 0.3);
    let vessels = ((u * 61.0).sin() * (v * 53.0 + height * 9.0).sin()).max(0.0).powi(6);
    let dense = ellipse(u, v, [0.74, 0.56, 0.06, 0.05], 1.2) * spot;
    let tissue = 128.0 * body + 70.0 * spine + 24.0 * heart + 26.0 * aorta;
    tissue - lungs * (1.0 - heart) * (112.0 - 60.0 * vessels - 95.0 * dense)
}

/// Five slices, the one with the densest place first.
pub fn slices() -> Vec<GreyImage> {
    let heights = [(0.62, 1.0), (0.65, 0.9), (0.58, 0.8), (0.7, 0.5), (0.35, 0.3)];
    heights.iter().map(|(height, spot)| slice(*height, *spot)).collect()
}

/// A well wired appliance at work.
pub fn edges(words: &Words) -> Edges {
    Edges {
        model: "chest-xray 1.4.0".to_owned(),
        engine: "INT8 cpu".to_owned(),
        status: status(words.status.ready, 0, words),
        time: "14:32".to_owned(),
        marks: ApplianceMarks {
            outbox: Some(OutboxMark::Sent),
            ..ApplianceMarks::default()
        },
        keys: Action::ALL.to_vec(),
        ..Edges::default()
    }
}

/// As the default privacy level lets them in; one image names nobody.
const PATIENTS: [&str; 5] = ["A. M. · …042", "J. P. D. · …118", "F. O. · …907", "", "R. S. · …265"];

fn row(words: &Words, index: usize) -> CaseRow {
    let labels = &words.labels;
    let (seen, agreed, disagreed) = (
        CaseMarks {
            acknowledged: true,
            ..CaseMarks::default()
        },
        Some(Verdict::Agree),
        Some(Verdict::Disagree),
    );
    let kinds = [
        (
            ResultState::Flagged,
            (words.results.flagged)(labels.viral_pneumonia),
            CaseMarks::default(),
        ),
        (
            ResultState::NoFindingFlagged,
            words.results.no_finding_flagged.to_owned(),
            seen,
        ),
        (
            ResultState::Uncertain,
            words.results.uncertain.to_owned(),
            CaseMarks {
                verdict: disagreed,
                ..seen
            },
        ),
        (
            ResultState::NotReadable,
            words.results.not_readable.to_owned(),
            CaseMarks::default(),
        ),
        (
            ResultState::Flagged,
            (words.results.flagged)(labels.covid19),
            CaseMarks {
                verdict: agreed,
                ..seen
            },
        ),
        (
            ResultState::NoFindingFlagged,
            words.results.no_finding_flagged.to_owned(),
            CaseMarks::default(),
        ),
        (
            ResultState::NoModel,
            words.results.no_model.to_owned(),
            CaseMarks::default(),
        ),
    ];
    let (state, headline, marks) = kinds[index % kinds.len()].clone();
    let outbox = match index {
        0 => OutboxMark::Waiting,
        3 => OutboxMark::Unsent(1),
        _ => OutboxMark::Sent,
    };
    let short = match (state, index % 7) {
        (ResultState::Flagged, 0) => labels.viral_pneumonia.to_owned(),
        (ResultState::Flagged, _) => labels.covid19.to_owned(),
        _ => headline.clone(),
    };
    CaseRow {
        state,
        headline,
        short,
        case_id: format!("{:04}", 412 - index),
        patient: PATIENTS[index % PATIENTS.len()].to_owned(),
        time: format!("14:{:02}", 31 - 3 * (index % 10)),
        marks: CaseMarks {
            outbox: Some(outbox),
            ..marks
        },
    }
}

/// Cases, the newest first.
pub fn rows(words: &Words, count: usize) -> Vec<CaseRow> {
    (0..count).map(|index| row(words, index)).collect()
}

/// Nothing to do, with two models, one of them with thresholds of this site.
pub fn idle(words: &Words) -> IdleView {
    IdleView {
        date: "2026-01-31".to_owned(),
        models: vec![
            ModelRow {
                name: "chest-xray 1.4.0".to_owned(),
                on_trial: false,
                site_thresholds: Some("2026-11-20".to_owned()),
            },
            ModelRow {
                name: "chest-ct 0.9.2".to_owned(),
                on_trial: true,
                site_thresholds: None,
            },
        ],
        today: [38, 6],
        unacknowledged: 1,
        last: rows(words, 12),
        edges: Edges {
            marks: ApplianceMarks {
                site_thresholds: true,
                outbox: Some(OutboxMark::Waiting),
                heat: None,
            },
            ..edges(words)
        },
    }
}

/// The first morning.
pub fn idle_empty(words: &Words) -> IdleView {
    IdleView {
        models: idle(words).models.split_off(1),
        today: [0, 0],
        unacknowledged: 0,
        last: Vec::new(),
        edges: Edges {
            marks: ApplianceMarks::default(),
            ..edges(words)
        },
        ..idle(words)
    }
}

/// A series at work, with others behind it, on a warm day.
pub fn working<'a>(words: &Words, image: Option<&'a GreyImage>) -> WorkingView<'a> {
    WorkingView {
        case_id: "0413".to_owned(),
        case_details: format!("{} · CT", (words.common.years)(61)),
        image,
        step: WorkStep::Model,
        slices: Some([47, 128]),
        behind: 3,
        urgent: 1,
        edges: Edges {
            model: "chest-ct 0.9.2".to_owned(),
            status: status(words.status.working, 3, words),
            marks: ApplianceMarks {
                site_thresholds: false,
                outbox: Some(OutboxMark::Unsent(12)),
                heat: Some(HeatMark {
                    celsius: 78,
                    slowed: true,
                }),
            },
            ..edges(words)
        },
    }
}

/// An image that just arrives.
pub fn receiving(words: &Words) -> WorkingView<'static> {
    WorkingView {
        step: WorkStep::Receiving,
        slices: None,
        behind: 0,
        urgent: 0,
        image: None,
        ..working(words, None)
    }
}

/// The list in the middle of many cases.
pub fn cases(words: &Words) -> CasesView {
    CasesView {
        rows: rows(words, 20),
        chosen: 9,
        position: [10, 1234],
        edges: edges(words),
    }
}

/// A result as somebody leafs through older ones, at a site with its own thresholds, when a new one comes.
pub fn browsed<'a>(scene: &'a scenes::Scene, words: &'static Words) -> ResultView<'a> {
    let newest = CaseRow {
        case_id: "0450".to_owned(),
        ..row(words, 0)
    };
    ResultView {
        position: Some([38, 412]),
        case_time: "13:05".to_owned(),
        marks: CaseMarks {
            acknowledged: true,
            verdict: Some(Verdict::Disagree),
            outbox: Some(OutboxMark::Sent),
        },
        site_thresholds: Some("2026-11-20".to_owned()),
        edges: Edges {
            marks: ApplianceMarks {
                site_thresholds: true,
                outbox: Some(OutboxMark::Unsent(3)),
                heat: None,
            },
            news: Some(news(&newest, words)),
            ..edges(words)
        },
        ..scene.view_in(words.language)
    }
}

/// The result of a series: the heat of a radiograph on its densest slice, the top five below.
pub fn series<'a>(scene: &'a scenes::Scene, slices: &'a [GreyImage], words: &'static Words) -> ResultView<'a> {
    let mut view = scene.view_in(words.language);
    // Of the slice that is shown the strip says what the bar says; the others weigh less.
    let most = view
        .bars
        .iter()
        .find(|bar| bar.emphasised)
        .map_or(0.0, |bar| bar.probability);
    let shares = [(84, 1.0), (85, 0.97), (83, 0.94), (88, 0.78), (41, 0.46)];
    let top = shares.iter().zip(slices).map(|((number, share), image)| SliceView {
        number: *number,
        probability: share * most,
        image: Some(image),
    });
    view.image = slices.first();
    if let Some(heatmap) = &mut view.heatmap {
        heatmap.field = imaging::preprocess::Rect {
            left: 0.0,
            top: 0.0,
            width: 512.0,
            height: 512.0,
        };
    }
    view.series = Some(SeriesView {
        slices: top.collect(),
        shown: 0,
        of: 128,
    });
    view.reasons.insert(0, (words.results.top_slices)("84, 85, 83, 88, 41"));
    view.case_details = format!("{} · {} · CT", PATIENTS[1], (words.common.years)(61));
    view.edges = Edges {
        model: "chest-ct 0.9.2".to_owned(),
        ..edges(words)
    };
    view
}

/// A knee, on an appliance that knows chests.
pub fn no_model<'a>(image: &'a GreyImage, words: &'static Words) -> ResultView<'a> {
    let mut source = ImageSource::undecoded("phantom_0413.dcm".to_owned(), 0);
    source.modality = Some("DX".to_owned());
    source.body_part = Some("KNEE".to_owned());
    source.age_years = Some(54.0);
    ResultView {
        edges: edges(words),
        ..no_model_view(&source, Some(image), "0413", words)
    }
}

/// An image on which the model failed again and again.
pub fn given_up(words: &'static Words) -> ResultView<'static> {
    let mut source = ImageSource::undecoded("phantom_0414.dcm".to_owned(), 0);
    source.modality = Some("DX".to_owned());
    source.age_years = Some(54.0);
    let time = DateTime::UNIX_EPOCH;
    let case = CaseRecord {
        id: 1,
        number: "0414".to_owned(),
        kind: CaseKind::Study,
        opened: time,
        received: time,
        changed: time,
        patient: Person::default(),
        sex: None,
        age_years: None,
        modality: None,
        body_part: None,
        study_uid: None,
        series_uid: None,
        images: ImageCounts::default(),
        summary: None,
        latency_ms: None,
        acknowledged: None,
        opinion: None,
        settled: None,
        unsent: 0,
    };
    ResultView {
        edges: edges(words),
        ..without_result_view(&case, &source, Lack::GivenUp(GivenUp::ModelFailed), words)
    }
}

/// A model on its way.
pub fn update(words: &Words) -> NoticeView {
    NoticeView {
        model: "chest-xray 1.4.0".to_owned(),
        time: "14:32".to_owned(),
        ..notices::receiving(12_100_000, 18_400_000, true, words)
    }
}

/// Each fault, as an engineer finds it.
pub fn fault(kind: FaultKind, words: &Words) -> FaultView {
    let edges = Edges {
        marks: ApplianceMarks::default(),
        keys: Vec::new(),
        ..edges(words)
    };
    let detail =
        "state /var/lib/scanside: cannot write results/2026-01-31-0413.json: Read-only file system (os error 30)";
    fault_view(kind, "14:32", detail, words, edges)
}
