//! The display with the canvas that screens are drawn on, and what stands on it.
//!
//! A display may be missing at the start, and go and come back: it is looked for, and the service does its work
//! meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use embedded_graphics::geometry::{OriginDimensions, Size};
use hardware::display::{Canvas, Display, DisplayError, present};
use imaging::GreyImage;

use crate::screens::{
    CaseMarks, CasesView, Dimmed, Edges, FaultView, IdleView, NoticeView, Page, Screens, View, WorkingView, beat,
};
use crate::text::words::{Language, Words};

/// How often a display that is not there is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Opens the display, at the start and whenever it went away.
pub type OpenDisplay = Box<dyn FnMut() -> Result<Box<dyn Display>, DisplayError>>;

/// A screen with what it shows, as far as it tells one from another.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Between results.
    Idle(IdleView),
    /// An image is examined; with the image, once it is decoded.
    Working(WorkingView<'static>, Option<Picture>),
    /// The list of cases.
    Cases(CasesView),
    /// An update.
    Notice(NoticeView),
    /// The appliance does not work.
    Fault(FaultView),
    /// A result.
    Case(Box<CaseShown>),
}

/// An image that is the same as another one only if it is the very same.
#[derive(Debug, Clone)]
pub struct Picture(pub Arc<GreyImage>);

impl PartialEq for Picture {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
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
    open: Option<OpenDisplay>,
    display: Option<Box<dyn Display>>,
    looked: Option<Instant>,
    canvas: Canvas,
    screens: Screens,
    words: &'static Words,
    /// What stands there, and whether dimmed.
    shown: Option<(Shown, bool)>,
    /// When the mark that shows life was moved last.
    beaten: Option<Duration>,
    problem: Option<String>,
}

impl Surface {
    /// A display, or none, in a language; it is opened by [`look`](Self::look).
    #[must_use]
    pub fn new(open: Option<OpenDisplay>, language: Language) -> Self {
        Self {
            open,
            display: None,
            looked: None,
            canvas: Canvas::new(Size::zero()),
            screens: Screens::new(language),
            words: language.words(),
            shown: None,
            beaten: None,
            problem: None,
        }
    }

    /// Looks for the display, if it is not there and was not looked for just now.
    pub fn look(&mut self) {
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN);
        let Some(open) = self.open.as_mut().filter(|_| self.display.is_none() && is_due) else {
            return;
        };
        self.looked = Some(Instant::now());
        match open() {
            Ok(display) => {
                // Whatever it shows now, it is not what stood there before.
                self.canvas = Canvas::new(display.size());
                self.display = Some(display);
                self.shown = None;
            }
            Err(error) => self.tell(Some(error.to_string())),
        }
    }

    /// Whether results should be shown.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.open.is_some()
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
        let working;
        let view = match &shown {
            Shown::Idle(view) => View::Idle(view),
            Shown::Working(view, picture) => {
                working = WorkingView {
                    image: picture.as_ref().map(|picture| &*picture.0),
                    ..view.clone()
                };
                View::Working(&working)
            }
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

    /// Moves the mark that tells a living screen from a frozen one, as often as the display can show it; `now` is a
    /// steady time.
    pub fn beat(&mut self, now: Duration) {
        let Some((_, dimmed)) = self.shown else { return };
        let Some(every) = self.display.as_ref().and_then(|display| display.moves_every()) else {
            return;
        };
        if self.beaten.is_some_and(|beaten| now < beaten + every) {
            return;
        }
        self.beaten = Some(now);
        let Ok(()) = if dimmed {
            beat(&mut Dimmed::new(&mut self.canvas), now)
        } else {
            beat(&mut self.canvas, now)
        };
        self.flush();
    }

    fn flush(&mut self) {
        let Some(display) = &mut self.display else { return };
        let problem = present(&mut self.canvas, display.as_mut()).err().map(|e| e.to_string());
        if problem.is_some() {
            // Results are stored; the display is opened anew when it can be.
            (self.display, self.shown, self.looked) = (None, None, Some(Instant::now()));
        }
        self.tell(problem);
    }

    /// A display that stays away is told once.
    fn tell(&mut self, problem: Option<String>) {
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
