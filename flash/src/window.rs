//! Which piece of an upload goes out next: several on the way at once, and the device's word on where it stands.
//!
//! The device answers each piece with the offset that it wants next. As long as that is where the piece ended, the
//! next ones are already on their way and the line never rests. Any other answer moves the upload to that offset; the
//! pieces behind it are void, but they still fill the device's buffers until an answer shows that they are through.
//! A piece that is sent twice, or whose answer is lost, does no harm: the device takes only the one that it wants.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// The smallest piece that noise makes of the pieces, in bytes.
const SMALLEST_PIECE: u64 = 512;
/// After this many good answers in a row, pieces grow again.
const GROW_AFTER: u32 = 12;
/// Silence that is never taken for a loss: the device needs a second to give up a message that lost its end.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(1250);
/// The longest silence that is waited for.
const LONGEST_PATIENCE: Duration = Duration::from_secs(20);
/// How many answer times the patience is taken from.
const REMEMBERED_ANSWERS: usize = 8;

/// A piece to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Repeated in the answer.
    pub sequence: u8,
    /// Its bytes in the file; empty to ask where the device stands.
    pub range: Range<u64>,
}

/// What an answer meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// To no piece on its way: late, or not for us.
    Nothing,
    /// The device has everything up to here.
    Advanced(u64),
    /// The device wants to go on from another place than was expected.
    Moved {
        /// Up to where the device was thought to have everything.
        from: u64,
        /// Where it wants to go on.
        to: u64,
        /// Because something was lost or damaged on the way.
        lost: bool,
    },
}

#[derive(Debug)]
struct Flight {
    piece: Piece,
    sent: Instant,
    /// It lies behind a piece that the device did not take.
    void: bool,
}

/// The pieces of one upload that are on their way.
#[derive(Debug)]
pub struct Window {
    total: u64,
    /// Bytes of the piece that names the upload: few, for the device may have more of it than that.
    first: u64,
    largest: u64,
    piece: u64,
    limit: usize,
    sequence: u8,
    /// The device has everything up to here.
    have: u64,
    /// What goes out next.
    next: u64,
    /// The device was heard since the upload began or fell silent; before that, one piece at a time goes out.
    heard: bool,
    flights: VecDeque<Flight>,
    good: u32,
    answer_times: VecDeque<Duration>,
    bytes_a_second: u64,
}

impl Window {
    /// An upload of `total` bytes. The piece that names it has at most `first` bytes, the others at most `largest`; at
    /// most `limit` are on their way at once. The line carries `bytes_a_second`, as far as that is known.
    #[must_use]
    pub fn new(total: u64, first: u64, largest: u64, limit: usize, bytes_a_second: u64) -> Self {
        Self {
            total,
            first: first.min(SMALLEST_PIECE),
            largest: largest.max(1),
            piece: largest.max(1),
            limit: limit.max(1),
            sequence: 0,
            have: 0,
            next: 0,
            heard: false,
            flights: VecDeque::new(),
            good: 0,
            answer_times: VecDeque::new(),
            bytes_a_second: bytes_a_second.max(1),
        }
    }

    /// Begins anew at the beginning of the file.
    pub fn restart(&mut self) {
        self.void_all();
        (self.have, self.next, self.heard) = (0, 0, false);
    }

    /// The piece to send now, if there is room for one. Call [`Window::sent`] once it is out.
    pub fn next_piece(&mut self) -> Option<Piece> {
        let limit = if self.heard { self.limit } else { 1 };
        let at_end = self.next >= self.total;
        if self.flights.len() >= limit || (at_end && self.heard) {
            return None;
        }
        let length = match self.heard {
            // The piece that names the upload says more beside its bytes.
            true if self.next == 0 => self.first,
            true => self.piece,
            // At the beginning the upload is named, later an empty piece asks where it stands.
            false if self.have == 0 => self.first,
            false => 0,
        };
        Some(Piece {
            sequence: self.sequence,
            range: self.next..self.next + length.min(self.total - self.next),
        })
    }

    /// A piece went out.
    pub fn sent(&mut self, piece: Piece, now: Instant) {
        self.sequence = self.sequence.wrapping_add(1);
        self.next = piece.range.end;
        let void = false;
        self.flights.push_back(Flight { piece, sent: now, void });
    }

    /// The device wants `offset` next, it says in answer to `sequence`.
    pub fn answered(&mut self, sequence: u8, offset: u64, now: Instant) -> Answered {
        let Some(at) = self.flights.iter().position(|flight| flight.piece.sequence == sequence) else {
            return Answered::Nothing;
        };
        // Answers come in the order of the pieces: those before this one were lost, or their answers were.
        let Some(flight) = self.flights.drain(..=at).next_back() else {
            return Answered::Nothing;
        };
        self.remember(now.saturating_duration_since(flight.sent));
        if flight.void {
            return Answered::Nothing;
        }
        if offset > self.total {
            // Noise: the device cannot want that.
            return Answered::Nothing;
        }
        let from = self.have;
        // The first answer tells where the device stands; only after that is another place than the expected a loss.
        let lost = std::mem::replace(&mut self.heard, true) && offset <= from;
        if offset == flight.piece.range.end {
            self.have = offset;
            self.grow();
            return Answered::Advanced(offset);
        }
        self.move_to(offset);
        if lost {
            self.shrink();
        }
        Answered::Moved { from, to: offset, lost }
    }

    /// The device refuses the piece of this sequence; false if that piece is void or not on its way.
    pub fn refused(&mut self, sequence: u8) -> bool {
        let at = self.flights.iter().position(|flight| flight.piece.sequence == sequence);
        let flight = at.and_then(|at| self.flights.drain(..=at).next_back());
        flight.is_some_and(|flight| !flight.void)
    }

    /// Nothing was heard for [`Window::patience`]: asks where the device stands.
    pub fn fell_silent(&mut self) {
        self.flights.clear();
        self.next = self.have;
        self.heard = false;
        self.shrink();
    }

    /// How long to wait, since the device was heard or the oldest piece went out, before something is taken for lost.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let slowest = self
            .answer_times
            .iter()
            .max()
            .copied()
            .unwrap_or_else(|| self.line_time());
        (SHORTEST_PATIENCE + slowest * 2).min(LONGEST_PATIENCE)
    }

    /// When the oldest piece went out.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Instant> {
        self.flights.front().map(|flight| flight.sent)
    }

    /// Up to where the device has everything.
    #[must_use]
    pub fn have(&self) -> u64 {
        self.have
    }

    /// Forgets how long answers took, because the line has changed.
    pub fn forget_answer_times(&mut self) {
        self.answer_times.clear();
    }

    fn line_time(&self) -> Duration {
        let lengths = self
            .flights
            .iter()
            .map(|flight| flight.piece.range.end - flight.piece.range.start);
        let bytes: u64 = lengths.sum();
        Duration::from_millis(bytes.saturating_mul(1000) / self.bytes_a_second)
    }

    fn remember(&mut self, time: Duration) {
        self.answer_times.push_back(time);
        if self.answer_times.len() > REMEMBERED_ANSWERS {
            self.answer_times.pop_front();
        }
    }

    fn move_to(&mut self, offset: u64) {
        (self.have, self.next) = (offset, offset);
        self.void_all();
    }

    fn void_all(&mut self) {
        self.flights.iter_mut().for_each(|flight| flight.void = true);
    }

    fn grow(&mut self) {
        self.good += 1;
        if self.good >= GROW_AFTER {
            self.good = 0;
            self.piece = (self.piece * 2).min(self.largest);
        }
    }

    fn shrink(&mut self) {
        self.good = 0;
        self.piece = (self.piece / 2).max(SMALLEST_PIECE.min(self.largest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: u64 = 20_000;

    fn window() -> Window {
        Window::new(TOTAL, 300, 2000, 3, 1000)
    }

    /// Sends all that may go out.
    fn send(window: &mut Window, now: Instant) -> Vec<Piece> {
        let mut out = Vec::new();
        while let Some(piece) = window.next_piece() {
            window.sent(piece.clone(), now);
            out.push(piece);
        }
        out
    }

    fn starts(pieces: &[Piece]) -> Vec<u64> {
        pieces.iter().map(|piece| piece.range.start).collect()
    }

    /// A window whose first piece was taken and which has three more on their way, with the sequences 1, 2 and 3.
    fn under_way(now: Instant) -> Window {
        let mut window = window();
        send(&mut window, now);
        assert_eq!(window.answered(0, 300, now), Answered::Advanced(300));
        assert_eq!(starts(&send(&mut window, now)), [300, 2300, 4300]);
        window
    }

    #[test]
    fn one_piece_goes_out_first_then_as_many_as_the_device_holds() {
        let mut window = window();
        assert_eq!(starts(&send(&mut window, Instant::now())), [0]);
        under_way(Instant::now());
    }

    #[test]
    fn an_upload_that_the_device_knows_goes_on_where_it_stands() {
        let (mut window, now) = (window(), Instant::now());
        send(&mut window, now);
        let (from, to) = (0, 7300);
        assert_eq!(window.answered(0, to, now), Answered::Moved { from, to, lost: false });
        assert_eq!(starts(&send(&mut window, now)), [7300, 9300, 11_300]);
    }

    #[test]
    fn pieces_behind_a_lost_one_are_void_but_keep_their_room() {
        let now = Instant::now();
        let mut window = under_way(now);
        // The first of the three was lost; the device tells so in answer to the second.
        let (from, to) = (300, 300);
        assert_eq!(window.answered(2, 300, now), Answered::Moved { from, to, lost: true });
        // The third is still in its buffers, and smaller pieces go out.
        assert_eq!(starts(&send(&mut window, now)), [300, 1300]);
        assert_eq!(window.answered(3, 300, now), Answered::Nothing);
        assert_eq!(starts(&send(&mut window, now)), [2300]);
        assert_eq!(window.answered(4, 1300, now), Answered::Advanced(1300));
    }

    #[test]
    fn a_block_that_turns_out_damaged_is_sent_again() {
        let now = Instant::now();
        let mut window = under_way(now);
        let (from, to) = (300, 100);
        assert_eq!(window.answered(1, to, now), Answered::Moved { from, to, lost: true });
        assert_eq!(starts(&send(&mut window, now))[0], to);
    }

    #[test]
    fn a_lost_answer_costs_nothing() {
        let now = Instant::now();
        let mut window = under_way(now);
        assert_eq!(window.answered(3, 6300, now), Answered::Advanced(6300));
        assert_eq!(starts(&send(&mut window, now)), [6300, 8300, 10_300]);
    }

    #[test]
    fn after_a_silence_an_empty_piece_asks_first() {
        let now = Instant::now();
        let mut window = under_way(now);
        window.fell_silent();
        let asked = send(&mut window, now);
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].range, 300..300);
        let (from, to) = (300, 6000);
        assert_eq!(
            window.answered(asked[0].sequence, to, now),
            Answered::Moved { from, to, lost: false }
        );
        assert_eq!(starts(&send(&mut window, now))[0], 6000);
    }

    #[test]
    fn whoever_is_sent_back_to_the_beginning_leaves_room_for_its_name() {
        let now = Instant::now();
        let mut window = under_way(now);
        assert!(matches!(window.answered(1, 0, now), Answered::Moved { to: 0, .. }));
        assert_eq!(send(&mut window, now)[0].range, 0..300);
    }

    #[test]
    fn silence_at_the_very_beginning_names_the_upload_again() {
        let (mut window, now) = (window(), Instant::now());
        send(&mut window, now);
        window.fell_silent();
        assert_eq!(send(&mut window, now)[0].range, 0..300);
    }

    #[test]
    fn of_several_refused_pieces_the_first_counts() {
        let now = Instant::now();
        let mut window = under_way(now);
        assert!(window.refused(1));
        window.restart();
        assert!(!window.refused(2) && !window.refused(3));
        assert_eq!(send(&mut window, now)[0].range, 0..300);
    }

    #[test]
    fn nothing_goes_out_behind_the_end() {
        let (mut window, now) = (window(), Instant::now());
        send(&mut window, now);
        window.answered(0, 17_000, now);
        let last = send(&mut window, now);
        assert_eq!(last.last().unwrap().range, 19_000..TOTAL);
        assert_eq!(window.answered(2, TOTAL, now), Answered::Advanced(TOTAL));
        assert_eq!(window.next_piece(), None);
    }

    #[test]
    fn an_impossible_offset_is_noise() {
        let (mut window, now) = (window(), Instant::now());
        send(&mut window, now);
        assert_eq!(window.answered(0, TOTAL + 1, now), Answered::Nothing);
        assert_eq!(window.have(), 0);
    }

    #[test]
    fn pieces_shrink_under_noise_and_grow_back() {
        let (mut window, now) = (Window::new(1 << 30, 500, 8000, 1, 1), Instant::now());
        (window.heard, window.have, window.next) = (true, 500, 500);
        let mut length = |taken: bool| {
            let piece = send(&mut window, now).remove(0);
            let wanted = if taken { piece.range.end } else { piece.range.start };
            window.answered(piece.sequence, wanted, now);
            piece.range.end - piece.range.start
        };
        assert_eq!([true, false, false].map(&mut length), [8000, 8000, 4000]);
        for _ in 0..GROW_AFTER {
            assert_eq!(length(true), 2000);
        }
        assert_eq!(length(true), 4000);
        for _ in 0..20 {
            length(false);
        }
        assert_eq!(length(true), SMALLEST_PIECE);
    }

    #[test]
    fn patience_follows_the_line() {
        let (mut window, now) = (window(), Instant::now());
        send(&mut window, now);
        // 300 bytes at 1000 a second.
        assert_eq!(window.patience(), SHORTEST_PATIENCE + Duration::from_millis(600));
        window.answered(0, 300, now + Duration::from_secs(2));
        assert_eq!(window.patience(), SHORTEST_PATIENCE + Duration::from_secs(4));
        send(&mut window, now);
        window.answered(1, 2300, now + Duration::from_secs(30));
        assert_eq!(window.patience(), LONGEST_PATIENCE);
    }
}
