//! The display with the canvas that screens are drawn on, and what stands on it.

use std::time::Duration;

use embedded_graphics::geometry::{OriginDimensions, Size};
use hardware::display::{Canvas, Display, present};

use crate::screens::{
    CaseMarks, CasesView, Dimmed, Edges, FaultView, IdleView, NoticeView, Page, Screens, View, WorkingView, beat,
};
use crate::text::words::{Language, Words};

/// A screen with what it shows, as far as it tells one from another.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Between results.
    Idle(IdleView),
    /// An image is examined.
    Working(WorkingView<'static>),
    /// The list of cases.
    Cases(CasesView),
    /// An update.
    Notice(NoticeView),
    /// The appliance does not work.
    Fault(FaultView),
    /// A result.
    Case(Box<CaseShown>),
}

/// A result on the screen: all that may differ from one drawing of a loaded case to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseShown {
    /// Which loading of which case.
    pub loaded: u64,
    /// The page.
    pub page: Page,
    /// Upper and lower edge.
    pub edges: Edges,
    /// Which case of how many, while somebody leafs through them.
    pub position: Option<[usize; 2]>,
    /// What people did with it.
    pub marks: CaseMarks,
    /// When it was, while somebody leafs through them.
    pub time: String,
}

/// The display.
pub struct Surface {
    display: Option<Box<dyn Display>>,
    canvas: Canvas,
    screens: Screens,
    words: &'static Words,
    /// What stands there, and whether dimmed.
    shown: Option<(Shown, bool)>,
    problem: Option<String>,
}

impl Surface {
    /// A display, or none, in a language.
    #[must_use]
    pub fn new(display: Option<Box<dyn Display>>, language: Language) -> Self {
        let size = display.as_ref().map(|display| display.size()).unwrap_or_default();
        Self {
            display,
            canvas: Canvas::new(size),
            screens: Screens::new(language),
            words: language.words(),
            shown: None,
            problem: None,
        }
    }

    /// Whether anybody can see it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.display.is_some()
    }

    /// Its size in pixels.
    #[must_use]
    pub fn size(&self) -> Size {
        self.canvas.size()
    }

    /// What it speaks.
    #[must_use]
    pub fn words(&self) -> &'static Words {
        self.words
    }

    /// The screens.
    #[must_use]
    pub fn screens(&self) -> &Screens {
        &self.screens
    }

    /// Whether this stands there already.
    #[must_use]
    pub fn shows(&self, shown: &Shown, dimmed: bool) -> bool {
        self.shown
            .as_ref()
            .is_some_and(|(there, dim)| there == shown && *dim == dimmed)
    }

    /// Whether the result of a case stands there.
    #[must_use]
    pub fn shows_case(&self) -> bool {
        matches!(self.shown, Some((Shown::Case(_) | Shown::Cases(_), _)))
    }

    /// Draws what is no result, unless it stands there already.
    pub fn show(&mut self, shown: Shown, dimmed: bool) {
        if !self.is_there() || self.shows(&shown, dimmed) {
            return;
        }
        let view = match &shown {
            Shown::Idle(view) => View::Idle(view),
            Shown::Working(view) => View::Working(view),
            Shown::Cases(view) => View::Cases(view),
            Shown::Notice(view) => View::Notice(view),
            Shown::Fault(view) => View::Fault(view),
            // A result is drawn with its pictures.
            Shown::Case(_) => return,
        };
        draw(&self.screens, &mut self.canvas, view, dimmed);
        self.shown = Some((shown, dimmed));
        self.flush();
    }

    /// Draws a result with its pictures.
    pub fn show_case(&mut self, shown: CaseShown, view: View<'_>, dimmed: bool) {
        if !self.is_there() {
            return;
        }
        draw(&self.screens, &mut self.canvas, view, dimmed);
        self.shown = Some((Shown::Case(Box::new(shown)), dimmed));
        self.flush();
    }

    /// Moves the mark that tells a living screen from a frozen one; `now` is a steady time.
    pub fn beat(&mut self, now: Duration) {
        let Some((_, dimmed)) = self.shown else { return };
        if !self.display.as_ref().is_some_and(|display| display.shows_motion()) {
            return;
        }
        let Ok(()) = if dimmed {
            beat(&mut Dimmed::new(&mut self.canvas), now)
        } else {
            beat(&mut self.canvas, now)
        };
        self.flush();
    }

    fn flush(&mut self) {
        let Some(display) = &mut self.display else { return };
        // Results are stored; the display is tried again with the next change, and told once.
        let problem = present(&mut self.canvas, display.as_mut()).err().map(|e| e.to_string());
        if problem != self.problem {
            match &problem {
                Some(problem) => tracing::error!("{problem}"),
                None => tracing::info!("the display shows pictures again"),
            }
        }
        self.problem = problem;
    }
}

fn draw(screens: &Screens, canvas: &mut Canvas, view: View<'_>, dimmed: bool) {
    // A canvas takes every pixel.
    let Ok(()) = if dimmed {
        screens.draw(view, &mut Dimmed::new(canvas))
    } else {
        screens.draw(view, canvas)
    };
}

impl std::fmt::Debug for Surface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surface")
            .field("size", &self.canvas.size())
            .finish_non_exhaustive()
    }
}
