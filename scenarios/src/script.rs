//! A scenario file as a list of steps.

/// Something in a script that cannot be done, or did not come out as expected: a sentence for whoever writes the script.
pub(crate) type Wrong = String;

/// A line of a script that says something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// Its number in the file, from 1.
    pub(crate) number: usize,
    /// Its text, without the space around it.
    pub(crate) text: &'a str,
}

impl Line<'_> {
    /// Whether it is there for the reader alone.
    pub(crate) fn is_comment(&self) -> bool {
        self.text.starts_with('#')
    }
}

/// The lines of a scenario after the paragraph that it opens with.
///
/// # Errors
/// The line and what is wrong with it, if there is no such paragraph, or nothing after it that could fail.
pub(crate) fn lines(text: &str) -> Result<Vec<Line<'_>>, (usize, Wrong)> {
    let all = text.lines().enumerate().map(|(at, text)| Line { number: at + 1, text: text.trim() });
    let mut said = all.skip_while(|line| line.text.is_empty()).peekable();
    let mut story = 0;
    while said.next_if(Line::is_comment).is_some() {
        story += 1;
    }
    if story == 0 {
        let wrong =
            "a scenario opens with a paragraph of # lines: what happens, why it matters, where it is from";
        return Err((1, wrong.to_owned()));
    }
    let lines: Vec<Line<'_>> = said.filter(|line| !line.text.is_empty()).collect();
    if !lines.iter().any(|line| line.text.starts_with("expect ")) {
        let wrong = "nothing is expected: a scenario says its verdict in expect lines, the snapshot is not the only judge";
        return Err((lines.last().map_or(story, |line| line.number), wrong.to_owned()));
    }
    Ok(lines)
}

/// The words of a step that its verb has not taken yet.
#[derive(Clone, Debug)]
pub(crate) struct Args<'a> {
    words: Vec<&'a str>,
}

impl<'a> Args<'a> {
    /// The words of a step.
    pub(crate) fn of(text: &'a str) -> Self {
        Self { words: text.split_whitespace().collect() }
    }

    /// The first word that is left and is not of the form `key=value`.
    pub(crate) fn word(&mut self) -> Option<&'a str> {
        let at = self.words.iter().position(|word| !word.contains('='))?;
        Some(self.words.remove(at))
    }

    /// As [`Self::word`], where there must be one.
    pub(crate) fn need(&mut self, what: &str) -> Result<&'a str, Wrong> {
        self.word().ok_or_else(|| format!("{what} is missing"))
    }

    /// Whether `word` is there.
    pub(crate) fn flag(&mut self, word: &str) -> bool {
        let at = self.words.iter().position(|other| *other == word);
        at.map(|at| self.words.remove(at)).is_some()
    }

    /// The value of `key`.
    pub(crate) fn value(&mut self, key: &str) -> Option<&'a str> {
        let is_wanted = |word: &&str| word.split_once('=').is_some_and(|(other, _)| other == key);
        let at = self.words.iter().position(is_wanted)?;
        self.words.remove(at).split_once('=').map(|(_, value)| value)
    }

    /// The value of `key` as a number.
    pub(crate) fn number<N: std::str::FromStr>(&mut self, key: &str) -> Result<Option<N>, Wrong> {
        let number = |value: &str| value.parse().map_err(|_| format!("{key}={value} is not a number"));
        self.value(key).map(number).transpose()
    }

    /// Every pair that is left.
    pub(crate) fn pairs(&mut self) -> Vec<(&'a str, &'a str)> {
        let (pairs, words): (Vec<&'a str>, Vec<&'a str>) =
            self.words.iter().partition(|word| word.contains('='));
        self.words = words;
        pairs.into_iter().filter_map(|pair| pair.split_once('=')).collect()
    }

    /// Everything that is left, in its order.
    pub(crate) fn rest(&mut self) -> Vec<&'a str> {
        std::mem::take(&mut self.words)
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), Wrong> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(format!("'{word}' means nothing here")),
        }
    }
}

/// A partition as scripts write it: `orders-0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionName {
    pub(crate) topic: String,
    pub(crate) index: i32,
}

impl PartitionName {
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let (topic, index) =
            text.rsplit_once('-').ok_or_else(|| format!("'{text}' is not a partition: orders-0"))?;
        let index =
            index.parse().map_err(|_| format!("'{text}' is not a partition: '{index}' is not a number"))?;
        Ok(Self { topic: topic.to_owned(), index })
    }
}

impl std::fmt::Display for PartitionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

/// A time as scripts write it, in microseconds: `250us`, `500ms`, `5s`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<u64, Wrong> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let micros = match &text[digits..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return Err(format!("'{text}' is not a time: 500ms, 5s, 2m")),
    };
    let wrong = || format!("'{text}' is not a time: 500ms, 5s, 2m");
    text[..digits].parse::<u64>().ok().and_then(|count| count.checked_mul(micros)).ok_or_else(wrong)
}
