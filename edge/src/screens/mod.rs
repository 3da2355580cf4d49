//! What the display shows.
//!
//! A screen takes plain values (a [`View`]) and any `DrawTarget`; it knows nothing of the service. One set of layout
//! rules ([`layout`]) fills every size from 320 x 240 to 1280 x 800. [`Screens`] draws all of them in one language; a
//! [`Dimmed`] target shows them at night, and [`beat`] keeps a mark moving so that a frozen screen is seen.
//!
//! ```
//! use std::time::Duration;
//! use embedded_graphics::geometry::Size;
//! use hardware::display::Canvas;
//! use scanside_edge::screens::{Dimmed, IdleView, Screens, View, beat};
//! use scanside_edge::text::words::Language;
//!
//! let screens = Screens::new(Language::French);
//! let mut canvas = Canvas::new(Size::new(800, 480));
//! let mut night = Dimmed::new(&mut canvas);
//! screens.draw(View::Idle(&IdleView::default()), &mut night)?;
//! beat(&mut night, Duration::from_millis(1500))?;
//! # Ok::<(), std::convert::Infallible>(())
//! ```

mod banner;
mod cases;
mod column;
mod fault;
mod footer;
mod idle;
pub mod layout;
mod marks;
mod night;
mod notice;
mod painter;
pub mod palette;
mod panels;
mod result;
mod rows;
mod sentences;
mod shapes;
mod status_line;
mod strip;
mod view;
mod working;

use std::rc::Rc;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::pixelcolor::Rgb888;

use layout::Layout;
use painter::{Lettering, Nothing, Painter};

use crate::text::words::Language;

pub use cases::case_rows;
pub use night::{Dimmed, dimmed};
pub use notice::{NoticeScreen, NoticeView, Tone};
pub use result::{Page, ResultScreen};
pub use status_line::beat;
pub use view::{
    ApplianceMarks, Bar, CaseMarks, CaseRow, CasesView, Edges, FaultView, HeatMark, HeatmapView, IdleView, ModelRow,
    News, OutboxMark, ResultState, ResultView, SeriesView, SliceView, View, WorkStep, WorkingView,
};

/// Draws every screen in one language; keeps fonts and tables from one to the next.
pub struct Screens {
    lettering: Rc<Lettering>,
    result: ResultScreen,
}

impl Screens {
    /// Screens in a language.
    #[must_use]
    pub fn new(language: Language) -> Self {
        let lettering = Rc::new(Lettering::new(language));
        Self {
            result: ResultScreen::with(Rc::clone(&lettering)),
            lettering,
        }
    }

    /// Draws a screen over the whole target.
    ///
    /// # Errors
    /// What the target says.
    pub fn draw<D>(&self, view: View<'_>, target: &mut D) -> Result<(), D::Error>
    where
        D: DrawTarget<Color = Rgb888> + OriginDimensions,
    {
        let size = target.size();
        target.clear(palette::GROUND)?;
        self.paint(view, size, &mut self.lettering.on(target))
    }

    /// The pages and looks of a result, for its button and its tests.
    #[must_use]
    pub fn result(&self) -> &ResultScreen {
        &self.result
    }

    /// Lines that would be cut at a size because they are longer than their room.
    #[must_use]
    pub fn cut(&self, view: View<'_>, size: Size) -> Vec<String> {
        let mut nothing = Nothing;
        let mut painter = self.lettering.on(&mut nothing);
        let Ok(()) = self.paint(view, size, &mut painter);
        painter.cut
    }

    fn paint<D>(&self, view: View<'_>, size: Size, painter: &mut Painter<'_, D>) -> Result<(), D::Error>
    where
        D: DrawTarget<Color = Rgb888>,
    {
        let layout = Layout::new(size, 1);
        match view {
            View::Idle(view) => painter.idle(view, &layout),
            View::Working(view) => painter.working(view, &layout),
            View::Result(view, page) => self.result.paint(view, page, size, painter),
            View::Cases(view) => painter.cases(view, &layout),
            View::Notice(view) => painter.notice(view, &layout),
            View::Fault(view) => painter.fault(view, &layout),
        }
    }
}

impl std::fmt::Debug for Screens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Screens")
            .field("language", &self.lettering.words.language)
            .finish_non_exhaustive()
    }
}
