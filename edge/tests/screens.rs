//! Result screens against recorded pictures.
//!
//! `SCANSIDE_RECORD=1 cargo test -p scanside-edge --test screens` records them anew; look at every picture before it is
//! committed. Differing pictures are written to the build's temporary folder, named in the failure.

#[path = "scenes/appliance.rs"]
mod appliance;
mod pictures;
mod scenes;

use std::collections::BTreeSet;

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::prelude::{OriginDimensions, PointsIter};
use embedded_graphics::primitives::Rectangle;
use hardware::display::Canvas;
use imaging::grey::GreyImage;
use pictures::{SIZES, compare};
use scanside_edge::presentation::faults::FaultKind;
use scanside_edge::screens::{
    Dimmed, Page, ResultScreen, ResultView, Screens, View, case_rows, layout::Layout, palette,
};
use scanside_edge::text::words::{Language, Words};

fn drawn(view: &ResultView, size: Size) -> Canvas {
    let mut canvas = Canvas::new(size);
    ResultScreen::new().draw(view, &mut canvas).expect("infallible");
    canvas
}

fn drawn_page(view: &ResultView, page: Page, size: Size) -> Canvas {
    let mut canvas = Canvas::new(size);
    let drawn = ResultScreen::new().draw_page(view, page, &mut canvas);
    drawn.expect("infallible");
    canvas
}

#[test]
fn screens_look_as_recorded() {
    let mut failures = Vec::new();
    for scene in scenes::all() {
        for (width, height) in SIZES {
            let size = Size::new(width, height);
            let view = scene.view();
            let pages = ResultScreen::new().pages(&view, size);
            for (page, ending) in pages.iter().zip(["", "-page2", "-page3"]) {
                let name = format!("{}-{width}x{height}{ending}.png", scene.name);
                failures.extend(compare(&mut drawn_page(&view, *page, size), &name, size).err());
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_kind_of_result_looks_different() {
    let mut scenes = scenes::all();
    scenes.dedup_by_key(|scene| scene.view().state);
    assert_eq!(scenes.len(), 4, "one of each kind");
    let drawn: Vec<_> = scenes
        .iter()
        .map(|scene| drawn(&scene.view(), Size::new(800, 480)))
        .collect();
    for (index, one) in drawn.iter().enumerate() {
        for other in &drawn[index + 1..] {
            let differing = one
                .rgb()
                .iter()
                .zip(other.rgb())
                .filter(|(a, b)| a.abs_diff(**b) > 24)
                .count();
            assert!(differing > one.rgb().len() / 50, "{differing}");
        }
    }
}

/// Every text far too long for its place.
fn overfill(view: &mut ResultView) {
    let long = "Pneumonoultramicroscopicsilicovolcanoconiosis with a very long explanation ".repeat(3);
    let texts = [
        &mut view.headline,
        &mut view.next_step,
        &mut view.edges.model,
        &mut view.edges.engine,
        &mut view.edges.status,
        &mut view.source,
        &mut view.case_id,
        &mut view.case_details,
    ];
    texts.into_iter().for_each(|text| text.clone_from(&long));
    view.code = view.code.as_ref().map(|_| long.clone());
    view.bars = view.bars.iter().cycle().take(12).cloned().collect();
    view.bars.iter_mut().for_each(|bar| bar.label.clone_from(&long));
    view.reasons = vec![long.clone(); 5];
    view.what_to_do.iter_mut().for_each(|step| step.clone_from(&long));
}

/// The layout that was drawn: the one on whose banner's upper edge the state's accent lies.
fn layout_of(view: &ResultView, canvas: &Canvas, size: Size) -> Layout {
    let mut layouts = [1, 2, 3, 4].map(|lines| Layout::new(size, lines)).into_iter();
    let drawn = layouts.find(|layout| {
        let edge = layout.banner.top_left + Point::new(layout.banner.size.width as i32 / 2, 0);
        canvas.pixel(edge) == Some(palette::accent(view.state))
    });
    drawn.expect("a banner")
}

fn assert_ink_in_places(canvas: &Canvas, layout: &Layout, name: &str) {
    let [low, high] = layout.words();
    let places = [
        layout.status,
        layout.image,
        layout.image_caption,
        layout.heatmap,
        layout.heatmap_caption,
        low,
        high,
        layout.column,
        layout.banner,
        layout.footer,
    ];
    for at in Rectangle::new(Point::zero(), canvas.size()).points() {
        // The tick of a bar at its very end may stand a pixel beside the column.
        let inside = places.iter().any(|place| place.offset(1).contains(at));
        let clear = canvas.pixel(at) == Some(palette::GROUND);
        assert!(inside || clear, "{name}: ink at {at:?}");
    }
}

#[test]
fn no_text_leaves_its_place() {
    let scenes = scenes::all();
    for (width, height) in SIZES {
        let size = Size::new(width, height);
        for scene in &scenes {
            let (name, mut view) = (scene.name, scene.view());
            overfill(&mut view);
            for page in [Page::Pictures, Page::Plain, Page::Columns, Page::Words] {
                let canvas = drawn_page(&view, page, size);
                let layout = layout_of(&view, &canvas, size);
                let layout = match page {
                    Page::Pictures | Page::Plain => layout,
                    Page::Columns => layout.columns(),
                    Page::Words => layout.words_only(),
                };
                assert_ink_in_places(&canvas, &layout, &format!("{name} {width}x{height} {page:?}"));
            }
        }
    }
}

#[test]
fn only_small_screens_turn_pages() {
    let sentences = |count: usize| -> Vec<String> {
        let sentence = |n| format!("Sentence {n} of the list is as long as most of them are.");
        (1..=count).map(sentence).collect()
    };
    let screen = ResultScreen::new();
    for (width, height) in SIZES {
        let size = Size::new(width, height);
        for scene in scenes::all() {
            let name = scene.name;
            for count in 1..=4 {
                let mut view = scene.view();
                match view.what_to_do.is_empty() {
                    true => view.reasons = sentences(count),
                    false => view.what_to_do = sentences(count),
                }
                let pages = screen.pages(&view, size);
                assert_eq!(pages[0], Page::Pictures);
                let large = height >= 800 || height >= 480 && count <= 2;
                assert!(!large || pages.len() == 1, "{name} {width}x{height} {count}: {pages:?}");
                // A longer list never takes fewer pages.
                let mut more = view.clone();
                more.reasons.extend(sentences(9));
                assert!(
                    screen.pages(&more, size).len() >= pages.len(),
                    "{name} {width}x{height} {count}"
                );
            }
        }
    }
}

fn all_pages(view: &ResultView, size: Size) {
    for page in [Page::Pictures, Page::Plain, Page::Columns, Page::Words] {
        drawn_page(view, page, size);
    }
}

#[test]
fn long_words_and_missing_parts_are_survived_at_every_size() {
    let scenes = scenes::all();
    for (width, height) in [(320, 240), (333, 250), (801, 479), (1280, 720), (200, 100), (1, 1)] {
        for scene in &scenes {
            let mut view = scene.view();
            overfill(&mut view);
            view.bars.iter_mut().for_each(|bar| bar.probability = f32::NAN);
            all_pages(&view, Size::new(width, height));
            (view.image, view.heatmap) = (None, None);
            (view.bars, view.reasons, view.what_to_do) = (vec![], vec![], vec![]);
            all_pages(&view, Size::new(width, height));
        }
    }
}

/// Screens whose column has room for everything that these results say.
const ROOMY: [(u32, u32); 2] = [(800, 480), (1280, 800)];

/// The same view with another last letter in one reason.
fn with_other_end<'a>(view: &ResultView<'a>, index: usize) -> ResultView<'a> {
    let mut other = view.clone();
    let reason = &mut other.reasons[index];
    let at = reason.rfind(char::is_alphanumeric).expect("a word");
    let letter = if reason[at..].starts_with('o') { "e" } else { "o" };
    reason.replace_range(at..=at, letter);
    other
}

#[test]
fn reasons_stand_on_the_screen_to_their_last_letter() {
    for scene in scenes::all() {
        let view = scene.view();
        for (width, height) in ROOMY {
            let size = Size::new(width, height);
            for (index, reason) in view.reasons.iter().enumerate() {
                let [one, other] = [&view, &with_other_end(&view, index)].map(|view| drawn(view, size));
                assert!(one.rgb() != other.rgb(), "{} {width}x{height}: {reason}", scene.name);
            }
        }
    }
}

/// A picture of one of the appliance's other screens.
struct Shot {
    name: &'static str,
    size: (u32, u32),
    language: Language,
    night: bool,
}

const fn shot(name: &'static str, size: (u32, u32), language: Language) -> Shot {
    Shot {
        name,
        size,
        language,
        night: false,
    }
}

const fn at_night(name: &'static str, size: (u32, u32)) -> Shot {
    Shot {
        night: true,
        ..shot(name, size, Language::English)
    }
}

const SMALL: (u32, u32) = SIZES[0];
const MEDIUM: (u32, u32) = SIZES[1];
const REFERENCE: (u32, u32) = SIZES[2];
const LARGE: (u32, u32) = SIZES[3];

/// Every screen at the reference size, the smallest and the largest where they differ most, each language somewhere.
const SHOTS: [Shot; 28] = [
    shot("idle", REFERENCE, Language::English),
    shot("idle", SMALL, Language::Spanish),
    shot("idle", LARGE, Language::French),
    shot("idle-empty", MEDIUM, Language::English),
    shot("idle-empty", REFERENCE, Language::English),
    at_night("idle", REFERENCE),
    shot("working", REFERENCE, Language::English),
    shot("working", SMALL, Language::French),
    shot("receiving", MEDIUM, Language::Spanish),
    shot("receiving", REFERENCE, Language::English),
    shot("cases", REFERENCE, Language::English),
    shot("cases", SMALL, Language::Spanish),
    shot("browsed", REFERENCE, Language::English),
    shot("browsed", SMALL, Language::French),
    shot("plain", REFERENCE, Language::English),
    shot("series", REFERENCE, Language::English),
    shot("series", SMALL, Language::Spanish),
    shot("series", MEDIUM, Language::French),
    shot("series", LARGE, Language::English),
    shot("no-model", REFERENCE, Language::English),
    shot("no-model", SMALL, Language::French),
    shot("given-up", REFERENCE, Language::English),
    shot("given-up", SMALL, Language::French),
    shot("fault", REFERENCE, Language::English),
    shot("fault", SMALL, Language::French),
    shot("flagged", REFERENCE, Language::French),
    shot("uncertain", REFERENCE, Language::Spanish),
    at_night("flagged", REFERENCE),
];

/// Images and results that screens are made of.
struct Stock {
    scenes: Vec<scenes::Scene>,
    slices: Vec<GreyImage>,
    phantom: GreyImage,
}

impl Stock {
    fn new() -> Self {
        Self {
            scenes: scenes::all(),
            slices: appliance::slices(),
            phantom: scenes::phantom(),
        }
    }

    /// Calls `look` with a screen by its name.
    fn with_screen<R>(&self, name: &str, words: &'static Words, look: impl FnOnce(View<'_>) -> R) -> R {
        let Self {
            scenes,
            slices,
            phantom,
        } = self;
        let scene = |name: &str| scenes.iter().find(|scene| scene.name == name).expect("a scene");
        match name {
            "idle" => look(View::Idle(&appliance::idle(words))),
            "idle-empty" => look(View::Idle(&appliance::idle_empty(words))),
            "working" => look(View::Working(&appliance::working(words, slices.first()))),
            "receiving" => look(View::Working(&appliance::receiving(words))),
            "cases" => look(View::Cases(&appliance::cases(words))),
            "browsed" => look(View::Result(
                &appliance::browsed(scene("flagged"), words),
                Page::Pictures,
            )),
            "plain" => look(View::Result(&scene("flagged").view_in(words.language), Page::Plain)),
            "series" => look(View::Result(
                &appliance::series(scene("flagged"), slices, words),
                Page::Pictures,
            )),
            "no-model" => look(View::Result(&appliance::no_model(phantom, words), Page::Pictures)),
            "given-up" => look(View::Result(&appliance::given_up(words), Page::Pictures)),
            "update" => look(View::Notice(&appliance::update(words))),
            "fault" => look(View::Fault(&appliance::fault(FaultKind::StorageFails, words))),
            result => look(View::Result(&scene(result).view_in(words.language), Page::Pictures)),
        }
    }
}

#[test]
fn the_appliances_screens_look_as_recorded() {
    let (stock, mut failures) = (Stock::new(), Vec::new());
    for Shot {
        name,
        size: (width, height),
        language,
        night,
    } in SHOTS
    {
        let size = Size::new(width, height);
        let mut canvas = Canvas::new(size);
        let screens = Screens::new(language);
        stock.with_screen(name, language.words(), |view| {
            let Ok(()) = match night {
                true => screens.draw(view, &mut Dimmed::new(&mut canvas)),
                false => screens.draw(view, &mut canvas),
            };
        });
        let language = match language {
            Language::English => String::new(),
            other => format!("-{}", other.tag()),
        };
        let night = if night { "-night" } else { "" };
        let picture = format!("{name}{night}-{width}x{height}{language}.png");
        failures.extend(compare(&mut canvas, &picture, size).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The names of all screens.
fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = SHOTS.iter().map(|shot| shot.name).collect();
    names.extend(scenes::all().iter().map(|scene| scene.name));
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn no_text_is_cut_in_any_language_at_any_size() {
    let (stock, mut cut) = (Stock::new(), Vec::new());
    for language in Language::ALL {
        let screens = Screens::new(language);
        for (width, height) in SIZES {
            let size = Size::new(width, height);
            for name in names() {
                stock.with_screen(name, language.words(), |view| {
                    // What has no room on the first page of a result stands on one of the others.
                    let others: Vec<Vec<String>> = match view {
                        View::Result(result, _) => {
                            let pages = screens.result().pages(result, size);
                            let others = pages.into_iter().skip(1);
                            others
                                .map(|page| screens.cut(View::Result(result, page), size))
                                .collect()
                        }
                        _ => Vec::new(),
                    };
                    // A file's name is no text of ours.
                    let ours = screens
                        .cut(view, size)
                        .into_iter()
                        .filter(|text| !text.ends_with(".dcm"));
                    for text in ours {
                        if others.iter().all(|page| page.contains(&text)) {
                            cut.push(format!("{name} {width}x{height} {language:?}: {text}"));
                        }
                    }
                });
            }
            for kind in FaultKind::ALL {
                let view = appliance::fault(kind, language.words());
                for text in screens.cut(View::Fault(&view), size) {
                    cut.push(format!("{kind:?} {width}x{height} {language:?}: {text}"));
                }
            }
        }
    }
    assert!(cut.is_empty(), "{}", cut.join("\n"));
}

#[test]
fn only_a_fault_is_red() {
    let red = |canvas: &Canvas| {
        let pixels = canvas.rgb().chunks_exact(3);
        pixels
            .filter(|rgb| rgb[0] > 180 && rgb[1] < 110 && rgb[2] < 110)
            .count()
    };
    let (stock, screens) = (Stock::new(), Screens::new(Language::English));
    for name in names() {
        let mut canvas = Canvas::new(Size::new(800, 480));
        stock.with_screen(name, Language::English.words(), |view| {
            let Ok(()) = screens.draw(view, &mut canvas);
        });
        assert_eq!(red(&canvas) > 0, name == "fault", "{name}: {} red pixels", red(&canvas));
    }
}

#[test]
fn the_list_shows_as_many_cases_as_it_says() {
    let words = Language::English.words();
    for (width, height) in SIZES {
        let size = Size::new(width, height);
        let rows = case_rows(size);
        assert!((3..=16).contains(&rows), "{width}x{height}: {rows}");
        let draw = |chosen: usize| {
            let mut view = appliance::cases(words);
            view.rows = appliance::rows(words, rows);
            (view.chosen, view.position) = (chosen, [chosen + 1, rows]);
            let mut canvas = Canvas::new(size);
            let Ok(()) = Screens::new(Language::English).draw(View::Cases(&view), &mut canvas);
            let chosen = canvas
                .rgb()
                .chunks_exact(3)
                .filter(|rgb| **rgb == [0x1C, 0x2A, 0x3C])
                .count();
            (canvas.rgb().to_vec(), chosen)
        };
        let all: Vec<_> = (0..rows).map(draw).collect();
        for (index, (picture, chosen)) in all.iter().enumerate() {
            assert!(
                *chosen as u32 > width,
                "{width}x{height}: the chosen case {index} stands out"
            );
            assert!(all[index + 1..].iter().all(|(other, _)| other != picture));
        }
    }
}

/// The pictures of the clinic's manual.
fn pictures_of_the_manual() -> Vec<&'static str> {
    let manual = include_str!("../../docs/manual.md");
    let pictures = manual.split("src=\"../edge/tests/screens/").skip(1);
    pictures.filter_map(|rest| rest.split('"').next()).collect()
}

/// The clinic's manual shows every screen, and no picture that does not exist.
#[test]
fn the_manual_shows_every_screen() {
    let shown = pictures_of_the_manual();
    for picture in &shown {
        assert!(pictures::path(picture).is_file(), "{picture} does not exist");
    }
    let folder = pictures::path("").read_dir().expect("the pictures").flatten();
    let recorded: BTreeSet<String> = folder
        .filter_map(|entry| screen(&entry.file_name().to_string_lossy()))
        .collect();
    assert!(recorded.len() > 20, "{recorded:?}");
    for name in recorded.iter().map(String::as_str).chain(["idle-night"]) {
        let picture = format!("{name}-800x480.png");
        assert!(shown.contains(&picture.as_str()), "{picture} is not in docs/manual.md");
    }
}

/// The screen that a picture is of, by day: "flagged" of `flagged-night-800x480.png`.
fn screen(picture: &str) -> Option<String> {
    let is_size = |part: &str| {
        part.split_once('x')
            .is_some_and(|(width, _)| width.parse::<u32>().is_ok())
    };
    let parts: Vec<&str> = picture.strip_suffix(".png")?.split('-').collect();
    let size = parts.iter().position(|part| is_size(part))?;
    let name = parts[..size].join("-");
    Some(name.strip_suffix("-night").unwrap_or(&name).to_owned())
}

/// Two pages of paper: nobody at a scanner reads more.
#[test]
fn the_manual_is_short() {
    let manual = include_str!("../../docs/manual.md");
    let pictures = pictures_of_the_manual().len();
    // Without the tags of pictures.
    let words = manual
        .split('<')
        .map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    let words: usize = words
        .map(|text| text.split_whitespace().filter(|word| *word != "|").count())
        .sum();
    assert!(words < 850, "{words} words");
    assert!(pictures < 32, "{pictures} pictures");
}

#[test]
fn a_slice_has_the_same_probability_in_the_strip_and_in_its_bar() {
    let stock = Stock::new();
    stock.with_screen("series", Language::English.words(), |view| {
        let View::Result(view, _) = view else {
            panic!("a series is a result")
        };
        let strip = view.series.as_ref().expect("a strip");
        let bar = view.bars.iter().find(|bar| bar.emphasised).expect("a bar");
        assert_eq!(strip.slices[strip.shown].probability, bar.probability);
        assert!(strip.slices.iter().all(|slice| slice.probability <= bar.probability));
    });
}
