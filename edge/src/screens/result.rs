//! The result screen.

use std::convert::Infallible;
use std::rc::Rc;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::pixelcolor::Rgb888;
use imaging::colormap::Colormap;
use imaging::overlay::OverlayTable;

use super::footer::{Keys, Remark};
use super::layout::Layout;
use super::painter::{Lettering, Nothing, Painter};
use super::panels::{self, HeatColours};
use super::{ResultView, banner, palette};
use crate::text::words::Language;

/// Lines that the next step may take on the first page, and on the others.
const NEXT_STEP_LINES: usize = 2;
const MORE_NEXT_STEP_LINES: usize = 4;

/// A page of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Image, overlay, column of words.
    Pictures,
    /// The same without heat: the eye compares it with the overlay at the same place.
    Plain,
    /// Column of words and a panel of words, each half the screen.
    Columns,
    /// One panel of words.
    Words,
}

/// Draws results; keeps its fonts and tables from one to the next.
pub struct ResultScreen {
    lettering: Rc<Lettering>,
    heat: HeatColours,
}

impl Default for ResultScreen {
    fn default() -> Self {
        Self::new()
    }
}

impl ResultScreen {
    /// A screen in English, with viridis.
    pub fn new() -> Self {
        Self::with(Rc::new(Lettering::new(Language::English)))
    }

    pub(super) fn with(lettering: Rc<Lettering>) -> Self {
        let map = Colormap::viridis();
        let scale = map.colours().map(|[red, green, blue]| Rgb888::new(red, green, blue));
        Self {
            lettering,
            heat: HeatColours {
                table: OverlayTable::new(&map),
                scale,
            },
        }
    }

    /// Draws the first page of a result over the whole target.
    ///
    /// # Errors
    /// The target's.
    pub fn draw<D>(&self, view: &ResultView, target: &mut D) -> Result<(), D::Error>
    where
        D: DrawTarget<Color = Rgb888> + OriginDimensions,
    {
        self.draw_page(view, Page::Pictures, target)
    }

    /// Draws one of the [`pages`](Self::pages) of a result over the whole target.
    ///
    /// # Errors
    /// The target's.
    pub fn draw_page<D>(&self, view: &ResultView, page: Page, target: &mut D) -> Result<(), D::Error>
    where
        D: DrawTarget<Color = Rgb888> + OriginDimensions,
    {
        let size = target.size();
        target.clear(palette::GROUND)?;
        self.paint(view, page, size, &mut self.lettering.on(target))
    }

    /// Draws a page on ground that is clear.
    pub(super) fn paint<D>(
        &self,
        view: &ResultView,
        page: Page,
        screen: Size,
        painter: &mut Painter<'_, D>,
    ) -> Result<(), D::Error>
    where
        D: DrawTarget<Color = Rgb888>,
    {
        let pages = self.pages(view, screen);
        let place = self.place(view, screen, page);
        let layout = &place.layout;
        painter.status_line(&view.edges, layout)?;
        match page {
            Page::Pictures | Page::Plain => {
                painter.panels(view, layout, &self.heat, page == Page::Plain)?;
                painter.column(view, &view.reasons, layout)?;
            }
            Page::Columns => {
                painter.column(view, column_reasons(view), layout)?;
                painter.words_panel(view, layout)?;
            }
            Page::Words => painter.words_panel(view, layout)?,
        }
        painter.banner(view, layout, &place.next_step)?;
        let (number, count) = (pages.iter().position(|one| *one == page).unwrap_or(0) + 1, pages.len());
        let code = view.code.as_deref();
        let code = code.filter(|_| !banner::code_fits(view, &self.lettering.fonts, layout));
        let remark = Remark {
            code: code.map(|code| (code, palette::accent(view.state))),
            source: &view.source,
            page: [number, count],
            keys: Keys::Result {
                looks: with_plain(pages, view).len() > 1,
                opinion: !view.bars.is_empty(),
            },
        };
        painter.footer(&view.edges, layout, remark)
    }

    /// What the button that changes the look shows, in turn: the result, the same without heat, its further pages.
    pub fn looks(&self, view: &ResultView, screen: Size) -> Vec<Page> {
        with_plain(self.pages(view, screen), view)
    }

    /// The pages that a result takes on a screen. There is one, unless the screen is too small for every sentence to
    /// stand whole and for every bar; the following pages hold all of them.
    pub fn pages(&self, view: &ResultView, screen: Size) -> Vec<Page> {
        let mut pages = vec![Page::Pictures];
        let place = self.place(view, screen, Page::Pictures);
        let column = self.leaves_out(|painter| painter.column(view, &view.reasons, &place.layout));
        let panel = panels::shows_words(view) && self.leaves_out(|painter| painter.words_panel(view, &place.layout));
        if !(column || panel || place.next_step_cut) {
            return pages;
        }
        let mut words = true;
        if column || view.what_to_do.is_empty() {
            pages.push(Page::Columns);
            let place = self.place(view, screen, Page::Columns);
            words = self.leaves_out(|painter| painter.words_panel(view, &place.layout));
        }
        pages.extend(words.then_some(Page::Words));
        pages
    }

    /// Whether what is drawn leaves something out.
    fn leaves_out(&self, draw: impl FnOnce(&mut Painter<'_, Nothing>) -> Result<(), Infallible>) -> bool {
        let mut nothing = Nothing;
        let mut painter = self.lettering.on(&mut nothing);
        let Ok(()) = draw(&mut painter);
        painter.left_out
    }

    fn place(&self, view: &ResultView, screen: Size, page: Page) -> Place {
        let most = match page {
            Page::Pictures | Page::Plain => NEXT_STEP_LINES,
            Page::Columns | Page::Words => MORE_NEXT_STEP_LINES,
        };
        // The banner's height follows the number of lines, and its width does not.
        let (next_step, all) = banner::next_step_lines(view, &self.lettering.fonts, &Layout::new(screen, 1), most);
        let lines = next_step.len().max(1) as u32;
        let layout = match view.series {
            Some(_) => Layout::with_strip(screen, lines),
            None => Layout::new(screen, lines),
        };
        Place {
            layout: match page {
                Page::Pictures | Page::Plain => layout,
                Page::Columns => layout.columns(),
                Page::Words => layout.words_only(),
            },
            next_step,
            next_step_cut: !all,
        }
    }
}

/// The pages with the look without heat behind the first.
fn with_plain(mut pages: Vec<Page>, view: &ResultView) -> Vec<Page> {
    if view.image.is_some() && view.heatmap.is_some() {
        pages.insert(1, Page::Plain);
    }
    pages
}

/// Where a page stands, with the lines of its banner.
struct Place {
    layout: Layout,
    next_step: Vec<String>,
    next_step_cut: bool,
}

/// The reasons in the column of words, unless they stand in the panel.
fn column_reasons<'a>(view: &'a ResultView) -> &'a [String] {
    if view.what_to_do.is_empty() { &[] } else { &view.reasons }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screens::{Bar, CaseMarks, Edges, ResultState};

    fn view(state: ResultState, reasons: usize, steps: usize) -> ResultView<'static> {
        let sentences = |count| -> Vec<String> {
            let sentence = |n| format!("Sentence {n} of the list is as long as most of them are.");
            (1..=count).map(sentence).collect()
        };
        let bar = Bar {
            label: "Viral pneumonia pattern".to_owned(),
            probability: 0.3,
            operating_point: Some(0.4),
            emphasised: false,
        };
        ResultView {
            state,
            headline: "Not sure".to_owned(),
            next_step: "Read without the model's suggestion. Call somebody who knows more. Write it down.".to_owned(),
            code: None,
            image: None,
            heatmap: None,
            bars: if steps == 0 { vec![bar; 3] } else { vec![] },
            reasons: sentences(reasons),
            what_to_do: sentences(steps),
            case_id: "0412".to_owned(),
            case_time: String::new(),
            case_details: "PA".to_owned(),
            series: None,
            position: None,
            marks: CaseMarks::default(),
            site_thresholds: None,
            source: "a.dcm".to_owned(),
            edges: Edges {
                model: "chest-xray 1.4.0".to_owned(),
                engine: "INT8 cpu".to_owned(),
                status: "ready".to_owned(),
                time: "14:32".to_owned(),
                ..Edges::default()
            },
        }
    }

    /// Every reason with its steps, and every doubt with every next step, in every language.
    fn spoken() -> Vec<ResultView<'static>> {
        let mut views = Vec::new();
        for words in Language::ALL.map(Language::words) {
            for (name, sentence) in words.reasons.texts() {
                let mut refused = view(ResultState::NotReadable, 0, 1);
                refused.headline = words.results.not_readable.to_owned();
                refused.next_step = words.results.step_not_readable.to_owned();
                refused.reasons = vec![sentence.clone()];
                let step = words.step(&name.replace('_', "-"));
                refused.what_to_do = [step, words.steps.clinician].map(str::to_owned).to_vec();
                let mut uncertain = view(ResultState::Uncertain, 0, 0);
                uncertain.headline = words.results.uncertain.to_owned();
                uncertain.next_step = words.results.step_uncertain.to_owned();
                uncertain.reasons = vec![sentence, words.reasons.unlike_training.to_owned()];
                views.extend([refused, uncertain]);
            }
        }
        views
    }

    /// Draws the words of a page.
    type Draw<'a> = dyn Fn(&mut Painter<'_, Nothing>, Page, &Layout) -> Result<(), Infallible> + 'a;

    #[test]
    fn every_sentence_and_bar_stands_whole_on_some_page_of_the_smallest_screen() {
        let (screen, size) = (ResultScreen::new(), Size::new(320, 240));
        let cases = (1..=4).map(|reasons| view(ResultState::Uncertain, reasons, 0));
        let refused = (1..=4).map(|steps| view(ResultState::NotReadable, steps.min(3), steps));
        for view in cases.chain(refused).chain(spoken()) {
            let pages = screen.pages(&view, size);
            let holds = |draw: &Draw| {
                pages.iter().any(|page| {
                    let layout = screen.place(&view, size, *page).layout;
                    !screen.leaves_out(|painter| draw(painter, *page, &layout))
                })
            };
            let words = |painter: &mut Painter<'_, Nothing>, page, layout: &Layout| match page {
                Page::Pictures | Page::Plain if !view.what_to_do.is_empty() => painter.words_panel(&view, layout),
                Page::Pictures | Page::Plain => painter.column(&view, &view.reasons, layout),
                Page::Columns | Page::Words => painter.words_panel(&view, layout),
            };
            let column = |painter: &mut Painter<'_, Nothing>, page, layout: &Layout| match page {
                Page::Pictures | Page::Plain => painter.column(&view, &view.reasons, layout),
                Page::Columns => painter.column(&view, column_reasons(&view), layout),
                Page::Words => {
                    painter.left_out = true;
                    Ok(())
                }
            };
            assert!(holds(&words), "{pages:?} {view:?}");
            assert!(holds(&column), "{pages:?} {view:?}");
            let next_step = pages.iter().any(|page| !screen.place(&view, size, *page).next_step_cut);
            assert!(next_step, "{pages:?} {view:?}");
        }
    }
}
