//! The bytes of a file, shared with whoever wrote them.

use bytes::{Bytes, BytesMut};
use std::sync::atomic::{AtomicU64, Ordering};

/// The contents of a file: pieces in the order of their places.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Each piece with the position of its first byte; none is empty.
    pieces: Vec<(u64, Bytes)>,
    len: u64,
    stamp: u64,
}

/// The last stamp that was given. Stamps are compared for equality alone: which ones a run gets changes nothing in it.
static STAMPS: AtomicU64 = AtomicU64::new(0);

impl Contents {
    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// As long as this is the same, nothing has changed what lies here but appends: whoever has seen the first bytes need not
    /// look at them again. No two histories have the same, in whichever world or file.
    #[must_use]
    pub const fn stamp(&self) -> u64 {
        self.stamp
    }

    /// What lies here is, or may become, something else than what it was.
    pub(super) fn restamp(&mut self) {
        self.stamp = STAMPS.fetch_add(1, Ordering::Relaxed) + 1;
    }

    /// Up to `len` bytes from `position`; shared with the file where they lie in one piece of it.
    #[must_use]
    pub fn read(&self, position: u64, len: u64) -> Bytes {
        let end = self.len.min(position.saturating_add(len));
        if position >= end {
            return Bytes::new();
        }
        let first = self.pieces.partition_point(|(start, _)| *start <= position) - 1;
        let (start, piece) = &self.pieces[first];
        if end <= start + piece.len() as u64 {
            return piece.slice(in_memory(position - start)..in_memory(end - start));
        }
        let mut joined = BytesMut::with_capacity(in_memory(end - position));
        for (start, piece) in &self.pieces[first..] {
            if *start >= end {
                break;
            }
            let from = in_memory(position.saturating_sub(*start));
            let to = in_memory((end - start).min(piece.len() as u64));
            joined.extend_from_slice(&piece[from..to]);
        }
        joined.freeze()
    }

    /// As [`Self::read`], and whoever reads the same again shares the bytes: the pieces that were joined become one.
    pub(super) fn read_and_join(&mut self, position: u64, len: u64) -> Bytes {
        let bytes = self.read(position, len);
        let end = position + bytes.len() as u64;
        let first = self.pieces.partition_point(|(start, _)| *start < position);
        let last = self.pieces.partition_point(|(start, piece)| start + piece.len() as u64 <= end);
        if last > first + 1 {
            let start = self.pieces[first].0;
            let joined_end = self.pieces.get(last).map_or(self.len, |(start, _)| *start);
            let joined = bytes.slice(in_memory(start - position)..in_memory(joined_end - position));
            self.pieces.splice(first..last, [(start, joined)]);
        }
        bytes
    }

    /// Whether `bytes` are what lies at `position`.
    #[must_use]
    pub fn holds(&self, mut position: u64, mut bytes: &[u8]) -> bool {
        let mut at = self.pieces.partition_point(|(start, piece)| start + piece.len() as u64 <= position);
        while !bytes.is_empty() {
            let Some((start, piece)) = self.pieces.get(at) else { return false };
            let piece = &piece[in_memory(position - start)..];
            let (here, behind) = bytes.split_at(bytes.len().min(piece.len()));
            // They are often the very bytes that were written.
            if !piece.get(..here.len()).is_some_and(|there| std::ptr::eq(there, here) || there == here) {
                return false;
            }
            position += here.len() as u64;
            bytes = behind;
            at += 1;
        }
        true
    }

    /// Everything.
    #[must_use]
    pub fn all(&self) -> Bytes {
        self.read(0, self.len)
    }

    /// Adds `bytes` at the end.
    pub fn append(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            if self.is_empty() {
                self.restamp();
            }
            let start = self.len;
            self.len += bytes.len() as u64;
            self.pieces.push((start, bytes));
        }
    }

    /// Cuts to `len`, if it is longer.
    pub fn truncate(&mut self, len: u64) {
        if len >= self.len {
            return;
        }
        self.restamp();
        self.pieces.truncate(self.pieces.partition_point(|(start, _)| *start < len));
        if let Some((start, piece)) = self.pieces.last_mut() {
            piece.truncate(in_memory(len - *start));
        }
        self.len = len;
    }

    /// Puts `bytes` over what is at `position`. What lies between the end and a position behind it becomes zeros.
    pub fn put(&mut self, position: u64, bytes: Bytes) {
        if position > self.len {
            self.append(zeros(position - self.len));
        }
        self.restamp();
        let behind = self.read(position + bytes.len() as u64, u64::MAX);
        self.truncate(position);
        self.append(bytes);
        self.append(behind);
    }
}

/// So many zeros.
pub(super) fn zeros(count: u64) -> Bytes {
    Bytes::from(vec![0; in_memory(count)])
}

/// A length or a place within what lies in memory.
pub(super) fn in_memory(count: u64) -> usize {
    usize::try_from(count).expect("a part of what lies in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_shares_the_bytes_that_were_appended() {
        let mut contents = Contents::default();
        let written = Bytes::from(vec![7; 100]);
        contents.append(written.clone());
        contents.append(Bytes::from(vec![8; 100]));
        assert_eq!(contents.read(10, 20).as_ptr(), written[10..].as_ptr());
        assert_eq!(contents.read(90, 20), [[7; 10], [8; 10]].concat());
    }

    #[test]
    fn pieces_that_were_read_together_are_one_piece_for_the_next_who_reads() {
        let mut contents = Contents::default();
        for byte in 0..6 {
            contents.append(Bytes::from(vec![byte; 10]));
        }
        let (before, all) = (contents.clone(), contents.all());
        let read = contents.read_and_join(15, 30);
        assert_eq!(read, all[15..45]);
        assert_eq!(contents.read(20, 20).as_ptr(), read[5..].as_ptr(), "whole pieces are joined");
        assert_eq!(contents.read(10, 10).as_ptr(), before.read(10, 10).as_ptr(), "others are left alone");
        assert_eq!(contents.all(), all);
        assert_eq!(contents.read_and_join(0, 100), all);
        assert_eq!(contents.all().as_ptr(), contents.read(0, 1).as_ptr());
        assert_eq!(contents.read_and_join(60, 5), "");
        assert_eq!(contents.all(), all);
    }

    #[test]
    fn bytes_are_compared_where_they_lie() {
        let mut contents = Contents::default();
        contents.append(Bytes::from_static(b"abc"));
        contents.append(Bytes::from_static(b"def"));
        assert!(contents.holds(0, b"abcdef") && contents.holds(2, b"cd") && contents.holds(3, b"def"));
        assert!(!contents.holds(2, b"ce") && !contents.holds(3, b"defg") && !contents.holds(7, b"x"));
        assert!(contents.holds(6, b""));
    }

    #[test]
    fn whatever_changes_bytes_that_were_there_changes_the_stamp() {
        let mut contents = Contents::default();
        contents.append(Bytes::from_static(b"abc"));
        let first = contents.stamp();
        contents.append(Bytes::from_static(b"def"));
        contents.read_and_join(0, 6);
        contents.truncate(6);
        assert_eq!(contents.stamp(), first);
        contents.truncate(5);
        let second = contents.stamp();
        contents.put(1, Bytes::from_static(b"X"));
        let third = contents.stamp();
        contents.truncate(0);
        contents.append(Bytes::from_static(b"abc"));
        let stamps = std::collections::BTreeSet::from([first, second, third, contents.stamp()]);
        assert_eq!(stamps.len(), 4);
    }

    #[test]
    fn bytes_may_be_put_within_across_the_end_and_behind_it() {
        let mut contents = Contents::default();
        contents.append(Bytes::from_static(b"abc"));
        contents.append(Bytes::from_static(b"def"));
        contents.put(2, Bytes::from_static(b"XY"));
        assert_eq!(contents.all(), "abXYef");
        contents.put(5, Bytes::from_static(b"ZZ"));
        assert_eq!(contents.all(), "abXYeZZ");
        contents.put(9, Bytes::from_static(b"!"));
        assert_eq!(contents.all(), "abXYeZZ\0\0!");
        assert_eq!(contents.len(), 10);
    }
}
