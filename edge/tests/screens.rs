//! Result screens against recorded pictures.
//!
//! `SCANSIDE_RECORD=1 cargo test -p scanside-edge --test screens` records them anew; look at every picture before it is
//! committed. Differing pictures are written to the build's temporary folder, named in the failure.

mod pictures;
mod scenes;

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::prelude::{OriginDimensions, PointsIter};
use embedded_graphics::primitives::Rectangle;
use hardware::display::Canvas;
use pictures::{SIZES, compare};
use scanside_edge::screens::{Page, ResultScreen, ResultView, layout::Layout, palette};

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
        &mut view.model,
        &mut view.engine,
        &mut view.status,
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
            for page in [Page::Pictures, Page::Columns, Page::Words] {
                let canvas = drawn_page(&view, page, size);
                let layout = layout_of(&view, &canvas, size);
                let layout = match page {
                    Page::Pictures => layout,
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
    for page in [Page::Pictures, Page::Columns, Page::Words] {
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
