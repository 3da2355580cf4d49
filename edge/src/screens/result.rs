//! The result screen.

use std::convert::Infallible;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::pixelcolor::Rgb888;
use imaging::colormap::Colormap;
use imaging::overlay::OverlayTable;

use super::layout::Layout;
use super::painter::{Ink, Nothing, Painter};
use super::panels::{self, HeatColours};
use super::{ResultView, banner, palette};
use crate::text::{Fonts, words};

/// Lines that the next step may take on the first page, and on the others.
const NEXT_STEP_LINES: usize = 2;
const MORE_NEXT_STEP_LINES: usize = 4;

/// A page of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Image, overlay, column of words.
    Pictures,
    /// Column of words and a panel of words, each half the screen.
    Columns,
    /// One panel of words.
    Words,
}

/// Draws results; keeps its fonts and tables from one to the next.
pub struct ResultScreen {
    fonts: Fonts,
    heat: HeatColours,
}

impl Default for ResultScreen {
    fn default() -> Self {
        Self::new()
    }
}

impl ResultScreen {
    /// A screen with Noto Sans and viridis.
    pub fn new() -> Self {
        let map = Colormap::viridis();
        let scale = map.colours().map(|[red, green, blue]| Rgb888::new(red, green, blue));
        Self {
            fonts: Fonts::noto_sans(),
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
        let pages = self.pages(view, target.size());
        let place = self.place(view, target.size(), page);
        let layout = &place.layout;
        target.clear(palette::GROUND)?;
        let mut painter = self.painter(target);
        painter.status_line(view.status_line(), layout)?;
        match page {
            Page::Pictures => {
                painter.panels(view, layout, &self.heat)?;
                painter.column(view, &view.reasons, layout)?;
            }
            Page::Columns => {
                painter.column(view, column_reasons(view), layout)?;
                painter.words_panel(view, layout)?;
            }
            Page::Words => painter.words_panel(view, layout)?,
        }
        painter.banner(view, layout, &place.next_step)?;
        let number = pages.iter().position(|one| *one == page).unwrap_or(0) + 1;
        painter.footer(view, layout, [number, pages.len()])
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
        let mut painter = self.painter(&mut nothing);
        let Ok(()) = draw(&mut painter);
        painter.left_out
    }

    fn place(&self, view: &ResultView, screen: Size, page: Page) -> Place {
        let most = match page {
            Page::Pictures => NEXT_STEP_LINES,
            Page::Columns | Page::Words => MORE_NEXT_STEP_LINES,
        };
        // The banner's height follows the number of lines, and its width does not.
        let (next_step, all) = banner::next_step_lines(view, &self.fonts, &Layout::new(screen, 1), most);
        let layout = Layout::new(screen, next_step.len().max(1) as u32);
        Place {
            layout: match page {
                Page::Pictures => layout,
                Page::Columns => layout.columns(),
                Page::Words => layout.words_only(),
            },
            next_step,
            next_step_cut: !all,
        }
    }

    fn painter<'a, D>(&'a self, target: &'a mut D) -> Painter<'a, D> {
        Painter {
            target,
            fonts: &self.fonts,
            left_out: false,
        }
    }
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

impl<D: DrawTarget<Color = Rgb888>> Painter<'_, D> {
    /// Disclaimer on the left; on the right where the image came from, or the code if the banner had no room for it,
    /// and the page's number if there are several.
    fn footer(&mut self, view: &ResultView, layout: &Layout, [page, pages]: [usize; 2]) -> Result<(), D::Error> {
        let area = layout.footer;
        let middle = area.top_left.y + area.size.height as i32 / 2;
        let right = area.top_left.x + area.size.width as i32;
        let bold = Ink::bold(layout.sizes.small).coloured(palette::MUTED);
        let end = self.write(words::DISCLAIMER, area.top_left.x, middle, area.size.width as i32, bold)?;
        let right = if pages > 1 {
            let ink = Ink::bold(layout.sizes.small);
            self.write_to(&words::page(page, pages), right, middle, right - end, ink)? - layout.gap
        } else {
            right
        };
        let room = right - end - 2 * layout.gap;
        let muted = Ink::muted(layout.sizes.small);
        let (words, ink) = match &view.code {
            Some(code) if !banner::code_fits(view, self.fonts, layout) => {
                (code, muted.coloured(palette::accent(view.state)))
            }
            _ => (&view.source, muted),
        };
        self.write_to(words, right, middle, room, ink).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screens::{Bar, ResultState};

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
            case_details: "PA".to_owned(),
            time: "14:32".to_owned(),
            model: "chest-xray 1.4.0".to_owned(),
            engine: "INT8 cpu".to_owned(),
            status: "ready".to_owned(),
            healthy: true,
            source: "a.dcm".to_owned(),
        }
    }

    /// Draws the words of a page.
    type Draw<'a> = dyn Fn(&mut Painter<'_, Nothing>, Page, &Layout) -> Result<(), Infallible> + 'a;

    #[test]
    fn every_sentence_and_bar_stands_whole_on_some_page_of_the_smallest_screen() {
        let (screen, size) = (ResultScreen::new(), Size::new(320, 240));
        let cases = (1..=4).map(|reasons| view(ResultState::Uncertain, reasons, 0));
        let refused = (1..=4).map(|steps| view(ResultState::NotReadable, steps.min(3), steps));
        for view in cases.chain(refused) {
            let pages = screen.pages(&view, size);
            let holds = |draw: &Draw| {
                pages.iter().any(|page| {
                    let layout = screen.place(&view, size, *page).layout;
                    !screen.leaves_out(|painter| draw(painter, *page, &layout))
                })
            };
            let words = |painter: &mut Painter<'_, Nothing>, page, layout: &Layout| match page {
                Page::Pictures if !view.what_to_do.is_empty() => painter.words_panel(&view, layout),
                Page::Pictures => painter.column(&view, &view.reasons, layout),
                Page::Columns | Page::Words => painter.words_panel(&view, layout),
            };
            let column = |painter: &mut Painter<'_, Nothing>, page, layout: &Layout| match page {
                Page::Pictures => painter.column(&view, &view.reasons, layout),
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
