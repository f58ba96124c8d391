//! What a reader sees: each step of the script, and indented beneath it what it brought about.

use std::fmt::Write as _;

/// The text so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    text: String,
    /// The virtual time that was last written, in microseconds.
    written_us: u64,
    /// Whether nobody wants to read what happens.
    is_muted: bool,
    /// The heading of operations that are told by their number alone, when they happened, and how many there are.
    chores: Option<(&'static str, u64, usize)>,
}

impl Transcript {
    /// A step of the script, or a comment of it.
    pub(crate) fn step(&mut self, text: &str) {
        self.tell_chores();
        let mark = if text.starts_with('#') { "" } else { "> " };
        if text.starts_with('#') && !self.text.is_empty() && !self.last_line_is_comment() {
            self.text.push('\n');
        }
        writeln!(self.text, "{mark}{text}").expect("a string takes any text");
    }

    fn last_line_is_comment(&self) -> bool {
        self.text.lines().next_back().is_some_and(|line| line.starts_with('#'))
    }

    /// Something that happened at `now_us`, told under one of a few short headings.
    pub(crate) fn line(&mut self, now_us: u64, heading: &str, text: &str) {
        self.tell_chores();
        self.write(now_us, heading, text);
    }

    /// Something that is told only by how many of its kind there are in a row.
    pub(crate) fn chore(&mut self, now_us: u64, heading: &'static str) {
        let count = match self.chores {
            Some((same, at, count)) if (same, at) == (heading, now_us) => count,
            Some(_) | None => {
                self.tell_chores();
                0
            }
        };
        self.chores = Some((heading, now_us, count + 1));
    }

    fn tell_chores(&mut self) {
        match self.chores.take() {
            None => {}
            Some((heading, now_us, 1)) => {
                self.write(now_us, heading, "(one operation on the node's own files)")
            }
            Some((heading, now_us, count)) => {
                self.write(now_us, heading, &format!("({count} operations on the node's own files)"));
            }
        }
    }

    fn write(&mut self, now_us: u64, heading: &str, text: &str) {
        if self.is_muted {
            return;
        }
        if now_us != self.written_us {
            self.written_us = now_us;
            let (seconds, micros) = (now_us / 1_000_000, now_us % 1_000_000);
            let fraction = format!(".{micros:06}");
            let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
            writeln!(self.text, "  after {seconds}{fraction} s").expect("a string takes any text");
        }
        writeln!(self.text, "    {heading:<5} {text}").expect("a string takes any text");
    }

    /// Leaves out what follows, until [`Self::speak`].
    pub(crate) fn hush(&mut self) {
        self.tell_chores();
        self.is_muted = true;
    }

    /// Writes again.
    pub(crate) fn speak(&mut self) {
        self.tell_chores();
        self.is_muted = false;
    }

    /// All of it.
    pub(crate) fn into_text(mut self) -> String {
        self.tell_chores();
        self.text
    }
}
