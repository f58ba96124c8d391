//! One file: what running processes see of it, what the platters hold, and what a loss of power makes of the two.
//!
//! The page cache is one string of bytes. Of the platters only the difference is kept: a suffix that was not synced, of
//! which any part may be lost; earlier versions, which an unsynced truncation may fall back to; and [`Overlay`]s, places
//! where the platters hold something else although the kernel takes its pages for clean. What a failed sync leaves
//! behind, a phantom write and a misdirected write are three ways to come by an overlay.

use super::contents::{Contents, zeros};
use super::marks::DiskMarks;
use super::{Left, SECTOR};
use crate::field::Answer;
use bytes::Bytes;
use std::ops::Range;

/// How the platters came to hold something else than the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A sync failed, and the kernel dropped what it could not write. Some sectors may have got through.
    FailedSync,
    /// A write never reached the platters.
    Phantom,
    /// A write reached another place than its own; both places have an overlay.
    Misdirected,
}

/// A place where the platters hold something else than the page cache. A loss of power reveals it; what is written there
/// later puts an end to it.
#[derive(Clone, Debug)]
struct Overlay {
    range: Range<u64>,
    /// What the platters hold there; zeros where it is shorter than the range.
    held: Bytes,
    cause: Cause,
}

impl Overlay {
    /// The part of it within `range`.
    fn within(&self, range: &Range<u64>) -> Option<Self> {
        let part = self.range.start.max(range.start)..self.range.end.min(range.end);
        let place = |position: u64| {
            usize::try_from(position - self.range.start).map_or(self.held.len(), |at| at.min(self.held.len()))
        };
        (part.start < part.end).then(|| Self {
            held: self.held.slice(place(part.start)..place(part.end)),
            range: part,
            cause: self.cause,
        })
    }
}

/// One state of a file's contents.
#[derive(Clone, Debug, Default)]
struct Version {
    contents: Contents,
    /// How much of `contents`, from the start, a successful sync covered.
    synced_len: u64,
    /// In the order in which they came about; where two overlap the later one holds.
    overlays: Vec<Overlay>,
    /// Places whose bytes a fault changed beyond what the contract lets a disk do, in order and apart. They may lie
    /// behind the end, if what was there is gone.
    damage: Vec<Range<u64>>,
}

impl Version {
    fn durable_len(&self) -> u64 {
        let lost = self.overlays.iter().filter(|overlay| overlay.cause == Cause::FailedSync);
        lost.fold(self.synced_len, |len, overlay| len.min(overlay.range.start))
    }

    fn truncate(&mut self, len: u64) {
        self.contents.truncate(len);
        self.synced_len = self.synced_len.min(len);
        self.forget(&(len..u64::MAX));
    }

    /// What happened to the platters there means nothing any more.
    fn forget(&mut self, gone: &Range<u64>) {
        let (before, behind) = (0..gone.start, gone.end..u64::MAX);
        if !self.overlays.is_empty() {
            let overlays = std::mem::take(&mut self.overlays);
            let split = |overlay: Overlay| [overlay.within(&before), overlay.within(&behind)];
            self.overlays = overlays.into_iter().flat_map(split).flatten().collect();
        }
        if !self.damage.is_empty() {
            let damage = std::mem::take(&mut self.damage);
            let split = |range: Range<u64>| {
                [range.start..range.end.min(gone.start), range.start.max(gone.end)..range.end]
            };
            self.damage =
                damage.into_iter().flat_map(split).filter(|range| range.start < range.end).collect();
        }
    }

    fn add_damage(&mut self, mut range: Range<u64>) {
        self.damage.retain(|other| {
            let is_apart = other.end < range.start || range.end < other.start;
            if !is_apart {
                range = range.start.min(other.start)..range.end.max(other.end);
            }
            is_apart
        });
        let at = self.damage.partition_point(|other| other.start < range.start);
        self.damage.insert(at, range);
    }

    /// The page cache is gone: what the platters hold in the places of the overlays shows. `gets_through` says of a sector
    /// whose sync failed whether it was written all the same, and `is_cut` whether a write that is missing at the end of
    /// the file is missing from its length too.
    fn reveal(
        &mut self,
        mut gets_through: impl FnMut() -> bool,
        mut is_cut: impl FnMut() -> bool,
        marks: &mut DiskMarks,
    ) {
        let mut has_lost_pages = false;
        for overlay in std::mem::take(&mut self.overlays) {
            let is_missing_at_end = overlay.held.is_empty() && overlay.range.end >= self.contents.len();
            if overlay.range.start >= self.contents.len() {
                // Revealed before: the file is shorter for it.
            } else if overlay.cause == Cause::FailedSync {
                for sector in sectors_of(&overlay.range) {
                    if !gets_through() {
                        has_lost_pages = true;
                        self.show(&overlay, &sector);
                    }
                }
            } else if is_missing_at_end && is_cut() {
                self.contents.truncate(overlay.range.start);
                self.synced_len = self.synced_len.min(overlay.range.start);
            } else {
                self.show(&overlay, &overlay.range);
            }
            match overlay.cause {
                Cause::FailedSync => continue,
                Cause::Phantom => marks.phantoms_revealed += 1,
                Cause::Misdirected => marks.misdirected_revealed += 1,
            }
            self.add_damage(overlay.range);
        }
        marks.pages_lost += u64::from(has_lost_pages);
    }

    fn show(&mut self, overlay: &Overlay, range: &Range<u64>) {
        let range = range.start..range.end.min(self.contents.len());
        if let Some(part) = overlay.within(&range) {
            let missing = part.range.end - part.range.start - part.held.len() as u64;
            let zeros_from = part.range.end - missing;
            self.contents.put(part.range.start, part.held);
            if missing > 0 {
                self.contents.put(zeros_from, zeros(missing));
            }
        }
    }
}

/// A file as running processes see it, and what a loss of power may make of it.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    current: Version,
    /// What the file was before each truncation since the last sync. A truncation that was not synced may be undone.
    earlier: Vec<Version>,
    /// Whether the name is durable.
    pub(super) is_named: bool,
    /// Whether an append failed in this life of the process: those that were pushed behind it do not know where the file
    /// ends.
    pub(super) is_ragged: bool,
    pub(super) modified_ms: i64,
}

impl File {
    /// A file that was written beside its name, synced and renamed.
    pub(super) fn replaced(bytes: Bytes, modified_ms: i64) -> Self {
        let mut file = Self { modified_ms, ..Self::default() };
        file.current.contents.append(bytes);
        file.sync();
        file
    }

    pub(super) const fn contents(&self) -> &Contents {
        &self.current.contents
    }

    pub(super) fn read(&mut self, position: u64, len: u64) -> Bytes {
        self.current.contents.read_and_join(position, len)
    }

    pub(super) fn durable_len(&self) -> u64 {
        self.current.durable_len()
    }

    pub(super) const fn has_unsynced_cut(&self) -> bool {
        !self.earlier.is_empty()
    }

    pub(super) fn damage(&self) -> &[Range<u64>] {
        &self.current.damage
    }

    /// Writes both pieces at `position`. Over what is there already this is like a truncation: what was there may come
    /// back.
    pub(super) fn write(&mut self, position: u64, [first, second]: [Bytes; 2]) {
        let end = position + (first.len() + second.len()) as u64;
        if position == self.current.contents.len() {
            self.current.contents.append(first);
            self.current.contents.append(second);
        } else if position < end {
            if position < self.current.contents.len() {
                self.earlier.push(self.current.clone());
                self.current.synced_len = self.current.synced_len.min(position);
            }
            let middle = position + first.len() as u64;
            self.current.contents.put(position, first);
            self.current.contents.put(middle, second);
        }
        self.current.forget(&(position..end));
    }

    pub(super) fn truncate(&mut self, len: u64) {
        if len < self.current.contents.len() {
            self.earlier.push(self.current.clone());
        }
        self.current.truncate(len);
    }

    /// Everything is durable that the kernel does not take for clean already.
    pub(super) fn sync(&mut self) {
        self.current.synced_len = self.current.contents.len();
        self.earlier.clear();
        self.is_named = true;
    }

    /// A sync fails: what it should have written stays in the page cache, and no sync will ever write it.
    pub(super) fn fail_sync(&mut self) {
        self.differ(self.current.synced_len..self.current.contents.len(), Cause::FailedSync);
    }

    /// The bytes in `range` never reach the platters.
    pub(super) fn differ(&mut self, range: Range<u64>, cause: Cause) {
        if range.start < range.end {
            let durable = self.earlier.first().unwrap_or(&self.current);
            let end = range.end.min(durable.synced_len);
            let held = durable.contents.read(range.start, end.saturating_sub(range.start));
            self.current.overlays.push(Overlay { range, held, cause });
        }
    }

    /// The bytes in `range` reach the platters at a sector before their place, if there is one.
    pub(super) fn misdirect(&mut self, range: Range<u64>, answer: &mut Answer) {
        let sectors = range.start / SECTOR;
        if sectors > 0 {
            let start = answer.below(sectors) * SECTOR;
            let end = range.start.min(start + (range.end - range.start));
            let held = self.current.contents.read(range.start, end - start);
            let cause = Cause::Misdirected;
            self.current.overlays.push(Overlay { range: start..end, held, cause });
        }
        self.differ(range, Cause::Misdirected);
    }

    /// Flips one bit, of a file that has one.
    pub(super) fn rot(&mut self, answer: &mut Answer) {
        let at = answer.below(self.current.contents.len());
        self.flip(at, 1 << answer.below(8));
        self.current.add_damage(at..at + 1);
    }

    /// Flips the bits of `mask` in one byte.
    pub(super) fn flip(&mut self, at: u64, mask: u8) {
        let byte = self.current.contents.read(at, 1)[0];
        self.current.contents.put(at, Bytes::copy_from_slice(&[byte ^ mask]));
    }

    /// A disk that breaks its word takes so much of what was synced.
    pub(super) fn forget_synced(&mut self, bytes: u64) {
        self.current.synced_len = self.current.synced_len.saturating_sub(bytes);
    }

    /// Whether a loss of power takes even the name.
    pub(super) fn vanishes(&self, answer: &mut Answer) -> bool {
        !self.is_named && answer.chance(1, 3)
    }

    /// The truncations may be undone from the last one backwards, with what was appended after each.
    pub(super) fn fall_back(&mut self, answer: &mut Answer, marks: &mut DiskMarks) {
        let versions = self.earlier.len() as u64;
        if versions > 0 && answer.chance(1, 2) {
            let version = usize::try_from(answer.below(versions)).expect("a place in a list");
            self.current = self.earlier.swap_remove(version);
            self.current.contents.restamp();
            marks.untruncated += 1;
        }
    }

    /// What a loss of power leaves of the contents.
    pub(super) fn lose_power(&mut self, answer: &mut Answer, marks: &mut DiskMarks) {
        if !self.current.overlays.is_empty() {
            let (mut sectors, mut cut) = (Answer(answer.word()), Answer(answer.word()));
            self.current.reveal(|| sectors.chance(1, 3), || cut.chance(1, 2), marks);
        }
        let contents = &mut self.current.contents;
        let (synced, len) = (self.current.synced_len, contents.len());
        if synced < len {
            match answer.below(4) {
                0 => {}
                1 => contents.truncate(synced),
                2 => contents.truncate(answer.between(synced, len)),
                _ => {
                    let end = answer.between(synced, len);
                    contents.truncate(synced.max(end - end % SECTOR));
                }
            }
            let left = contents.len();
            if left == synced {
                marks.lost_suffix += 1;
            } else if left < len {
                marks.torn += 1;
            }
            if left > synced && answer.chance(1, 3) {
                zero_sectors(contents, synced, answer);
                marks.zeroed += 1;
            }
        }
        // What came back is what the platters hold: a later loss of power finds it there.
        self.sync();
    }

    /// What a loss of power leaves of the contents if a hand decides; false if the file is gone.
    pub(super) fn lose_power_leaving(&mut self, left: Left, marks: &mut DiskMarks) -> bool {
        if left == Left::Nothing {
            if !self.is_named {
                return false;
            }
            if !self.earlier.is_empty() {
                self.current = self.earlier.swap_remove(0);
                self.current.contents.restamp();
            }
        }
        self.current.reveal(|| false, || false, marks);
        let contents = &mut self.current.contents;
        let synced = self.current.synced_len;
        match left {
            Left::All => {}
            Left::Nothing => contents.truncate(synced),
            Left::First(len) => contents.truncate(synced.saturating_add(len)),
            Left::Zeros => contents.put(synced, zeros(contents.len() - synced)),
        }
        self.sync();
        true
    }
}

/// The parts of a range that lie in one sector each.
fn sectors_of(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let Range { start, end } = *range;
    let sectors = start / SECTOR..end.div_ceil(SECTOR);
    sectors.map(move |sector| start.max(sector * SECTOR)..end.min((sector + 1) * SECTOR))
}

/// Turns some sectors from `synced` on into zeros: a run of them, as when the length reached the disk and the data did
/// not, or a tail.
fn zero_sectors(contents: &mut Contents, synced: u64, answer: &mut Answer) {
    let len = contents.len();
    let first = synced / SECTOR;
    let sectors = len.div_ceil(SECTOR) - first;
    let from = first + answer.below(sectors);
    let count = if answer.chance(1, 2) { sectors } else { answer.between(1, 3) };
    let start = (from * SECTOR).max(synced);
    let end = ((from + count) * SECTOR).min(len);
    contents.put(start, zeros(end - start));
}
